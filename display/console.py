"""The terminal, through rich: its width, its colours, its encoding, and whether there is one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

_WIDEST, _WITHOUT_TERMINAL = 160, 120
_BAR_WIDTH = 30


def console(stream: TextIO) -> Console:
    """Return a console that prints text as it is, without markup in it and without guesses at what to colour.

    Colours are for a terminal: NO_COLOR takes them away, FORCE_COLOR gives them to a pipe too, as logs of CI can show them.
    A pipe gets lines of up to 120 characters, and nothing that moves.
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        # An arrow in a sentence must not end the command where the terminal's encoding has none.
        stream.reconfigure(errors="replace")
    found = Console(
        file=stream,
        color_system=None if "NO_COLOR" in os.environ else "auto",
        markup=False,
        emoji=False,
        highlight=False,
        force_interactive=None if stream.isatty() else False,
    )
    found.width = min(found.width, _WIDEST) if stream.isatty() else _WITHOUT_TERMINAL
    return found


def ruled_table(*headers: str) -> Table:
    """Return a table with a line below its headers, and nothing round it."""
    return Table(*headers, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")


@contextmanager
def requests_bar(stream: TextIO, total: int) -> Iterator[Callable[[int, str], None]]:
    """Draw a bar, on a terminal only; yield what moves it: called with how many are done, and what is waited for."""
    to = console(stream)
    columns = (
        BarColumn(_BAR_WIDTH, complete_style="cyan"),
        MofNCompleteColumn(),
        TextColumn("requests{task.fields[note]}"),
    )
    with Progress(*columns, console=to, disable=not to.is_interactive, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total, note="")

        def move(done: int, note: str) -> None:
            progress.update(task, completed=done, note=note and f", {note}", refresh=True)

        yield move
