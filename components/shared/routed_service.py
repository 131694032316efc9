"""A Service that Kong is to send requests to: whether it is there, and whether they would arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.shared.images import pod_spec
from components.shared.manifests import Manifest, ManifestError, makes_pods
from components.shared.object_kinds import is_kubernetes
from settings import Route
from workloads import template

#: On a Service: what Kong speaks with it.
PROTOCOL = "konghq.com/protocol"
_APP_PROTOCOLS = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
_OTHERS = {"udp", "mongo", "redis", "mysql"}
# What a route speaks -> what the mesh must not take its port for: it would translate, or read what it cannot.
_CONTRADICTS = {
    "http": {"grpc", "grpc-web", "https", "tls", *_OTHERS},
    "grpc": {"http", "https", "tls", *_OTHERS},
    "https": {"http", "http2", "grpc", "grpc-web", *_OTHERS},
    "grpcs": {"http", "http2", "grpc", "grpc-web", *_OTHERS},
}


def check(objects: Sequence[Manifest], route: Route, where: str, *, through_mesh: bool) -> Manifest:
    """Return the Service of a route. Raises `ManifestError` for one that is not there, or that no request would reach.

    Who makes the endpoints of one without a selector is not known: that is a warning.

    `through_mesh`: Kong calls the Service by its name, through its sidecar.
    """
    service = _service(objects, route, where)
    spec, name = service.get("spec") or {}, route.service
    if through_mesh and spec.get("type") == "ExternalName":
        raise ManifestError(
            f"{where}.service is {name}: that Service is an ExternalName ({spec.get('externalName')}), which Kong would call by "
            f"the name {name}, unknown there and to the mesh; route to the Service of the pods themselves, or to a proxy "
            "of the application that passes requests on."
        )
    port = _port(service, route, where)
    if spec.get("type") != "ExternalName" and not spec.get("selector") and not _has_endpoints(objects, name):
        pulumi.log.warn(
            f"{where}.service is {name}: that Service has no selector, and the manifests have no EndpointSlice for it: Kong "
            f"answers 503 until somebody makes one with the label kubernetes.io/service-name: {name}."
        )
    if through_mesh:
        _check_headless(objects, service, port, where)
        _check_protocol(service, port, route, where)
    return service


def _service(objects: Sequence[Manifest], route: Route, where: str) -> Manifest:
    services = {item["metadata"]["name"]: item for item in objects if is_kubernetes(item, "Service")}
    if route.service not in services:
        raise ManifestError(
            f"{where}.service is {route.service}: the manifests have no such Service "
            f"(there are: {', '.join(sorted(services)) or 'none'})."
        )
    return services[route.service]


def _port(service: Manifest, route: Route, where: str) -> Mapping[str, Any]:
    ports = {entry["port"]: entry for entry in (service.get("spec") or {}).get("ports") or []}
    if route.port not in ports:
        raise ManifestError(
            f"{where}.port is {route.port}: the Service {route.service} has no such port "
            f"(there are: {', '.join(str(number) for number in ports) or 'none'})."
        )
    found: Mapping[str, Any] = ports[route.port]
    return found


def _has_endpoints(objects: Sequence[Manifest], service: str) -> bool:
    return any(
        (item["kind"] == "Endpoints" and item["metadata"]["name"] == service)
        or (
            item["kind"] == "EndpointSlice"
            and (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service
        )
        for item in objects
    )


def _check_headless(objects: Sequence[Manifest], service: Manifest, port: Mapping[str, Any], where: str) -> None:
    """Raise for a headless Service that translates a port.

    Its name leads to pods. Kong then calls a pod at the Service's port, and its sidecar passes that on to the very address
    (ORIGINAL_DST: istio/istio, pilot/pkg/networking/core/cluster.go), where nothing listens but at the target port.
    """
    if service["spec"].get("clusterIP") != "None":
        return
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        target = _numbers(objects, service["spec"].get("selector") or {}).get(target, target)
    if target != port["port"]:
        raise ManifestError(
            f"{where}.port is {port['port']}: the Service {service['metadata']['name']} is headless, and its pods listen at {target}, "
            f"where no request to its port {port['port']} arrives; make the two one number, or leave clusterIP: None out."
        )


def _numbers(objects: Sequence[Manifest], selector: Mapping[str, Any]) -> dict[str, Any]:
    """Return the named ports of the pods that a selector finds."""
    pods = [pod_spec(item) or {} for item in objects if makes_pods(item) and selector.items() <= _labels(item).items()]
    containers = [container for pod in pods for container in pod.get("containers") or []]
    return {
        port["name"]: port.get("containerPort")
        for container in containers
        for port in container.get("ports") or []
        if "name" in port
    }


def _labels(item: Manifest) -> Mapping[str, Any]:
    metadata = (template(item) or {}).get("metadata") or {}
    return metadata.get("labels") or {} if isinstance(metadata, Mapping) else {}


def _check_protocol(service: Manifest, port: Mapping[str, Any], route: Route, where: str) -> None:
    """Raise where the mesh would take a port for something else than Kong sends there."""
    taken_for = mesh_protocol(port)
    if taken_for == "tcp" and not route.speaks_tls:
        pulumi.log.warn(
            f"{where}.port is {port['port']}: the mesh takes that port of the Service {route.service} for tcp, so it measures no "
            f"requests, and the application does not see the client's Host; give that port appProtocol: {route.protocol}."
        )
    # Whoever says it on the Service has his reasons: a plugin may translate.
    told = PROTOCOL in (service["metadata"].get("annotations") or {})
    if taken_for in _CONTRADICTS[route.protocol] and not told:
        named = f"appProtocol {port['appProtocol']}" if port.get("appProtocol") else f"name {port.get('name')}"
        fitting = {"grpc-web": "grpc", "tls": "https", "http2": "http"}.get(taken_for, taken_for)
        change = f"set {where}.protocol to {fitting}, or " if fitting in _CONTRADICTS else ""
        says = "https" if route.protocol == "grpcs" else route.protocol
        raise ManifestError(
            f"{where}.protocol is {route.protocol}, and the mesh takes port {port['port']} of the Service {route.service} for "
            f"{taken_for} by its {named}: {change}give that port appProtocol: {says}."
        )


def mesh_protocol(port: Mapping[str, Any]) -> str:
    """Return what Istio takes a Service's port for (pkg/config/kube/conversion.go); empty where it looks for itself."""
    if port.get("protocol") == "UDP":
        return "udp"
    told = str(port.get("appProtocol") or "")
    name = _APP_PROTOCOLS.get(told, (told or str(port.get("name") or ""))).lower()
    if name.startswith("grpc-web"):
        return "grpc-web"
    known = {"tcp", "grpc", "http", "http2", "https", "tls", *_OTHERS}
    found = name.partition("-")[0]
    return found if found in known else ""
