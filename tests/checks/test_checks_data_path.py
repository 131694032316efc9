"""The checks that need a data path, against servers that answer as the real ones do, and against mutants of each."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from fakes.clock import START
from fakes.server import FakeServer, Reply, Request
from fakes.world import MUTANTS, Mutant, World

from checks import endpoints, portforward, probe, registry, traffic
from checks.framework import Check, Failed, Outcome, Result, perform
from checks.target import Target
from commands import http_client
from commands.http_client import NoAnswer
from names import PROBE_NAMESPACE

# What istiod does and is asked for has tests of its own.
CHECKS = {check.number: check for check in registry.CHECKS if check.number not in ("1", "2", "2b", "3", "3b", "3c")}


def see(world: World, number: str, **settings: object) -> Result:
    """Run one check against a world."""
    world.settings.update(settings)
    with world.running() as target:
        return perform(CHECKS[number], target)


def change(world: World, **values: object) -> None:
    """Change the application as the settings have it."""
    world.application = dataclasses.replace(world.application, **values)  # type: ignore[arg-type]


def limit_to(world: World, **limits: int) -> None:
    """Limit the route, in the settings and in Kong."""
    change(world, limits=limits)
    world.limit.limits, world.limit.announced = limits, limits


# The table: every check against every mutant.


@functools.cache
def results(mutant: Mutant) -> dict[str, Result]:
    """Run every check against a world of its own with that mutant in it."""
    found = {}
    for number, check in CHECKS.items():
        world = World()
        mutant.spoil(world)
        with world.running() as target:
            found[number] = perform(check, target)
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_noticed_by_the_checks_that_exist_for_it_and_by_no_other(mutant: Mutant) -> None:
    found = results(mutant)
    assert {number for number, result in found.items() if result.outcome is Outcome.FAILED} == mutant.noticed_by
    assert all(result.outcome is not Outcome.NOT_CHECKED for result in found.values())


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.name.replace(" ", "-"))
def test_every_check_is_seen_to_fail(check: Check) -> None:
    assert any(check.number in mutant.noticed_by for mutant in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_failure_says_what_was_expected_and_seen_why_and_where_to_look(mutant: Mutant) -> None:
    for result in results(mutant).values():
        if result.outcome is Outcome.FAILED:
            assert result.expected
            assert result.actual
            assert result.cause
            assert result.look.startswith("kubectl --context fake ")


@pytest.mark.parametrize(
    ("name", "number", "actual"),
    [
        ("passthrough edge", "11", "kong-istio-kong → PassthroughCluster"),
        ("passthrough edge", "12", "kong-istio-kong → productpage-v1 (0 % mutual TLS)"),
        ("source unknown", "11", "unknown → productpage (none"),
        ("source unknown", "12", "unknown → productpage-v1"),
        ("plain text", "11", "kong-istio-kong → productpage (none"),
        ("plain text", "12", "kong-istio-kong → productpage-v1 (0 % mutual TLS)"),
        ("plain text", "13", "200 in plain text"),
        ("limit ignored", "9", "38 requests let through"),
        ("limit counted wrong", "9", "14 let through"),
        ("refused by the upstream", "9", "429 made by the upstream"),
        ("connection reset", "5", "cut the connection"),
        ("body is not JSON", "11", "not JSON"),
        ("no route", "5", "404 made by Kong itself"),
        ("no via header", "6", "via: none"),
    ],
)
def test_a_mutant_is_noticed_for_what_is_wrong_with_it(name: str, number: str, actual: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert actual in results(mutant)[number].actual


@pytest.mark.parametrize(
    ("name", "number", "cause"),
    [
        ("no route", "4", "Kong knows no such route"),
        ("no route", "11", "Kong knows no such route"),
        ("no route", "12", "Kong knows no such route"),
        ("no Kong in front", "4", "something else than Kong answers"),
        ("no Kong in front", "8", "something else than Kong answers"),
        ("no Kong in front", "9", "something else than Kong answers"),
        ("no Kong in front", "12", "something else than Kong answers"),
        ("another route takes all", "6b", "another Ingress of the class kong"),
        ("another route takes all", "7", "another Ingress of the class kong"),
        ("Kong hides its name", "7", "kong.values turn its headers off"),
        ("redis out of reach", "4", "Kong does not reach redis"),
        ("redis out of reach", "8", "Kong does not reach redis"),
        ("redis out of reach", "9", "Kong does not reach redis"),
        ("limit headers missing", "8", "hides its headers"),
        ("limit headers missing", "9", "hides its headers"),
        ("limit ignored", "9", "several replicas of Kong counts for itself"),
        ("refused by the upstream", "9", "bookinfo itself, or its sidecar, limits requests"),
        ("refused by the upstream", "10", "bookinfo itself, or its sidecar, limits requests"),
        ("refused by a policy", "5", "an AuthorizationPolicy refuses Kong"),
        ("passthrough edge", "11", "Kong's traffic bypasses the mesh"),
        ("passthrough edge", "12", "Kong's traffic bypasses the mesh"),
        ("source unknown", "11", "something without a sidecar calls"),
        ("source unknown", "12", "something without a sidecar calls"),
        ("plain text", "11", "does not speak mutual TLS"),
        ("Kiali does not reach Prometheus", "12", "Kiali does not reach Prometheus"),
        ("sidecars not scraped", "11", "it does not scrape them"),
        ("somebody else's route refused", "4", "Kong may refuse the whole configuration for Ingress shop/front"),
        ("own route refused", "4", "the object that the event names"),
        ("no annotation for the plugin", "4", "the route is open"),
        ("KongPlugin changed", "4", "was changed since"),
        ("Ingress removed", "4", "the route was removed"),
    ],
)
def test_the_cause_that_is_named_is_what_is_wrong(name: str, number: str, cause: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert results(mutant)[number].cause.startswith(cause) or cause in results(mutant)[number].cause


@pytest.mark.parametrize(
    ("name", "number", "seconds"),
    [
        ("passthrough edge", "11", 60),
        ("passthrough edge", "12", 60),
        ("plain text", "12", 60),
        ("no annotation for the plugin", "4", 1),
        ("KongPlugin changed", "4", 1),
        ("Ingress removed", "4", 1),
        ("another page", "5", 1),
        ("redis out of reach", "9", 1),
        ("Kiali on a load balancer", "15c", 1),
    ],
)
def test_what_waiting_cannot_heal_is_not_waited_for(name: str, number: str, seconds: float) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert results(mutant)[number].seconds <= seconds


# Kong's configuration.


def test_a_change_that_the_controller_has_not_told_of_is_seen_at_the_door() -> None:
    world = World()
    world.cluster.objects.pop(("events", ""))
    result = see(world, "4")
    assert result.outcome is Outcome.PASSED
    assert "RateLimit-Limit: 30" in result.actual
    assert "has not told so yet" in result.actual


def test_what_neither_an_event_nor_a_header_shows_is_not_checked() -> None:
    world = World()
    world.cluster.objects.pop(("events", ""))
    change(world, limit_headers_hidden=True)
    world.limit.hidden = True
    assert see(world, "4").outcome is Outcome.NOT_CHECKED


def test_somebody_elses_refused_route_is_said_where_ours_works() -> None:
    world = World()
    world.cluster.refuse("Ingress", "shop", "front")
    result = see(world, "4")
    assert result.outcome is Outcome.PASSED
    assert "of others: Ingress shop/front" in result.actual


def test_a_route_without_a_limit_is_one_that_is_there() -> None:
    world = World()
    change(world, limits={})
    (ingress,) = world.cluster.objects["ingresses", "bookinfo"].values()
    ingress["metadata"]["annotations"].pop("konghq.com/plugins")
    world.cluster.objects.pop(("events", ""))
    result = see(world, "4")
    assert result.outcome is Outcome.PASSED
    assert "it has no limit (rateLimit: none)" in result.actual


# Routes that no check can ask as they are meant to be.


@pytest.mark.parametrize("number", ["5", "6", "8", "9", "10", "11", "12", "13"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"guarded": True}, "a plugin on its route asks for a login (401), and no check has one"),
        ({"protocol": "grpc"}, "it speaks gRPC, which no check does"),
        ({"narrowed": True}, "its annotations keep it for other requests than the plain GET of the checks"),
    ],
)
def test_what_only_others_can_ask_is_not_checked(number: str, fields: dict[str, Any], reason: str) -> None:
    world = World()
    world.kong.login = True
    change(world, **fields)
    result = see(world, number)
    assert (result.outcome, reason in result.actual) == (Outcome.NOT_CHECKED, True), result


@pytest.mark.parametrize("number", ["11", "12"])
def test_what_kong_encrypts_itself_no_sidecar_measures(number: str) -> None:
    world = World()
    change(world, protocol="https")
    result = see(world, number)
    assert result.outcome is Outcome.NOT_CHECKED
    assert "Kong speaks TLS with its Service" in result.actual
    world.kong.upstream.server = "nginx"
    assert see(world, "6").outcome is Outcome.PASSED


def test_a_login_that_no_setting_explains_fails() -> None:
    world = World()
    world.kong.login = True
    assert see(world, "5").outcome is Outcome.FAILED


def test_what_a_login_hides_the_controller_tells() -> None:
    world = World()
    world.kong.login = True
    change(world, guarded=True)
    result = see(world, "4")
    assert result.outcome is Outcome.PASSED
    assert "no answer shows it, as a plugin on its route asks for a login (401)" in result.actual
    world.cluster.objects.pop(("events", ""))
    assert see(world, "4").outcome is Outcome.NOT_CHECKED


def test_an_application_stands_by_the_route_that_can_be_asked_best() -> None:
    one = dataclasses.replace(World().application, name="shop")
    grpc = dataclasses.replace(one, protocol="grpc")
    login = dataclasses.replace(one, name="shop/login", guarded=True)
    page = dataclasses.replace(one, name="shop/page")
    other = dataclasses.replace(one, name="blog", protocol="grpcs")
    assert Target(applications=(grpc, login, page, other)).one_of_each == (page, other)
    assert Target(applications=(grpc, login)).one_of_each == (login,)


# The page.


def test_another_application_than_bookinfo_needs_no_title() -> None:
    world = World()
    change(world, name="shop", service="shop", path="/shop")
    world.kong.upstream.title = "Shop"
    result = see(world, "5")
    assert (result.outcome, result.actual[:22]) == (Outcome.PASSED, "shop: 200 for /shop th")


SHOP = {"name": "shop", "service": "shop", "path": "/"}


@pytest.mark.parametrize("status", [200, 204, 302, 401, 403, 404, 405])
def test_any_answer_of_an_application_below_500_is_right(status: int) -> None:
    world = World()
    change(world, **SHOP)
    world.kong.upstream.status = status
    seen = {number: see(world, number) for number in ("5", "10", "13", "14")}
    assert {number: result.outcome for number, result in seen.items()} == dict.fromkeys(seen, Outcome.PASSED)
    assert seen["5"].actual.startswith(f"shop: {status} for / ")
    assert f"25 requests, all {status}, " in seen["10"].actual
    assert seen["13"].actual.endswith(f"; {status} through Kong")


def _route_of_a_virtual_service(world: World) -> None:
    """Have Kong's sidecar know no way for a request: nobody tells how long it took."""
    reply = Reply(404, "", {"server": "envoy", "date": "Wed, 25 Nov 2026 23:20:21 GMT"})
    world.kong.upstream.answer = lambda: reply  # type: ignore[method-assign]


def _upstream(**values: object) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        for name, value in values.items():
            setattr(world.kong.upstream, name, value)

    return spoil


NOT_THE_APPLICATIONS: dict[str, tuple[Callable[[World], None], str]] = {
    "Kong knows no route": (lambda world: setattr(world.kong, "routed", False), "Kong knows no such route"),
    "Kong finds no pod": (_upstream(status=503), "Kong does not reach shop"),
    "a policy": (_upstream(status=403, body="RBAC: access denied"), "an AuthorizationPolicy refuses Kong"),
    "a sidecar without a route": (_route_of_a_virtual_service, "a VirtualService leads it nowhere"),
    "a limit of its own": (_upstream(status=429), "shop itself, or its sidecar, limits"),
}


@pytest.mark.parametrize("case", NOT_THE_APPLICATIONS)
@pytest.mark.parametrize("status", [None, 200])
def test_what_others_answer_in_its_place_is_not(case: str, status: int | None) -> None:
    spoil, cause = NOT_THE_APPLICATIONS[case]
    world = World()
    change(world, **SHOP, check_status=status)
    spoil(world)
    result = see(world, "5")
    assert (result.outcome, cause in result.cause) == (Outcome.FAILED, True)
    assert result.expected.startswith("200 for /" if status else "an answer below 500 for / of shop")


def test_where_the_settings_say_what_is_right_nothing_else_is() -> None:
    world = World()
    change(world, **SHOP, check_path="/login", check_status=401, check_contains="Sign in")
    upstream = world.kong.upstream
    upstream.status, upstream.body = 401, "<h1>Sign in</h1>"
    assert see(world, "5").actual.startswith("shop: 401 for /login, with “Sign in” through")
    upstream.body = "Welcome"
    assert see(world, "5").expected == "401 for /login of shop, with “Sign in”, made by its Service shop"
    upstream.status, upstream.body = 200, "Sign in"
    assert {see(world, number).outcome for number in ("5", "10")} == {Outcome.FAILED}


def test_an_error_of_the_application_may_be_right() -> None:
    world = World()
    change(world, **SHOP, check_status=501)
    world.kong.upstream.status = 501
    assert {see(world, number).outcome for number in ("5", "9", "10")} == {Outcome.PASSED}


def test_a_plugin_that_wants_a_login_may_be_right_and_hides_what_is_behind_it() -> None:
    world = World()
    change(world, **SHOP, check_status=401)
    world.kong.login = True
    seen = {number: see(world, number) for number in ("5", "6", "8", "9", "10", "11", "12")}
    assert seen.pop("5").actual.startswith("shop: 401 made by a plugin of Kong's for /")
    for number, result in seen.items():
        assert (number, result.outcome) == (number, Outcome.NOT_CHECKED)
        assert "Kong itself answers 401, as the application's check.status says" in result.actual


def test_a_route_that_kong_does_not_know_is_no_404_of_the_application() -> None:
    world = World()
    change(world, **SHOP, check_status=404)
    world.kong.upstream.status = 404
    assert see(world, "5").outcome is Outcome.PASSED
    world.kong.routed = False
    assert see(world, "5").outcome is Outcome.FAILED


def test_bookinfo_may_be_asked_for_another_page() -> None:
    world = World()
    change(world, check_path="/login", check_status=302)
    world.kong.upstream.status = 302
    assert see(world, "5").actual.startswith("bookinfo: 302 for /login")


def test_an_answer_that_only_kong_made_is_not_the_page() -> None:
    world = World()
    change(world, service="shop", error_code=200)
    world.limit.error_code = 200
    world.limit.limits = world.limit.announced = {"minute": 0}
    assert see(world, "5").outcome is Outcome.FAILED


def test_a_used_up_limit_is_waited_for() -> None:
    world = World()
    world.limit.used = {("minute", int(START // 60)): 30}
    assert [see(world, number).outcome for number in ("5", "6", "8")] == [Outcome.PASSED] * 3


def test_a_limit_that_is_used_up_for_an_hour_is_not() -> None:
    world = World()
    limit_to(world, hour=30)
    world.limit.used = {("hour", int(START // 3600)): 30}
    result = see(world, "5")
    assert result.outcome is Outcome.NOT_CHECKED
    assert "used up for another" in result.actual


@pytest.mark.parametrize(("server", "said"), [("envoy", "Kong's sidecar"), ("istio-envoy", "inbound")])
def test_it_is_said_which_sidecar_answered(server: str, said: str) -> None:
    world = World()
    world.kong.upstream.server = server
    result = see(world, "6")
    assert result.outcome is Outcome.PASSED
    assert said in result.actual


def test_without_injection_no_sidecar_is_asked_for() -> None:
    world = World()
    world.kong.upstream.server = "gunicorn"
    assert see(world, "6", injection=False).outcome is Outcome.PASSED


def test_where_every_path_has_a_route_kong_is_asked_what_it_never_passes_on() -> None:
    world = World()
    change(world, host="")
    world.kong.host = ""
    assert see(world, "6b").actual.startswith("405 with server: kong/3.9.1")
    result = see(world, "7")
    assert (result.outcome, result.actual) == (
        Outcome.NOT_CHECKED,
        "every path leads to bookinfo, whose route is / for any host",
    )


def test_a_wildcard_host_is_called_by_some_name_under_it() -> None:
    world = World()
    change(world, host="*.example.com")
    world.kong.host = "checks.example.com"
    assert see(world, "5").outcome is Outcome.PASSED


def test_hidden_limit_headers_must_be_hidden() -> None:
    world = World()
    change(world, limit_headers_hidden=True)
    assert see(world, "8").outcome is Outcome.FAILED
    hidden = World()
    change(hidden, limit_headers_hidden=True)
    hidden.limit.hidden = True
    assert see(hidden, "8").outcome is Outcome.PASSED


def test_every_window_is_compared() -> None:
    world = World()
    limit_to(world, minute=30, hour=1000)
    assert "X-RateLimit-Limit-Hour: 1000" in see(world, "8").actual
    world = World()
    limit_to(world, minute=30, hour=1000)
    change(world, limits={"minute": 30})
    assert see(world, "8").outcome is Outcome.FAILED


# The limit.


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"hour": 100}, "no window longer than a minute"),
        ({"minute": 301}, "no more than 300"),
        ({"second": 151}, "no more than 300"),
        ({"minute": 30, "day": 100}, "38 of the 100 requests that are allowed per day"),
        ({}, "no limit"),
    ],
)
def test_a_limit_that_takes_too_much_to_fill_is_not_checked(limits: dict[str, int], reason: str) -> None:
    world = World()
    change(world, limits=limits)
    result = see(world, "9")
    assert result.outcome is Outcome.NOT_CHECKED
    assert reason in result.actual
    assert not world.kong.requests


@pytest.mark.parametrize("limits", [{"second": 5}, {"second": 5, "minute": 60}, {"minute": 1}, {"minute": 300}])
def test_other_limits_bite_too(limits: dict[str, int]) -> None:
    world = World()
    limit_to(world, **limits)
    result = see(world, "9")
    assert result.outcome is Outcome.PASSED, result.actual


def test_the_counter_may_be_a_little_late() -> None:
    world = World()
    world.limit.late = 5
    assert see(world, "9").outcome is Outcome.PASSED


def test_a_burst_starts_in_a_window_with_time_left() -> None:
    world = World()
    world.clock.wait(54.5)
    result = see(world, "9")
    assert result.outcome is Outcome.PASSED, result.actual


def test_a_burst_may_touch_two_seconds() -> None:
    world = World()
    limit_to(world, second=20)
    world.clock.wait(0.7)
    result = see(world, "9")
    assert result.outcome is Outcome.PASSED, result.actual


def test_a_limit_that_is_used_up_for_good_does_not_bite_it_blocks() -> None:
    world = World()
    world.limit.used, world.limit.lifts = {("minute", 0): 30}, False
    result = see(world, "9")
    assert result.outcome is Outcome.FAILED
    assert result.expected == "an answer of bookinfo in a new minute"


def test_requests_that_are_too_slow_for_the_window_say_nothing() -> None:
    world = World()
    limit_to(world, second=100)
    result = see(world, "9")
    assert result.outcome is Outcome.NOT_CHECKED
    assert "too slow" in result.actual


def test_a_limit_with_hidden_headers_and_a_code_of_its_own_bites() -> None:
    world = World()
    change(world, limit_headers_hidden=True, error_code=503)
    world.limit.hidden, world.limit.error_code = True, 503
    assert see(world, "9").actual.startswith("bookinfo: 503 made by Kong after ")


# Traffic.


def test_traffic_waits_for_the_limit_and_is_never_refused() -> None:
    world = World()
    result = see(world, "10", requests=70)
    assert result.outcome is Outcome.PASSED
    assert "70 requests, all 200" in result.actual
    assert "waiting for the limit" in result.actual
    assert world.kong.upstream.served == len(world.kong.requests) >= 70


def test_traffic_is_spread_by_the_settings_where_the_headers_are_hidden() -> None:
    world = World()
    change(world, limit_headers_hidden=True)
    world.limit.hidden = True
    assert see(world, "10", requests=40).outcome is Outcome.PASSED
    assert world.kong.upstream.served == len(world.kong.requests)


def test_traffic_that_a_limit_would_stretch_over_hours_is_not_sent() -> None:
    world = World()
    limit_to(world, hour=10)
    result = see(world, "10")
    assert result.outcome is Outcome.NOT_CHECKED
    assert "of 25 requests its limit allows none for another" in result.actual


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with World().running() as target:
            traffic.run(target, 25, stream)
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())
    assert "12/25 requests" in drawn
    assert drawn.endswith("25/25 requests\n")
    assert pipe.getvalue() == ""


# The edge.


@pytest.mark.parametrize("number", ["11", "12"])
def test_in_the_guides_way_going_past_the_mesh_is_expected_and_said(number: str) -> None:
    world = World()
    world.mesh.past_it = True
    result = see(world, number, routing="guide")
    assert result.outcome is Outcome.PASSED
    assert ("PassthroughCluster" if number == "11" else "(0 % mutual TLS)") in result.actual
    assert "bypasses the mesh, as the guide's routing does" in result.actual


@pytest.mark.parametrize("number", ["11", "12"])
def test_in_the_guides_way_no_traffic_at_all_is_still_a_failure(number: str) -> None:
    world = World()
    world.kong.routed = False
    assert see(world, number, routing="guide").outcome is Outcome.FAILED


@pytest.mark.parametrize("number", ["11", "12"])
def test_traffic_from_before_a_change_is_out_of_sight_in_time(number: str) -> None:
    world = World()
    world.mesh.past_it = True
    for _ in range(8):
        world.mesh.carry(200)
        world.clock.wait(15)
    world.mesh.past_it = False
    assert see(world, number).outcome is Outcome.PASSED


@pytest.mark.parametrize("number", ["11", "12"])
def test_looking_for_the_edge_takes_no_more_than_a_quarter_of_the_limit(number: str) -> None:
    world = World()
    limit_to(world, minute=4)
    world.mesh.plain = True
    see(world, number)
    assert len(world.kong.requests) <= 4  # in three minutes


def test_an_anonymous_kiali_is_not_asked_for_a_session() -> None:
    world = World()
    world.kiali.open = True
    assert see(world, "12", kiali_auth="anonymous").outcome is Outcome.PASSED
    assert not any(request.method == "POST" for request in world.kiali.requests)


@pytest.mark.parametrize(
    ("number", "settings", "reason"),
    [
        ("10", {"requests": 0}, "no traffic is asked for"),
        ("11", {"prometheus": False}, "Prometheus is switched off"),
        ("11", {"injection": False}, "no sidecars"),
        ("12", {"kiali": False}, "Kiali is switched off"),
        ("12", {"injection": False}, "no sidecars"),
        ("13", {"mtls": "PERMISSIVE"}, "istio.mtls is PERMISSIVE"),
        ("13", {"load": False}, "switched off"),
        ("15", {"prometheus": False, "grafana": False, "kiali": False}, "switched off"),
        ("15c", {"prometheus": False, "grafana": False, "kiali": False}, "switched off"),
    ],
)
def test_what_the_stack_does_not_have_is_not_checked(number: str, settings: dict[str, object], reason: str) -> None:
    result = see(World(), number, **settings)
    assert result.outcome is Outcome.NOT_CHECKED
    assert reason in result.actual


@pytest.mark.parametrize("number", [number for number in CHECKS if number not in ("4", "4b", "15c")])
def test_on_simulated_nodes_nothing_of_the_data_path_passes(number: str) -> None:
    assert see(World(), number, simulated=True).actual == "nodes are simulated: no container runs"


def test_on_simulated_nodes_the_services_of_the_dashboards_are_still_looked_at() -> None:
    assert see(World(), "15c", simulated=True).outcome is Outcome.PASSED


# Strangers.


def test_a_policy_may_forbid_what_the_mesh_would_take() -> None:
    world = World()
    world.mesh.plain = world.mesh.guarded = True
    result = see(world, "14", mtls="PERMISSIVE")
    assert (result.outcome, result.actual) == (
        Outcome.PASSED,
        "bookinfo: a stranger's request is answered 403; 200 through Kong",
    )


def test_without_a_policy_authorization_is_not_checked() -> None:
    world = World()
    world.cluster.objects.pop(("authorizationpolicies.security.istio.io", "bookinfo"))
    assert see(world, "14").outcome is Outcome.NOT_CHECKED


def test_a_pod_that_cannot_connect_says_nothing_of_the_mesh() -> None:
    world = World()
    with world.running() as target, socket.create_server(("127.0.0.1", 0)) as closed:
        world.cluster.stranger = ("127.0.0.1", closed.getsockname()[1])
        closed.close()
        result = perform(CHECKS["13"], target)
    assert result.outcome is Outcome.NOT_CHECKED
    assert "cannot connect" in result.actual


def test_what_the_check_creates_is_harmless_and_has_no_sidecar() -> None:
    world = World()
    with world.running() as target, probe.outside(target) as ask:
        ask(target.applications[0])
        (pod,) = world.cluster.list("pods", PROBE_NAMESPACE)
        (namespace,) = world.cluster.list("namespaces")
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert namespace["metadata"]["labels"]["istio-injection"] == "disabled"
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "kong:3.9.1"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("end", [KeyboardInterrupt(), Failed("a", "b", cause="c", look="d")])
def test_the_namespace_goes_on_failure_and_on_an_interrupt(end: BaseException) -> None:
    world = World()

    def ended(target: Target) -> None:
        with probe.outside(target):
            assert world.cluster.list("namespaces")
            raise end

    with world.running() as target, pytest.raises(type(end)):
        ended(target)
    assert not world.cluster.list("namespaces")


def test_the_namespace_goes_when_an_interrupt_falls_into_its_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    create = world.cluster.create

    def interrupted(manifest: dict[str, Any], **_: Any) -> dict[str, Any]:
        create(manifest)
        raise KeyboardInterrupt

    monkeypatch.setattr(world.cluster, "create", interrupted)
    with world.running() as target, pytest.raises(KeyboardInterrupt), probe.outside(target):
        pass
    assert not world.cluster.list("namespaces")


def test_what_a_killed_run_left_is_cleared_away_first() -> None:
    world = World()
    labels = {"app.kubernetes.io/managed-by": "kong-istio-checks"}
    world.cluster.put("namespaces", "", {"metadata": {"name": PROBE_NAMESPACE, "labels": labels}})
    assert see(world, "13").outcome is Outcome.PASSED


def test_somebody_elses_namespace_is_left_alone() -> None:
    world = World()
    world.cluster.put("namespaces", "", {"metadata": {"name": PROBE_NAMESPACE}})
    assert see(world, "13").outcome is Outcome.NOT_CHECKED
    assert world.cluster.list("namespaces")


# Dashboards.


def test_visitors_of_an_anonymous_grafana_are_viewers() -> None:
    world = World()
    world.grafana.role = "Viewer"
    assert "visitors without a login are Viewers" in see(world, "15b", grafana_anonymous=True).actual


def test_a_dashboard_that_should_be_open_and_is_not_is_said() -> None:
    assert see(World(), "15b", grafana_anonymous=True).outcome is Outcome.FAILED
    assert see(World(), "15b", kiali_auth="anonymous").outcome is Outcome.FAILED


# The endpoints.


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what is forwarded, and when that ends."""
    actual: list[str] = []

    @contextmanager
    def open_port(_: Target, namespace: str, resource: str, port: int) -> Iterator[str]:
        actual.append(f"{namespace} {resource} {port}")
        try:
            yield "http://127.0.0.1:1"
        finally:
            actual.append("closed")

    monkeypatch.setattr(portforward, "open_port", open_port)
    return actual


def proxy_service(world: World, port: int, **ingress: str) -> None:
    ports = [{"name": "kong-proxy-tls", "port": 443}, {"name": "kong-proxy", "port": port, "nodePort": port}]
    status = {"loadBalancer": {"ingress": [ingress] if ingress else []}}
    service = {"metadata": {"name": "kong-istio-kong-proxy"}, "spec": {"ports": ports}, "status": status}
    world.cluster.put("services", "kong-istio", service)


@pytest.mark.parametrize(
    ("service_type", "ingress", "host"),
    [
        ("LoadBalancer", {"ip": "127.0.0.1"}, "127.0.0.1"),
        ("LoadBalancer", {"hostname": "localhost"}, "localhost"),
        ("NodePort", {}, "127.0.0.1"),
    ],
)
def test_kong_is_called_where_its_service_says(service_type: str, ingress: dict[str, str], host: str) -> None:
    world = World()
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    world.cluster.put("nodes", "", {"metadata": {"name": "node-0"}, "status": {"addresses": addresses}})
    with world.running() as target, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        proxy_service(world, port, **ingress)
        target = dataclasses.replace(target, proxy_url="", service_type=service_type)
        with endpoints.proxy(target) as endpoint:
            assert endpoint.url == f"http://{host}:{port}"


@pytest.mark.parametrize("service_type", ["ClusterIP", "LoadBalancer", "NodePort"])
def test_without_an_address_kong_is_called_through_a_port_forward(service_type: str, forwards: list[str]) -> None:
    world = World()
    proxy_service(world, 80)
    with world.running() as target:
        target = dataclasses.replace(target, proxy_url="", service_type=service_type)
        with endpoints.proxy(target) as endpoint:
            assert forwards == ["kong-istio service/kong-istio-kong-proxy 80"]
            assert endpoint.how == "a port-forward to kong-istio/kong-istio-kong-proxy"
    assert forwards[1:] == ["closed"]


def test_an_address_that_cannot_be_reached_from_here_is_said(forwards: list[str]) -> None:
    world = World()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proxy_service(world, port, ip="127.0.0.1")
    with world.running() as target, endpoints.proxy(dataclasses.replace(target, proxy_url="")) as endpoint:
        assert endpoint.how.endswith(f", as 127.0.0.1:{port} accepts no connection from here")
    assert forwards[1:] == ["closed"]


def test_dashboards_are_reached_through_port_forwards_that_are_closed_again(forwards: list[str]) -> None:
    with World().running() as target:
        result = perform(CHECKS["15"], dataclasses.replace(target, grafana_url="", prometheus=False))
    assert result.outcome is Outcome.FAILED
    assert forwards[::2] == ["istio-system service/grafana 3000"] * (len(forwards) // 2)
    assert forwards[1::2] == ["closed"] * (len(forwards) // 2)
    assert len(forwards) > 2  # a look that failed opens it anew


# The client.


@contextmanager
def saying(*parts: bytes, pause: float = 0) -> Iterator[str]:
    """Serve one connection with these bytes."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        # The client may be gone before the last part.
        with connection, suppress(OSError):
            connection.recv(4096)
            for part in parts:
                connection.sendall(part)
                ended.wait(pause)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "pause", "sentence"),
    [
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], 0, "answered with something that is not HTTP"),
        ([b""], 0, "cut the connection before its answer was complete"),
        ([HEAD + b"half"], 0, "cut the connection before its answer was complete"),
        ([HEAD, *[b"x"] * 5], 0.1, "gave no complete answer within 0.2 s"),
        ([b""], 1, "gave no complete answer within 0.2 s"),
    ],
    ids=["not-http", "cut", "cut-in-the-body", "dripping", "silent"],
)
def test_trouble_is_one_sentence(parts: list[bytes], pause: float, sentence: str) -> None:
    with saying(*parts, pause=pause) as url, pytest.raises(NoAnswer, match=sentence):
        http_client.get(url, seconds=0.2)


def test_a_refused_connection_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoAnswer, match=f"127.0.0.1:{port} refused the connection"):
        http_client.get(f"http://127.0.0.1:{port}")
    assert not http_client.reachable("127.0.0.1", port)


class Redirecting(FakeServer):
    def answer(self, request: Request) -> Reply:
        return Reply(302, "", {"Location": "/elsewhere", "Set-Cookie": "a=1; Path=/", "X-Saw": request.headers["Host"]})


def test_redirects_are_shown_and_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Redirecting().running() as url:
        answer = http_client.get(url, {"Host": "bookinfo.test"})
    assert (answer.status, answer.cookies, answer.header("x-saw")) == (302, "a=1", "bookinfo.test")


def test_repeated_headers_are_joined() -> None:
    answer = http_client.Answer(200, (("Via", "1.1 cache"), ("via", "1.1 kong/3.9.1")), b"")
    assert answer.header("VIA") == "1.1 cache, 1.1 kong/3.9.1"
