"""`python -m sandbox.overview`: what `make up` makes and in which order, with the settings; needs no program and no cluster."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pulumi import RunError
from rich.console import Console

from display.console import console, ruled_table
from plan.program import record_stack
from plan.recording import Recording
from plan.stack_config import Project
from sandbox import machine_settings
from sandbox.paths import CHECKOUT
from versions import CHARTS


def main() -> int:
    """Print the overview; return the exit status."""
    try:
        with TemporaryDirectory() as folder:
            recording = _planned(Path(folder))
    except RunError as problem:
        print(problem, file=sys.stderr)
        return 1
    show(recording, machine_settings.committed().get("config") or {}, console(sys.stdout))
    return 0


def _planned(folder: Path) -> Recording:
    """Return what the stack registers, with folders in place of charts: where those come from is found out later."""
    for chart in CHARTS.values():
        (folder / chart.name).mkdir()
        (folder / chart.name / "Chart.yaml").write_text(f"name: {chart.name}\nversion: {chart.version}\n")
    charts = {name: str(folder / chart.name) for name, chart in CHARTS.items()}
    config = Project(CHECKOUT.root).read(CHECKOUT.committed_stack_file)
    values = {**config.values, "kong-istio:charts": json.dumps(charts)}
    return record_stack(replace(config, values=values), root=CHECKOUT.root)


def show(recording: Recording, settings: Mapping[str, Any], to: Console) -> None:
    """Print each component with what it creates and what of it waits for which, then the settings of the stack file."""
    leaves = {key: recording.leaves(key) for key in recording.children(None) if recording.children(key)}
    waited_for = {key: set().union(*map(recording.waits_for, below)) for key, below in leaves.items()}
    before = {key: {other for other in leaves.keys() - {key} if leaves[other] & waited_for[key]} for key in leaves}
    table = ruled_table("component", "creates", "after")
    for key in sorted(leaves, key=lambda key: (len(before[key]), key)):
        # Who waits for somebody waits for those before him as well.
        direct = before[key] - set().union(*(before[other] for other in before[key]))
        kinds = Counter(recording.resources[leaf].kind for leaf in leaves[key])
        created = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        names = sorted(recording.resources[other].name for other in direct)
        table.add_row(f"{recording.resources[key].name} ({recording.resources[key].kind})", created, ", ".join(names))
    to.print(table)
    to.print("\nsettings (Pulumi.sandbox.yaml)")
    for line in _lines(settings):
        to.print(f"  {line}", soft_wrap=True)


def _lines(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        name = f"{prefix}{key.removeprefix('kong-istio:')}"
        if isinstance(value, dict):
            yield from _lines(value, f"{name}.")
        else:
            yield f"{name}: {json.dumps(value)}"


if __name__ == "__main__":
    sys.exit(main())
