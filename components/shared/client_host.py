"""The client's Host, brought to the application through the mesh.

Kong's sidecar finds a Service by the Host of a request, so Kong has to send a name that the mesh knows. By default that is
the Service's own, and the client's Host stands in X-Forwarded-Host, which Kong always sends and takes from a client only if
that is in its `trusted_ips`. Without more, an application that redirects or makes links would use the Service's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.shared.manifests import Manifest, ManifestError
from components.shared.traffic_policies import target_port
from names import KONG_NAMESPACE, KONG_POD_LABELS
from settings import Kong, Route

_ISTIO = "networking.istio.io/v1"


def created_for(kong: Kong, service: Manifest, route: Route) -> dict[str, Any] | None:
    """Return the object that brings the client's Host to a routed Service; None where none is wanted, or could do it.

    What Kong itself encrypts, its sidecar cannot read; nor does it have to.
    """
    if route.speaks_tls:
        return None
    namespace = service["metadata"]["namespace"]
    match (kong.routing, kong.client_host):
        case ("mesh", "envoyFilter"):
            return envoy_filter(namespace, route)
        case ("mesh", "serviceEntry"):
            return service_entry(namespace, service, route)
    return None


def envoy_filter(namespace: str, route: Route) -> dict[str, Any]:
    """Return the filter by which Kong's sidecar, once it has found the Service, puts the client's Host back.

    istiod names virtual hosts `<name>.<namespace>.svc.<cluster's domain>:<port>`; the domain without the last part is one of
    those that it gives each Service, whatever the cluster's own domain is. A port whose protocol the sidecar has to guess
    has another route, whose virtual host only the name finds; so both are looked for. Redirects and answers that a
    VirtualService makes stay what they are (istio/istio, pilot/pkg/networking/core/envoyfilter/rc_patch.go).
    """
    host = f"{route.service}.{namespace}.svc"
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        # A dot is in no route's or namespace's name, so no two routes share one; two to one Service say the same.
        "metadata": {"name": f"client-host.{route.ingress}.{namespace}", "namespace": KONG_NAMESPACE},
        "spec": {
            "workloadSelector": {"labels": dict(KONG_POD_LABELS)},
            "configPatches": [
                _patch({"portNumber": route.port}, {"domainName": host}),
                _patch({}, {"name": f"{host}.cluster.local:{route.port}"}),
            ],
        },
    }


def service_entry(namespace: str, service: Manifest, route: Route) -> dict[str, Any]:
    """Return the entry by which the mesh knows the public host, and takes it to the Service's pods."""
    return {
        "apiVersion": _ISTIO,
        "kind": "ServiceEntry",
        "metadata": {"name": f"client-host.{route.ingress}", "namespace": namespace},
        "spec": {
            "hosts": [route.host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [
                {
                    "number": route.port,
                    "name": "http",
                    "protocol": "HTTP",
                    "targetPort": target_port(service, route),
                }
            ],
            "workloadSelector": {"labels": dict(service["spec"]["selector"])},
        },
    }


def check_service(service: Manifest, route: Route, where: str) -> None:
    """Raise `ManifestError` for a routed Service that a ServiceEntry cannot stand for."""
    name = service["metadata"]["name"]
    if not service["spec"].get("selector"):
        raise ManifestError(
            f"{where}.service is {name}: that Service has no selector, and kong.clientHost: serviceEntry finds its pods "
            "by it; give it one, or set kong.clientHost to envoyFilter."
        )
    target = target_port(service, route)
    if not isinstance(target, int):
        raise ManifestError(
            f"{where}.port is {route.port}: the Service {name} leads it to the port named {target}, and "
            "kong.clientHost: serviceEntry takes a number; write the number there, or set kong.clientHost to envoyFilter."
        )


def _patch(routes: Mapping[str, Any], virtual_host: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "applyTo": "HTTP_ROUTE",
        "match": {
            "context": "SIDECAR_OUTBOUND",
            "routeConfiguration": {**routes, "vhost": {**virtual_host, "route": {"action": "ROUTE"}}},
        },
        "patch": {"operation": "MERGE", "value": {"route": {"host_rewrite_header": "x-forwarded-host"}}},
    }
