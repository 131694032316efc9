"""How far a download is: a bar on a terminal, and elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS = 5.0


class Transfer:
    """Shows one download. `size` is 0 where the server does not say it, `have` what an earlier one had fetched."""

    def __init__(self, name: str, size: int, have: int = 0) -> None:
        self._name, self._size, self._have, self._done = name, size, have, have
        self._started = self._said = time.monotonic()
        self._bar = _bar() if sys.stdout.isatty() else None

    def __enter__(self) -> Transfer:
        if self._bar:
            self._task = self._bar.add_task(self._name, total=self._size or None, completed=self._have)
            self._bar.start()
        return self

    def add(self, count: int) -> None:
        """Note that so many bytes more are there."""
        self._done += count
        if self._bar:
            self._bar.update(self._task, advance=count)
        elif time.monotonic() - self._said >= _SECONDS:
            self._say()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None:
            self._say()

    def _say(self) -> None:
        from rich.filesize import decimal

        self._said = time.monotonic()
        rate = (self._done - self._have) / max(self._said - self._started, 0.001)
        of = f" of {decimal(self._size)}" if self._size else ""
        print(f"  {self._name}: {decimal(self._done)}{of}, {decimal(int(rate))}/s", flush=True)


def _bar() -> Progress:
    # Whoever downloads nothing does not wait for the import.
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )
