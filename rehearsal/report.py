"""A recording as text: lines of progress, a tree, a timeline with the critical path, and a Mermaid graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pulumi.output import Unknown

from rehearsal.graph import Recording, Resource

_BAR = 40


def progress(resource: Resource) -> str:
    """Return one line on a resource that is done."""
    return f"{resource.finished:7.2f} s  {resource.duration:6.2f} s  {resource.label}  {resource.outcome}"


def tree(recording: Recording, parent: str | None = None, indent: str = "") -> Iterator[str]:
    """Yield the lines of the tree of parents and children."""
    children = recording.children(parent)
    for key in children:
        last = key == children[-1]
        resource = recording.resources[key]
        yield f"{indent}{'└─ ' if last else '├─ '}{resource.name}  ({resource.kind})"
        yield from tree(recording, key, indent + ("   " if last else "│  "))


def timeline(recording: Recording) -> Iterator[str]:
    """Yield a bar for each resource that took time; `*` and full blocks mark the critical path."""
    critical = recording.critical_path()
    shown = sorted((r for r in recording.resources.values() if r.outcome), key=lambda r: (r.started, r.name))
    total = max((r.finished for r in shown), default=0.0)
    path = {id(recording.resources[key]) for key in critical}
    width = max((len(r.label) for r in shown), default=0)
    for resource in shown:
        marked = id(resource) in path
        blocks = ("█" if marked else "░") * max(1, round(resource.duration / total * _BAR))
        bar = " " * round(resource.started / total * _BAR) + blocks
        yield f"{'*' if marked else ' '} {resource.label:{width}}  {resource.duration:6.2f} s  {bar}".rstrip()
    length = sum(recording.resources[key].duration for key in critical)
    yield f"Total {total:.2f} s; critical path {length:.2f} s: {' > '.join(critical)}"


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
    lines = ["flowchart LR"]

    def boxes(parent: str | None, indent: str) -> None:
        for key in recording.children(parent):
            if key not in ids:
                continue
            resource = resources[key]
            time = f"<br/>{resource.duration:.1f} s" if resource.outcome else ""
            text = f'{ids[key]}["{resource.kind}<br/>{resource.name}{time}"]'
            if recording.children(key):
                lines.append(f"{indent}subgraph {text}")
                boxes(key, indent + "  ")
                lines.append(f"{indent}end")
            else:
                lines.append(indent + text)

    boxes(None, "  ")
    lines += [f"  {ids[a]} --> {ids[b]}" for b in resources for a in _direct(recording, b) if a in ids]
    critical = [ids[key] for key in recording.critical_path() if key in ids and resources[key].custom]
    if critical:
        lines += ["  classDef critical stroke:#c00,stroke-width:3px", f"  class {','.join(critical)} critical"]
    return "\n".join(lines) + "\n"


def _direct(recording: Recording, key: str) -> list[str]:
    """Return the dependencies that do not follow from another one or from the parent's."""
    resource = recording.resources[key]
    implied = set().union(*(recording.waits_for(other) for other in resource.waits_for))
    return sorted(resource.dependencies - implied)
