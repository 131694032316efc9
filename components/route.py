"""An application's routes through Kong, each with a rate limit on it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.application import ApplicationOutputs, place
from components.kong_gateway import GatewayOutputs
from components.mesh import MeshOutputs
from components.shared import client_host, project_command, rate_limit, route_plugins, traffic_policies
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject, Secret
from components.shared.manifests import Manifest
from components.shared.standards import Standards
from names import RATE_LIMIT_PLUGIN
from settings import Application, Kong, RateLimit, Route, Settings
from settings.secret_parts import plain

_GRPC = ("grpc", "grpcs")
# Permanent, and a POST stays one.
_REDIRECT = "308"
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/_.-]*")


@dataclass(frozen=True, kw_only=True)
class RateLimitedRouteArgs:
    """`application`: the settings, with its routes. `limits`: route's Ingress -> the plugin's fields; None for no limit.

    `deployed`: what the routes lead to. `kong`: the settings of the gateway: how it is reached, and what brings the
    client's Host through the mesh.
    """

    application: Application
    limits: Mapping[str, RateLimit | None]
    kong: Kong
    deployed: ApplicationOutputs
    gateway: GatewayOutputs
    mesh: MeshOutputs
    standards: Standards


@dataclass(frozen=True, kw_only=True)
class RouteOutputs:
    """`ready`: to depend on where the routes are asked for."""

    ready: Sequence[pulumi.Resource]


class RateLimitedRoute(pulumi.ComponentResource):
    """An application's routes through Kong, each with its rate limit. Type `kong-istio:index:RateLimitedRoute`.

    Creates: KongPlugin `rate-limit`, and for each route that differs from it `rate-limit-<route>`; the KongPlugins that
    the settings define, each with its Secret `kong-plugin-<name>`. For each route an Ingress named as its Service or as the settings say,
    annotated with its plugins from the start, so that it is never open without its limit or its login. With a redis
    password also the Secret of that plugin's name and `-redis`, and where the settings name a Secret, a Command that waits for it.
    Through the mesh, before the Ingress: the EnvoyFilter (in Kong's namespace) or the ServiceEntry that brings the client's Host
    to the application. Last, for each route a Command `<name>-ready` (`python -m commands.route_ready`), which waits until Kong
    serves it with its limit, and runs again when one of the two changes.
    Where there is one of each route, the names of resources end in `.<route>`, but for the short form `route`.
    Outputs: `RouteOutputs`.
    Raises in `up`: the sentence of `<name>-ready`, after `kong.readyTimeoutSeconds` for a route that is not there, and
    after 30 s for one that answers without its limit. A route without a limit is a warning.
    """

    def __init__(self, name: str, args: RateLimitedRouteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        paths = ", ".join(route.path for route in args.application.routes)
        super().__init__("kong-istio:index:RateLimitedRoute", name, {"path": paths}, opts)
        self._name, self._args = name, args
        plugins = {**args.deployed.plugins, **self._limits(), **self._further_plugins()}
        self.outputs = RouteOutputs(ready=[self._route(route, plugins) for route in args.application.routes])
        self.register_outputs({"path": paths})

    def _route(self, route: Route, plugins: Mapping[str, pulumi.Resource]) -> pulumi.Resource:
        args, limit = self._args, self._args.limits[route.ingress]
        if limit is None:
            pulumi.log.warn(
                f"{route.host}{route.path} of {args.application.name} has no rate limit (rateLimit: none).", self
            )
        manifest = ingress(args.deployed.namespace, route, args.kong)
        unique, further = self._of(route, "ingress")
        needed = [
            *(plugins[name] for name in plugin_names(route)),
            *self._client_host(route),
            *self._certificate(route),
            *self._kong(certain=_is_certain(route)),
            args.deployed.services[route.service],
        ]
        routed = KubernetesObject(
            unique,
            manifest,
            pulumi.ResourceOptions.merge(further, pulumi.ResourceOptions(depends_on=needed)),
        )
        unique, further = self._of(route, "ready")
        return project_command.run(
            unique,
            "commands.route_ready",
            args.standards.access,
            wait_arguments(args, route),
            pulumi.ResourceOptions.merge(further, pulumi.ResourceOptions(depends_on=[routed, args.gateway.ready])),
        )

    def _of(self, route: Route, what: str) -> tuple[str, pulumi.ResourceOptions]:
        """Return the name of a route's own resource, and its options."""
        first = route is self._args.application.routes[0]
        unique, aliases = place(f"{self._name}-{what}", route.ingress, self._args.application, first=first)
        return unique, pulumi.ResourceOptions(parent=self, aliases=aliases)

    def _kong(self, *, certain: bool) -> Sequence[pulumi.Resource]:
        """Return what of Kong an object of its kinds waits for: Kong itself, unless it is `certain` to take it."""
        return self._args.gateway.certain if certain else [self._args.gateway.ready]

    def _limits(self) -> dict[str, pulumi.Resource]:
        """Create each KongPlugin that limits, and return it by its name; routes that say nothing share the application's."""
        created: dict[str, pulumi.Resource] = {}
        for route in self._args.application.routes:
            limit, plugin = self._args.limits[route.ingress], route.limit_plugin
            if limit is None or plugin in created:
                continue
            needed = [
                *self._kong(certain=_is_certain_limit(limit)),
                self._args.deployed.services[route.service],
                *self._redis_secret(route, limit),
            ]
            created[plugin] = KubernetesObject(
                f"{self._name}-{plugin}",
                rate_limit.kong_plugin(self._args.deployed.namespace, limit, plugin),
                pulumi.ResourceOptions(parent=self, depends_on=needed),
            )
        return created

    def _further_plugins(self) -> dict[str, pulumi.Resource]:
        namespace, created = self._args.deployed.namespace, dict[str, pulumi.Resource]()
        for plugin in route_plugins.made(self._args.application):
            service = self._args.deployed.services[self._args.application.routes[0].service]
            needed = [*self._kong(certain=False), service]
            if name := route_plugins.config_secret(plugin):
                secret = Secret(
                    f"{self._name}-{name}",
                    {"name": name, "namespace": namespace},
                    {route_plugins.CONFIG_KEY: json.dumps(plain(plugin.config), sort_keys=True)},
                    pulumi.ResourceOptions(parent=self, depends_on=needed),
                )
                needed = [*needed, secret]
            created[plugin.name] = KubernetesObject(
                f"{self._name}-plugin-{plugin.name}",
                route_plugins.kong_plugin(namespace, plugin),
                # Kubernetes refuses another `plugin` under the same name.
                pulumi.ResourceOptions(
                    parent=self, depends_on=needed, replace_on_changes=["plugin"], delete_before_replace=True
                ),
            )
        return created

    def _client_host(self, route: Route) -> Sequence[pulumi.Resource]:
        args = self._args
        manifest = client_host.created_for(args.kong, args.deployed.manifests[route.service], route)
        if not manifest:
            return []
        # Istio's webhook refuses its kinds until istiod answers it. Those of many applications let Kong's release go first.
        unique, further = self._of(route, "client-host")
        needed = [args.mesh.ready, args.gateway.installed, args.deployed.services[route.service]]
        opts = pulumi.ResourceOptions.merge(further, pulumi.ResourceOptions(depends_on=needed))
        return [KubernetesObject(unique, manifest, opts)]

    def _certificate(self, route: Route) -> Sequence[pulumi.Resource]:
        """Return the wait for a certificate that somebody else makes, but cert-manager, which needs the Ingress first."""
        if not route.tls_secret or issuer_annotation(route):
            return []
        unique, further = self._of(route, "tls-secret-ready")
        needed = pulumi.ResourceOptions(depends_on=[self._args.deployed.services[route.service]])
        opts = pulumi.ResourceOptions.merge(further, needed)
        waits = self._args.standards.named_secrets
        return [waits.wait(unique, "tls", self._args.deployed.namespace, route.tls_secret, opts)]

    def _redis_secret(self, route: Route, limit: RateLimit) -> Sequence[pulumi.Resource]:
        redis, namespace, plugin = rate_limit.redis_in_use(limit), self._args.deployed.namespace, route.limit_plugin
        name = self._name + plugin.removeprefix(RATE_LIMIT_PLUGIN)
        opts = pulumi.ResourceOptions(parent=self, depends_on=[self._args.deployed.services[route.service]])
        if redis and redis.password_secret:
            given, key = redis.password_secret.name, redis.password_secret.key
            waits = self._args.standards.named_secrets
            return [waits.wait(f"{name}-redis-secret-ready", "json", namespace, given, opts, key=key)]
        if redis and (made := rate_limit.redis_secret(namespace, limit, plugin)):
            secret = Secret(
                f"{self._name}-{made['metadata']['name']}",
                made["metadata"],
                # The controller reads patched values as JSON, hence the quotes.
                {rate_limit.PASSWORD_KEY: json.dumps(redis.password)},
                opts,
            )
            return [secret]
        return []


def _is_certain(route: Route) -> bool:
    """Return whether Kong is certain to take the Ingress of a route: it holds nothing that only Kong can judge."""
    return bool(_PLAIN_PATH.fullmatch(route.path)) and not (route.plugins or route.annotations)


def _is_certain_limit(limit: RateLimit) -> bool:
    """Return whether Kong is certain to take a limit: it says nothing but what the settings are checked for."""
    return not (rate_limit.redis_in_use(limit) or limit.header_name or limit.path)


def plugin_names(route: Route) -> list[str]:
    """Return the plugins on a route, its limit first; Kong runs them in its own order."""
    return [*filter(None, [route.limit_plugin]), *(plugin.name for plugin in route.plugins)]


def wait_arguments(args: RateLimitedRouteArgs, route: Route) -> list[str]:
    """Return the arguments of the command that waits for a route."""
    limit, namespace = args.limits[route.ingress], args.deployed.namespace
    redis = rate_limit.redis_in_use(limit) if limit else None
    plugin = rate_limit.kong_plugin(namespace, limit, route.limit_plugin) if limit else {}
    return [
        *("--namespace", namespace, "--ingress", route.ingress, "--plugin", route.limit_plugin),
        *("--host", route.host, "--path", route.path),
        *(f"--limit={window}={requests}" for window, requests in (limit.windows if limit else {}).items()),
        *(["--hidden"] if limit and limit.hide_client_headers else []),
        *(["--redis", f"{redis.host}:{redis.port}"] if redis else []),
        *(["--tls"] if route.https != "optional" and route.protocol not in _GRPC else []),
        *(["--grpc"] if route.protocol in _GRPC else []),
        *(["--narrowed"] if route.narrowed else []),
        *(["--address", args.kong.proxy_address] if args.kong.proxy_address else []),
        *("--type", args.kong.service_type, "--timeout", str(args.kong.ready_timeout_seconds)),
        *(["--proxy-protocol"] if args.kong.client_address.source == "proxyProtocol" else []),
        *project_command.digest(plugin, ingress(namespace, route, args.kong)),
    ]


def ingress(namespace: str, route: Route, kong: Kong) -> dict[str, Any]:
    """Return the Ingress for a route, with its plugins attached.

    Through the mesh, Kong sends the Service's name as Host, unless a ServiceEntry tells the mesh the client's: the
    sidecar finds the Service by its Host, and passes a request on in plain text whose Host it does not know.
    """
    backend = {"service": {"name": route.service, "port": {"number": route.port}}}
    rule: dict[str, Any] = {"http": {"paths": [{"path": route.path, "pathType": route.path_type, "backend": backend}]}}
    spec: dict[str, Any] = {"ingressClassName": kong.ingress_class, "rules": [rule]}
    if route.host:
        rule["host"] = route.host
    if route.certificate:
        spec["tls"] = [{"hosts": [route.host], "secretName": route.certificate}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": route.ingress, "namespace": namespace, "annotations": _annotations(route, kong)},
        "spec": spec,
    }


def route_objects(settings: Settings, application: Application, objects: Sequence[Manifest]) -> list[Manifest]:
    """Return what the stack makes in an application's namespace to route to it; of a Secret the name alone."""
    namespace = application.namespace
    made: list[Manifest | None] = [
        item for plugin in route_plugins.made(application) for item in route_plugins.objects(namespace, plugin)
    ]
    for route in application.routes:
        service = traffic_policies.routed(objects, route.service)
        made += [ingress(namespace, route, settings.kong), client_host.created_for(settings.kong, service, route)]
        if limit := settings.limit_on(application, route):
            plugin = route.limit_plugin
            made += [
                rate_limit.kong_plugin(namespace, limit, plugin),
                rate_limit.redis_secret(namespace, limit, plugin),
            ]
    return [item for item in made if item]


def _annotations(route: Route, kong: Kong) -> dict[str, str]:
    """Return an Ingress's annotations: those that the settings hand on, and the stack's own.

    The controller takes `protocols` as they are, and only 301, 302, 307, 308 and 426 as a code
    (kubernetes-ingress-controller, internal/dataplane/kongstate/route.go). Kong's own listener speaks HTTP/2 over TLS alone.
    """
    own = {SKIP_AWAIT: "true"}
    if plugins := plugin_names(route):
        own["konghq.com/plugins"] = ",".join(plugins)
    if kong.routing == "mesh":
        by_host = kong.client_host == "serviceEntry" or route.speaks_tls
        own["konghq.com/preserve-host"] = "true" if by_host else "false"
    if route.strip_path:
        own["konghq.com/strip-path"] = "true"
    if route.protocol in _GRPC:
        own["konghq.com/protocols"] = "grpcs"
    elif route.https != "optional":
        own["konghq.com/protocols"] = "https"
    if route.https == "redirect":
        own["konghq.com/https-redirect-status-code"] = _REDIRECT
    return {**route.annotations, **own, **issuer_annotation(route)}


def issuer_annotation(route: Route) -> dict[str, str]:
    """Return the annotation by which cert-manager makes a route's certificate (https://cert-manager.io/docs/usage/ingress/)."""
    issuers = {"cert-manager.io/issuer": route.issuer, "cert-manager.io/cluster-issuer": route.cluster_issuer}
    return {annotation: name for annotation, name in issuers.items() if name}
