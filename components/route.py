"""The way through Kong to an application, with a limit on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from commands.cluster_access import Access
from components.shared import client_host, project_command
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject, secret
from components.shared.manifests import Manifest
from components.shared.named_secrets import NamedSecrets
from settings import WINDOWS, Kong, RateLimit, Redis, Route

PLUGIN = "rate-limit"
REDIS_SECRET = "rate-limit-redis"  # noqa: S105 -- the Secret's name
_PASSWORD_KEY = "password"  # noqa: S105 -- a key in that Secret


@dataclass(frozen=True, kw_only=True)
class RateLimitedRouteArgs:
    """`route`: what Kong sends where. `limit`: the plugin's fields. `through_mesh`: as for the application.

    `kong`: the settings of the gateway, which say how it is asked, and what brings the client's Host through the mesh.
    `gateway_ready`: there, Kong's kinds are defined and checked. `mesh_ready`: there, Istio's are. `service`: the routed
    Service. `manifest`: as it is written. `named_secrets`: how what the settings name is waited for.
    """

    namespace: str
    route: Route
    limit: RateLimit
    through_mesh: bool
    access: Access
    kong: Kong
    gateway_ready: pulumi.Resource
    mesh_ready: pulumi.Resource
    service: pulumi.Resource
    manifest: Manifest
    named_secrets: NamedSecrets


class RateLimitedRoute(pulumi.ComponentResource):
    """A rate-limited route through Kong. Type `kong-istio:index:RateLimitedRoute`.

    Creates: KongPlugin `rate-limit`; Ingress named as its Service, annotated with the plugin from the start, so that
    the route is never open without its limit; with a redis password also the Secret `rate-limit-redis`, and where the
    settings name a Secret, the Command `<name>-redis-secret-ready`, which waits for it. Through the mesh, before the
    Ingress: the EnvoyFilter (in Kong's namespace) or the ServiceEntry that brings the client's Host to the application.
    Last, Command `<name>-ready` (`python -m commands.route_ready`), which waits until Kong serves the route with this
    limit, and runs again when one of the two changes.
    Attributes: `ready`, to depend on where the route is asked for.
    Raises in `up`: the sentence of `<name>-ready`, after `kong.readyTimeoutSeconds` for a route that is not there, and
    after 30 s for one that answers without its limit.
    """

    def __init__(self, name: str, args: RateLimitedRouteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:RateLimitedRoute", name, {"path": args.route.path}, opts)
        secrets = self._redis_secret(name, args)
        plugin = KubernetesObject(
            f"{name}-{PLUGIN}",
            rate_limit_plugin(args.namespace, args.limit),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.gateway_ready, args.service, *secrets],
            ),
        )
        routed = KubernetesObject(
            f"{name}-ingress",
            ingress(
                args.namespace,
                args.route,
                through_mesh=args.through_mesh,
                known=args.kong.client_host == "serviceEntry",
            ),
            pulumi.ResourceOptions(
                parent=self, depends_on=[plugin, *self._client_host(name, args), args.service, args.gateway_ready]
            ),
        )
        self.ready = project_command.run(
            f"{name}-ready",
            "commands.route_ready",
            wait_arguments(args),
            pulumi.ResourceOptions(parent=self, depends_on=[routed]),
        )
        self.register_outputs({"path": args.route.path})

    def _client_host(self, name: str, args: RateLimitedRouteArgs) -> Sequence[pulumi.Resource]:
        manifest = client_host.made_for(args.kong.client_host, args.namespace, args.manifest, args.route)
        if not args.through_mesh or not manifest:
            return []
        # Istio's webhook refuses its kinds until istiod answers it; Kong's namespace is there once Kong is.
        opts = pulumi.ResourceOptions(parent=self, depends_on=[args.mesh_ready, args.gateway_ready, args.service])
        return [KubernetesObject(f"{name}-client-host", manifest, opts)]

    def _redis_secret(self, name: str, args: RateLimitedRouteArgs) -> Sequence[pulumi.Resource]:
        redis = _redis_in_use(args.limit)
        opts = pulumi.ResourceOptions(parent=self, depends_on=[args.service])
        if redis and redis.password_secret:
            there, key = redis.password_secret.name, redis.password_secret.key
            resource = f"{name}-redis-secret-ready"
            return [args.named_secrets.wait(resource, "json", args.namespace, there, opts, key=key)]
        if redis and redis.password:
            return [KubernetesObject(f"{name}-{REDIS_SECRET}", redis_secret(args.namespace, redis), opts)]
        return []


def wait_arguments(args: RateLimitedRouteArgs) -> list[str]:
    """Return the arguments of the command that waits for the route."""
    redis = _redis_in_use(args.limit)
    limits = [(window, getattr(args.limit, window)) for window in WINDOWS]
    objects = [
        rate_limit_plugin(args.namespace, args.limit),
        ingress(
            args.namespace,
            args.route,
            through_mesh=args.through_mesh,
            known=args.kong.client_host == "serviceEntry",
        ),
    ]
    return [
        *args.access.arguments(),
        *("--namespace", args.namespace, "--ingress", args.route.service, "--plugin", PLUGIN),
        *("--host", args.route.host, "--path", args.route.path),
        *(f"--limit={window}={requests}" for window, requests in limits if requests is not None),
        *(["--hidden"] if args.limit.hide_client_headers else []),
        *(["--redis", f"{redis.host}:{redis.port}"] if redis else []),
        *("--type", args.kong.service_type, "--timeout", str(args.kong.ready_timeout_seconds)),
        *(["--proxy-protocol"] if args.kong.client_address.source == "proxyProtocol" else []),
        *project_command.digest(*objects),
    ]


def rate_limit_plugin(namespace: str, limit: RateLimit) -> dict[str, Any]:
    """Return the KongPlugin for a limit. A redis password is only named in it: Kong reads it from a Secret."""
    manifest: dict[str, Any] = {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongPlugin",
        "metadata": {"name": PLUGIN, "namespace": namespace},
        "plugin": "rate-limiting",
        "config": plugin_config(limit),
    }
    redis = _redis_in_use(limit)
    if reference := _password_reference(redis):
        manifest["configPatches"] = [{"path": "/redis/password", "valueFrom": {"secretKeyRef": reference}}]
    return manifest


def _password_reference(redis: Redis | None) -> dict[str, str] | None:
    """Return where Kong's controller finds redis' password: in a Secret that exists, or in the one made for it."""
    if redis and redis.password_secret:
        return {"name": redis.password_secret.name, "key": redis.password_secret.key}
    if redis and redis.password:
        return {"name": REDIS_SECRET, "key": _PASSWORD_KEY}
    return None


def plugin_config(limit: RateLimit) -> dict[str, Any]:
    """Return the plugin's `config`, in Kong's spelling, with the fields that were said and no others."""
    redis = _redis_in_use(limit)
    fields = {
        **{window: getattr(limit, window) for window in ("second", "minute", "hour", "day", "month", "year")},
        "limit_by": limit.limit_by,
        "header_name": limit.header_name,
        "path": limit.path,
        "policy": limit.policy,
        "redis": _redis(redis) if redis else None,
        "sync_rate": limit.sync_rate,
        "fault_tolerant": limit.fault_tolerant,
        "hide_client_headers": limit.hide_client_headers,
        "error_code": limit.error_code,
        "error_message": limit.error_message,
    }
    return {name: value for name, value in fields.items() if value is not None}


def redis_secret(namespace: str, redis: Redis) -> dict[str, Any]:
    """Return the Secret with redis' password; the controller reads patched values as JSON, hence the quotes."""
    return secret(REDIS_SECRET, namespace, {_PASSWORD_KEY: json.dumps(redis.password)})


def ingress(namespace: str, route: Route, *, through_mesh: bool, known: bool = False) -> dict[str, Any]:
    """Return the Ingress for a route, with the plugin attached. `known`: the mesh knows the client's Host.

    Through the mesh, Kong sends the Service's name as Host instead of a client's that the mesh does not know: the sidecar
    finds the Service by it and would otherwise pass the request on in plain text.
    """
    annotations = {"konghq.com/plugins": PLUGIN, SKIP_AWAIT: "true"}
    if through_mesh:
        annotations["konghq.com/preserve-host"] = "true" if known else "false"
    backend = {"service": {"name": route.service, "port": {"number": route.port}}}
    rule: dict[str, Any] = {"http": {"paths": [{"path": route.path, "pathType": route.path_type, "backend": backend}]}}
    if route.host:
        rule["host"] = route.host
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": route.service, "namespace": namespace, "annotations": annotations},
        "spec": {"ingressClassName": "kong", "rules": [rule]},
    }


def _redis_in_use(limit: RateLimit) -> Redis | None:
    """Return the redis that counts; an application with another policy may still inherit the stack's."""
    return limit.redis if limit.policy == "redis" else None


def _redis(redis: Redis) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "host": redis.host,
        "port": redis.port,
        "username": redis.username or None,
        "database": redis.database,
        "timeout": redis.timeout,
        "ssl": redis.ssl,
        "ssl_verify": redis.ssl_verify,
        "server_name": redis.server_name or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
