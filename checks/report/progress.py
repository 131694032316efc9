"""What a run says while it runs: a line for each check that is done, and on a terminal what it waits for."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from checks.framework import Check, Result
from checks.report import printed
from display.printable import one_line


class Progress:
    """Tells how far a run is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner = Spinner("line")
        # Standard output is the report's, and stays it.
        self._live = Live(self._spinner, console=console, transient=True, redirect_stdout=False)

    def done(self, result: Result) -> None:
        """Tell what came of a check."""
        word = printed.coloured(result.outcome, width=12)
        self._console.print(word, f"{one_line(result.check.name)} ({result.seconds:.1f} s)", soft_wrap=True)

    def waiting(self, checks: list[Check]) -> None:
        """Tell what is waited for, where somebody watches."""
        if self._console.is_interactive:
            self._spinner.update(text=Text(", ".join(check.name for check in checks)))
            self._live.start()

    def clear(self) -> None:
        """Take away what only somebody watching needs."""
        self._live.stop()
