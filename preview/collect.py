"""Previews a stack as it is after a change and as it was before: what differs, and what the policies find."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

import policy
from plan.stack_config import ROOT
from preview import compare, pulumi_preview
from preview.changes import DIFFERENCES, Difference, Part, Preview
from preview.compare import Side
from preview.pulumi_preview import EngineError
from preview.schema import FILE_BYTES, fitted

_OFFLINE = ROOT / "policy" / "offline.json"


def collect(stack: str, head: Path, base: Path | None, charts: Mapping[str, str]) -> Preview:
    """Preview one stack; whatever fails is part of what is returned. `charts` replace those of the stack."""
    started = time.monotonic()
    try:
        after = Side(root=head, resources=pulumi_preview.preview(head, stack, charts))
    except EngineError as problem:
        return bounded(Preview(stack=stack, problem=str(problem)))
    before, base_problem = _base(stack, base, charts)
    findings, policy_problem = _findings(stack, charts)
    return bounded(
        Preview(
            stack=stack,
            base_problem=base_problem,
            policy_problem=policy_problem,
            resources=compare.resources(after, before),
            differences=tuple(compare.differences(after, before)) if before else (),
            findings=findings,
            seconds=round(time.monotonic() - started, 2),
        )
    )


def _base(stack: str, base: Path | None, charts: Mapping[str, str]) -> tuple[Side | None, str]:
    """Preview what the change is compared with; a stack that it does not have yet is an empty one."""
    if base is None:
        return None, ""
    if not (base / f"Pulumi.{stack}.yaml").is_file():
        return Side(root=base, resources={}), ""
    try:
        return Side(root=base, resources=pulumi_preview.preview(base, stack, charts)), ""
    except EngineError as problem:
        return None, str(problem)


def _findings(stack: str, charts: Mapping[str, str]) -> tuple[tuple[policy.Finding, ...], str]:
    """Return what the policies find in a stack, or why they could not be asked."""
    with tempfile.TemporaryDirectory(prefix="policies-") as folder:
        file = Path(folder) / f"Pulumi.{stack}.yaml"
        try:
            file.write_text(yaml.safe_dump({"config": pulumi_preview.settings(ROOT / file.name, charts)}))
            # Charts that others stand in for are of other versions.
            return tuple(policy.findings(file, [_OFFLINE] if charts else [])), ""
        # Whatever a rule stumbles over, the rest of the preview is worth reading.
        except Exception as problem:
            return (), f"{type(problem).__name__}: {problem}"


def bounded(preview: Preview) -> Preview:
    """Return a preview that can be read: the longest differences are left off until the file's size is that of one."""
    left = len(preview.differences) - DIFFERENCES.most
    if left > 0:
        more = Difference(part=Part.OBJECTS, name="…", note=f"{left + 1} more differences are left off")
        preview = replace(preview, differences=(*preview.differences[: DIFFERENCES.most - 1], more))
    preview = fitted(preview)
    while len(preview.to_json().encode()) > FILE_BYTES and any(each.text for each in preview.differences):
        longest = max(preview.differences, key=lambda each: len(each.text))
        short = replace(longest, text="", note="this difference is left off: there are too many")
        preview = replace(preview, differences=tuple(short if d is longest else d for d in preview.differences))
    return preview
