"""The checks as a table for people: `python -m checks.listing` prints docs/checks.md."""

from __future__ import annotations

from checks.framework import Check
from checks.registry import CHECKS

_HEAD = """# What is checked

<!-- Written by `python -m checks.listing`; a test sees that it is current. -->

Each check polls and gives up after its time. *Containers*: it needs containers that run, and says "not checked" where nodes
are simulated. *Load*: it sends load or creates something, and is left out where `checks.load` is false.

| | what must be true | how it is looked at | seconds | needs |
| --- | --- | --- | --- | --- |"""

_TAIL = """| 16 | Nothing would change. | `python -m checks unchanged`: `pulumi preview --expect-no-changes`, also after a refresh | | |
| 17 | Nothing is left after a destroy. | `python -m checks gone`: namespaces, webhooks, roles, CRDs, ConfigMaps, releases | | |
| 18 | Nobody has changed in the cluster what the stack made. | `python -m checks drift`: `pulumi preview --refresh`, and each release's manifest against the cluster | | |"""


def main() -> None:
    """Print the page."""
    print(page())


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(_row(check) for check in CHECKS), _TAIL])


def _row(check: Check) -> str:
    needs = ", ".join(word for word, needed in (("containers", check.data_path), ("load", check.load)) if needed)
    cells = (check.number, check.statement, f"{check.name}: {check.how}", str(check.seconds), needs)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    main()
