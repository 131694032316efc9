"""The dependency graph of a preview as Mermaid: components as boxes, in them what changes, in colour."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from preview.model import Change, Preview, Resource

#: GitHub draws nothing that is longer.
LIMIT = 40_000

_SIGNS = {Change.CREATE: "+", Change.UPDATE: "~", Change.REPLACE: "±", Change.DELETE: "-", Change.SAME: ""}
_VERBS = {
    Change.CREATE: "created",
    Change.UPDATE: "changed",
    Change.REPLACE: "replaced",
    Change.DELETE: "deleted",
    Change.SAME: "unchanged",
}
# Colours that can be told apart on light and dark pages; the signs say the same to who sees no colours.
_STYLES: dict[str, str] = {
    "component": "fill:transparent,stroke:#8c959f",
    Change.CREATE: "fill:#1a7f37,stroke:#116329,color:#fff",
    Change.UPDATE: "fill:#bf8700,stroke:#7d4e00,color:#fff",
    Change.REPLACE: "fill:#8250df,stroke:#512a97,color:#fff",
    Change.DELETE: "fill:#cf222e,stroke:#82071e,color:#fff",
    Change.SAME: "fill:#eaeef2,stroke:#8c959f,color:#57606a",
}
# All else could end a label, or mean something to Mermaid.
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._/:,+~±()-]")
_LABEL = 60


def mermaid(preview: Preview, most: int) -> str:
    """Return the graph. Where more than `most` resources of a component change alike, one node counts them."""
    resources = preview.resources
    box_of = _boxes(resources)
    inside: defaultdict[int, list[int]] = defaultdict(list)
    for index, box in box_of.items():
        if index != box:
            inside[box].append(index)
    drawing = _Drawing(resources, most)
    for box in (index for index, box in box_of.items() if index == box):
        drawing.box(box, inside[box])
    arrows = [f"  r{first} --> r{then}" for first, then in _arrows(resources, box_of)]
    return "\n".join(["flowchart LR", *drawing.lines, *arrows, *drawing.styles()])


class _Drawing:
    """The lines of a graph as they grow, and which nodes are to have which colour."""

    def __init__(self, resources: tuple[Resource, ...], most: int) -> None:
        self.lines: list[str] = []
        self._resources = resources
        self._most = most
        self._classes: defaultdict[str, list[str]] = defaultdict(list)

    def box(self, box: int, inside: list[int]) -> None:
        """Draw a component: as one node where nothing in it changes, else with all that does."""
        resource = self._resources[box]
        same = all(self._resources[index].change is Change.SAME for index in inside)
        if not inside:
            self._node("  ", f"r{box}", _labelled(resource), resource.change)
        elif same and resource.change is Change.SAME:
            self._node("  ", f"r{box}", f"{resource.name}: {len(inside)} unchanged", Change.SAME)
        else:
            self.lines.append(f'  subgraph r{box}["{safe(resource.name)}"]')
            # What is in no order stands below each other so.
            self.lines.append("    direction LR")
            self._content(box, inside)
            self.lines.append("  end")
            self._classes["component"].append(f"r{box}")

    def _content(self, box: int, inside: list[int]) -> None:
        for change in Change:
            alike = [index for index in inside if self._resources[index].change is change]
            if not alike:
                continue
            if change is Change.SAME or len(alike) > self._most:
                label = _counted(change, [self._resources[index] for index in alike])
                self._node("    ", f"r{box}{change}", label, change)
                continue
            for index in alike:
                label = _labelled(self._resources[index], self._resources[box].name)
                self._node("    ", f"r{index}", label, change)

    def _node(self, indent: str, name: str, label: str, change: Change) -> None:
        self.lines.append(f'{indent}{name}["{safe(label)}"]')
        self._classes[change].append(name)

    def styles(self) -> list[str]:
        """Return the colours of all that was drawn."""
        return [
            line
            for name, nodes in self._classes.items()
            for line in (f"  classDef {name} {_STYLES[name]}", f"  class {','.join(nodes)} {name}")
        ]


def _boxes(resources: tuple[Resource, ...]) -> dict[int, int]:
    """Return for each resource the outermost one that it is part of; providers are left out."""
    found: dict[int, int] = {}
    for index, resource in enumerate(resources):
        if resource.kind == "Provider":
            continue
        box = index
        while (above := resources[box].parent) is not None:
            box = above
        found[index] = box
    return found


def _counted(change: Change, resources: list[Resource]) -> str:
    """Say how many there are, and of what kinds where that is news."""
    if change is Change.SAME:
        return f"{len(resources)} unchanged"
    kinds = Counter(resource.kind for resource in resources).most_common(3)
    named = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"{_SIGNS[change]} {len(resources)} {_VERBS[change]}: {named}"


def _labelled(resource: Resource, component: str = "") -> str:
    """Return sign, kind and name, without what the name repeats of its component and kind."""
    name = resource.name.removeprefix(f"{component}-").removeprefix(f"{resource.kind.lower()}-")
    return f"{_SIGNS[resource.change]} {resource.kind} {name}".strip()


def safe(label: str) -> str:
    """Return a label that ends nothing and starts nothing."""
    return _UNSAFE.sub("_", label)[:_LABEL] or "_"


def _arrows(resources: tuple[Resource, ...], box_of: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return which box waits for which, without what follows from others."""
    direct: defaultdict[int, set[int]] = defaultdict(set)
    for index, box in box_of.items():
        direct[box] |= {box_of[other] for other in resources[index].after if other in box_of} - {box}
    far = {box: _reached(direct, direct[box]) for box in list(direct)}
    return sorted(
        (first, then)
        for then, before in direct.items()
        for first in before
        if not any(first in far.get(other, ()) for other in before - {first})
    )


def _reached(direct: Mapping[int, set[int]], start: Iterable[int]) -> set[int]:
    """Return all that is reached from `start`; a circle, which no honest graph has, ends as well."""
    found: set[int] = set()
    ahead = list(start)
    while ahead:
        here = ahead.pop()
        if here not in found:
            found.add(here)
            ahead += direct.get(here, ())
    return found
