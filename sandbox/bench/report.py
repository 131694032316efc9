"""What came out: a table for people, JSON with every run, and two pictures."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from display.console import console, ruled_table
from sandbox import isolation, tools
from sandbox.bench import pictures
from sandbox.bench.contenders import Answered
from sandbox.bench.measuring import Run
from sandbox.bench.rows import Figure, Measurement, Side
from sandbox.facts import Facts
from sandbox.paths import CHECKOUT
from sandbox.programs import TOOLS

_MARKS = {True: "yes", False: "NO", None: ""}


def write(measurements: Sequence[Measurement], failed: Mapping[str, str], file: Path) -> None:
    """Write the results, and pictures beside them: NAME.svg of the medians, and timeline.svg of one `up`, a slow one if any."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figures = figures_of(measurements)
    told = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "figures": [described(figure) for figure in figures],
        "failed": dict(failed),
        "runs": {each.name: {side: list(map(_run, runs)) for side, runs in each.runs.items()} for each in measurements},
    }
    file.write_text(json.dumps(_rounded(told), indent=1) + "\n")
    file.with_suffix(".svg").write_text(pictures.medians(figures))
    if ups := sorted(_ups(measurements), key=lambda run: run.seconds):
        file.with_name("timeline.svg").write_text(pictures.timeline(ups[-1]))


def show(measurements: Sequence[Measurement], failed: Mapping[str, str], file: Path) -> None:
    """Print the table, what could not be measured, and where the rest is written."""
    table = ruled_table("", "median ± half the range", "figure", "goal", "reached")
    for figure in figures_of(measurements):
        sides = "\n".join(
            f"{side.median:.1f} ± {side.spread:.1f} {figure.unit}  {side.name}" for side in sides_of(figure)
        )
        value = f"{figure.value:.2f}" if figure.below else f"{figure.value:.1f} {figure.unit}"
        goal = "" if figure.goal is None else f"≤ {figure.goal:g}"
        title = f"{figure.title}\n({figure.remark})" if figure.remark else figure.title
        table.add_row(title, sides, value, goal, _MARKS[figure.reached])
    to = console(sys.stdout)
    to.print(table)
    for name, problem in failed.items():
        to.print(f"{name} could not be measured: {problem}", soft_wrap=True)
    to.print(
        f"Every run: {os.path.relpath(file)}; pictures: {file.stem}.svg and timeline.svg beside it", soft_wrap=True
    )


def figures_of(measurements: Sequence[Measurement]) -> list[Figure]:
    """Return the figures that there are so far, of those that are wanted."""
    return [
        figure
        for each in measurements
        if any(each.runs.values())
        for figure in each.results()
        if figure.name in each.wanted
    ]


def sides_of(figure: Figure) -> list[Side]:
    """Return the one contender of a figure, or the two."""
    return [side for side in (figure.above, figure.below) if side]


def described(figure: Figure) -> dict[str, Any]:
    """Return a figure as it stands in the JSON."""
    sides = [
        {"name": side.name, "median": side.median, "spread": side.spread, "runs": side.values}
        for side in sides_of(figure)
    ]
    told = {"name": figure.name, "title": figure.title, "unit": figure.unit, "remark": figure.remark}
    return {**told, "contenders": sides, "value": figure.value, "goal": figure.goal, "reached": figure.reached}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _run(run: Run) -> dict[str, Any]:
    told = {
        name: value for name, value in vars(run).items() if name not in ("lines", "path", "pods", "without_sidecar")
    }
    if isinstance(run, Answered):
        told["pods"] = {name: asdict(times) for name, times in run.pods.items()}
        told["without_sidecar"] = sorted(run.without_sidecar)
        if run.path:
            told["steps"] = [asdict(step) for step in run.path.steps.values()]
            told["critical_path"] = {"seconds": run.path.seconds, "start": run.path.start, "steps": str(run.path)}
    return told


def _ups(measurements: Sequence[Measurement]) -> list[Answered]:
    """Return the ups whose steps are known, those on slow pods alone if there are some."""
    found = {
        each.name: [run for runs in each.runs.values() for run in runs if isinstance(run, Answered) and run.path]
        for each in measurements
    }
    return found.get("slow") or [run for runs in found.values() for run in runs]


def _machine() -> dict[str, Any]:
    facts = Facts.load(CHECKOUT.facts)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_mib": pages // 2**20,
        "system": platform.platform(),
        "python": platform.python_version(),
        "pulumi": _pulumi(),
        "packages": {name: version(name) for name in ("pulumi", "pulumi-kubernetes", "pulumi-command")},
        "kubernetes": TOOLS["kube-apiserver"].version,
        "charts": dict(facts.origins) if facts else {},
    }


def _pulumi() -> str:
    program = shutil.which("pulumi", path=isolation.environment()["PATH"])
    return tools.said(Path(program), "version").strip() if program else ""
