"""A run as a table for people, with what failed told in full below it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from checks.framework import Outcome, Result
from checks.report import Run
from display.console import ruled_table
from display.printable import one_line

_STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.NOT_CHECKED: "yellow"}
_INDENT = 6


def show(run: Run, console: Console) -> None:
    """Print the table, the failures in full and the summary; but for commands, no line is wider than the console."""
    table = ruled_table("#", "check", "outcome", "what was seen")
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[0].justify = "right"
    # A word that is longer than its column (an address, say) is broken, not cut.
    table.columns[-1].overflow = "fold"
    for result in run.results:
        number, name, actual = (one_line(text) for text in (result.check.number, result.check.name, result.actual))
        table.add_row(number, name, coloured(result.outcome), actual)
    console.print(table)
    for result in run.having(Outcome.FAILED):
        show_failure(result, console)
    console.print(f"\n{run.summary} ({run.seconds:.1f} s)")


def show_failure(result: Result, console: Console) -> None:
    """Print what was expected, what was seen, why, and how to look further."""
    console.print()
    console.print(coloured(Outcome.FAILED), f"{one_line(result.check.name)}: {one_line(result.check.statement)}")
    told = {"expected": result.expected, "actual": result.actual, "cause": result.cause}
    # The labels in a column of their own, so that the eye finds them.
    table = Table.grid(Column(width=_INDENT + 8), Column(overflow="fold"), padding=(0, 2, 0, 0))
    for label, text in told.items():
        if text:
            table.add_row(" " * _INDENT + label, one_line(text))
    console.print(table)
    if result.look:
        # In one piece, as it is there to be copied.
        console.print(f"{'':{_INDENT}}{'look':<9} {one_line(result.look)}", soft_wrap=True)


def coloured(outcome: Outcome, width: int = 0) -> Text:
    """Return an outcome, padded and in its colour."""
    return Text(f"{outcome:<{width}}", _STYLES[outcome])
