"""A recording for people: lines of progress, a tree, a timeline with the critical path, and a Mermaid graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pulumi.output import Unknown
from rich.bar import Bar
from rich.console import Console
from rich.table import Column, Table
from rich.tree import Tree

from display.mermaid import Flowchart, arrows
from plan.recording import Recording, Resource

# As many parts of the whole time make the shortest bar.
_SHORTEST = 100


def progress(resource: Resource) -> str:
    """Return one line on a resource that is done."""
    return f"{resource.finished:7.2f} s  {resource.duration:6.2f} s  {resource.label}  {resource.outcome}"


def show_tree(recording: Recording, to: Console) -> None:
    """Print the tree of parents and children."""

    def add(key: str | None, branch: Tree) -> Tree:
        for child in recording.children(key):
            resource = recording.resources[child]
            add(child, branch.add(f"{resource.name}  ({resource.kind})"))
        return branch

    to.print(add(None, Tree("Stack")))


def show_timeline(recording: Recording, to: Console) -> None:
    """Print a bar for each resource that took time; `*` and red mark the critical path."""
    critical = recording.critical_path()
    shown = sorted((r for r in recording.resources.values() if r.outcome), key=lambda r: (r.started, r.name))
    total = max((r.finished for r in shown), default=0.0)
    path = {id(recording.resources[key]) for key in critical}
    table = Table.grid(
        Column(), Column(no_wrap=True), Column(justify="right", no_wrap=True), Column(ratio=1), expand=True
    )
    table.padding = (0, 2, 0, 0)
    for resource in shown:
        mark, colour = ("*", "red") if id(resource) in path else ("", "default")
        bar = Bar(total, resource.started, max(resource.finished, resource.started + total / _SHORTEST), color=colour)
        table.add_row(mark, resource.label, f"{resource.duration:.2f} s", bar)
    to.print(table)
    length = sum(recording.resources[key].duration for key in critical)
    to.print(f"Total {total:.2f} s; critical path {length:.2f} s: {' > '.join(critical)}", soft_wrap=True)


def outputs(recording: Recording) -> Iterator[str]:
    """Yield the outputs of the stack, without the secret ones' values."""
    for key, value in sorted(recording.outputs.items()):
        yield f"{key}: {'[secret]' if key in recording.secret_outputs else _shown(value)}"


def public_outputs(recording: Recording) -> dict[str, Any]:
    """Return the outputs of the stack, without the secret ones."""
    return {key: value for key, value in recording.outputs.items() if key not in recording.secret_outputs}


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, default=_shown)
    return "(known after apply)" if isinstance(value, Unknown) else str(value)


def mermaid(recording: Recording) -> str:
    """Return the graph: boxes of components, arrows from what comes first, the critical path in red."""
    resources = {key: r for key, r in sorted(recording.resources.items()) if not r.is_provider}
    ids = {key: f"n{number}" for number, key in enumerate(resources)}
    critical = {key for key in recording.critical_path() if key in ids and resources[key].custom}
    chart = Flowchart({"critical": "stroke:#c00,stroke-width:3px"})

    def add(parent: str | None) -> None:
        for key in filter(ids.get, recording.children(parent)):
            resource = resources[key]
            label = (resource.kind, resource.name, *([f"{resource.duration:.1f} s"] if resource.outcome else []))
            if recording.children(key):
                with chart.box(ids[key], *label):
                    add(key)
            else:
                chart.node(ids[key], *label, style="critical" if key in critical else "")

    add(None)
    for first, then in sorted(arrows({key: resource.waits_for for key, resource in recording.resources.items()})):
        # What is in a box needs no arrow from the box.
        if {first, then} <= ids.keys() and first in resources[then].dependencies:
            chart.arrow(ids[first], ids[then])
    return f"{chart}\n"
