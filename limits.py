"""How a route of Kong's has a limit: the plugins that limit, and how objects name them.

Nothing but the standard library is imported: the policy pack's environment reads this as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: The kinds that Kong's controller makes routes of.
ROUTES = {"Ingress", "HTTPRoute", "GRPCRoute", "TCPIngress", "UDPIngress"}
_PLUGINS = {"rate-limiting", "rate-limiting-advanced"}
_WINDOWS = ("second", "minute", "hour", "day", "month", "year")


def is_limit(item: Mapping[str, Any]) -> bool:
    """Return whether an object is a plugin that limits the routes it is on."""
    if item.get("kind") not in ("KongPlugin", "KongClusterPlugin") or item.get("plugin") not in _PLUGINS:
        return False
    config = _mapping(item.get("config"))
    # The advanced plugin has a list of limits in place of windows.
    return not item.get("disabled") and bool(
        config.get("limit") or any(is_positive(config.get(window)) for window in _WINDOWS)
    )


def is_global(item: Mapping[str, Any]) -> bool:
    """Return whether a plugin is on every route."""
    labels = _mapping(_mapping(item.get("metadata")).get("labels"))
    return item.get("kind") == "KongClusterPlugin" and labels.get("global") == "true"


def named_plugins(item: Mapping[str, Any], namespace: str) -> Iterator[tuple[str, str]]:
    """Yield what a route, or a Service, may mean: plugins of its namespace, of the cluster, of other namespaces."""
    annotations = _mapping(_mapping(item.get("metadata")).get("annotations"))
    for name in str(annotations.get("konghq.com/plugins") or "").split(","):
        other, colon, rest = name.strip().partition(":")
        yield (other, rest) if colon else (namespace, other)
        yield "", name.strip()


def is_positive(value: Any) -> bool:
    """Return whether a value is a number above zero."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _mapping(value: Any) -> Mapping[str, Any]:
    # Values may be unknown in a preview.
    return value if isinstance(value, Mapping) else {}
