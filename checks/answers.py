"""The page through Kong: that it comes, through which proxies, and what Kong says of its limit."""

from __future__ import annotations

from collections.abc import Callable

from checks import through_kong
from checks.endpoints import Endpoint
from checks.framework import Check, Failed, NotChecked
from checks.target import RoutedApplication, Target
from commands import http_client
from commands.http_client import Answer
from settings import WINDOWS

_TITLE = "<title>Simple Bookstore App</title>"
_BROKEN = "Error fetching product"
_STRANGER = {"Host": "no-such-host.invalid"}
_NO_ROUTE = "/kong-istio-checks/no-such-route"

# A first answer may have to wait for load balancers and images; after it, only for Kong's next configuration.
_FIRST_ANSWER_SECONDS = 120
_SETTLED_SECONDS = 30


def _page_comes(target: Target) -> str:
    def look(application: RoutedApplication) -> str:
        return through_kong.eventually_through(
            target, lambda endpoint: _page(target, endpoint, application), _FIRST_ANSWER_SECONDS, tls=application.tls
        )

    return through_kong.for_each(target, look)


def _page(target: Target, endpoint: Endpoint, application: RoutedApplication) -> str:
    answer = through_kong.page(target, endpoint, application)
    path = through_kong.page_path(application)
    if not through_kong.is_bookinfo(application):
        text = f", with “{application.check_contains}”" if application.check_contains else ""
        by = " made by a plugin of Kong's" if through_kong.made_by_kong(answer) else ""
        return f"{answer.status}{by} for {path}{text} through {endpoint.how}"
    if _TITLE not in answer.text:
        raise Failed(
            f"{_TITLE} in {path}",
            f"a page without it: {answer.excerpt}",
            cause="something else than productpage answers, or a release of it with another title",
            look=through_kong.routes(target, application),
            certain=True,
        )
    if _BROKEN in answer.text:
        raise Failed(
            f"a page with details and reviews in {path}",
            f"a page that says “{_BROKEN}…”",
            cause="productpage does not reach details or reviews",
            look=target.command("--namespace", application.namespace, "get", "pods"),
        )
    return f"200 for {path}, with its title, details and reviews, through {endpoint.how}"


def _path_is_seen(target: Target) -> str:
    def look(application: RoutedApplication) -> str:
        return through_kong.eventually_through(
            target, lambda endpoint: _path(target, endpoint, application), _SETTLED_SECONDS, tls=application.tls
        )

    return through_kong.for_each(target, look)


def _path(target: Target, endpoint: Endpoint, application: RoutedApplication) -> str:
    answer = through_kong.passed_on(target, endpoint, application)
    via, latency, server = (answer.header(name) for name in ("via", "x-kong-upstream-latency", "server"))
    if "kong/" not in via or not latency.isdigit():
        raise Failed(
            "via: … kong/<version> and a number in x-kong-upstream-latency",
            f"via: {via or 'none'}, x-kong-upstream-latency: {latency or 'none'}",
            cause="the answer did not come through Kong, or kong.values turn its headers off (env.headers)",
            look=through_kong.logs(target),
        )
    shown = f"via: {via}, x-kong-upstream-latency: {latency}, server: {server or 'none'}"
    if not target.injection:
        return f"{shown} (no sidecars in this stack)"
    if application.speaks_tls:
        return f"{shown} (sidecars do not read what Kong encrypts itself)"
    if server not in _SIDECARS:
        raise Failed(
            "server: envoy or istio-envoy, from a sidecar",
            f"server: {server or 'none'}",
            cause="neither Kong nor the application has a sidecar: its pods are older than the namespace's label",
            look=target.command("--namespace", application.namespace, "get", "pods", "--output=wide"),
        )
    return f"{shown} ({_SIDECARS[server]})"


_SIDECARS = {
    "envoy": "from Kong's sidecar, outbound",
    "istio-envoy": "from a sidecar, inbound: the application's own while Kong has none, or Kong's while it is captured",
}


def _own_answers_differ(target: Target) -> str:
    def look(endpoint: Endpoint) -> str:
        answer = _made_by_kong(target, endpoint)
        if not through_kong.made_by_kong(answer):
            raise Failed(
                "an answer of Kong's own: server: kong/<version>, and no x-kong-upstream-latency",
                through_kong.describe(answer),
                cause=_taken(target) if through_kong.made_by_upstream(answer) else through_kong.NOT_KONG,
                look=through_kong.logs(target),
            )
        return f"{answer.status} with server: {answer.header('server')}, and no x-kong-upstream-latency"

    return _once(target, look)


def _made_by_kong(target: Target, endpoint: Endpoint) -> Answer:
    """Return an answer that no upstream makes: to a route that is not there, or to TRACE, which Kong never passes on."""
    if not _catch_all(target):
        return _without_route(target, endpoint)
    host = through_kong.host_header(target.applications[0])
    return through_kong.ask(target, endpoint, lambda: http_client.request("TRACE", endpoint.url + "/", host))


def _without_route(target: Target, endpoint: Endpoint) -> Answer:
    return through_kong.ask(target, endpoint, lambda: http_client.get(endpoint.url + _NO_ROUTE, _STRANGER))


def _unknown_is_refused(target: Target) -> str:
    if caught := _catch_all(target):
        raise NotChecked(f"every path leads to {caught.name}, whose route is / for any host")

    def look(endpoint: Endpoint) -> str:
        answer = _without_route(target, endpoint)
        if answer.status != 404 or not through_kong.made_by_kong(answer):
            raise Failed(
                f"404 made by Kong for {_NO_ROUTE}, which has no route",
                through_kong.describe(answer),
                cause=_taken(target) if through_kong.made_by_upstream(answer) else through_kong.NOT_KONG,
                look=target.command("get", "ingress", "--all-namespaces"),
            )
        return f"{_NO_ROUTE}: {through_kong.describe(answer)}"

    return _once(target, look)


def _taken(target: Target) -> str:
    return f"another Ingress of the class {target.ingress_class} takes every path"


def _catch_all(target: Target) -> RoutedApplication | None:
    return next((one for one in target.applications if one.path == "/" and not one.host), None)


def _once(target: Target, look: Callable[[Endpoint], str]) -> str:
    if not target.applications:
        raise NotChecked("no application is routed")
    return through_kong.eventually_through(target, look, _SETTLED_SECONDS)


def _limit_is_said(target: Target) -> str:
    def look(application: RoutedApplication) -> str:
        if not application.limits:
            raise NotChecked("its route has no limit")
        return through_kong.eventually_through(
            target, lambda endpoint: limit_said(target, endpoint, application), _SETTLED_SECONDS, tls=application.tls
        )

    return through_kong.for_each(target, look)


def limit_said(target: Target, endpoint: Endpoint, application: RoutedApplication) -> str:
    """Return what an answer through Kong says of its limit, if that is the one of the settings."""
    answer = through_kong.passed_on(target, endpoint, application)
    said = {window: answer.header(f"x-ratelimit-limit-{window}") for window in WINDOWS}
    said = {window: value for window, value in said.items() if value}
    tightest = answer.header("ratelimit-limit")
    expected = {window: str(limit) for window, limit in application.limits.items()}
    if application.limit_headers_hidden:
        expected = {}
    if said != expected or tightest not in (expected.values() or [""]):
        silent = through_kong.says_nothing_of_limit(answer)
        changed = "the plugin on the route is not the one of the settings, or Kong has not taken it"
        raise Failed(
            f"the limit of the settings in the headers: {_windows(expected)}",
            f"{_windows(said)}, RateLimit-Limit: {tightest or 'none'}",
            cause=_cause_of_silence(answer, application) if silent else changed,
            look=through_kong.logs(target)
            if silent and application.policy == "redis"
            else target.command("--namespace", application.namespace, "get", "kongplugins", "--output=yaml"),
        )
    if not expected:
        return "no headers about the limit, as hideClientHeaders says"
    left = through_kong.remaining(answer)
    return f"RateLimit-Limit: {tightest}, {_windows(said)}, {'?' if left is None else left} left"


def _cause_of_silence(answer: Answer, application: RoutedApplication) -> str:
    return (
        through_kong.cause_of_silence(application) if through_kong.made_by_upstream(answer) else through_kong.NOT_KONG
    )


def _windows(limits: dict[str, str]) -> str:
    return ", ".join(f"X-RateLimit-Limit-{window.title()}: {value}" for window, value in limits.items()) or "none"


CHECKS = (
    Check(
        number="5",
        name="page",
        statement="Each application answers through Kong.",
        how="GET by Kong's address: what applications[].check says, else any answer of its own below 500; for BookInfo "
        "/productpage, its title, and no error about details or reviews",
        look=_page_comes,
        seconds=_FIRST_ANSWER_SECONDS + through_kong.PATIENCE,
        data_path=True,
    ),
    Check(
        number="6",
        name="path",
        statement="The answer came through Kong and a sidecar.",
        how="headers via (kong/), x-kong-upstream-latency (a number) and server (envoy or istio-envoy)",
        look=_path_is_seen,
        seconds=_SETTLED_SECONDS + through_kong.PATIENCE,
        data_path=True,
    ),
    Check(
        number="6b",
        name="own answers",
        statement="Answers that Kong makes itself are told apart.",
        how="GET of a path without a route, or TRACE where every path has one: server: kong/, no upstream latency",
        look=_own_answers_differ,
        seconds=_SETTLED_SECONDS,
        data_path=True,
    ),
    Check(
        number="7",
        name="no route",
        statement="A path without a route is refused by Kong.",
        how="GET of a path and host that no Ingress names: 404, made by Kong",
        look=_unknown_is_refused,
        seconds=_SETTLED_SECONDS,
        data_path=True,
    ),
    Check(
        number="8",
        name="limit headers",
        statement="The limit that Kong announces is the one of the settings.",
        how="headers RateLimit-Limit and X-RateLimit-Limit-<Window>, for every window and no other",
        look=_limit_is_said,
        seconds=_SETTLED_SECONDS + through_kong.PATIENCE,
        data_path=True,
    ),
)
