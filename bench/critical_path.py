"""The critical path of an `up`, from the state that it left: which chain of resources its time went into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def critical_path(resources: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return (name, seconds) of the resources on the path, first to last.

    The state says when each resource was finished; it was started when the last one that it waits for was.
    """
    known = {str(resource["urn"]): resource for resource in resources}
    finished = {urn: _time(resource["created"]) for urn, resource in known.items() if "created" in resource}
    path: list[tuple[str, float]] = []
    urn = max(finished, key=lambda one: finished[one], default=None)
    while urn is not None:
        before = max(_awaited(known, urn) & finished.keys(), key=lambda one: finished[one], default=None)
        if before is not None:
            path.append((urn.rsplit("::", 1)[-1], finished[urn] - finished[before]))
        urn = before
    return path[::-1]


def _awaited(known: Mapping[str, Mapping[str, Any]], urn: str) -> set[str]:
    """Return what a resource waits for: its dependencies, and those of the components that it is part of."""
    resource = known[urn]
    found = {str(one) for one in resource.get("dependencies") or []}
    for ones in (resource.get("propertyDependencies") or {}).values():
        found |= set(ones or [])
    parent = resource.get("parent")
    return (found | _awaited(known, str(parent)) if parent in known else found) - {urn}


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
