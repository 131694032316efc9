"""The rate limit: that it bites where it should, by Kong's hand, and lifts when its window ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from checks import endpoints, through_kong
from checks.endpoints import Endpoint
from checks.framework import Check, Failed, NotChecked, eventually
from checks.target import RoutedApplication, Target
from commands.http_client import Answer
from settings import WINDOWS

_MOST_REQUESTS = 300
_WINDOW_SECONDS = {"second": 1, "minute": 60}
# A longer window keeps at least three quarters of what it holds.
_SHARE_OF_LONGER_WINDOWS = 4
_ATTEMPTS = 3
_LIFT_SLACK_SECONDS = 10

Send = Callable[[], Answer]


@dataclass(frozen=True)
class _Window:
    """The window that a burst can fill. Kong counts behind the request's back, hence the slack above."""

    name: str
    limit: int

    @property
    def seconds(self) -> int:
        return _WINDOW_SECONDS[self.name]

    @property
    def most(self) -> int:
        """What may pass before a refusal: a burst that is shorter than a second still touches two of them."""
        return self.limit * (2 if self.name == "second" else 1)

    @property
    def burst(self) -> int:
        """How many requests a burst has at most."""
        return self.most + 5 + self.limit // 10

    @property
    def slack_below(self) -> int:
        return self.limit // 10


@dataclass(frozen=True)
class _Burst:
    """What came of a burst: how many were let through of how many that should be, and the refusal, if there was one."""

    passed: int
    room: int | None
    refusal: Answer | None
    in_time: bool


def _limit_bites(target: Target) -> str:
    def look(application: RoutedApplication) -> str:
        window = _window_of(application)
        through_kong.wake(target, application)
        with endpoints.proxy(target, tls=application.tls) as endpoint:
            return _bites_and_lifts(target, endpoint, application, window)

    return through_kong.of_each(target.one_of_each, look)


def _window_of(application: RoutedApplication) -> _Window:
    """Return the window to fill, or raise `NotChecked` where filling it would be unkind."""
    limits = application.limits
    name = next((window for window in WINDOWS if window in limits), None)
    if not name:
        raise NotChecked("its route has no limit")
    if name not in _WINDOW_SECONDS:
        raise NotChecked(f"its limit is per {name}, and a check fills no window longer than a minute")
    window = _Window(name, limits[name])
    if window.most > _MOST_REQUESTS:
        raise NotChecked(f"its limit is {window.limit} a {name}, and a check sends no more than {_MOST_REQUESTS}")
    for longer, limit in limits.items():
        if longer not in _WINDOW_SECONDS and limit < window.burst * _SHARE_OF_LONGER_WINDOWS:
            raise NotChecked(f"it would use up {window.burst} of the {limit} requests that are allowed per {longer}")
    return window


def _bites_and_lifts(target: Target, endpoint: Endpoint, application: RoutedApplication, window: _Window) -> str:
    def send() -> Answer:
        return through_kong.ask(target, endpoint, lambda: through_kong.send(endpoint, application))

    burst = _conclusive_burst(target, application, window, send)
    if not burst.refusal:
        raise _not_refused(target, application, window, burst)
    _check_count(target, application, window, burst)
    _check_refusal(target, application, burst.refusal)
    refused = f"{burst.refusal.status} made by Kong after {burst.passed} more"
    wait = through_kong.seconds_left(burst.refusal) or _to_next(window)
    through_kong.pause(wait)
    eventually(lambda: _lifted(target, send, wait), _LIFT_SLACK_SECONDS, pause=1)
    return f"{refused}, Retry-After: {burst.refusal.header('retry-after') or 'hidden'}, and lifted after that"


def _not_refused(target: Target, application: RoutedApplication, window: _Window, burst: _Burst) -> Failed:
    silent = burst.room is None and not application.limit_headers_hidden
    counted = "each of several replicas of Kong counts for itself (rateLimit.policy local), or Kong does not enforce it"
    return Failed(
        f"{application.error_code} after {window.limit} requests in one {window.name}",
        f"{burst.passed} requests let through",
        cause=through_kong.cause_of_silence(application) if silent else counted,
        look=through_kong.logs(target),
    )


def _conclusive_burst(target: Target, application: RoutedApplication, window: _Window, send: Send) -> _Burst:
    """Return the first burst that stayed inside one window."""
    for _ in range(_ATTEMPTS):
        burst = _one_burst(target, application, window, send)
        if burst.refusal or burst.in_time:
            return burst
    raise NotChecked(f"requests from here are too slow to reach {window.limit} in one {window.name}")


def _one_burst(target: Target, application: RoutedApplication, window: _Window, send: Send) -> _Burst:
    """Return what came of a burst in a window that is young enough for it.

    Windows are calendar minutes and seconds, so it waits for the next one where too little of this one is left.
    """
    with through_kong.counting:
        started = time.monotonic()
        first = send()
        needed, left = (time.monotonic() - started) * window.burst * 1.5, _left(first, window)
        if needed <= left and not through_kong.is_limited(first, application):
            return _fill(target, application, window, send, first)
    through_kong.pause(left)
    with through_kong.counting:
        first = send()
        if not through_kong.is_limited(first, application):
            return _fill(target, application, window, send, first)
    raise Failed(
        f"an answer of {application.name} in a new {window.name}",
        through_kong.describe(first),
        cause=through_kong.cause_of(first, application),
        look=through_kong.routes(target, application),
    )


def _fill(target: Target, application: RoutedApplication, window: _Window, send: Send, first: Answer) -> _Burst:
    """Send until a request is refused."""
    started, passed, left = time.monotonic(), 0, _left(first, window)
    room = through_kong.remaining(first, window.name)
    if application.policy == "redis" and not application.limit_headers_hidden and room is None:
        # Each request waits for redis, so a whole burst may take minutes, and says no more than the first.
        raise _not_refused(target, application, window, _Burst(1, None, None, in_time=True))
    while passed < window.burst:
        answer = send()
        if through_kong.is_limited(answer, application):
            return _Burst(passed, room, answer, in_time=True)
        if not through_kong.made_by_upstream(answer) or answer.status == application.error_code:
            raise Failed(
                f"an answer of the application, or {application.error_code} made by Kong",
                through_kong.describe(answer),
                cause=through_kong.cause_of(answer, application),
                look=through_kong.logs(target),
            )
        passed += 1
    return _Burst(passed, room, None, in_time=time.monotonic() - started <= left)


def _to_next(window: _Window) -> int:
    return through_kong.to_next_minute() if window.name == "minute" else window.seconds


def _left(answer: Answer, window: _Window) -> float:
    said = through_kong.seconds_left(answer)
    return min(said, window.seconds) if said is not None else window.seconds - time.time() % window.seconds


def _check_count(target: Target, application: RoutedApplication, window: _Window, burst: _Burst) -> None:
    if burst.room is None:
        return
    fewest, most = burst.room - window.slack_below, burst.room + window.burst - window.limit
    if not fewest <= burst.passed <= most:
        raise Failed(
            f"{burst.room} more requests let through, as X-RateLimit-Remaining-{window.name.title()} said",
            f"{burst.passed} let through before {application.error_code}",
            cause="Kong counts otherwise than it says, or others use up the same limit at this moment",
            look=target.command("--namespace", application.namespace, "get", "kongplugins", "--output=yaml"),
        )


def _check_refusal(target: Target, application: RoutedApplication, refusal: Answer) -> None:
    if not refusal.header("retry-after").isdigit() and not application.limit_headers_hidden:
        raise Failed(
            f"Retry-After with the {application.error_code}",
            f"Retry-After: {refusal.header('retry-after') or 'none'}",
            cause="the plugin hides its headers (hide_client_headers), which the settings do not ask for"
            if through_kong.says_nothing_of_limit(refusal)
            else "the refusal is not the rate limit's",
            look=through_kong.routes(target, application),
        )


def _lifted(target: Target, send: Send, wait: int) -> None:
    answer = send()
    if not through_kong.made_by_upstream(answer):
        raise Failed(
            f"an answer of the application once the limit lifts, {wait} s later",
            through_kong.describe(answer),
            cause="Kong's clock differs from this machine's, or others use up the limit",
            look=through_kong.logs(target),
        )


CHECKS = (
    Check(
        number="9",
        name="limit bites",
        statement="Requests above the limit are refused by Kong, and only those; the limit lifts when its window ends.",
        how="requests until one is refused, inside one calendar window; then one a second from its end until one is let through",
        look=_limit_bites,
        seconds=200,
        data_path=True,
        load=True,
    ),
)
