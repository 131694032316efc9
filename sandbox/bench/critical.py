"""What an `up` would take if nothing held up its resources but each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_PROVIDERS = "pulumi:providers:"


@dataclass(frozen=True)
class Step:
    """The creation of a resource: its name, and the seconds from the command's start at which it began and ended."""

    name: str
    started: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long the provider took."""
        return self.ended - self.started


@dataclass(frozen=True)
class Path:
    """The longest chain: `start`, until the first resource was begun, and the URNs of its resources, first to last."""

    start: float
    urns: list[str]
    steps: Mapping[str, Step]

    @property
    def seconds(self) -> float:
        """The start, and each resource's own time."""
        return self.start + sum(self.steps[urn].seconds for urn in self.urns)

    def __str__(self) -> str:
        """Return the chain for people."""
        each = [f"{self.steps[urn].name} {self.steps[urn].seconds:.1f} s" for urn in self.urns]
        return " > ".join([f"start {self.start:.1f} s", *each])


def steps(events: Iterable[tuple[float, Mapping[str, Any]]]) -> dict[str, Step]:
    """Return the creation of each resource, by its URN, from the engine's events and when they came.

    The engine announces a step when a worker takes it up, and its result before it writes that into the state: a wait for a
    free worker is no part of it. Components and providers are made by the engine itself.
    """
    begun: dict[str, float] = {}
    found: dict[str, Step] = {}
    for second, event in events:
        if metadata := (event.get("resourcePreEvent") or {}).get("metadata"):
            if metadata["op"] == "create" and _is_made(metadata):
                begun[metadata["urn"]] = second
        elif (metadata := (event.get("resOutputsEvent") or {}).get("metadata")) and metadata["urn"] in begun:
            urn = metadata["urn"]
            # Several kinds share a name.
            kind = metadata["type"].rsplit(":", 1)[-1]
            found.setdefault(urn, Step(f"{kind}/{urn.rsplit('::', 1)[-1]}", begun[urn], second))
    return found


def _is_made(metadata: Mapping[str, Any]) -> bool:
    custom = (metadata.get("new") or {}).get("custom", False)
    return bool(custom) and not metadata["type"].startswith(_PROVIDERS)


def longest(made: Mapping[str, Step], resources: Sequence[Mapping[str, Any]]) -> Path:
    """Return the chain of dependencies whose resources took longest in sum, each from its provider's start to its end.

    What nothing of a chain's own explains (a wait for a worker, for the engine, for the program to register a resource that
    could have been begun) is in no chain, and so is a loss of the `up` that is compared with it. `resources`: the state's.
    """
    known = {str(resource["urn"]): resource for resource in resources}

    @cache
    def chain(urn: str) -> tuple[float, tuple[str, ...]]:
        seconds, before = max((chain(other) for other in _awaited(known, urn) if other in known), default=(0.0, ()))
        return (seconds + made[urn].seconds, (*before, urn)) if urn in made else (seconds, before)

    _, urns = max((chain(urn) for urn in known), default=(0.0, ()))
    return Path(min((step.started for step in made.values()), default=0.0), list(urns), made)


def _awaited(known: Mapping[str, Mapping[str, Any]], urn: str) -> Collection[str]:
    """Return what a resource waits for: its dependencies, and those of the components that it is part of."""
    resource = known[urn]
    found = {str(one) for one in resource.get("dependencies") or []}
    for ones in (resource.get("propertyDependencies") or {}).values():
        found |= set(ones or [])
    parent = resource.get("parent")
    return ({*found, *_awaited(known, str(parent))} if parent in known else found) - {urn}
