"""Kong's way to each application, and what waits at its end, as istiod configures them: no traffic is needed for either."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from checks import access, gateway, portforward
from checks.istiod import ads, routing
from checks.istiod.kong_request import PRESERVE_HOST, SERVICE_UPSTREAM, Route
from checks.istiod.routing import MUTUAL_TLS, PLAIN_TEXT, Configuration, Way
from checks.model import Check, Failed, NotChecked, eventually
from checks.target import RoutedApplication, Target
from cluster.gateway_ready import DEPLOYMENT, NAMESPACE
from cluster.mesh_ready import NAMESPACE as ISTIO

Object = dict[str, Any]

PASSTHROUGH = "PassthroughCluster"

_PORT = 15010
_SECONDS = 30


def look_at_way(target: Target) -> str:
    """Return which way requests of Kong take to each application."""

    def look(address: str, application: RoutedApplication) -> str:
        route = _route(target, application)
        kong = _pod(target, NAMESPACE, _selector_of_kong(target), f"the Deployment {DEPLOYMENT}")
        return judge_way(routing.way_of(_fetch(target, address, kong), route.request), route, target)

    return _asked(target, look)


def look_at_mode(target: Target) -> str:
    """Return which connections the pods of each application take."""

    def look(address: str, application: RoutedApplication) -> str:
        route = _route(target, application)
        configuration = _fetch(target, address, route.pod)
        mode = routing.accepted(configuration, route.pod["status"]["podIP"], route.pod_port)
        return judge_mode(mode, target, application)

    return _asked(target, look)


def judge_way(way: Way, route: Route, target: Target) -> str:
    """Return the way of Kong's requests, if it is the one that the stack's routing promises."""
    application = route.application
    own = rf"outbound\|{application.port}\|[^|]*\|{re.escape(application.service)}\.{re.escape(application.namespace)}\.svc\..+"
    through_mesh = bool(way.clusters) and all(re.fullmatch(own, name) for name in way.clusters)
    host = f"Host {route.request.host} takes {way}"
    if target.routing == "mesh" and through_mesh and way.security == {MUTUAL_TLS}:
        return host
    if target.routing == "guide" and way.clusters == (PASSTHROUGH,) and way.security == {PLAIN_TEXT}:
        return f"{host}, as the guide's routing does"
    cluster = f"outbound|{application.port}||{application.service}.{application.namespace}.svc.cluster.local"
    expected = f"{cluster} in {MUTUAL_TLS}" if target.routing == "mesh" else f"{PASSTHROUGH} in {PLAIN_TEXT}"
    raise Failed(
        f"requests of Kong to take {expected}",
        host,
        cause=_cause(way, route, through_mesh=through_mesh) if target.routing == "mesh" else _cause_in_guide(route),
        look=target.command(
            "--namespace", application.namespace, "get", "services,ingresses", "--output=yaml", application.service
        ),
    )


def _cause(way: Way, route: Route, *, through_mesh: bool) -> str:
    home = f"{route.application.namespace}/{route.application.service}"
    if not route.by_service:
        return f'the Service {home} has no annotation {SERVICE_UPSTREAM}: "true", so Kong calls its pods past the mesh'
    if route.keeps_host:
        return (
            f'the Ingress {home} has no annotation {PRESERVE_HOST}: "false", and the mesh does not know clients\' Host'
        )
    if not through_mesh:
        return "another object of Istio (VirtualService, Sidecar, ServiceEntry) leads the request elsewhere"
    if not way.security:
        return "no pod of the Service is ready"
    return "pods of the Service without sidecar, or a DestinationRule or PeerAuthentication that switches TLS off"


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
    seen = f"port {application.port} takes {takes.get(mode, 'no connection')}"
    if mode == target.mtls:
        return seen
    raise Failed(
        f"{application.service}'s sidecar to take {takes.get(target.mtls, target.mtls)}",
        seen,
        cause="another PeerAuthentication than the stack's rules there, or the stack's was changed or removed",
        look=target.command("get", "peerauthentications.security.istio.io", "--all-namespaces"),
    )


def _asked(target: Target, look: Callable[[str, RoutedApplication], str]) -> str:
    if not target.injection:
        raise NotChecked("not shown: sidecar injection is switched off for this stack (istio.injection)")
    if target.simulated and not target.istiod_address:
        raise NotChecked("nodes are simulated, and no istiod runs beside them")

    def look_once() -> str:
        with _istiod(target) as address:
            return gateway.for_each(target, lambda application: look(address, application))

    return eventually(look_once, _SECONDS)


@contextmanager
def _istiod(target: Target) -> Iterator[str]:
    """Give host and port of istiod's plain-text ADS: as named, else by a port-forward."""
    if target.istiod_address:
        yield target.istiod_address
        return
    with portforward.open_port(target, ISTIO, "deployment/istiod", _PORT) as url:
        yield url.removeprefix("http://").rstrip("/")


def _fetch(target: Target, address: str, pod: Object) -> Configuration:
    try:
        return ads.fetch(address, ads.sidecar_of(pod))
    except ads.NoIstiod as reason:
        raise Failed(
            f"istiod's configuration for {pod['metadata']['name']}",
            str(reason),
            cause="istiod does not run, or its plain-text port is closed",
            look=target.command("--namespace", ISTIO, "logs", "deployment/istiod", "--tail=50"),
        ) from None


def _route(target: Target, application: RoutedApplication) -> Route:
    name, home = application.service, f"--namespace={application.namespace}"
    ingress = access.ask(target, lambda kubectl: kubectl.get("ingress", name, home))
    service = access.ask(target, lambda kubectl: kubectl.get("service", name, home))
    ports = [entry["port"] for entry in service["spec"].get("ports") or []] if service else []
    if not ingress or not service or application.port not in ports:
        missing = "no such Ingress" if not ingress else "no such Service" if not service else "no such port"
        raise Failed(
            f"an Ingress and a Service {application.namespace}/{name} with port {application.port}",
            missing,
            cause="the route or the application was changed since the last `pulumi up`",
            look=target.command("--namespace", application.namespace, "get", "ingresses,services"),
        )
    pod = _pod(target, application.namespace, service["spec"].get("selector") or {}, f"the Service {name}")
    return Route(application, ingress, service, pod)


def _selector_of_kong(target: Target) -> dict[str, str]:
    words = ("deployment", DEPLOYMENT, f"--namespace={NAMESPACE}")
    found = access.ask(target, lambda kubectl: kubectl.get(*words))
    return dict(found["spec"]["selector"]["matchLabels"]) if found else {}


def _pod(target: Target, namespace: str, labels: dict[str, str], owner: str) -> Object:
    """Return a pod that runs and has an address."""
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    words = ("pods", f"--namespace={namespace}", f"--selector={selector}", "--field-selector=status.phase=Running")
    found = access.ask(target, lambda kubectl: kubectl.list(*words)) if selector else []
    for pod in found:
        if (pod.get("status") or {}).get("podIP") and "deletionTimestamp" not in pod["metadata"]:
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
        name="way into the mesh",
        statement="Kong's requests take the application's cluster in mutual TLS (in the guide's routing: pass the mesh by).",
        how="istiod, asked over ADS for what Kong's sidecar would do with the request that Kong sends",
        look=look_at_way,
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
