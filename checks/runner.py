"""Runs checks: those that only look all at once, those that send load or create something one after another.

A check that creates something runs in the main thread, where Ctrl-C reaches it and its clearing up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from checks import framework
from checks.framework import Check, Outcome, Result
from checks.report.progress import Progress
from checks.target import Target
from kube import ClusterError

# All that there are: they mostly wait for answers.
_AT_ONCE = 32
_TICK_SECONDS = 0.1
# A check gives up by itself; one that does not is not waited for longer than this after its time.
_GRACE_SECONDS = 30.0
# What looks needs no more to close its port-forwards.
_ENDING_SECONDS = 15.0


def run(
    checks: Sequence[Check],
    target: Target,
    progress: Progress,
    *,
    last: Collection[str] = (),
    at_once: bool = True,
    grace: float = _GRACE_SECONDS,
) -> tuple[Result, ...]:
    """Run the checks and return their results in the same order.

    The checks named in `last` come after all others, all at once. Without `at_once` they all wait for each other.
    """
    results: dict[str, Result] = {}

    def done(result: Result) -> None:
        results[result.check.name] = result
        progress.done(result)

    def alone(check: Check) -> bool:
        return not at_once or (check.load and check.name not in last)

    looking = [check for check in checks if not alone(check)]
    try:
        _look_at_once([check for check in looking if check.name not in last], target, progress, done, grace)
        for check in checks:
            if alone(check):
                progress.clear()
                done(_perform_alone(check, target, progress))
        _look_at_once([check for check in looking if check.name in last], target, progress, done, grace)
    finally:
        progress.clear()
    return tuple(results[check.name] for check in checks)


def perform(check: Check, target: Target) -> Result:
    """Run one check, whatever comes of it."""
    started = time.monotonic()
    try:
        return framework.perform(check, target)
    except ClusterError as error:
        expected, cause = "an answer from the cluster", "the API server, the network to it, or the permissions there"
        look = target.command("get", "--raw", "/readyz?verbose")
        actual = str(error)
    except Exception as error:  # the other checks' results must not be lost with this one's
        expected, cause = "an outcome", "a fault of the check, which says nothing about the stack"
        look = f"python -m checks run --only {check.number}"
        actual = f"{type(error).__name__}: {error}"
    return Result(
        check=check,
        outcome=Outcome.FAILED,
        actual=actual,
        expected=expected,
        cause=cause,
        look=look,
        seconds=time.monotonic() - started,
    )


def _perform_alone(check: Check, target: Target, progress: Progress) -> Result:
    """Run one check in this thread, which tells what it waits for as nobody else can."""
    framework.tell_waits(lambda wait: progress.waiting([_waiting(check, wait)]))
    return perform(check, target)


def _waiting(check: Check, wait: str) -> Check:
    """Return a check as the progress names it while it waits."""
    return replace(check, name=f"{check.name} ({wait})") if wait else check


def _look_at_once(
    checks: Sequence[Check], target: Target, progress: Progress, done: Callable[[Result], None], grace: float
) -> None:
    if not checks:
        return
    looks = _Looks(checks, target, grace)
    with looks.ended_when_interrupted():
        while looks.open:
            for result in looks.new():
                done(result)
            progress.waiting(looks.named_by_wait())


class _Looks:
    """Checks in threads of their own. The threads end with the process: one that hangs holds up nothing."""

    def __init__(self, checks: Sequence[Check], target: Target, grace: float) -> None:
        self._target, self._grace = target, grace
        self._results: queue.Queue[Result] = queue.Queue()
        self._waiting: queue.Queue[Check] = queue.Queue()
        self._started: dict[str, float] = {}
        self._waits: dict[str, str] = {}
        self.open = list(checks)
        for check in checks:
            self._waiting.put(check)
        self._threads: list[threading.Thread] = []
        for _ in range(min(_AT_ONCE, len(checks))):
            self._start_thread()

    def new(self) -> Iterator[Result]:
        """Yield what came of checks since the last time, waiting a moment for it."""
        try:
            results = [self._results.get(timeout=_TICK_SECONDS)]
        except queue.Empty:
            results = [self._too_long(check) for check in self.open if self._is_too_long(check)]
        for result in results:
            if result.check in self.open:
                self.open.remove(result.check)
                yield result

    def named_by_wait(self) -> list[Check]:
        """Return what is open, each named with what it waits for."""
        return [_waiting(check, self._waits.get(check.name, "")) for check in self.open]

    @contextmanager
    def ended_when_interrupted(self) -> Iterator[None]:
        """Have the checks clear up after themselves before an interrupt goes on."""
        try:
            yield
        except KeyboardInterrupt:
            framework.stopping.set()
            end = time.monotonic() + _ENDING_SECONDS
            for thread in self._threads:
                thread.join(max(end - time.monotonic(), 0))
            raise

    def _start_thread(self) -> None:
        self._threads.append(threading.Thread(target=self._work, daemon=True))
        self._threads[-1].start()

    def _work(self) -> None:
        while not framework.stopping.is_set():
            try:
                check = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._started[check.name] = time.monotonic()
            framework.tell_waits(partial(self._waits.__setitem__, check.name))
            self._results.put(perform(check, self._target))

    def _is_too_long(self, check: Check) -> bool:
        started = self._started.get(check.name)
        return started is not None and time.monotonic() - started > check.seconds + self._grace

    def _too_long(self, check: Check) -> Result:
        self._start_thread()  # in the place of the one that hangs
        return Result(
            check=check,
            outcome=Outcome.FAILED,
            actual="nothing",
            expected=f"an outcome within {check.seconds} s",
            cause="something that it asks neither answers nor refuses",
            look=f"python -m checks run --only {check.number}",
            seconds=time.monotonic() - self._started[check.name],
        )
