"""All checks, in the order of the README's table, and what of the stack each of them shows."""

from __future__ import annotations

from collections.abc import Iterable

from checks import (
    answers,
    control_plane,
    dashboards,
    drains,
    grafana_dashboards,
    injection,
    kiali_edge,
    kong_programmed,
    limit,
    prometheus_edge,
    sidecar_versions,
    strict,
    traffic,
)
from checks.discovery import kong_route, sync
from checks.framework import Check
from checks.report import Part

_PARTS: tuple[tuple[Part, tuple[Check, ...]], ...] = (
    (Part.CONTROL_PLANE, control_plane.CHECKS),
    (Part.CONTROL_PLANE, injection.CHECKS),
    (Part.CONTROL_PLANE, sidecar_versions.CHECKS),
    (Part.CONTROL_PLANE, sync.CHECKS),
    (Part.EDGE, kong_route.CHECKS),
    (Part.GATEWAY, kong_programmed.CHECKS),
    (Part.GATEWAY, drains.CHECKS),
    (Part.ENTRANCE, answers.CHECKS),
    (Part.ENTRANCE, limit.CHECKS),
    (Part.ENTRANCE, traffic.CHECKS),
    (Part.EDGE, prometheus_edge.CHECKS),
    (Part.EDGE, kiali_edge.CHECKS),
    (Part.EDGE, strict.CHECKS),
    (Part.DASHBOARDS, dashboards.CHECKS),
    (Part.DASHBOARDS, grafana_dashboards.CHECKS),
)

CHECKS: tuple[Check, ...] = tuple(check for _, checks in _PARTS for check in checks)
PARTS: dict[str, Part] = {check.name: part for part, checks in _PARTS for check in checks}

# They look for what the traffic leaves behind, while the limit that the traffic has all but used up is filled and lifts.
AFTER_TRAFFIC = frozenset(check.name for check in (*limit.CHECKS, *prometheus_edge.CHECKS, *kiali_edge.CHECKS))


class UnknownCheckError(Exception):
    """A name that no check has."""


def named(names: Iterable[str], checks: tuple[Check, ...] = CHECKS) -> tuple[Check, ...]:
    """Return the checks with these names or numbers, in the order of the table; all where none is named."""
    asked = set(names)
    if unknown := asked - {check.name for check in checks} - {check.number for check in checks}:
        known = ", ".join(check.name for check in checks)
        raise UnknownCheckError(f"There is no check called {', '.join(sorted(unknown))} (there are: {known}).")
    return tuple(check for check in checks if not asked or asked & {check.name, check.number})
