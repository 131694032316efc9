"""Traffic through Kong, spread so that it stays under the limit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from checks import endpoints, through_kong
from checks.endpoints import Endpoint
from checks.framework import Check, Failed, NotChecked
from checks.target import RoutedApplication, Target
from commands.http_client import Answer, NoAnswer
from display.console import requests_bar

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 2_592_000, "year": 31_536_000}
_LONGEST_WAIT = 65
_REFUSALS_IN_A_ROW = 3
# Two scrapes, and what a dashboard makes of them.
SHOWN_SECONDS = 180
# A rate needs two scrapes, 15 s apart; older traffic is out of sight before the check gives up.
LONG = 120
# The shortest look back that holds two scrapes, and when what it shows was sent after Kong had settled.
FRESH = 30
_SETTLED_AFTER_SECONDS = 45
_SHOWN_PAUSE = 2
# One between any two scrapes.
_TRICKLE_SECONDS = 15.0

# Called with how many requests are done, and what is waited for.
Progress = Callable[[int, str], None]

# Says what a dashboard at a URL shows of an application's traffic of the last seconds, or fails: `certain` for traffic that
# it shows and that must not be.
Look = Callable[[RoutedApplication, str, int], str]


class NothingShown(Failed):
    """No traffic is to be seen, good or bad."""


def run(target: Target, requests: int, stream: TextIO | None = None) -> str:
    """Send that many requests to each application; return what came back.

    On a terminal (standard error, where no stream is given) a bar shows how far it is.
    Raises `Failed` for an answer that is not as expected, and `NotChecked` where the limit would stretch it over minutes.
    """
    if requests <= 0:
        raise NotChecked("no traffic is asked for (checks.requests)")

    def look(application: RoutedApplication) -> str:
        through_kong.wake(target, application)
        with (
            endpoints.proxy(target, tls=application.tls) as endpoint,
            requests_bar(stream or sys.stderr, requests) as progress,
        ):
            return _send_all(target, endpoint, application, requests, progress)

    return through_kong.of_each(target.one_of_each, look)


class Trickle:
    """Now and then a request, so that there is something to see; it takes no more than a quarter of any limit.

    What becomes of a request is for other checks to say; `answer` is the last one.
    """

    def __init__(self, application: RoutedApplication) -> None:
        self._application = application
        self._pause = max(_TRICKLE_SECONDS, 4 * _even_pause(application))
        self._next = time.monotonic()
        self.answer: Answer | None = None

    def __call__(self, endpoint: Endpoint) -> None:
        """Send a request if the last one is long enough ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._pause
        # A burst that counts what the limit lets through must not be disturbed.
        if not through_kong.counting.acquire(blocking=False):
            return
        try:
            with suppress(NoAnswer):
                self.answer = through_kong.send(endpoint, self._application)
        finally:
            through_kong.counting.release()


def shown(target: Target, dashboard: str, look: Look) -> str:
    """Return what a dashboard, looked at by its address, shows of each application's traffic.

    What is to be seen must be fresh, and a counter that appears and never moves has no increase: a trickle keeps it moving.
    Traffic of the last two minutes may be from before a change; what only it shows is given time to go out of sight.
    """

    def look_at(application: RoutedApplication) -> str:
        through_kong.check_can_be_asked(application)
        if application.speaks_tls:
            raise NotChecked("Kong speaks TLS with its Service: sidecars measure connections there, and no requests")
        trickle, settled = Trickle(application), time.monotonic() + _SETTLED_AFTER_SECONDS

        def once(endpoint: Endpoint) -> str:
            trickle(endpoint)
            with endpoints.dashboard(target, dashboard) as url:
                try:
                    return _newest(application, url, look, settled=time.monotonic() >= settled)
                except NothingShown as nothing:
                    raise _explained(nothing, target, trickle.answer, application) from None

        return through_kong.eventually_through(target, once, SHOWN_SECONDS, _SHOWN_PAUSE, tls=application.tls)

    return through_kong.of_each_at_once(target.one_of_each, look_at)


def _newest(application: RoutedApplication, url: str, look: Look, *, settled: bool) -> str:
    """Return what is shown; traffic that must not be is certain only where all of it is fresh."""
    try:
        return look(application, url, LONG)
    except Failed as failure:
        if not settled or not failure.certain:
            failure.certain = False
            raise
        try:
            return look(application, url, FRESH)
        except NothingShown:
            failure.certain = False
            raise failure from None


def _explained(
    nothing: NothingShown, target: Target, answer: Answer | None, application: RoutedApplication
) -> NothingShown:
    """Return why nothing is shown, which may be that Kong passes nothing on."""
    if answer is not None:
        through_kong.check_needs_no_login(answer, application)
        through_kong.check_sees_behind(answer, application)
    if answer is None or through_kong.made_by_upstream(answer) or through_kong.is_limited(answer, application):
        return nothing
    return NothingShown(
        nothing.expected,
        f"{nothing.actual}; its last request was answered {through_kong.describe(answer)}",
        cause=through_kong.cause_of(answer, application),
        look=through_kong.routes(target, application),
    )


def _send_all(
    target: Target, endpoint: Endpoint, application: RoutedApplication, requests: int, progress: Progress
) -> str:
    started, waited, refused, done = time.monotonic(), 0.0, 0, 0
    statuses: set[int] = set()
    while done < requests:
        answer = through_kong.ask(target, endpoint, lambda: through_kong.send(endpoint, application))
        limited = through_kong.is_limited(answer, application)
        refused = refused + 1 if limited else 0
        if not limited:
            _check(target, application, answer, done)
            statuses.add(answer.status)
            done += 1
        elif refused >= _REFUSALS_IN_A_ROW:
            raise _starved(target, application, answer)
        pause = _pause(application, answer, limited=limited) if done < requests else 0.0
        if pause > _LONGEST_WAIT:
            raise NotChecked(f"after {done} of {requests} requests its limit allows none for another {pause:.0f} s")
        progress(done, f"waiting {pause:.0f} s for the limit" if pause > 1 else "")
        waited += pause
        through_kong.pause(pause)
    paused = f", {waited:.0f} s of them waiting for the limit" if waited >= 1 else ""
    seen = " or ".join(str(status) for status in sorted(statuses))
    return f"{done} requests, all {seen}, in {time.monotonic() - started:.0f} s{paused}"


def _check(target: Target, application: RoutedApplication, answer: Answer, done: int) -> None:
    if not through_kong.is_right(answer, application):
        raise Failed(
            f"{through_kong.expectation(application)}, for every request",
            f"{through_kong.describe(answer)}, after {done} that were so",
            cause=through_kong.cause_of(answer, application),
            look=target.command("--namespace", application.namespace, "get", "pods"),
        )


def _starved(target: Target, application: RoutedApplication, answer: Answer) -> Failed:
    return Failed(
        f"a request of {application.name} let through once its limit lifts",
        f"{_REFUSALS_IN_A_ROW} refusals in a row, the last: {through_kong.describe(answer)}",
        cause="others use up the limit, or it does not lift",
        look=through_kong.routes(target, application),
    )


def _pause(application: RoutedApplication, answer: Answer, *, limited: bool) -> float:
    """Return the seconds until the next request is under the limit: none while some are left in this window."""
    left, reset = through_kong.remaining(answer), through_kong.seconds_left(answer)
    if left is not None and reset is not None and not limited:
        return 0.0 if left > 0 else float(reset)
    if limited:
        return float(reset if reset is not None else through_kong.to_next_minute())
    # Nothing is said, so the requests are spread evenly over the windows of the settings.
    return _even_pause(application)


def _even_pause(application: RoutedApplication) -> float:
    """Return the seconds between requests that keep them under every limit."""
    return max((_SECONDS[window] / limit for window, limit in application.limits.items()), default=0.0)


CHECKS = (
    Check(
        number="10",
        name="traffic",
        statement="Traffic under the limit is answered.",
        how="requests to each application (checks.requests of them), spread by RateLimit-Remaining and -Reset: all answered as "
        "the page",
        look=lambda target: run(target, target.requests),
        seconds=180,
        data_path=True,
        load=True,
    ),
)
