"""What a run says while it runs: a line for each check that is done, and on a terminal what it waits for."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from checks.model import Check, Result
from checks.report import printable, table

_TURNS = "|/-\\"
_CLEAR = "\r\x1b[K"
_TURN_SECONDS = 0.1


class Progress:
    """Tells how far a run is."""

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self._stream, self._colour = stream, colour
        self._terminal = stream.isatty()
        self._turned = 0.0

    def done(self, result: Result) -> None:
        """Tell what came of a check."""
        word = table.outcome_word(result.outcome, colour=self._colour, width=12)
        self._write(f"{self._clear}{word} {printable(result.check.name)} ({result.seconds:.1f} s)\n")

    def waiting(self, checks: list[Check]) -> None:
        """Tell what is waited for, where somebody watches."""
        if not self._terminal or time.monotonic() - self._turned < _TURN_SECONDS:
            return
        self._turned = time.monotonic()
        turn = _TURNS[int(self._turned / _TURN_SECONDS) % len(_TURNS)]
        text = f"{turn} {', '.join(check.name for check in checks)}"
        self._write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Take away what only somebody watching needs."""
        self._write(self._clear)

    @property
    def _clear(self) -> str:
        return _CLEAR if self._terminal else ""

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()


def on_stderr(*, colour: bool) -> Progress:
    """Return progress on standard error, which leaves standard output to the report."""
    return Progress(sys.stderr, colour=colour)
