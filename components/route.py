"""A route through Kong to an application, with a rate limit on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.networking.v1 import Ingress

from components.application import ApplicationOutputs
from components.kong_gateway import GatewayOutputs
from components.mesh import MeshOutputs
from components.shared import client_host, project_command, traffic_policies
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.shared.manifests import Manifest
from components.shared.standards import Standards
from names import INGRESS_CLASS, RATE_LIMIT_PLUGIN, REDIS_SECRET
from settings import Application, Kong, RateLimit, Redis, Route, Settings

_PASSWORD_KEY = "password"  # noqa: S105 -- a key in the Secret


@dataclass(frozen=True, kw_only=True)
class RateLimitedRouteArgs:
    """`route`: what Kong sends where. `limit`: the plugin's fields. `application`: what the route leads to.

    `kong`: the settings of the gateway: how it is reached, and what brings the client's Host through the mesh.
    """

    route: Route
    limit: RateLimit
    kong: Kong
    application: ApplicationOutputs
    gateway: GatewayOutputs
    mesh: MeshOutputs
    standards: Standards


@dataclass(frozen=True, kw_only=True)
class RouteOutputs:
    """`ready`: to depend on where the route is asked for."""

    ready: pulumi.Resource


class RateLimitedRoute(pulumi.ComponentResource):
    """A rate-limited route through Kong. Type `kong-istio:index:RateLimitedRoute`.

    Creates: KongPlugin `rate-limit`; Ingress named as its Service, annotated with the plugin from the start, so that
    the route is never open without its limit; with a redis password also the Secret `rate-limit-redis`, and where the
    settings name a Secret, the Command `<name>-redis-secret-ready`, which waits for it. Through the mesh, before the
    Ingress: the EnvoyFilter (in Kong's namespace) or the ServiceEntry that brings the client's Host to the application.
    Last, Command `<name>-ready` (`python -m commands.route_ready`), which waits until Kong serves the route with this
    limit, and runs again when one of the two changes.
    Outputs: `RouteOutputs`.
    Raises in `up`: the sentence of `<name>-ready`, after `kong.readyTimeoutSeconds` for a route that is not there, and
    after 30 s for one that answers without its limit.
    """

    def __init__(self, name: str, args: RateLimitedRouteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:RateLimitedRoute", name, {"path": args.route.path}, opts)
        needed = [args.gateway.ready, args.application.service]
        plugin = KubernetesObject(
            f"{name}-{RATE_LIMIT_PLUGIN}",
            rate_limit_plugin(args.application.namespace, args.limit),
            pulumi.ResourceOptions(parent=self, depends_on=[*needed, *self._redis_secret(name, args)]),
        )
        manifest = ingress(args.application.namespace, args.route, args.kong)
        routed = Ingress(
            f"{name}-ingress",
            metadata=manifest["metadata"],
            spec=manifest["spec"],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[plugin, *self._client_host(name, args), *needed]),
        )
        ready = project_command.run(
            f"{name}-ready",
            "commands.route_ready",
            wait_arguments(args),
            pulumi.ResourceOptions(parent=self, depends_on=[routed]),
        )
        self.outputs = RouteOutputs(ready=ready)
        self.register_outputs({"path": args.route.path})

    def _client_host(self, name: str, args: RateLimitedRouteArgs) -> Sequence[pulumi.Resource]:
        manifest = client_host.created_for(args.kong, args.application.routed_service, args.route)
        if not manifest:
            return []
        # Istio's webhook refuses its kinds until istiod answers it; Kong's namespace is there once Kong is.
        needed = [args.mesh.ready, args.gateway.ready, args.application.service]
        opts = pulumi.ResourceOptions(parent=self, depends_on=needed)
        return [KubernetesObject(f"{name}-client-host", manifest, opts)]

    def _redis_secret(self, name: str, args: RateLimitedRouteArgs) -> Sequence[pulumi.Resource]:
        redis, namespace = _redis_in_use(args.limit), args.application.namespace
        opts = pulumi.ResourceOptions(parent=self, depends_on=[args.application.service])
        if redis and redis.password_secret:
            given, key = redis.password_secret.name, redis.password_secret.key
            return [
                args.standards.named_secrets.wait(f"{name}-redis-secret-ready", "json", namespace, given, opts, key=key)
            ]
        if redis and (made := redis_secret(namespace, args.limit)):
            secret = Secret(
                f"{name}-{REDIS_SECRET}",
                metadata=made["metadata"],
                # The controller reads patched values as JSON, hence the quotes.
                string_data=pulumi.Output.secret({_PASSWORD_KEY: json.dumps(redis.password)}),
                opts=opts,
            )
            return [secret]
        return []


def wait_arguments(args: RateLimitedRouteArgs) -> list[str]:
    """Return the arguments of the command that waits for the route."""
    redis = _redis_in_use(args.limit)
    namespace = args.application.namespace
    objects = [rate_limit_plugin(namespace, args.limit), ingress(namespace, args.route, args.kong)]
    return [
        *args.standards.access.arguments(),
        *("--namespace", namespace, "--ingress", args.route.service, "--plugin", RATE_LIMIT_PLUGIN),
        *("--host", args.route.host, "--path", args.route.path),
        *(f"--limit={window}={requests}" for window, requests in args.limit.windows.items()),
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
        "metadata": {"name": RATE_LIMIT_PLUGIN, "namespace": namespace},
        "plugin": "rate-limiting",
        "config": plugin_config(limit),
    }
    redis = _redis_in_use(limit)
    if reference := _password_reference(redis):
        manifest["configPatches"] = [{"path": "/redis/password", "valueFrom": {"secretKeyRef": reference}}]
    return manifest


def _password_reference(redis: Redis | None) -> dict[str, str] | None:
    """Return where Kong's controller finds redis' password: in a Secret that exists, or in the one created for it."""
    if redis and redis.password_secret:
        return {"name": redis.password_secret.name, "key": redis.password_secret.key}
    if redis and redis.password:
        return {"name": REDIS_SECRET, "key": _PASSWORD_KEY}
    return None


def plugin_config(limit: RateLimit) -> dict[str, Any]:
    """Return the plugin's `config`, in Kong's spelling, with the fields that were said and no others."""
    redis = _redis_in_use(limit)
    fields = {
        **limit.windows,
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


def ingress(namespace: str, route: Route, kong: Kong) -> dict[str, Any]:
    """Return the Ingress for a route, with the plugin attached.

    Through the mesh, Kong sends the Service's name as Host, unless a ServiceEntry tells the mesh the client's: the
    sidecar finds the Service by its Host, and passes a request on in plain text whose Host it does not know.
    """
    annotations = {"konghq.com/plugins": RATE_LIMIT_PLUGIN, SKIP_AWAIT: "true"}
    if kong.routing == "mesh":
        annotations["konghq.com/preserve-host"] = "true" if kong.client_host == "serviceEntry" else "false"
    backend = {"service": {"name": route.service, "port": {"number": route.port}}}
    rule: dict[str, Any] = {"http": {"paths": [{"path": route.path, "pathType": route.path_type, "backend": backend}]}}
    if route.host:
        rule["host"] = route.host
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": route.service, "namespace": namespace, "annotations": annotations},
        "spec": {"ingressClassName": INGRESS_CLASS, "rules": [rule]},
    }


def route_objects(settings: Settings, application: Application, objects: Sequence[Manifest]) -> list[Manifest]:
    """Return what the stack makes in an application's namespace to route to it; of a Secret the name alone."""
    namespace, limit, route = application.namespace, settings.limit_of(application), application.route
    service = traffic_policies.routed(objects, route.service)
    made = [
        rate_limit_plugin(namespace, limit),
        ingress(namespace, route, settings.kong),
        client_host.created_for(settings.kong, service, route),
        redis_secret(namespace, limit),
    ]
    return [item for item in made if item]


def redis_secret(namespace: str, limit: RateLimit) -> dict[str, Any] | None:
    """Return the Secret that the plugin has redis' password from, without what is in it; None where others make it."""
    redis = _redis_in_use(limit)
    if not redis or not redis.password:
        return None
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": REDIS_SECRET, "namespace": namespace}}


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
