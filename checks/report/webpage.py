"""A run as one HTML page that needs nothing but itself: no script, no address, no other file."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from checks.framework import Outcome
from checks.report import Run, drawing
from display.printable import printable

_KINDS = {Outcome.PASSED: "passed", Outcome.FAILED: "failed", Outcome.NOT_CHECKED: "unseen"}


def render(run: Run) -> str:
    """Return the page."""
    shown = run.target and any(result.check.name in run.parts for result in run.results)
    return (
        _templates()
        .get_template("webpage.html")
        .render(
            run=run,
            kinds=_KINDS,
            failures=run.having(Outcome.FAILED),
            picture=drawing.draw(run, run.target) if run.target and shown else "",
        )
    )


def _templates() -> Environment:
    """Return the templates of this folder: whatever they show is escaped, and rid of what is not to be printed."""
    return Environment(
        loader=PackageLoader("checks.report", ""),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shown(value: Any) -> Any:
    return value if hasattr(value, "__html__") else printable(str(value))
