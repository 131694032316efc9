"""The dependency graph of a preview as Mermaid: components as boxes, in them what changes, in colour."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from display.mermaid import Flowchart, arrows
from preview.changes import Change, ChangedResource, Preview

#: GitHub draws nothing that is longer.
LIMIT = 40_000

# Colours that can be told apart on light and dark pages; the signs say the same to who sees no colours.
_STYLES: dict[str, str] = {
    "component": "fill:transparent,stroke:#8c959f",
    Change.CREATE: "fill:#1a7f37,stroke:#116329,color:#fff",
    Change.UPDATE: "fill:#bf8700,stroke:#7d4e00,color:#fff",
    Change.DELETE: "fill:#cf222e,stroke:#82071e,color:#fff",
    Change.SAME: "fill:#eaeef2,stroke:#8c959f,color:#57606a",
}


def mermaid(preview: Preview, most: int) -> str:
    """Return the graph. Where more than `most` resources of a component change alike, one node counts them."""
    resources = preview.resources
    box_of = _boxes(resources)
    inside: defaultdict[int, list[int]] = defaultdict(list)
    for index, box in box_of.items():
        if index != box:
            inside[box].append(index)
    chart = Flowchart(_STYLES)
    for box in (index for index, box in box_of.items() if index == box):
        _add_box(chart, resources, box, inside[box], most)
    for first, then in sorted(arrows(_awaited(resources, box_of))):
        chart.arrow(f"r{first}", f"r{then}")
    return str(chart)


def _add_box(chart: Flowchart, resources: tuple[ChangedResource, ...], box: int, inside: list[int], most: int) -> None:
    """Draw a component: as one node where nothing in it changes, else with all that does."""
    resource = resources[box]
    same = all(resources[index].change is Change.SAME for index in (box, *inside))
    if not inside:
        chart.node(f"r{box}", _labelled(resource), style=resource.change)
    elif same:
        chart.node(f"r{box}", f"{resource.name}: {len(inside)} unchanged", style=Change.SAME)
    else:
        with chart.box(f"r{box}", resource.name, style="component"):
            for change in Change:
                alike = {index: resources[index] for index in inside if resources[index].change is change}
                if alike and (change is Change.SAME or len(alike) > most):
                    chart.node(f"r{box}{change}", _counted(change, list(alike.values())), style=change)
                    continue
                for index, each in alike.items():
                    chart.node(f"r{index}", _labelled(each, resource.name), style=change)


def _boxes(resources: tuple[ChangedResource, ...]) -> dict[int, int]:
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


def _counted(change: Change, resources: list[ChangedResource]) -> str:
    """Say how many there are, and of what kinds where that is news."""
    if change is Change.SAME:
        return f"{len(resources)} unchanged"
    kinds = Counter(resource.kind for resource in resources).most_common(3)
    named = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"{change.sign} {len(resources)} {change.word}: {named}"


def _labelled(resource: ChangedResource, component: str = "") -> str:
    """Return sign, kind and name, without what the name repeats of its component and kind."""
    name = resource.name.removeprefix(f"{component}-").removeprefix(f"{resource.kind.lower()}-")
    return f"{resource.change.sign} {resource.kind} {name}".strip()


def _awaited(resources: tuple[ChangedResource, ...], box_of: Mapping[int, int]) -> dict[int, set[int]]:
    """Return which boxes each box waits for."""
    direct: defaultdict[int, set[int]] = defaultdict(set)
    for index, box in box_of.items():
        direct[box] |= {box_of[other] for other in resources[index].after if other in box_of} - {box}
    return direct
