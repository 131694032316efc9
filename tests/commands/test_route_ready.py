"""The command that waits until Kong serves a route with its limit: what it takes for an answer, and why it gives up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from charts import reference
from test_commands import FakeCluster, node, service

from commands import command_line, http_client, route_ready
from commands.http_client import Answer, NoAnswer
from kube import ClusterError

Object = dict[str, Any]

CHANGED = datetime(2026, 11, 25, 23, 19, 10, tzinfo=UTC)
KWOK = {"kwok.x-k8s.io/node": "fake"}
LABELS = {"app.kubernetes.io/component": "app", "app.kubernetes.io/instance": "kong-istio"}
ROUTE = ("--namespace", "bookinfo", "--ingress", "productpage", "--plugin", "rate-limit", "--limit", "minute=30")
WHERE = "/ of the Ingress bookinfo/productpage"
LOG = "look at `kubectl --namespace kong-istio logs deployment/kong-istio-kong --all-containers`"
REDIS = "redis at store:6379, where Kong counts, is out of reach or refuses its login"


def answer(status: int = 200, body: str = "", **limits: int) -> Answer:
    """Return an answer with the headers that Kong gives it, in Kong's spelling."""
    headers = [(f"X-RateLimit-Limit-{window.title()}", str(limit)) for window, limit in limits.items()]
    return Answer(status, (("Connection", "close"), ("X-RateLimit-Remaining-Minute", "7"), *headers), body.encode())


NO_ROUTE = answer(404, '{"message":"no Route matched with those values","request_id":"1"}')
OPEN = Answer(200, (("X-Kong-Upstream-Latency", "3"),), b"")
PAGE = answer(minute=30)


def stamp(seconds: float) -> str:
    return (CHANGED + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def pod(name: str = "kong-1", **metadata: Any) -> Object:
    described = {"name": name, "namespace": "kong-istio", "labels": LABELS, **metadata}
    return {"kind": "Pod", "metadata": described, "status": {"phase": "Running"}}


def event(reason: str, seconds: float, name: str, kind: str = "Pod", message: str = "") -> Object:
    home = "kong-istio" if kind == "Pod" else "bookinfo"
    about = {"kind": kind, "name": name, "namespace": home}
    metadata = {"name": f"{name}.{reason}", "namespace": home}
    return {
        "kind": "Event",
        "metadata": metadata,
        "reason": reason,
        "message": message,
        "involvedObject": about,
        "lastTimestamp": stamp(seconds),
        "eventTime": None,
        "series": None,
    }


def written(kind: str, name: str) -> Object:
    """Return an object that was changed last at `CHANGED`, and whose status was reported since."""
    fields: list[Object] = [
        {"manager": "pulumi-kubernetes", "time": stamp(0)},
        {"manager": "kong", "time": stamp(600), "subresource": "status"},
    ]
    metadata = {"name": name, "namespace": "bookinfo", "creationTimestamp": stamp(-900), "managedFields": fields}
    return {"kind": kind, "metadata": metadata}


class World:
    """A cluster with a Kong of one pod behind nothing but port-forwards.

    `answers`: address -> what it answers, as of a second. `asked`: who was asked when.
    """

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.answers: dict[str, list[tuple[float, Answer]]] = {"kong-1": [(0, PAGE)]}
        self.asked: list[tuple[str, float]] = []
        self.urls: list[str] = []
        self.hosts: list[str] = []
        self.open: set[str] = set()
        self.ports: set[int] = set()
        deployment = {
            "kind": "Deployment",
            "metadata": {"name": "kong-istio-kong", "namespace": "kong-istio"},
            "spec": {"selector": {"matchLabels": LABELS}},
        }
        cluster.objects = [
            *(deployment, pod(), {"kind": "Node", "metadata": {"name": "a"}}),
            *(written("Ingress", "productpage"), written("KongPlugin", "rate-limit")),
        ]

    def reachable(self, host: str, port: int) -> bool:
        return f"{host}:{port}" in self.answers

    @contextmanager
    def open_port(self, namespace: str, resource: str, port: int) -> Iterator[str]:
        assert namespace == "kong-istio"
        self.ports.add(port)
        name = resource.removeprefix("pod/")
        if name not in self.answers:
            raise ClusterError("error: forbidden")
        self.open.add(name)
        try:
            yield f"http://{name}"
        finally:
            self.open.remove(name)

    def get(self, url: str, headers: dict[str, str], *, seconds: float, verify: bool) -> Answer:
        assert seconds <= 10
        assert not verify
        address = url.partition("://")[2].partition("/")[0]
        self.urls.append(url)
        self.hosts.append(headers.get("Host", ""))
        self.asked.append((address, self.cluster.seconds))
        found = [given for since, given in self.answers[address] if self.cluster.seconds >= since]
        if not found:
            raise NoAnswer(f"{address} cut the connection before its answer was complete")
        return found[-1]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Make a world whose time passes only where the command sleeps."""
    cluster = FakeCluster()
    made = World(cluster)
    monkeypatch.setattr(command_line, "connect", lambda _: cluster)
    monkeypatch.setattr(command_line, "time", cluster)
    monkeypatch.setattr(route_ready, "time", cluster)
    monkeypatch.setattr(http_client, "get", made.get)
    monkeypatch.setattr(http_client, "reachable", made.reachable)
    monkeypatch.setattr(cluster, "port_forward", made.open_port)
    return made


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; return by what the route was seen, and what was said beside that."""

    def execute(*arguments: str, kind: str = "ClusterIP") -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["route_ready", "--context", "one", *ROUTE, "--type", kind, *arguments])
        command_line.run(route_ready.main)
        said = capsys.readouterr()
        return str(json.loads(said.out)["seen"]), said.err

    return execute


def failure(run: Run, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert "None" not in text
    return text


# --- What is waited for ----------------------------------------------------------------------------------------------


def test_a_route_that_is_served_is_asked_for_once(world: World, run: Run) -> None:
    assert run() == ("answers", "")
    assert world.asked == [("kong-1", 0)]
    assert not world.open


@pytest.mark.parametrize("before", [NO_ROUTE, OPEN, answer(minute=29), answer(minute=30, hour=5), answer(second=30)])
@pytest.mark.parametrize("after", [PAGE, answer(429, minute=30), answer(404, "not here", minute=30)])
def test_the_route_and_its_limit_are_waited_for(before: Answer, after: Answer, world: World, run: Run) -> None:
    world.answers = {"kong-1": [(0, before), (6, after)]}
    assert run() == ("answers", "")
    assert world.cluster.seconds == pytest.approx(6, abs=1)
    # Each request may ask one of the limit.
    assert len(world.asked) <= 7


def test_every_pod_is_asked_and_none_again_that_serves_the_route(world: World, run: Run) -> None:
    world.cluster.objects += [pod("kong-2"), pod("kong-0", deletionTimestamp=stamp(0))]
    world.cluster.objects += [service({"ip": "192.0.2.1"})]
    world.answers = {"192.0.2.1:80": [(0, PAGE)], "kong-1": [(0, PAGE)], "kong-2": [(0, NO_ROUTE), (3, PAGE)]}
    assert run(kind="LoadBalancer")[0] == "answers"
    assert [address for address, _ in world.asked].count("kong-1") == 1
    assert world.asked[-1] == ("kong-2", 3)
    assert {address for address, _ in world.asked} == {"kong-1", "kong-2"}


@pytest.mark.parametrize(("kind", "address"), [("LoadBalancer", "192.0.2.1:80"), ("NodePort", "10.0.0.1:30080")])
def test_a_single_pod_is_asked_at_the_address_that_answers(kind: str, address: str, world: World, run: Run) -> None:
    world.cluster.objects += [service({"ip": "192.0.2.1"}), node("b", InternalIP="10.0.0.1")]
    assert run(kind=kind)[0] == "answers"
    assert [name for name, _ in world.asked] == ["kong-1"]
    # One that is there and cuts the connection has nothing behind it yet.
    world.answers[address] = []
    assert run(kind=kind)[0] == "answers"
    assert [name for name, _ in world.asked][1:] == [address, "kong-1"]
    world.answers[address] = [(0, PAGE)]
    assert run(kind=kind)[0] == "answers"
    assert [name for name, _ in world.asked][3:] == [address]


def test_a_single_pod_is_asked_at_the_address_that_the_settings_give(world: World, run: Run) -> None:
    world.cluster.objects += [service({"ip": "192.0.2.1"}), node("b", InternalIP="10.0.0.1")]
    world.answers |= {"localhost:8000": [(0, PAGE)], "10.0.0.1:30080": [(0, NO_ROUTE)]}
    assert run("--address", "localhost:8000", kind="NodePort")[0] == "answers"
    assert [name for name, _ in world.asked] == ["localhost:8000"]


def test_a_route_over_tls_alone_is_asked_for_there(world: World, run: Run) -> None:
    assert run("--tls") == ("answers", "")
    assert (world.urls, world.ports) == (["https://kong-1/"], {8443})
    tls = service({"ip": "192.0.2.1"})
    tls["spec"]["ports"] += [{"name": "kong-proxy-tls", "port": 443}]
    world.cluster.objects += [tls]
    world.answers["192.0.2.1:443"] = [(0, PAGE)]
    assert run("--tls", kind="LoadBalancer")[0] == "answers"
    assert world.urls[1:] == ["https://192.0.2.1:443/"]


def test_a_route_without_a_limit_is_one_that_is_served(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    route = ("--namespace", "bookinfo", "--ingress", "productpage", "--type", "ClusterIP")
    monkeypatch.setattr(sys, "argv", ["route_ready", "--context", "one", *route])
    world.answers = {"kong-1": [(0, NO_ROUTE), (4, Answer(401, (), b""))]}
    command_line.run(route_ready.main)
    assert json.loads(capsys.readouterr().out) == {"seen": "answers"}
    assert world.cluster.seconds == pytest.approx(4, abs=1)


def test_the_routes_host_and_path_are_asked_for(world: World, run: Run) -> None:
    run("--host", "*.shop.example", "--path", "/büch")
    assert (world.urls, world.hosts) == (["http://kong-1/b%C3%BCch"], ["any.shop.example"])


@pytest.mark.parametrize("recorded", ["kong-productpage", "kong-limited"])
def test_a_real_kong_tells_its_limit_also_when_it_refuses(recorded: str) -> None:
    lines = reference(f"recorded/mesh/{recorded}.headers").read_text().splitlines()[1:]
    pairs = (line.partition(": ") for line in lines if line.strip())
    headers = tuple((name, value) for name, _, value in pairs)
    assert route_ready.limits_of(Answer(200, headers, b"")) == {"minute": 30}


# --- What it gives up on ---------------------------------------------------------------------------------------------


def test_a_route_that_does_not_come_is_told(world: World, run: Run) -> None:
    world.answers = {"kong-1": [(0, NO_ROUTE)]}
    assert failure(run, "--timeout", "60") == (
        f"Kong does not serve {WHERE} after 60 s (Kong answers 404, no Route matched): its controller has not taken the "
        f"route over; {LOG}, or raise kong.readyTimeoutSeconds."
    )
    assert world.cluster.seconds == pytest.approx(60, abs=2)


def test_what_the_controller_refuses_ends_it_sooner_and_is_quoted(world: World, run: Run) -> None:
    world.answers = {"kong-1": [(0, NO_ROUTE)]}
    reason = "KongConfigurationTranslationFailed"
    world.cluster.objects += [event(reason, 2, "rate-limit", "KongPlugin", "no such\nfield")]
    assert "taken the route over, which refuses KongPlugin rate-limit: no such field; look" in failure(run)
    assert world.cluster.seconds == pytest.approx(30, abs=2)


def test_an_old_refusal_is_no_reason(world: World, run: Run) -> None:
    world.answers = {"kong-1": [(0, NO_ROUTE)]}
    world.cluster.objects += [event("KongConfigurationTranslationFailed", -5, "rate-limit", "KongPlugin", "old")]
    assert "old" not in failure(run, "--timeout", "40")
    assert world.cluster.seconds == pytest.approx(40, abs=2)


@pytest.mark.parametrize("status", [200, 500])
def test_a_limit_that_redis_does_not_count_names_redis_first(status: int, world: World, run: Run) -> None:
    world.answers = {"kong-1": [(0, Answer(status, (), b""))]}
    assert failure(run, "--redis", "store:6379") == (
        f"Kong serves {WHERE} after 30 s, but not with its limit of 30 per minute (its answer, {status}, tells no limit): "
        f"{REDIS}, or its controller has not taken the limit over, or another plugin or proxy answers; {LOG}."
    )
    assert world.cluster.seconds == pytest.approx(30, abs=2)


def test_a_limit_that_stays_the_old_one_is_not_put_down_to_redis(world: World, run: Run) -> None:
    world.answers = {"kong-1": [(0, answer(minute=29, hour=5))]}
    text = failure(run, "--redis", "store:6379")
    assert (
        "(its answer, 200, tells 29 per minute, 5 per hour): its controller has not taken the limit over; look" in text
    )
    assert REDIS not in text


def test_headers_that_stay_though_they_are_to_be_hidden_are_told(world: World, run: Run) -> None:
    assert "(its answer, 200, tells 30 per minute, which is to be hidden)" in failure(run, "--hidden")
    assert world.cluster.seconds == pytest.approx(30, abs=2)


# --- What no answer shows --------------------------------------------------------------------------------------------

HIDDEN: dict[str, tuple[list[str], dict[str, list[tuple[float, Answer]]], str]] = {
    "hidden": (["--hidden"], {"kong-1": [(0, OPEN)]}, "its headers are hidden (hideClientHeaders)"),
    "PROXY protocol": (
        ["--proxy-protocol"],
        {"kong-1": [(0, PAGE)]},
        "Kong expects the PROXY protocol, which a port-forward does not speak",
    ),
    "no port-forward": ([], {}, "no port-forward to kong-1 can be opened (error: forbidden)"),
    "a login": ([], {"kong-1": [(0, Answer(401, (), b""))]}, "the request was refused with 401 before it was counted"),
    "slow": ([], {"kong-1": []}, "kong-1 cut the connection before its answer was complete"),
    "gRPC": (
        ["--grpc"],
        {"kong-1": [(0, Answer(415, (), b""))]},
        "it speaks gRPC, and a request without that gets 415",
    ),
    "narrowed": (
        ["--narrowed"],
        {"kong-1": [(0, NO_ROUTE)]},
        "its annotations keep it for other requests than a plain GET",
    ),
    "expression": (["--path", "/~^/a$"], {"kong-1": [(0, NO_ROUTE)]}, "its path is a regular expression"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_cannot_be_seen_the_controller_tells(case: str, world: World, run: Run) -> None:
    arguments, world.answers, _ = HIDDEN[case]
    world.cluster.objects += [event("KongConfigurationSucceeded", 0, "kong-1")]
    world.cluster.later = [(4, event("KongConfigurationSucceeded", 3, "kong-1"))]
    assert run(*arguments) == ("events", "")
    assert world.cluster.seconds == pytest.approx(4, abs=1)


@pytest.mark.parametrize("case", HIDDEN)
def test_a_controller_that_says_nothing_is_a_warning(case: str, world: World, run: Run) -> None:
    arguments, world.answers, why = HIDDEN[case]
    world.cluster.objects += [event("KongConfigurationSucceeded", 0, "kong-1")]
    seen, said = run(*arguments)
    assert seen == "nothing"
    path = "/~^/a$" if case == "expression" else "/"
    assert said.startswith(
        f"warning: whether Kong serves {path} of the Ingress bookinfo/productpage with its limit was not seen, as {why},"
    )
    assert said.count("\n") == 1
    assert world.cluster.seconds == pytest.approx(15, abs=2)


def test_the_controller_of_every_pod_has_to_tell(world: World, run: Run) -> None:
    world.cluster.objects += [pod("kong-2"), event("KongConfigurationSucceeded", 3, "kong-1")]
    world.answers = {"kong-1": [(0, OPEN)], "kong-2": [(0, OPEN)]}
    assert run("--hidden")[0] == "nothing"
    world.cluster.objects += [event("KongConfigurationSucceeded", 3, "kong-2")]
    assert run("--hidden")[0] == "events"


def test_hidden_headers_hide_no_missing_route(world: World, run: Run) -> None:
    world.cluster.objects += [event("KongConfigurationSucceeded", 3, "kong-1")]
    world.answers = {"kong-1": [(0, NO_ROUTE), (8, answer(minute=30)), (12, OPEN)]}
    assert run("--hidden") == ("events", "")
    assert world.cluster.seconds == pytest.approx(12, abs=1)


def test_simulated_nodes_end_it_at_once(world: World, run: Run) -> None:
    world.cluster.objects = [{"kind": "Node", "metadata": {"name": "a", "annotations": KWOK}}]
    assert run() == ("nothing", f"Every node is simulated, so no Kong runs: {WHERE} was not asked for.\n")
    assert (world.cluster.seconds, world.asked) == (0, [])
