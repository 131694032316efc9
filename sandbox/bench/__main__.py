"""Measures how fast the stack is: against the guide typed as a script, its own graph, and a program that makes nothing.

Contenders take turns on fresh sandboxes, with the same charts; what counts are medians and their ratios. Checks are off
in them, and a figure of their own. The table, build/bench/results.json and two pictures beside it say what came out.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from names import SANDBOX_NAME
from sandbox import SandboxError, kwok_cluster, pulumi_engine
from sandbox.bench import report
from sandbox.bench.rows import MEASUREMENTS, Measurement
from sandbox.bench.run_progress import Progress
from sandbox.paths import CHECKOUT

_NAME = "bench"
_OUTPUT = CHECKOUT.root / "build" / "bench" / "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 1 where something could not be measured."""
    options = _parser().parse_args(arguments)
    _take_sandbox()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        kwok_cluster.up()
        # Only in a sandbox can what is missing be had.
        missing = pulumi_engine.missing()
        failed = _measure(_chosen(options.only, missing), options)
    except SandboxError as problem:
        sys.exit(str(problem))
    finally:
        kwok_cluster.down()
    if missing:
        print(f"Rehearsed, and not all was measured: {missing}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    figures = [name for measurement in MEASUREMENTS for name in measurement.figures]
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.bench", description=__doc__, epilog=f"The figures: {', '.join(figures)}."
    )
    parser.add_argument("--runs", type=_count, default=5, help="runs of each contender (5)")
    parser.add_argument("--ups", type=_count, default=20, help="ups in a row for the figure sidecars (20)")
    parser.add_argument("--only", nargs="+", choices=figures, default=figures, metavar="FIGURE", help="these alone")
    parser.add_argument("--output", type=Path, default=_OUTPUT, metavar="FILE", help="where the results go, as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _take_sandbox() -> None:
    """Mean a sandbox of another name than the user's own, so that this is left in peace."""
    if not CHECKOUT.name:
        CHECKOUT.select(_NAME)
        os.environ[SANDBOX_NAME] = _NAME
    if CHECKOUT.sandbox.exists():
        sys.exit(
            f"The sandbox {CHECKOUT.name} is there, and a measurement needs fresh ones: run `make down NAME={CHECKOUT.name}` "
            "first, unless another measurement runs."
        )


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit("Ended, and the sandbox with it.")


def _chosen(names: Sequence[str], missing: str) -> list[Measurement]:
    """Return what there is to measure, without what takes the engine where that is missing."""
    found = []
    for kind in MEASUREMENTS:
        out_of_reach = kind.by_engine if missing else ()
        if wanted := [name for name in kind.figures if name in names and name not in out_of_reach]:
            found.append(kind(wanted))
    return found


def _measure(measurements: Sequence[Measurement], options: argparse.Namespace) -> dict[str, str]:
    """Run each measurement as often as it shall be; return why some failed. What there is so far is always written."""
    planned = [(each, options.ups if each.name == "sidecars" else options.runs) for each in measurements]
    progress = Progress([(each.name, each.seconds, runs) for each, runs in planned])
    failed: dict[str, str] = {}
    for measurement, runs in planned:
        try:
            for number in range(runs):
                measurement.run(number)
                progress.done(measurement.name, measurement.results())
                report.write(measurements, failed, options.output)
        except SandboxError as problem:
            failed[measurement.name] = str(problem)
            progress.failed(measurement.name, str(problem))
    report.write(measurements, failed, options.output)
    report.show(measurements, failed, options.output)
    return failed


if __name__ == "__main__":
    sys.exit(main())
