"""Previews the stacks of a change and of what it is compared with, and writes one bounded JSON file for each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from preview import compare, policies, pulumi_preview, tree
from preview.changes import Difference, Part, Preview
from preview.chart_changes import ChartError, Helm, helm_at
from preview.compare import Side
from preview.pulumi_preview import EngineError, Run
from preview.schema import DIFFERENCES, FILE_BYTES, RESOURCES, SENTENCE_CHARACTERS, clean
from sandbox import SandboxError, tools

ROOT = Path(__file__).resolve().parent.parent


def stacks(root: Path = ROOT) -> list[str]:
    """Return the names of the stacks that have a file."""
    return sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in root.glob("Pulumi.*.yaml"))


@contextmanager
def trees(base: str, root: Path = ROOT) -> Iterator[tuple[Path, Path | None]]:
    """Copy the project as it is, and as it was in the commit `base` if there is one; yield both folders."""
    with tempfile.TemporaryDirectory(prefix="trees-") as name:
        head, before = Path(name) / "head", Path(name) / "base"
        head.mkdir()
        tree.working(root, head)
        if base:
            before.mkdir()
            tree.committed(root, base, before)
        yield head, before if base else None


def collect(
    stack: str, head: Path, base: Path | None, charts: Mapping[str, str], excuses: Sequence[Path] = ()
) -> Preview:
    """Preview one stack; whatever fails is part of what is returned."""
    try:
        after = pulumi_preview.preview(head, stack, charts)
    except EngineError as problem:
        return Preview(stack=stack, problem=_sentence(problem))
    seconds = {"preview": after.seconds}
    before, base_problem = _base(stack, base, charts)
    if before:
        seconds["preview of the base"] = before.seconds
    sides = Side(root=head, states=after.states), Side(root=base, states=before.states) if base and before else None
    started = time.monotonic()
    differences = _differences(*sides)
    seconds["charts"] = time.monotonic() - started
    started = time.monotonic()
    found = policies.ask(head, stack, charts, excuses)
    seconds["policies"] = time.monotonic() - started
    return bounded(
        Preview(
            stack=stack,
            compared=before is not None,
            base_problem=base_problem,
            resources=compare.resources(*sides)[:RESOURCES],
            differences=differences,
            policies=found,
            seconds={name: round(value, 2) for name, value in seconds.items()},
        )
    )


def _base(stack: str, base: Path | None, charts: Mapping[str, str]) -> tuple[Run | None, str]:
    """Preview what the change is compared with; a stack that it does not have yet is an empty one."""
    if base is None:
        return None, ""
    if not (base / f"Pulumi.{stack}.yaml").is_file():
        return Run(states={}, seconds=0.0), ""
    try:
        return pulumi_preview.preview(base, stack, charts), ""
    except EngineError as problem:
        return None, _sentence(problem)


def _differences(head: Side, base: Side | None) -> tuple[Difference, ...]:
    if base is None:
        return ()
    found = list(compare.differences(head, base, _helm()))
    left = len(found) - DIFFERENCES
    if left > 0:
        found = found[: DIFFERENCES - 1]
        found.append(Difference(part=Part.OBJECTS, name="…", note=f"{left + 1} more differences are left off"))
    return tuple(found)


def _helm() -> Helm | ChartError:
    try:
        return helm_at(tools.ensure(["helm"])["helm"])
    except SandboxError as problem:
        return ChartError(str(problem))


def _sentence(problem: Exception) -> str:
    return clean(" ".join(str(problem).split()))[:SENTENCE_CHARACTERS]


def bounded(preview: Preview) -> Preview:
    """Leave the longest differences off until the file is of a size that is taken."""
    while len(preview.to_json().encode()) > FILE_BYTES and any(each.text for each in preview.differences):
        longest = max(preview.differences, key=lambda each: len(each.text))
        short = replace(longest, text="", note="this difference is left off: there are too many")
        preview = replace(preview, differences=tuple(short if d is longest else d for d in preview.differences))
    return preview
