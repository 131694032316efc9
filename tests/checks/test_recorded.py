"""What real programs answered, recorded on a real cluster: the fakes answer alike, and the checks judge it rightly.

`mesh` is this stack, `guide` the guide typed by hand, whose traffic bypasses the mesh.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from charts import reference
from fakes.kiali import Kiali
from fakes.kong import HOST
from fakes.prometheus import Prometheus
from fakes.server import FakeServer, Reply, Request, as_json
from fakes.world import World

from checks import answers, injection, kiali_edge, kong_programmed, prometheus_edge, through_kong
from checks.endpoints import Endpoint
from checks.framework import Check, Failed, Outcome, Result, perform
from checks.target import RoutedApplication, Target
from commands import http_client
from commands.http_client import Answer
from commands.kong_events import last_change, taken_over, when

Object = dict[str, Any]
SETS = ("mesh", "guide")
BOOKINFO = RoutedApplication(
    name="bookinfo", namespace="bookinfo", service="productpage", port=9080, limits={"minute": 30}
)
TARGET = Target(context="recorded", applications=(BOOKINFO,))
# What Istio's telemetry writes; the other labels are of the pod that is scraped.
_ISTIO = re.compile(r"(source|destination|response|request|connection)_|reporter$")


def text(name: str) -> str:
    return reference(f"recorded/{name}").read_text(encoding="utf-8")


def recorded(name: str) -> Any:
    return json.loads(text(name))


def answer(name: str) -> Answer:
    """Return a recorded answer of Kong's or Kiali's."""
    first, *lines = text(f"{name}.headers").strip().splitlines()
    headers = tuple((key, value) for key, _, value in (line.partition(": ") for line in lines))
    return Answer(int(first.split()[1]), headers, b"")


def form(value: str) -> str:
    """Return what is alike in values that differ from answer to answer."""
    return re.sub(r"[0-9a-f]{32}", "<id>", re.sub(r"\w{3}, \d+ \w{3} \d{4} [\d:]+ GMT", "<date>", value)).translate(
        str.maketrans("0123456789", "9999999999")
    )


def forms(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return headers by name, as they are written, with their values' form; numbers may have more or fewer digits."""
    return {name: re.sub("9+", "9", form(value)) for name, value in headers}


def shape(value: Any) -> Any:
    """Return names and types alone: lists as the shapes that are in them."""
    if isinstance(value, Mapping):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def differences(fake: Any, real: Any, path: str = "") -> Iterator[str]:
    """Yield where a fake has what the real object has not, or of another type. A fake may leave out what nobody reads."""
    if isinstance(fake, Mapping) and isinstance(real, Mapping):
        for key, item in fake.items():
            if key in real:
                yield from differences(item, real[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is not recorded"
    elif isinstance(fake, list) and isinstance(real, list):
        for number, item in enumerate(fake):
            if not any(not list(differences(item, other, path)) for other in real):
                yield f"{path}[{number}] is like none of {len(real)} recorded ones"
    elif type(fake) is not type(real):
        yield f"{path} is of the type {type(fake).__name__}, recorded is {type(real).__name__}"


# --- the fakes ------------------------------------------------------------------------------------------------


def asked(world: World, method: str = "GET", path: str = "/productpage") -> Answer:
    with world.kong.running() as url, world.clock.installed():
        return http_client.request(method, url + path, {"Host": HOST})


def limited(world: World) -> Answer:
    world.limit.limits = {"minute": 0}
    return asked(world)


@pytest.mark.parametrize(
    ("name", "fake"),
    [
        ("mesh/kong-productpage", asked),
        ("guide/kong-productpage", asked),
        ("mesh/kong-limited", limited),
        ("mesh/kong-trace", lambda world: asked(world, "TRACE")),
    ],
)
def test_the_fake_kong_answers_with_the_recorded_headers(name: str, fake: Any) -> None:
    real = answer(name)
    got = fake(World())
    assert got.status == real.status
    assert forms(got.headers) == forms(real.headers)


def test_the_fake_kong_writes_the_recorded_body() -> None:
    real = json.loads(text("mesh/kong-trace.body"))
    got = asked(World(), "TRACE").json()
    assert {key: form(value) for key, value in got.items()} == {key: form(value) for key, value in real.items()}


def test_the_fake_kiali_is_healthy_with_the_recorded_headers() -> None:
    real = answer("mesh/kiali-healthz")
    with World().kiali.running() as url:
        got = http_client.get(f"{url}/kiali/healthz")
    assert (got.status, forms(got.headers)) == (real.status, forms(real.headers))


def test_the_fake_kiali_tells_the_recorded_status() -> None:
    world = World()
    world.kiali.open = True
    with world.kiali.running() as url:
        assert http_client.get(f"{url}/kiali/api/status").json() == recorded("mesh/kiali-status.json")


def drawn(world: World) -> Object:
    world.kiali.open = True
    with world.kiali.running() as url:
        return dict(http_client.get(f"{url}/kiali/api/namespaces/graph?duration=600s").json())


@pytest.mark.parametrize("name", SETS)
def test_the_fake_kiali_draws_the_recorded_edge(name: str) -> None:
    world = World()
    world.mesh.past_it = name == "guide"
    world.mesh.carry(200)
    found = [kongs(graph_) for graph_ in (drawn(world), recorded(f"{name}/kiali-graph.json"))]
    fake, real = found
    assert shape(fake) == shape(real)
    for key in ("isMTLS", "sourcePrincipal", "destPrincipal"):
        assert fake["edge"].get(key) == real["edge"].get(key), key
    hosts = [one["edge"]["traffic"]["responses"]["200"]["hosts"] for one in found]
    assert hosts[0] == hosts[1]
    for node in ("source", "target"):
        for key in ("nodeType", "cluster", "namespace", "workload", "app", "version", "destServices"):
            assert fake[node].get(key) == real[node].get(key), f"{node}.{key}"


def kongs(found: Object) -> Object:
    """Return Kong's edge to productpage and its two ends."""
    nodes = {node["data"]["id"]: node["data"] for node in found["elements"]["nodes"]}
    for edge in found["elements"]["edges"]:
        ends = {end: nodes[edge["data"][end]] for end in ("source", "target")}
        if ends["source"]["workload"] == "kong-istio-kong":
            for end in ends.values():
                # Productpage calls others, which the fake's does not.
                end["traffic"][0]["rates"].pop("httpOut" if end is ends["target"] else "httpIn", None)
            return {"edge": edge["data"], **ends}
    raise AssertionError("no edge of Kong's is drawn")


@pytest.mark.parametrize("name", SETS)
def test_the_fake_sidecars_report_the_recorded_labels(name: str) -> None:
    world = World()
    world.mesh.past_it = name == "guide"
    world.mesh.carry(200)
    series = [one["metric"] for one in recorded(f"{name}/prometheus-istio_requests_total.json")["data"]["result"]]
    real = [one for one in series if one["source_workload"] == "kong-istio-kong"]
    for _, fake in world.mesh.measured:
        (same,) = (one for one in real if one["reporter"] == fake["reporter"])
        assert fake == {label: value for label, value in same.items() if _ISTIO.match(label)}


def test_the_fake_cluster_holds_what_the_recorded_one_holds() -> None:
    cluster = World().cluster
    objects = {(one["kind"], one["metadata"]["name"]): one for one in recorded("mesh/bookinfo-objects.json")["items"]}
    pairs: list[tuple[Object, Object]] = [
        (cluster.get("ingresses", "productpage", "bookinfo") or {}, objects["Ingress", "productpage"]),
        (
            cluster.list("kongplugins.configuration.konghq.com", "bookinfo")[0],
            objects["KongPlugin", "rate-limit"],
        ),
        (cluster.list("pods", "kong-istio")[0], recorded("mesh/kong-pods.json")["items"][0]),
    ]
    (event,) = cluster.list("events")
    pairs.append(
        ({key: value for key, value in event.items() if key != "metadata"}, recorded("mesh/kong-events.json")[0])
    )
    for fake, real in pairs:
        assert fake
        assert list(differences(fake, real)) == []
    assert event["message"] == pairs[-1][1]["message"]


# --- the judges -----------------------------------------------------------------------------------------------


class RecordedKiali(Kiali):
    """Kiali, whose graph is the recorded one."""

    found: Object

    def _graph(self, _: dict[str, str]) -> Object:
        return self.found


class RecordedPrometheus(Prometheus):
    """Prometheus, whose edges are the recorded ones."""

    found: list[Object]

    def answer(self, request: Request) -> Reply:
        query = request.query.get("query", "")
        expected = dict(re.findall(r'(\w+)="([^"]*)"', query))
        by = re.search(r"sum by \(([\w,]+)\)", query)
        assert by, query
        labels = by[1].split(",")
        fitting = [one for one in self.found if expected.items() <= one["metric"].items()]
        result = [{"metric": {key: one["metric"][key] for key in labels}, "value": one["value"]} for one in fitting]
        return as_json(200, {"status": "success", "data": {"resultType": "vector", "result": result}})


class RecordedKong(FakeServer):
    """Kong, which gives one recorded answer."""

    def __init__(self, given: Answer) -> None:
        super().__init__()
        self.given = given

    def answer(self, _: Request) -> Reply:
        kept = {name: value for name, value in self.given.headers if name not in ("Content-Length", "Connection")}
        return Reply(self.given.status, "", kept)


def see(check: Check, name: str, routing: str = "mesh") -> Result:
    """Run the check of an edge against what was recorded."""
    world = World()
    prometheus = RecordedPrometheus(world.clock, world.mesh)
    prometheus.found = recorded(f"{name}/prometheus-istio_requests_total.json")["data"]["result"]
    kiali = RecordedKiali(world.clock, world.mesh)
    kiali.found = recorded(f"{name}/kiali-graph.json")
    world.prometheus, world.kiali = prometheus, kiali
    with world.running() as target:
        return perform(check, replace(target, routing=routing))


EDGES = (prometheus_edge.CHECKS[0], kiali_edge.CHECKS[0])


@pytest.mark.parametrize("check", EDGES, ids=lambda check: check.name.replace(" ", "-"))
def test_the_recorded_edge_of_the_mesh_passes(check: Check) -> None:
    result = see(check, "mesh")
    assert result.outcome is Outcome.PASSED, result.actual


@pytest.mark.parametrize("check", EDGES, ids=lambda check: check.name.replace(" ", "-"))
def test_the_recorded_edge_of_the_guide_bypasses_the_mesh(check: Check) -> None:
    result = see(check, "guide")
    assert result.outcome is Outcome.FAILED
    assert "bypasses the mesh" in result.cause
    assert result.seconds <= 60
    expected = see(check, "guide", "guide")
    assert expected.outcome is Outcome.PASSED
    assert "bypasses the mesh" in expected.actual


@pytest.mark.parametrize("name", SETS)
def test_recorded_answers_are_told_apart(name: str) -> None:
    through, own = answer(f"{name}/kong-productpage"), answer(f"{name}/kong-trace")
    assert through_kong.made_by_upstream(through)
    assert through_kong.made_by_kong(own)
    with RecordedKong(through).running() as url:
        assert answers.limit_said(TARGET, Endpoint(url, "here"), BOOKINFO)


def test_the_recorded_refusal_is_the_limits() -> None:
    refusal = answer("mesh/kong-limited")
    assert through_kong.is_limited(refusal, BOOKINFO)
    assert through_kong.seconds_left(refusal) == int(refusal.header("retry-after"))


@pytest.mark.parametrize("name", SETS)
def test_the_recorded_objects_and_events_are_those_of_a_kong_that_is_programmed(name: str) -> None:
    objects = recorded(f"{name}/bookinfo-objects.json")["items"]
    ingress = next(one for one in objects if one["kind"] == "Ingress")
    plugins = [one for one in objects if one["kind"] == "KongPlugin"]
    events, pods = recorded(f"{name}/kong-events.json"), recorded(f"{name}/kong-pods.json")["items"]
    assert kong_programmed.judge_address(ingress, TARGET, BOOKINFO)
    assert "30 per minute" in kong_programmed.judge_limit(ingress, plugins, TARGET, BOOKINFO)
    own = [ingress, *plugins]
    changed = max(map(last_change, own))
    refused = kong_programmed.refusals(events, kong_programmed.identities(BOOKINFO, own), changed, when(events[0]))
    assert kong_programmed.judge_refusals(refused, changed, TARGET, BOOKINFO)
    assert taken_over(events, kong_programmed.controllers(pods), changed) == when(events[0])


@pytest.mark.parametrize("name", SETS)
def test_recorded_pods_have_their_sidecars(name: str) -> None:
    pods = [pod for kind in ("kong", "productpage") for pod in recorded(f"{name}/{kind}-pods.json")["items"]]
    assert injection.judge_inside(pods, TARGET, {"kong-istio", "bookinfo"})
    with pytest.raises(Failed, match="one in"):
        injection.judge_outside(pods, TARGET, set())
