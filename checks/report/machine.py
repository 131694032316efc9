"""A run as JSON."""

from __future__ import annotations

import json
from typing import Any

from checks.framework import Result
from checks.report import Run


def render(run: Run) -> str:
    """Return the report as JSON. Fields are only added, never renamed."""
    report = {
        "subject": run.subject,
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 3),
        **run.counts,
        "checks": [_entry(result) for result in run.results],
    }
    return json.dumps(report, indent=2) + "\n"


def _entry(result: Result) -> dict[str, Any]:
    check = result.check
    told = {"expected": result.expected, "cause": result.cause, "look": result.look}
    return {
        "number": check.number,
        "name": check.name,
        "statement": check.statement,
        "how": check.how,
        "outcome": str(result.outcome),
        "seen": result.actual,
        **{key: text for key, text in told.items() if text},
        "seconds": round(result.seconds, 3),
    }
