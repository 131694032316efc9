"""Every container says what it needs, and where it must stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policy.objects import Object, containers, injection, pick
from policy.rule import Options, Rule, Violation
from workloads import INJECTED

# No limit of CPU: a container that meets one is slowed down while the node idles.
_REQUIRED = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))


def missing_requests_and_limits(objects: Sequence[Object], options: Options) -> Iterator[Violation]:  # noqa: ARG001 -- nothing is excused
    """Look at every container, and at what istiod gives sidecars."""
    for item in objects:
        for container in containers(item):
            # istiod gives an injected one what sidecars have.
            if container.get("image") != INJECTED:
                yield from _missing(item, f"container {container.get('name')}", container)
        told = injection(item)
        if told:
            yield from _missing(item, "the sidecar", pick(told, "proxy"))


def _missing(item: Object, who: str, holder: Mapping[str, Any]) -> Iterator[Violation]:
    missing = [f"{kind}.{of}" for kind, of in _REQUIRED if not pick(holder, "resources", kind, of)]
    if missing:
        yield Violation(
            item,
            f"{who} has no {', '.join(missing)}",
            "set them: for an application in its manifests, for a chart by the setting resources, or values",
        )


RULE = Rule(
    name="requests-and-limits-are-set",
    description="Every container requests CPU and memory, and has a limit of memory.",
    find=missing_requests_and_limits,
)
