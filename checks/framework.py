"""What a check is, and what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import TypeVar

from checks.target import Target

S = TypeVar("S")
T = TypeVar("T")

_AT_ONCE = 16
_POLL_SECONDS = 0.5
_TELL_SECONDS = 1.0

# Set when the run is interrupted: whatever polls in a thread ends, and clears up after itself.
stopping = threading.Event()

# Who tells of what a check waits for, in the thread that runs it.
_progress = threading.local()


class Outcome(StrEnum):
    """What came of a check. Not checked is neither: it says so, and never passes for passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


class Failed(Exception):  # noqa: N818 -- an outcome, not an error
    """What a check raises when what must be true is not.

    `expected` and `actual` are for people; `cause` is the likely one, `look` a command to look further.
    `certain`: waiting cannot heal it, so `eventually` does not.
    """

    def __init__(self, expected: str, actual: str, *, cause: str, look: str, certain: bool = False) -> None:
        super().__init__(f"expected {expected}, saw {actual}")
        self.expected, self.actual, self.cause, self.look, self.certain = expected, actual, cause, look, certain


class NotChecked(Exception):  # noqa: N818 -- an outcome, not an error
    """What a check raises when it could not look, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must be true.

    `number` is its place in the table of the README; `statement` says what must be true, `how` how it is looked at.
    `look` returns what was seen, or raises `Failed` or `NotChecked`; it polls, and gives up after `seconds`.
    `data_path`: only containers that run can show it. `load`: it sends load, or creates something.
    """

    number: str
    name: str
    statement: str
    how: str
    look: Callable[[Target], str]
    seconds: int = 30
    data_path: bool = False
    load: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one check."""

    check: Check
    outcome: Outcome
    actual: str
    expected: str = ""
    cause: str = ""
    look: str = ""
    seconds: float = 0.0


def perform(check: Check, target: Target) -> Result:
    """Run one check."""
    started = time.monotonic()

    def result(outcome: Outcome, actual: str, expected: str = "", cause: str = "", look: str = "") -> Result:
        return Result(
            check=check,
            outcome=outcome,
            actual=actual,
            expected=expected,
            cause=cause,
            look=look,
            seconds=time.monotonic() - started,
        )

    if check.data_path and target.simulated:
        return result(Outcome.NOT_CHECKED, "nodes are simulated: no container runs")
    if check.load and not target.load:
        return result(Outcome.NOT_CHECKED, "switched off for this stack: it would send load (checks.load)")
    try:
        return result(Outcome.PASSED, check.look(target))
    except NotChecked as reason:
        return result(Outcome.NOT_CHECKED, str(reason))
    except Failed as failure:
        return result(Outcome.FAILED, failure.actual, failure.expected, failure.cause, failure.look)


def eventually(look: Callable[[], T], seconds: float, pause: float = _POLL_SECONDS) -> T:
    """Return what `look` returns once it raises `Failed` no more; after that many seconds its last failure stands.

    A failure that is certain stands at once. An interrupted run is `NotChecked`.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return look()
        except Failed as failure:
            if failure.certain or time.monotonic() + pause >= end:
                raise
        if stopping.wait(pause):
            raise NotChecked("interrupted")


def at_once(look: Callable[[S], T], things: Iterable[S]) -> list[T]:
    """Return what `look` returns for each thing, having looked at them at the same time; the first failure of them is raised.

    The threads end with the process, unlike an executor's: one that hangs holds up nothing.
    """
    looks = [(thing, futures.Future[T]()) for thing in things]
    waiting: SimpleQueue[tuple[S, futures.Future[T]]] = SimpleQueue()
    for each in looks:
        waiting.put(each)
    tell = _teller()

    def work() -> None:
        tell_waits(tell)
        while True:
            try:
                thing, future = waiting.get_nowait()
            except Empty:
                return
            try:
                future.set_result(look(thing))
            except Exception as problem:  # whatever it is, whoever waits for the result gets it
                future.set_exception(problem)

    for _ in looks[:_AT_ONCE]:
        threading.Thread(target=work, daemon=True).start()
    # What goes on after a failure would send requests while other checks count theirs.
    futures.wait([future for _, future in looks])
    return [future.result() for _, future in looks]


def _teller() -> Callable[[str], None]:
    return getattr(_progress, "tell", lambda _: None)


def tell_waits(tell: Callable[[str], None]) -> None:
    """Have somebody told what a check in this thread waits for: a few words with the seconds left, none when it is over."""
    _progress.tell = tell


def pause(seconds: float, reason: str) -> None:
    """Wait for what only time brings; an interrupted run ends that with `NotChecked`."""
    tell = _teller()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        tell(f"{reason}, {left:.0f} s left")
        if stopping.wait(min(left, _TELL_SECONDS)):
            raise NotChecked("interrupted")
    tell("")
