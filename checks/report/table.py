"""A run as a table for people, with what failed told in full below it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from checks.model import Outcome, Result
from checks.report import Run, printable

_COLOURS = {Outcome.PASSED: "32", Outcome.FAILED: "1;31", Outcome.NOT_CHECKED: "33"}
_OUTCOME_WIDTH = max(len(outcome) for outcome in Outcome)
_NARROWEST = 30
_INDENT = "      "


def render(run: Run, width: int, *, colour: bool = False) -> str:
    """Return the table, the failures in full and the summary, no line longer than `width`."""
    failures = [line for result in run.having(Outcome.FAILED) for line in failure(result, width, colour=colour)]
    summary = f"{run.summary} ({run.seconds:.1f} s)"
    return "\n".join([*_table(run.results, width, colour=colour), *failures, "", summary])


def failure(result: Result, width: int, *, colour: bool = False) -> Iterator[str]:
    """Yield the lines that tell a failure: what was expected, what was seen, why, and how to look further."""
    yield ""
    yield f"{outcome_word(Outcome.FAILED, colour=colour)} {printable(result.check.name)}: {printable(result.check.statement)}"
    told = {"expected": result.expected, "seen": result.seen, "cause": result.cause}
    for label, text in told.items():
        if text:
            # `label` in a column of its own, so that the eye finds it.
            first = f"{_INDENT}{label:<9} "
            yield from _wrapped(text, width, first, " " * len(first))
    if result.look:
        # In one piece, as it is there to be copied.
        yield f"{_INDENT}{'look':<9} {_one_line(result.look)}"


def outcome_word(outcome: Outcome, *, colour: bool, width: int = 0) -> str:
    """Return an outcome, padded and coloured."""
    word = f"{outcome:<{width}}"
    return f"\x1b[{_COLOURS[outcome]}m{word}\x1b[0m" if colour else word


def _table(results: Sequence[Result], width: int, *, colour: bool) -> Iterator[str]:
    number = max((len(result.check.number) for result in results), default=1)
    name = max([len("check"), *(len(printable(result.check.name)) for result in results)])
    offset = number + name + _OUTCOME_WIDTH + 6
    yield f"{'#':>{number}}  {'check':<{name}}  {'outcome':<{_OUTCOME_WIDTH}}  what was seen"
    yield f"{'-' * number}  {'-' * name}  {'-' * _OUTCOME_WIDTH}  {'-' * max(width - offset, len('what was seen'))}"
    for result in results:
        word = outcome_word(result.outcome, colour=colour, width=_OUTCOME_WIDTH)
        head = f"{result.check.number:>{number}}  {printable(result.check.name):<{name}}  "
        seen = _lines(result.seen, max(width - offset, _NARROWEST))
        yield f"{head}{word}  {seen[0]}"
        yield from (" " * offset + line for line in seen[1:])


def _wrapped(text: str, width: int, first: str, further: str) -> Iterator[str]:
    lines = _lines(text, max(width - len(first), _NARROWEST))
    yield first + lines[0]
    yield from (further + line for line in lines[1:])


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(_one_line(text), width, break_on_hyphens=False) or [""]


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())
