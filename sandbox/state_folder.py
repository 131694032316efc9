"""What the stack's state tells by its files: in a sandbox it is a folder, and the CLI takes seconds to say the same.

The layout is the CLI's own (pulumi: pkg/backend/diy). Whatever can't be read counts as cut off: `recovery` asks the CLI then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.paths import CHECKOUT, Paths

_PROJECT = "kong-istio"
_UPDATES = ("update", "destroy")


def holds(stack: str, paths: Paths = CHECKOUT) -> bool:
    """Return whether there is a stack of this name."""
    return _checkpoint(stack, paths).is_file()


def is_cut_off(stack: str, paths: Paths = CHECKOUT) -> bool:
    """Return whether an `up` or a `destroy` may not have come to a good end, or may be running."""
    if any(_folder("locks", paths).rglob(f"{stack}/*.json")):
        return True
    try:
        result = next((each["result"] for each in _history(stack, paths) if each["kind"] in _UPDATES), "succeeded")
        return bool(result != "succeeded" or _latest(stack, paths).get("pending_operations"))
    except (OSError, ValueError, KeyError):
        return True


def outputs(stack: str, paths: Paths = CHECKOUT) -> dict[str, Any]:
    """Return a stack's outputs; what is secret in them stays encrypted."""
    resources = _latest(stack, paths).get("resources") or []
    return next((each.get("outputs") or {} for each in resources if each["type"] == "pulumi:pulumi:Stack"), {})


def _history(stack: str, paths: Paths) -> Iterator[dict[str, Any]]:
    """Yield what was done to a stack, the last first: its time is in a file's name."""
    for file in sorted((_folder("history", paths) / _PROJECT / stack).glob("*.history.json"), reverse=True):
        yield json.loads(file.read_text())


def _latest(stack: str, paths: Paths) -> dict[str, Any]:
    return dict(json.loads(_checkpoint(stack, paths).read_text())["checkpoint"].get("latest") or {})


def _checkpoint(stack: str, paths: Paths) -> Path:
    return _folder("stacks", paths) / _PROJECT / f"{stack}.json"


def _folder(name: str, paths: Paths) -> Path:
    return paths.state / ".pulumi" / name
