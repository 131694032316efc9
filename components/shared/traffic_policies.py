"""Who may call whom: an AuthorizationPolicy for a routed Service, and NetworkPolicies for every namespace.

An AuthorizationPolicy is enforced by the sidecar, which knows a caller by its certificate; a NetworkPolicy by the
cluster's network, which knows it by its address, and guards pods without a sidecar too. NetworkPolicies add up: what
one of them lets in comes in. They never keep out a pod's own node, which is where probes and port-forwards come from.
Ports are those of the pods, as they are before a sidecar redirects anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.shared.manifests import Manifest, ManifestError
from components.shared.object_kinds import is_kubernetes
from names import ISTIO_NAMESPACE, KONG_NAMESPACE, KONG_SERVICE_ACCOUNT
from settings import Route, Security

# The ServiceAccount that the chart makes for the release. Istio takes `cluster.local` for the mesh's own trust domain,
# whatever that is called (pilot/pkg/security/trustdomain/bundle.go).
KONG_PRINCIPAL = f"cluster.local/ns/{KONG_NAMESPACE}/sa/{KONG_SERVICE_ACCOUNT}"

# Every sidecar: the metrics of pod and proxy together, and those of the proxy alone.
_SIDECAR_METRICS = (15020, 15090)
# Kong's own, and the controller's.
_KONG_METRICS = (8100, 10255)
_KONG_PROXY = (8000, 8443)
_KONG_WEBHOOK = 8080
_ISTIOD_DISCOVERY = 15012
_ISTIOD_WEBHOOK = 15017
_ISTIO_CNI_METRICS = 15014
_GATEWAY_STATUS = 15021

_EVERY_NAMESPACE: dict[str, Any] = {"namespaceSelector": {}}
_SAME_NAMESPACE: dict[str, Any] = {"podSelector": {}}
_OF_MESH: Sequence[dict[str, Any]] = (
    {"namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}},
    {"namespaceSelector": {"matchExpressions": [{"key": "istio.io/rev", "operator": "Exists"}]}},
)


def only_kong_calls(namespace: str, service: Manifest) -> Manifest:
    """Return the policy by which nobody but Kong may call the pods behind a Service.

    Without a certificate there is no caller to know: it takes a sidecar on both sides, and a Kong that calls the Service
    through the mesh. Metrics and rewritten probes have ports of the sidecar's own, where no policy is asked.
    """
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": f"{service['metadata']['name']}-only-kong-calls", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": service["spec"]["selector"]},
            "action": "ALLOW",
            "rules": [{"from": [{"source": {"principals": [KONG_PRINCIPAL]}}]}],
        },
    }


def target_port(service: Manifest, route: Route) -> Any:
    """Return the pods' port that a routed Service leads to: its number or its name."""
    port: Mapping[str, Any] = next(port for port in service["spec"]["ports"] if port["port"] == route.port)
    return port.get("targetPort", route.port)


def application_policies(namespace: str, objects: Sequence[Manifest], routes: Sequence[Route]) -> list[Manifest]:
    """Return the policies of an application's namespace: it calls itself, Kong the routed Services."""
    own = _policy(
        namespace, "default", {}, _rule((), _SAME_NAMESPACE), _rule(_SIDECAR_METRICS, _namespace(ISTIO_NAMESPACE))
    )
    ports: dict[str, list[int | str]] = {}
    for route in routes:
        port = target_port(routed(objects, route.service), route)
        if port not in ports.setdefault(route.service, []):
            ports[route.service].append(port)
    return [
        own,
        *(
            _policy(
                namespace,
                f"{service}-from-kong",
                routed(objects, service)["spec"].get("selector") or {},
                _rule(numbers, _namespace(KONG_NAMESPACE)),
            )
            for service, numbers in ports.items()
        ),
    ]


def kong_policies(*, webhook: bool) -> list[Manifest]:
    """Return the policies of Kong's namespace; `webhook`: the API server asks it, from an address that none can name."""
    everybody = (*_KONG_PROXY, *((_KONG_WEBHOOK,) if webhook else ()))
    metrics = (*_KONG_METRICS, *_SIDECAR_METRICS)
    return [
        _policy(KONG_NAMESPACE, "default", {}),
        _policy(
            KONG_NAMESPACE,
            "kong",
            {"app.kubernetes.io/name": "kong"},
            _rule(everybody),
            _rule(metrics, _namespace(ISTIO_NAMESPACE)),
        ),
    ]


def mesh_policies() -> list[Manifest]:
    """Return the policies of Istio's namespace: it calls itself, everybody istiod, and nobody else the dashboards.

    The policy of istiod's chart would let everybody at its plain-text ports too, among them the one for debugging.
    """
    return [
        _policy(ISTIO_NAMESPACE, "default", {}, _rule((), _SAME_NAMESPACE)),
        _policy(
            ISTIO_NAMESPACE,
            "istiod",
            {"app": "istiod"},
            _rule((_ISTIOD_DISCOVERY,), _EVERY_NAMESPACE),
            # The API server is in no namespace.
            _rule((_ISTIOD_WEBHOOK,)),
        ),
    ]


def istio_cni_policies(namespace: str) -> list[Manifest]:
    """Return the policy of istio-cni's namespace: it answers Prometheus."""
    return [_policy(namespace, "default", {}, _rule((_ISTIO_CNI_METRICS,), _namespace(ISTIO_NAMESPACE)))]


def gateway_policies(namespace: str, ports: Sequence[int], *, mesh_only: bool) -> list[Manifest]:
    """Return the policy of a gateway's namespace; `mesh_only`: it serves pods of the mesh and not the world."""
    served = _rule(ports, *_OF_MESH) if mesh_only else _rule((*ports, _GATEWAY_STATUS))
    return [_policy(namespace, "default", {}, served, _rule(_SIDECAR_METRICS, _namespace(ISTIO_NAMESPACE)))]


def routed(objects: Sequence[Manifest], service: str) -> Manifest:
    """Return a routed Service, which `routed_service.check` has found there."""
    return next(item for item in objects if is_kubernetes(item, "Service") and item["metadata"]["name"] == service)


def check_selector(service: Manifest, where: str, settings: Security) -> None:
    """Raise `ManifestError` for a routed Service that names no pods, where a policy has to."""
    switches = {"onlyKongCalls": settings.only_kong_calls, "networkPolicies": settings.network_policies}
    for key, on in switches.items():
        if on and not service["spec"].get("selector"):
            raise ManifestError(
                f"{where}.service is {service['metadata']['name']}: that Service has no selector, and so names no "
                f"pods that security.{key} could guard; give it one, or set that to false."
            )


def _policy(namespace: str, name: str, pods: Mapping[str, str], *rules: Mapping[str, Any]) -> Manifest:
    """Return a policy by which pods accept what the rules name and nothing else; without labels for all pods."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": dict(pods)} if pods else {},
            "policyTypes": ["Ingress"],
            "ingress": [dict(rule) for rule in rules],
        },
    }


def _rule(ports: Sequence[int | str], *peers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule; without ports it is for all of them, without peers for everybody."""
    rule: dict[str, Any] = {}
    if peers:
        rule["from"] = [dict(peer) for peer in peers]
    if ports:
        rule["ports"] = [{"protocol": "TCP", "port": port} for port in ports]
    return rule


def _namespace(name: str) -> dict[str, Any]:
    # The API server puts this label on every namespace.
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
