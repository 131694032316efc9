"""What a run of checks found, and the forms in which it is told: for people, for machines, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from checks.framework import Outcome, Result
from checks.target import Target

JUNIT, JSON, HTML = "junit.xml", "report.json", "report.html"


class Part(StrEnum):
    """What of the stack a check shows."""

    CONTROL_PLANE = "control plane"
    GATEWAY = "gateway"
    ENTRANCE = "clients to Kong"
    EDGE = "Kong to the applications"
    DASHBOARDS = "dashboards"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Checks that were run. `subject` names the stack; `parts` says what each check shows, by its name."""

    subject: str
    results: tuple[Result, ...]
    started: datetime
    seconds: float
    target: Target | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)

    def having(self, outcome: Outcome) -> list[Result]:
        """Return the results with an outcome."""
        return [result for result in self.results if result.outcome is outcome]

    @property
    def summary(self) -> str:
        """How many passed, failed and were not checked."""
        return ", ".join(f"{len(self.having(outcome))} {outcome}" for outcome in Outcome)

    @property
    def counts(self) -> dict[str, int]:
        """The same for machines."""
        keys = {Outcome.PASSED: "passed", Outcome.FAILED: "failed", Outcome.NOT_CHECKED: "notChecked"}
        return {key: len(self.having(outcome)) for outcome, key in keys.items()}

    @property
    def exit_code(self) -> int:
        """0: nothing failed; 1: something did."""
        return 1 if self.having(Outcome.FAILED) else 0


def write(path: Path, text: str) -> None:
    """Write a report, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
