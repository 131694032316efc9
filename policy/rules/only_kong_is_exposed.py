"""Nothing but Kong's proxy is reached from outside the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import names
from policy.objects import Object, containers, items, pick, template
from policy.rule import Option, Options, Rule, Violation

_KONG_PROXY = f"{names.KONG_NAMESPACE}/{names.KONG_PROXY_SERVICE}"
# Kong's admin API and manager, plain and encrypted.
_ADMIN_PORTS = {8001, 8002, 8444, 8445}
_GATEWAYS = {"networking.istio.io", "gateway.networking.k8s.io"}
# Through Kong as well, nobody outside gets at the control plane, its dashboards, or Kong itself.
_INNER_NAMESPACES = {names.ISTIO_NAMESPACE, names.ISTIO_CNI_NAMESPACE, names.KONG_NAMESPACE}


def exposed(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look at what can be reached from outside: Services, Ingresses, gateways, and ports of nodes."""
    served = _ingress_class(objects)
    for item in objects:
        if item.kind == "Service":
            yield from _service(item, options)
        elif item.kind == "Ingress" and item.group == "networking.k8s.io":
            yield from _ingress(item, served)
        elif item.kind == "Gateway" and item.group in _GATEWAYS:
            yield Violation(item, "it opens ports of a gateway other than Kong", "route through Kong by an Ingress")
        yield from _pods(item)


def _service(item: Object, options: Options) -> Iterator[Violation]:
    kind = pick(item.body, "spec", "type")
    outside = kind in ("LoadBalancer", "NodePort") or bool(pick(item.body, "spec", "externalIPs"))
    if not outside:
        return
    if f"{item.namespace}/{item.name}" not in options["exposed"]:
        how = f"its type is {kind}" if kind in ("LoadBalancer", "NodePort") else "it has externalIPs"
        yield Violation(item, f"{how}: it is reached from outside", "set it to ClusterIP and route to it through Kong")
    for port in items(pick(item.body, "spec", "ports")):
        if _ADMIN_PORTS & {port.get("port"), port.get("targetPort")} or "admin" in str(port.get("name")):
            yield Violation(
                item,
                f"its port {port.get('port')} leads to Kong's admin API",
                "take the port out; set admin.enabled and manager.enabled to false in the chart's values",
            )


def _ingress_class(objects: Sequence[Object]) -> str:
    """Return the class that the stack's Kong serves, as its release says."""
    values = [
        pick(item.body, "spec", "values") for item in objects if item.kind == "Release" and item.name == names.KONG
    ]
    return next(
        (str(name) for one in values if (name := pick(one, "ingressController", "ingressClass"))), names.INGRESS_CLASS
    )


def _ingress(item: Object, served: str) -> Iterator[Violation]:
    named = pick(item.body, "spec", "ingressClassName")
    if named != served:
        yield Violation(item, f"its class is {named or 'not said'}, not {served}", f"set ingressClassName to {served}")
    if item.namespace in _INNER_NAMESPACES:
        yield Violation(
            item,
            f"it leads into {item.namespace} from outside",
            "take it out and use a port-forward, such as `make dashboards`",
        )


def _pods(item: Object) -> Iterator[Violation]:
    if pick(template(item), "spec", "hostNetwork") is True:
        yield Violation(item, "its pods listen at their node's own address (hostNetwork)", "take hostNetwork out")
    for container in containers(item):
        for port in items(container.get("ports")):
            if port.get("hostPort"):
                what = f"container {container.get('name')} takes port {port['hostPort']} of its node (hostPort)"
                yield Violation(item, what, "take hostPort out")


RULE = Rule(
    name="only-kong-is-exposed",
    description="Nothing but Kong's proxy is reached from outside the cluster.",
    find=exposed,
    scope="stack",
    options={"exposed": Option([_KONG_PROXY], "Services, namespace/name")},
)
