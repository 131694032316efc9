"""Row 16: a stack that is up stays as it is, by what Pulumi would do now."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from checks.framework import Check, Failed, NotChecked
from checks.selected_stack import Stack, StackError
from checks.target import Target

SECONDS = 600
_SHOWN = 5
# Steps that leave everything as it is.
_HARMLESS = {"same", "refresh", "read"}


def checks(stack: Stack) -> tuple[Check, ...]:
    """Return the checks for a stack."""
    return (
        Check(
            number="16",
            name="second up",
            statement="A second `pulumi up` changes nothing.",
            how="pulumi preview --expect-no-changes",
            look=preview(stack),
            seconds=SECONDS,
        ),
        Check(
            number="16b",
            name="up after refresh",
            statement="Nor does one that first looks at what is really there.",
            how="pulumi preview --refresh --expect-no-changes",
            look=preview(stack, "--refresh"),
            seconds=SECONDS,
        ),
    )


def preview(stack: Stack, *options: str, remedy: str = "") -> Callable[[Target], str]:
    """Return the look at what Pulumi would do; `remedy`: the command to name where it would do something."""

    def look(_: Target) -> str:
        if stack.rehearsed:
            raise NotChecked("the stack was rehearsed, and only Pulumi's engine can say what it would do")
        try:
            done = stack.pulumi("preview", "--expect-no-changes", "--json", *options, seconds=SECONDS)
        except StackError as error:
            raise NotChecked(str(error).rstrip(".")) from None
        plan = _plan(done.stdout)
        changes = [_change(step) for step in plan.get("steps") or [] if step.get("op") not in _HARMLESS]
        if not done.returncode and not changes:
            return f"{(plan.get('changeSummary') or {}).get('same', 0)} resources unchanged"
        command = " ".join(["pulumi", "preview", "--diff", *options, "--stack", stack.name])
        if changes:
            cause = "settings or files that differ from those of the last up, or somebody else's change"
            raise Failed("no change", _told(changes), cause=cause, look=remedy or command)
        reason = _reason(plan, done.stderr)
        raise Failed("a preview without changes", reason, cause="Pulumi cannot preview the stack", look=command)

    return look


def _plan(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


def _change(step: dict[str, Any]) -> str:
    """Return `update Service bookinfo-service-productpage` for a step."""
    kind, _, name = str(step.get("urn", "")).rpartition("::")
    return f"{step.get('op')} {kind.rpartition(':')[2]} {name}"


def _told(changes: Sequence[str]) -> str:
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return f"{', '.join(changes[:_SHOWN])}{more}"


def _reason(plan: dict[str, Any], complained: str) -> str:
    found = [entry.get("message", "") for entry in plan.get("diagnostics") or [] if entry.get("severity") == "error"]
    lines = [line.strip() for text in (*found, complained) for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "pulumi said nothing"
