"""A rehearsal for people: lines of progress, and a timeline with the critical path."""

from __future__ import annotations

from rich.bar import Bar
from rich.console import Console
from rich.table import Column, Table

from plan.recording import Recording, Resource

# As many parts of the whole time make the shortest bar.
_SHORTEST = 100


def progress(resource: Resource) -> str:
    """Return one line on a resource that is done."""
    return f"{resource.finished:7.2f} s  {resource.duration:6.2f} s  {resource.label}  {resource.outcome}"


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
