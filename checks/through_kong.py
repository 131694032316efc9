"""Requests through Kong, and what its answers tell: who made them, and how much of the limit is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from checks import endpoints, framework
from checks.endpoints import Endpoint
from checks.framework import Failed, NotChecked
from checks.target import RoutedApplication, Target
from commands import http_client
from commands.http_client import Answer, NoAnswer
from names import KONG_DEPLOYMENT, KONG_NAMESPACE

# The longest that a request waits for a limit to lift: one calendar minute, and the counter's lag.
PATIENCE = 65
_WAKING_SECONDS = 30
_BOOKINFO_PAGE = "/productpage"
_WANTS_LOGIN = (401, 403)
# What a sidecar writes where a policy refuses a request.
_FORBIDDEN = "RBAC: access denied"
# What plugins of Kong's answer in place of an application: a redirect, or the wish for a login or for TLS.
_OF_PLUGINS = (301, 302, 303, 307, 308, 401, 403, 426)

NOT_KONG = "something else than Kong answers at this address, or kong.values turn its headers off (env.headers)"

T = TypeVar("T")

# Held while requests are counted against a limit: no other check may send any meanwhile.
counting = threading.Lock()


def is_bookinfo(application: RoutedApplication) -> bool:
    """Return whether an application is the guide's, whose page is known, and nothing else is expected of it."""
    own = application.check_path or application.check_status or application.check_contains
    return application.service == "productpage" and not own


def page_path(application: RoutedApplication) -> str:
    """Return the path that is asked for: the settings', the route's own, or for BookInfo the page that has a title."""
    if application.check_path:
        return application.check_path
    own_page = is_bookinfo(application) and _BOOKINFO_PAGE.startswith(application.path)
    return _BOOKINFO_PAGE if own_page else application.path


def send(endpoint: Endpoint, application: RoutedApplication) -> Answer:
    """Return the answer for an application's page, whoever made it. Raises `NoAnswer`."""
    return http_client.get(endpoint.url + page_path(application), host_header(application), verify=endpoint.verify)


def host_header(application: RoutedApplication) -> dict[str, str]:
    """Return the header that a route with a host name asks for; any name will do for a wildcard."""
    return {"Host": application.host.replace("*", "checks", 1)} if application.host else {}


def fetch(target: Target, endpoint: Endpoint, application: RoutedApplication) -> Answer:
    """Return an answer for the page that is not the rate limit's.

    Where the limit is used up it waits for it to lift, and raises `NotChecked` where that takes over a minute; also for a
    route that speaks gRPC, or asks for a login.
    """
    check_can_be_asked(application)
    answer = ask(target, endpoint, lambda: send(endpoint, application))
    check_needs_no_login(answer, application)
    if not is_limited(answer, application):
        return answer
    wait = seconds_left(answer) or to_next_minute()
    if wait > PATIENCE:
        raise NotChecked(f"the limit of {application.name} is used up for another {wait} s")
    pause(wait)
    return ask(target, endpoint, lambda: send(endpoint, application))


def check_can_be_asked(application: RoutedApplication) -> None:
    """Raise `NotChecked` for a route whose answers no check can read."""
    if application.is_grpc:
        raise NotChecked("it speaks gRPC, which no check does")
    if application.narrowed:
        raise NotChecked("its annotations keep it for other requests than the plain GET of the checks")


def check_needs_no_login(answer: Answer, application: RoutedApplication) -> None:
    """Raise `NotChecked` where a plugin of the route's refuses who has no login, unless that is what is expected."""
    refused = application.guarded and answer.status in _WANTS_LOGIN and made_by_kong(answer)
    if refused and not is_plugins(answer, application):
        raise NotChecked(f"a plugin on its route asks for a login ({answer.status}), and no check has one")


def wake(target: Target, application: RoutedApplication) -> None:
    """Wait until an application answers at all; what a first request finds asleep says nothing of the others."""

    def look(endpoint: Endpoint) -> None:
        answer = fetch(target, endpoint, application)
        check_sees_behind(answer, application)
        if answer.status >= 500 and answer.status != application.check_status:
            raise _unexpected(target, application, f"an answer of {application.name}", answer)

    eventually_through(target, look, _WAKING_SECONDS, tls=application.tls)


def ask(target: Target, endpoint: Endpoint, request: Callable[[], Answer]) -> Answer:
    """Return what Kong answers to a request; none is a failure of the check."""
    try:
        return request()
    except NoAnswer as reason:
        raise Failed(
            f"an answer of Kong by {endpoint.how}",
            str(reason),
            cause="Kong does not run, or nothing leads to it from this machine",
            look=target.command("--namespace", KONG_NAMESPACE, "get", "pods,services", "--output=wide"),
        ) from None


def page(target: Target, endpoint: Endpoint, application: RoutedApplication) -> Answer:
    """Return the page of an application, if it is as expected."""
    answer = fetch(target, endpoint, application)
    if not is_right(answer, application):
        raise _unexpected(target, application, expectation(application), answer)
    return answer


def is_right(answer: Answer, application: RoutedApplication) -> bool:
    """Return whether an answer is what the settings expect; without them what the application itself makes below 500.

    The mesh and a limit of the application's own also answer with less than 500; what only BookInfo answers is known.
    """
    if application.check_contains not in answer.text:
        return False
    if application.check_status:
        own = made_by_upstream(answer) or is_plugins(answer, application)
        return own and answer.status == application.check_status
    if is_bookinfo(application):
        return made_by_upstream(answer) and answer.status == 200
    return made_by_upstream(answer) and answer.status < 500 and answer.status != 429 and not made_by_sidecar(answer)


def expectation(application: RoutedApplication) -> str:
    """Return in words what an answer for the page has to be."""
    status = str(application.check_status or (200 if is_bookinfo(application) else "an answer below 500"))
    text = f", with “{application.check_contains}”" if application.check_contains else ""
    where = f"{page_path(application)} of {application.name}"
    return f"{status} for {where}{text}, made by its Service {application.service}"


def is_plugins(answer: Answer, application: RoutedApplication) -> bool:
    """Return whether a plugin of Kong's, such as one for a login, answered as the settings expect."""
    expected = answer.status == application.check_status and answer.status in _OF_PLUGINS
    return expected and made_by_kong(answer)


def check_sees_behind(answer: Answer, application: RoutedApplication) -> None:
    """Raise `NotChecked` where a plugin's answer, which is right, leaves unseen what is behind it."""
    if is_plugins(answer, application):
        raise NotChecked(
            f"Kong itself answers {answer.status}, as the application's check.status says: what is behind it is not seen"
        )


def made_by_sidecar(answer: Answer) -> bool:
    """Return whether a sidecar refused a request that Kong passed on: by a policy, or as it leads nowhere."""
    nowhere = answer.status == 404 and not answer.text and answer.header("server") in ("envoy", "istio-envoy")
    # The sidecar of whoever answers says how long it took.
    lost = nowhere and not answer.header("x-envoy-upstream-service-time")
    return lost or (answer.status == 403 and _FORBIDDEN in answer.text)


def _unexpected(target: Target, application: RoutedApplication, expected: str, answer: Answer) -> Failed:
    return Failed(expected, describe(answer), cause=cause_of(answer, application), look=routes(target, application))


def passed_on(target: Target, endpoint: Endpoint, application: RoutedApplication) -> Answer:
    """Return an answer for the page that Kong did not make itself."""
    answer = fetch(target, endpoint, application)
    check_sees_behind(answer, application)
    if made_by_kong(answer):
        expected = f"an answer of {application.name} for {page_path(application)}"
        raise _unexpected(target, application, expected, answer)
    return answer


def cause_of(answer: Answer, application: RoutedApplication) -> str:
    """Return why an application's page is likely to be answered otherwise than expected."""
    if is_limited(answer, application):
        return "others use up the limit at this moment, or it does not lift"
    if answer.status in (502, 503, 504):
        return f"Kong does not reach {application.name}: its pods are not ready, or Kong bypasses the mesh while it is STRICT"
    if made_by_kong(answer):
        return _cause_in_kong(answer, application)
    if not made_by_upstream(answer):
        return NOT_KONG
    if answer.status == 403 and _FORBIDDEN in answer.text:
        return (
            "an AuthorizationPolicy refuses Kong: its requests bypass the mesh, so that it is nobody there, or the policy "
            "names another service account"
        )
    if made_by_sidecar(answer):
        return "a sidecar knows no way for the request: a VirtualService leads it nowhere"
    if answer.status == 429:
        return f"{application.name} itself, or its sidecar, limits requests"
    if answer.status < 500:
        return (
            f"{application.name} itself answers so: it has no such page, or wants a login for it; if that is right, say so in "
            "its setting check"
        )
    return f"{application.name} itself answers so: one of its pods is broken, or comes and goes"


def _cause_in_kong(answer: Answer, application: RoutedApplication) -> str:
    if answer.status == 404:
        return "Kong knows no such route: the Ingress is missing, or has not reached Kong"
    if answer.status >= 500 and application.policy == "redis":
        return "Kong does not reach redis (rateLimit.redis), and rateLimit.faultTolerant is false; or Kong itself is broken"
    return "Kong itself refuses the request, by a plugin or for a fault of its own"


def cause_of_silence(application: RoutedApplication) -> str:
    """Return why an answer through a limited route is likely to say nothing of its limit."""
    if application.policy == "redis":
        # https://developer.konghq.com/plugins/rate-limiting/: `fault_tolerant`
        return (
            "Kong does not reach redis (rateLimit.redis): it then lets every request through, and says nothing of the limit; "
            "else the plugin is not on the route, or hides its headers"
        )
    return "the plugin is not on the route, Kong has not taken it, or it hides its headers (hide_client_headers)"


def says_nothing_of_limit(answer: Answer) -> bool:
    """Return whether an answer has none of the rate limit's headers."""
    return not any(name.lower().startswith(("ratelimit-", "x-ratelimit-")) for name, _ in answer.headers)


def made_by_kong(answer: Answer) -> bool:
    """Return whether Kong itself made the answer: it then puts its name in `server`, and no upstream took time."""
    return answer.header("server").startswith("kong/") and not made_by_upstream(answer)


def made_by_upstream(answer: Answer) -> bool:
    """Return whether Kong passed on what an upstream answered."""
    return answer.header("x-kong-upstream-latency").isdigit()


def is_limited(answer: Answer, application: RoutedApplication) -> bool:
    """Return whether the rate limit refused the request."""
    return answer.status == application.error_code and made_by_kong(answer)


def remaining(answer: Answer, window: str = "") -> int | None:
    """Return how many requests the limit still allows, in one window or in the tightest; None where it is not said."""
    name = f"x-ratelimit-remaining-{window}" if window else "ratelimit-remaining"
    return _number(answer, name)


def seconds_left(answer: Answer) -> int | None:
    """Return the seconds until the limit's tightest window ends; None where the answer does not say."""
    waits = _number(answer, "retry-after"), _number(answer, "ratelimit-reset")
    return next((wait for wait in waits if wait is not None), None)


def describe(answer: Answer) -> str:
    """Return who answered what, for people."""
    if made_by_kong(answer):
        return f"{answer.status} made by Kong itself ({answer.header('server')}): {answer.excerpt}"
    if made_by_upstream(answer):
        return f"{answer.status} made by the upstream"
    return f"{answer.status} with no trace of Kong (server: {answer.header('server') or 'not said'})"


def for_each(target: Target, look: Callable[[RoutedApplication], str]) -> str:
    """Return what was seen of each application's routes, looked at all at once.

    Where nothing could be looked at, raise `NotChecked`.
    """
    return of_each_at_once(target.applications, look)


def of_each_at_once(applications: Iterable[RoutedApplication], look: Callable[[RoutedApplication], str]) -> str:
    """Do as `for_each` does, for some of the routes."""
    return _told(framework.at_once(partial(_look_at, look), applications))


def of_each(applications: Iterable[RoutedApplication], look: Callable[[RoutedApplication], str]) -> str:
    """Do as `for_each` does, for some of the routes and one after the other."""
    return _told([_look_at(look, application) for application in applications])


def _look_at(look: Callable[[RoutedApplication], str], application: RoutedApplication) -> tuple[bool, str]:
    """Return whether a route could be looked at, and what was seen of it or why it could not."""
    try:
        return True, f"{application.name}: {look(application)}"
    except NotChecked as reason:
        return False, f"{application.name} not checked: {reason}"


def _told(looks: Iterable[tuple[bool, str]]) -> str:
    told = sorted(looks, key=lambda look: not look[0])
    text = "; ".join(text for _, text in told)
    if not any(seen for seen, _ in told):
        raise NotChecked(text or "no application is routed")
    return text


def logs(target: Target) -> str:
    """Return the command that shows what Kong's controller and proxy logged."""
    return target.logs(KONG_NAMESPACE, KONG_DEPLOYMENT, "--all-containers")


def routes(target: Target, application: RoutedApplication) -> str:
    """Return the command that shows an application's route with its annotations and events."""
    return target.command("--namespace", application.namespace, "describe", "ingress", application.ingress_name)


def eventually_through(
    target: Target, look: Callable[[Endpoint], T], seconds: float, pause: float = 2, *, tls: bool = False
) -> T:
    """Return what is seen through Kong, as `eventually` does.

    Each look asks for the endpoint anew: which pod answers, and where, may have changed.
    """

    def once() -> T:
        with endpoints.proxy(target, tls=tls) as endpoint:
            return look(endpoint)

    return framework.eventually(once, seconds, pause)


def pause(seconds: float) -> None:
    """Wait for a limit; an interrupted run ends that with `NotChecked`."""
    framework.pause(seconds, "the limit's window has to end")


def to_next_minute() -> int:
    """Return the seconds until the limit's next minute has begun, by this machine's clock."""
    return 61 - int(time.time()) % 60


def _number(answer: Answer, name: str) -> int | None:
    value = answer.header(name)
    return int(value) if value.isdigit() else None
