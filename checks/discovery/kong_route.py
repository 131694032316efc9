"""Where Kong's requests go, and which connections applications take, as istiod configures it: no traffic is needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from checks import endpoints, portforward, through_kong
from checks.discovery import ads, routing
from checks.discovery.kong_request import PRESERVE_HOST, SERVICE_UPSTREAM, Route
from checks.discovery.routing import MUTUAL_TLS, PLAIN_TEXT, Configuration, Upstream
from checks.framework import Check, Failed, NotChecked, eventually
from checks.target import RoutedApplication, Target
from kube import label_selector
from names import ISTIO_NAMESPACE, KONG_DEPLOYMENT, KONG_NAMESPACE

Object = dict[str, Any]
_Fetch = Callable[[Object], Configuration]

PASSTHROUGH = "PassthroughCluster"
_CLIENTS_HOST = "the client's Host"

_PORT = 15010
_SECONDS = 30
# A look has istiod send all that a sidecar has.
_PAUSE = 2


def look_at_upstream(target: Target) -> str:
    """Return which upstream requests of Kong to each application take."""

    def look(fetch: _Fetch, application: RoutedApplication) -> str:
        if application.speaks_tls:
            raise NotChecked("Kong speaks TLS with its Service, which its sidecar passes on unread")
        kong = _pod(target, KONG_NAMESPACE, _selector_of_kong(target), f"the Deployment {KONG_DEPLOYMENT}")
        found = _host_object(target, application)
        route = replace(_route(target, application), kong=kong, host_object=found)
        return judge_upstream(routing.upstream_of(fetch(kong), route.request), route, target)

    return _asked(target, target.applications, look)


def look_at_mode(target: Target) -> str:
    """Return which connections the pods of each application take."""

    def look(fetch: _Fetch, application: RoutedApplication) -> str:
        route = _route(target, application)
        configuration = fetch(route.pod)
        mode = routing.accepted(configuration, route.pod["status"]["podIP"], route.pod_port)
        return judge_mode(mode, target, application)

    return _asked(target, target.one_of_each, look)


def judge_upstream(upstream: Upstream, route: Route, target: Target) -> str:
    """Return the upstream of Kong's requests, if it is the one that the stack's routing promises."""
    application = route.application
    by_entry = target.routing == "mesh" and target.client_host == "serviceEntry"
    service = f"{application.service}.{application.namespace}.svc"
    named = re.escape(application.host) if by_entry else rf"{re.escape(service)}\..+"
    through_mesh = bool(upstream.clusters) and all(
        re.fullmatch(rf"outbound\|{application.port}\|[^|]*\|{named}", name) for name in upstream.clusters
    )
    host = f"Host {route.request.host} takes {upstream}"
    if target.routing == "mesh":
        host += f"; the application sees {_host_seen(upstream, route)}"
    kept = target.client_host == "none" or _host_seen(upstream, route) == _CLIENTS_HOST
    if target.routing == "mesh" and through_mesh and upstream.security == {MUTUAL_TLS} and kept:
        return host
    if target.routing == "guide" and upstream.clusters == (PASSTHROUGH,) and upstream.security == {PLAIN_TEXT}:
        return f"{host}, as the guide's routing does"
    cluster = f"outbound|{application.port}||{application.host if by_entry else f'{service}.cluster.local'}"
    expected = f"{cluster} in {MUTUAL_TLS}" if target.routing == "mesh" else f"{PASSTHROUGH} in {PLAIN_TEXT}"
    if target.routing == "mesh" and target.client_host != "none":
        expected += f" with {_CLIENTS_HOST}"
    raise Failed(
        f"requests of Kong to take {expected}",
        host,
        cause=(
            _cause(upstream, route, target.client_host, through_mesh=through_mesh)
            if target.routing == "mesh"
            else _cause_in_guide(route)
        ),
        look=target.command(
            "--namespace",
            application.namespace,
            "get",
            f"service/{application.service}",
            f"ingress/{application.ingress_name}",
            "--output=yaml",
        ),
        certain=target.routing == "mesh" and (not route.by_service or route.keeps_host),
    )


def _host_seen(upstream: Upstream, route: Route) -> str:
    """Return which Host reaches the application. Kong sends the client's in X-Forwarded-Host, always."""
    if upstream.host_literal:
        return f"Host {upstream.host_literal}"
    if upstream.host_header.lower() == "x-forwarded-host" or (route.keeps_host and not upstream.host_header):
        return _CLIENTS_HOST
    return f"what stands in {upstream.host_header}" if upstream.host_header else f"Host {route.request.host}"


def _cause(upstream: Upstream, route: Route, client_host: str, *, through_mesh: bool) -> str:
    home = f"{route.application.namespace}/{route.application.service}"
    if not route.by_service:
        return f'the Service {home} has no annotation {SERVICE_UPSTREAM}: "true", so Kong calls its pods and bypasses the mesh'
    if client_host == "serviceEntry":
        if not route.keeps_host:
            return f'the Ingress {home} has the annotation {PRESERVE_HOST}: "false", so Kong sends the Service\'s name'
        if route.host_object is None:
            return f"there is no ServiceEntry for {route.application.host}, so the mesh does not know that Host"
    elif route.keeps_host:
        return (
            f'the Ingress {home} has no annotation {PRESERVE_HOST}: "false", and the mesh does not know clients\' Host'
        )
    if not through_mesh:
        return "another object of Istio (VirtualService, Sidecar, ServiceEntry) leads the request elsewhere"
    if not upstream.security:
        return "no pod of the Service is ready"
    if upstream.security != {MUTUAL_TLS}:
        return "pods of the Service without sidecar, or a DestinationRule or PeerAuthentication that switches TLS off"
    return _cause_of_host(route, client_host)


def _cause_of_host(route: Route, client_host: str) -> str:
    """Return why the request takes the mesh and has lost the client's Host."""
    if client_host == "envoyFilter" and route.host_object is None:
        return f"there is no EnvoyFilter {_name_of(route.application)} in {KONG_NAMESPACE}, which puts the client's Host back"
    if client_host == "envoyFilter" and not route.selects_kong:
        return f"the EnvoyFilter {_name_of(route.application)} does not select Kong's pods (workloadSelector)"
    return "another object of Istio (VirtualService, EnvoyFilter) rewrites the Host, or the stack's was changed"


def _name_of(application: RoutedApplication) -> str:
    return f"client-host.{application.ingress_name}.{application.namespace}"


def _cause_in_guide(route: Route) -> str:
    left = [
        name for name, there in ((SERVICE_UPSTREAM, route.by_service), (PRESERVE_HOST, not route.keeps_host)) if there
    ]
    if left:
        return f"annotations of the other routing are still there ({', '.join(left)})"
    return "the mesh knows the Host that clients send, or lets nothing out that it does not know (REGISTRY_ONLY)"


def judge_mode(mode: str, target: Target, application: RoutedApplication) -> str:
    """Return which connections an application's pods take, if that is what the settings say."""
    takes = {
        "PERMISSIVE": "mutual TLS and plain text (PERMISSIVE)",
        "STRICT": "mutual TLS only (STRICT)",
        "DISABLE": "plain text only (DISABLE)",
    }
    actual = f"port {application.port} takes {takes.get(mode, 'no connection')}"
    if mode == target.mtls:
        return actual
    raise Failed(
        f"{application.service}'s sidecar to take {takes.get(target.mtls, target.mtls)}",
        actual,
        cause="another PeerAuthentication than the stack's rules there, or the stack's was changed or removed",
        look=target.command("get", "peerauthentications.security.istio.io", "--all-namespaces"),
    )


def _asked(
    target: Target, routes: Sequence[RoutedApplication], look: Callable[[_Fetch, RoutedApplication], str]
) -> str:
    if not target.injection:
        raise NotChecked("not shown: sidecar injection is switched off for this stack (istio.injection)")
    if target.simulated and not target.istiod_address:
        raise NotChecked("nodes are simulated, and no istiod runs beside them")

    def look_once() -> str:
        with _istiod(target) as address:
            # Kong's sidecar is the same for all applications, and istiod sends all that it has.
            known: dict[tuple[str, str], Configuration] = {}

            def fetch(pod: Object) -> Configuration:
                key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
                if key not in known:
                    known[key] = _fetch(target, address, pod)
                return known[key]

            return through_kong.of_each(routes, lambda application: look(fetch, application))

    return eventually(look_once, _SECONDS, _PAUSE)


@contextmanager
def _istiod(target: Target) -> Iterator[str]:
    """Give host and port of istiod's plain-text ADS: as named, else by a port-forward."""
    if target.istiod_address:
        yield target.istiod_address
        return
    with portforward.open_port(target, ISTIO_NAMESPACE, f"deployment/{target.istiod}", _PORT) as url:
        yield url.removeprefix("http://").rstrip("/")


def _fetch(target: Target, address: str, pod: Object) -> Configuration:
    try:
        return ads.fetch(address, ads.sidecar_of(pod))
    except ads.NoIstiod as reason:
        raise Failed(
            f"istiod's configuration for {pod['metadata']['name']}",
            str(reason),
            cause="istiod does not run, or its plain-text port is closed",
            look=target.logs(ISTIO_NAMESPACE, target.istiod),
        ) from None


def _route(target: Target, application: RoutedApplication) -> Route:
    name, home = application.service, application.namespace
    ingress = endpoints.ask(target, lambda cluster: cluster.get("ingresses", application.ingress_name, home))
    service = endpoints.ask(target, lambda cluster: cluster.get("services", name, home))
    ports = [entry["port"] for entry in service["spec"].get("ports") or []] if service else []
    if not ingress or not service or application.port not in ports:
        missing = "no such Ingress" if not ingress else "no such Service" if not service else "no such port"
        raise Failed(
            f"an Ingress and a Service {application.namespace}/{name} with port {application.port}",
            missing,
            cause="the route or the application was changed since the last `pulumi up`",
            look=target.command("--namespace", application.namespace, "get", "ingresses,services"),
            certain=True,
        )
    if not service["spec"].get("selector"):
        raise NotChecked(f"the Service {name} has no selector, so no pod of the mesh is behind it")
    pod = _pod(target, application.namespace, service["spec"].get("selector") or {}, f"the Service {name}")
    return Route(application, ingress, service, pod)


def _host_object(target: Target, application: RoutedApplication) -> Object | None:
    """Return what the stack created to bring the client's Host through the mesh."""
    kind, name, home = {
        "envoyFilter": ("envoyfilters.networking.istio.io", _name_of(application), KONG_NAMESPACE),
        "serviceEntry": (
            "serviceentries.networking.istio.io",
            f"client-host.{application.ingress_name}",
            application.namespace,
        ),
    }.get(target.client_host, ("", "", ""))
    if not kind or target.routing != "mesh":
        return None
    return endpoints.ask(target, lambda cluster: cluster.get(kind, name, home))


def _selector_of_kong(target: Target) -> dict[str, str]:
    found = endpoints.ask(target, lambda cluster: cluster.get("deployments", KONG_DEPLOYMENT, KONG_NAMESPACE))
    return dict(found["spec"]["selector"]["matchLabels"]) if found else {}


def _pod(target: Target, namespace: str, labels: dict[str, str], owner: str) -> Object:
    """Return a pod that runs and has an address."""
    selector = label_selector(labels)
    found = endpoints.ask(target, lambda cluster: cluster.list("pods", namespace, labels=selector)) if selector else []
    for pod in found:
        status = pod.get("status") or {}
        if status.get("phase") == "Running" and status.get("podIP") and "deletionTimestamp" not in pod["metadata"]:
            return pod
    raise Failed(
        f"a pod of {owner} in {namespace} that runs",
        "none",
        cause="it does not start, or is scaled to nothing",
        look=target.command("--namespace", namespace, "get", "pods", "--output=wide"),
    )


CHECKS = (
    Check(
        number="3b",
        name="route into the mesh",
        statement=(
            "Kong's requests take the application's cluster in mutual TLS, with the client's Host as kong.clientHost says "
            "(in the guide's routing: bypass the mesh)."
        ),
        how="istiod, asked over ADS for what Kong's sidecar would do with the request that Kong sends",
        look=look_at_upstream,
        seconds=_SECONDS,
    ),
    Check(
        number="3c",
        name="mTLS mode",
        statement="The application's sidecar takes the connections that istio.mtls says.",
        how="istiod, asked over ADS for what the application's sidecar listens to",
        look=look_at_mode,
        seconds=_SECONDS,
    ),
)
