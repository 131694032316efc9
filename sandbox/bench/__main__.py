"""Measures the stack against the guide typed as a script (`make bench`), and previews against the smallest program.

Every pair runs on a fresh sandbox of its own, with the same charts and values, alternating, so that what the machine
does besides falls on both. Medians and their ratio count; single times do not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from display.console import console, ruled_table
from names import GRAFANA, ISTIO_BASE, ISTIOD, KIALI, KONG, PROMETHEUS
from plan.program import record_stack
from plan.stack_config import Project
from sandbox import SandboxError, isolation, kwok_cluster, pulumi_engine, whole_stack
from sandbox.bench import exported
from sandbox.paths import CHECKOUT

_BASELINE = CHECKOUT.root / "sandbox" / "bench" / "baseline"
# Release -> what the guide's script calls its chart.
_RELEASES = {ISTIO_BASE: "BASE", KONG: "KONG"} | {name: name.upper() for name in (ISTIOD, PROMETHEUS, GRAFANA, KIALI)}


@dataclass(frozen=True)
class Run:
    """One run of a command: its time, and the memory of its largest process."""

    seconds: float
    peak_mib: float


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each side (3)")
    runs = parser.parse_args().runs
    if kwok_cluster.status().facts is not None:
        sys.exit("A sandbox is up, and a measurement needs fresh ones: run `make down` first.")
    try:
        _compare_up(runs)
        if not pulumi_engine.missing():
            _compare_previews(runs)
    except SandboxError as problem:
        sys.exit(str(problem))
    finally:
        kwok_cluster.down()
    return 0


def _compare_up(runs: int) -> None:
    by_engine = not pulumi_engine.missing()
    name = "pulumi up --skip-preview" if by_engine else "rehearsal (no Pulumi engine here)"
    guide, own, path = [], [], ""
    for number in range(runs):
        kwok_cluster.down()
        kwok_cluster.up()
        guide.append(_run_guide())
        kwok_cluster.down()
        kwok_cluster.up()
        own.append(_run_stack(by_engine))
        path = _critical_path(by_engine)
        print(f"run {number + 1}: guide {guide[-1].seconds:.1f} s, stack {own[-1].seconds:.1f} s", flush=True)
    _print_pair("guide as a script", guide, name, own)
    print(f"critical path of the last run: {path}")


def _compare_previews(runs: int) -> None:
    """Compare an unchanged `up` and a preview without a cluster with the preview of the smallest program."""
    settings = ["--config-file", os.path.relpath(CHECKOUT.stack_file, CHECKOUT.root)]
    away = CHECKOUT.sandbox / "Pulumi.away.yaml"
    config = yaml.safe_load(CHECKOUT.stack_file.read_text())
    config["config"] |= {"kong-istio:sandbox": False, "kong-istio:kubeconfig": ".sandbox/no-such-kubeconfig"}
    away.write_text(yaml.safe_dump(config))
    no_cluster = ["--config-file", os.path.relpath(away, CHECKOUT.root)]
    # The engine writes its salt into a stack's file: one beside the smallest program would be left behind.
    smallest_file = CHECKOUT.sandbox / "Pulumi.baseline.yaml"
    smallest_file.write_text("config: {}\n")
    smallest_settings = ["--config-file", os.path.relpath(smallest_file, _BASELINE)]
    _create_stack("away", CHECKOUT.root)
    _create_stack("baseline", _BASELINE)
    measured: dict[str, list[Run]] = {"smallest program": [], "unchanged up": [], "preview without a cluster": []}
    for _ in range(runs):
        measured["smallest program"].append(_timed(_pulumi("preview", "baseline", *smallest_settings), cwd=_BASELINE))
        unchanged = _pulumi("up", whole_stack.STACK, "--yes", "--skip-preview", "--expect-no-changes", *settings)
        measured["unchanged up"].append(_timed(unchanged))
        measured["preview without a cluster"].append(_timed(_pulumi("preview", "away", *no_cluster)))
    smallest = measured.pop("smallest program")
    for name, runs_of_it in measured.items():
        _print_pair("smallest program, preview", smallest, name, runs_of_it)


def _run_guide() -> Run:
    with tempfile.TemporaryDirectory() as folder:
        variables = {"VALUES": folder}
        for name, resource in _releases().items():
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump(resource["values"]))
            variables[f"CHART_{_RELEASES[name]}"] = _helm_chart(resource)
        return _timed(["bash", "sandbox/bench/guide.sh"], variables=variables)


def _releases() -> dict[str, dict[str, Any]]:
    """Return the inputs of the stack's releases, so that both sides install the same."""
    recording = record_stack(Project().read(CHECKOUT.stack_file))
    found = [item for item in recording.resources.values() if item.type == "kubernetes:helm.sh/v3:Release"]
    return {item.name: dict(item.inputs) for item in found}


def _helm_chart(release: Mapping[str, Any]) -> str:
    repository = (release.get("repositoryOpts") or {}).get("repo")
    version = f" --version {release['version']}" if release.get("version") else ""
    return f"{release['chart']}{f' --repo {repository}' if repository else ''}{version}"


def _run_stack(by_engine: bool) -> Run:
    if not by_engine:
        return _timed([sys.executable, "-m", "sandbox.rehearsal"])
    whole_stack.select_stack()
    settings = os.path.relpath(CHECKOUT.stack_file, CHECKOUT.root)
    return _timed(_pulumi("up", whole_stack.STACK, "--yes", "--skip-preview", "--config-file", settings))


def _critical_path(by_engine: bool) -> str:
    if not by_engine:
        return "see the rehearsal's timeline"
    state = json.loads(whole_stack.pulumi_output("stack", "export", "--stack", whole_stack.STACK))
    steps = exported.steps(state["deployment"]["resources"])
    return " > ".join(f"{name} {seconds:.1f} s" for name, seconds in steps)


def _create_stack(name: str, folder: Path) -> None:
    whole_stack.create(name, folder / "Pulumi.yaml")


def _pulumi(command: str, name: str, *arguments: str) -> list[str]:
    return ["pulumi", command, "--stack", name, *arguments, "--non-interactive"]


def _timed(command: Sequence[str], *, cwd: Path = CHECKOUT.root, variables: Mapping[str, str] | None = None) -> Run:
    environment = {**isolation.environment(), **(variables or {})}
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )
        # Of what a process tree used, wait4 tells the largest process alone.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SandboxError(f"`{' '.join(command[:3])}` failed:\n{said.read().decode(errors='replace')}")
    return Run(seconds, usage.ru_maxrss / 1024)


def _print_pair(first: str, firsts: Sequence[Run], second: str, seconds: Sequence[Run]) -> None:
    ratio = _median(seconds, lambda run: run.seconds) / _median(firsts, lambda run: run.seconds)
    table = ruled_table("", "median", "runs", "peak")
    for name, runs in ((first, firsts), (second, seconds)):
        median, peak = _median(runs, lambda run: run.seconds), _median(runs, lambda run: run.peak_mib)
        times = ", ".join(f"{run.seconds:.1f}" for run in runs)
        table.add_row(name, f"{median:.1f} s", times, f"{peak:.0f} MiB")
    table.add_row("ratio", f"{ratio:.2f}")
    to = console(sys.stdout)
    to.print(table)
    to.print()


def _median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    return statistics.median(figure(run) for run in runs)


if __name__ == "__main__":
    sys.exit(main())
