"""The critical path of an `up`, from the state that it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from display.critical_path import critical_path


def steps(resources: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return (name, seconds) of the resources on the critical path, first to last, but for the stack itself.

    The state says when each resource was finished; it was started when the last one that it waits for was.
    """
    known = {str(resource["urn"]): resource for resource in resources}
    finished = {
        urn: datetime.fromisoformat(resource["created"]).timestamp()
        for urn, resource in known.items()
        if "created" in resource
    }
    path = critical_path(finished, lambda urn: _awaited(known, urn))
    return [(urn.rsplit("::", 1)[-1], finished[urn] - finished[before]) for before, urn in pairwise(path)]


def _awaited(known: Mapping[str, Mapping[str, Any]], urn: str) -> set[str]:
    """Return what a resource waits for: its dependencies, and those of the components that it is part of."""
    resource = known[urn]
    found = {str(one) for one in resource.get("dependencies") or []}
    for ones in (resource.get("propertyDependencies") or {}).values():
        found |= set(ones or [])
    parent = resource.get("parent")
    return (found | _awaited(known, str(parent)) if parent in known else found) - {urn}
