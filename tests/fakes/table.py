"""The table checks x mutants, in Markdown: `python -m tests.fakes.table`."""

from __future__ import annotations

from checks import answers, dashboards, kiali_edge, kong_programmed, limit, prometheus_edge, strict, traffic
from checks.framework import Check, Outcome, Result, perform

from .world import MUTANTS, Mutant, World

CHECKS: tuple[Check, ...] = (
    *kong_programmed.CHECKS,
    *answers.CHECKS,
    *limit.CHECKS,
    *traffic.CHECKS,
    *prometheus_edge.CHECKS,
    *kiali_edge.CHECKS,
    *strict.CHECKS,
    *dashboards.CHECKS,
)

_MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "**fails**", Outcome.NOT_CHECKED: "not checked"}


def results(mutant: Mutant) -> dict[str, Result]:
    """Run every check against a world of its own with that mutant in it."""
    found = {}
    for check in CHECKS:
        world = World()
        mutant.spoil(world)
        with world.running() as target:
            found[check.number] = perform(check, target)
    return found


def markdown(table: dict[str, dict[str, Result]]) -> str:
    """Return the table; one row for each mutant, one column for each check."""
    heads = [f"{check.number} {check.name}" for check in CHECKS]
    lines = [f"| mutant | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, row in table.items():
        marks = [_MARKS[row[check.number].outcome] for check in CHECKS]
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown({mutant.name: results(mutant) for mutant in MUTANTS}), end="")
