"""Routes of Kong's that an application's manifests bring along: the stack's limit is not on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import limits
from components.shared.manifests import Manifest
from components.shared.object_kinds import is_kubernetes
from settings import Application, Kong

_CLASS = "kubernetes.io/ingress.class"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_GATEWAY_CONTROLLER = "konghq.com/kic-gateway-controller"


def without_limit(objects: Sequence[Manifest], kong: Kong, application: Application, where: str) -> list[str]:
    """Return a sentence for each of an application's objects that Kong serves without a rate limit."""
    own = sorted({route.limit_plugin for route in application.routes} - {""})
    remedy = (
        f"annotate it with konghq.com/plugins: {own[0]}, the limit of this application" if own else "limit it there"
    )
    plugins = {(application.namespace, name) for name in own}
    plugins |= {(_namespace(item), item["metadata"]["name"]) for item in objects if limits.is_limit(item)}
    if any(limits.is_limit(item) and limits.is_global(item) for item in objects):
        return []
    return [
        f"{where}.manifests: {item['kind']} {item['metadata']['name']} is a route of Kong's without a rate limit: {remedy}, or "
        "take it out."
        for item in objects
        if is_of_kong(item, objects, kong) and not _is_limited(item, objects, plugins)
    ]


def is_of_kong(item: Manifest, objects: Sequence[Manifest], kong: Kong) -> bool:
    """Return whether Kong's controller takes an object for a route.

    It takes those of its class, whether the class is a field or an annotation, and those of no class where its own is the
    default (kubernetes-ingress-controller, internal/controllers/utils/ingress_predicates.go); else those of its gateways.
    """
    if item["kind"] not in limits.ROUTES:
        return False
    if item["kind"].endswith("Route"):
        gateways = {gateway["metadata"]["name"] for gateway in objects if _is_gateway_of_kong(gateway, objects, kong)}
        return any(parent.get("name") in gateways for parent in _list(_spec(item).get("parentRefs")))
    annotation = (item["metadata"].get("annotations") or {}).get(_CLASS)
    said = {annotation, _spec(item).get("ingressClassName") if item["kind"] == "Ingress" else None} - {None}
    return kong.ingress_class in said if said else _is_default(kong)


def _is_default(kong: Kong) -> bool:
    annotations = _mapping(_mapping(kong.values.get("ingressController")).get("ingressClassAnnotations"))
    return str(annotations.get(_DEFAULT_CLASS)).lower() == "true"


def _is_gateway_of_kong(item: Manifest, objects: Sequence[Manifest], kong: Kong) -> bool:
    own = {
        other["metadata"]["name"]
        for other in objects
        if other["kind"] == "GatewayClass" and _spec(other).get("controllerName") == _GATEWAY_CONTROLLER
    }
    return item["kind"] == "Gateway" and _spec(item).get("gatewayClassName") in {kong.ingress_class, *own}


def _is_limited(route: Manifest, objects: Sequence[Manifest], plugins: set[tuple[str, str]]) -> bool:
    """Return whether a plugin that limits is on a route, or on every Service behind it."""
    namespace = _namespace(route)
    if not plugins.isdisjoint(limits.named_plugins(route, namespace)):
        return True
    services = {item["metadata"]["name"]: item for item in objects if is_kubernetes(item, "Service")}
    behind = [services.get(name, {}) for name in _backends(_spec(route))]
    return bool(behind) and all(not plugins.isdisjoint(limits.named_plugins(item, namespace)) for item in behind)


def _backends(value: Any) -> Iterator[str]:
    """Yield the Services that a route's specification names, wherever in it."""
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _backends(inner)
    if isinstance(value, Mapping):
        # An Ingress has a field `service`, Kong's own kinds `serviceName`, the Gateway API references.
        own = [value.get("serviceName"), _mapping(value.get("service")).get("name")]
        named = [reference.get("name") for reference in _list(value.get("backendRefs"))]
        yield from (name for name in (*own, *named) if isinstance(name, str))


def _namespace(item: Manifest) -> str:
    return str(item["metadata"].get("namespace", ""))


def _spec(item: Manifest) -> Mapping[str, Any]:
    return _mapping(item.get("spec"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
