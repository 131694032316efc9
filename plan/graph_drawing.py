"""A recording for people: a tree, the outputs, and a Mermaid graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pulumi.output import Unknown
from rich.tree import Tree

from display.mermaid import Flowchart, arrows
from plan.recording import Recording


def tree(recording: Recording) -> Tree:
    """Return the tree of parents and children."""

    def grown(key: str | None, branch: Tree) -> Tree:
        for child in recording.children(key):
            resource = recording.resources[child]
            grown(child, branch.add(f"{resource.name}  ({resource.kind})"))
        return branch

    return grown(None, Tree("Stack"))


def outputs(recording: Recording) -> Iterator[str]:
    """Yield the outputs of the stack, without the secret ones' values."""
    for key, value in sorted(recording.outputs.items()):
        yield f"{key}: {'[secret]' if key in recording.secret_outputs else _shown(value)}"


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
