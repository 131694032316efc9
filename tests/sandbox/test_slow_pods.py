"""Pods of the simulated sandbox that are as slow as real ones."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest
import yaml
from charts import reference
from fakes.kubelet import Kubelet
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as some

from components.kong_gateway import kong_values
from kube import Cluster
from sandbox import kwok_cluster, slow_pods
from sandbox.paths import CHECKOUT, Paths
from sandbox.slow_pods import STAGES, SlowPods, expression, pace, stages
from sandbox.slow_pods.times import CONTAINERS, Container, Node
from settings import Images, Kong

Object = dict[str, Any]
SEEDS = range(1, 6)
#: Whole tenths of a second, as the kubelet that is compared with counts.
EVEN = {
    "*": Container(creates=0.5, up=1, ends=1),
    "quick": Container(creates=0.5, up=0.2, ends=0.2),
    "late": Container(creates=1, up=14, ends=2),
    "proxy": Container(creates=0.5, up=0.7, ends=0.5),
}
EVEN_NODE = Node(sandbox=1, notices=0.5)
CHARTS_PROBE = {"initialDelaySeconds": 5, "periodSeconds": 10}
STACKS_PROBE = {"periodSeconds": 1}
PORT = {"tcpSocket": {"port": 80}}
SIDECAR = {
    "name": "proxy",
    "restartPolicy": "Always",
    "startupProbe": {**PORT, "periodSeconds": 1},
    "readinessProbe": {**PORT, "periodSeconds": 15},
}
WITH_JQ = pytest.mark.skipif(not shutil.which("jq"), reason="needs jq, which reads the formula as kwok does")


@pytest.fixture
def even(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have containers take times that are easy to reckon with, the same for each seed."""
    make_even(monkeypatch)


def make_even(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(slow_pods, "CONTAINERS", EVEN)
    patch.setattr(slow_pods, "NODE", EVEN_NODE)
    patch.setattr(slow_pods, "SPREAD", 0)


def by_jq(found: Object, name: str, seed: int) -> list[str]:
    """Return what a program with the formula says of a Pod."""
    command = ["jq", "--raw-output", expression(SlowPods(seed), name)]
    said = subprocess.run(command, input=json.dumps(found), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return said.stdout.split()


def seconds(found: Object, name: str, seed: int = 1) -> float:
    """Return a delay of a Pod."""
    (milliseconds,) = by_jq(found, name, seed)
    return float(milliseconds.removesuffix("ms")) / 1000


def pod(
    *containers: Object, init: tuple[Object, ...] = (), name: str = "web", labels: Object | None = None, grace: int = 30
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": labels or {}},
        "spec": {
            "terminationGracePeriodSeconds": grace,
            "initContainers": [{"image": "any", **one} for one in init],
            "containers": [{"image": "any", **one} for one in containers],
        },
    }


def deleted(found: Object, grace: int = 30) -> Object:
    return {
        **found,
        "metadata": {**found["metadata"], "deletionGracePeriodSeconds": grace},
        "status": {"phase": "Running"},
    }


# --- what kwok is given -----------------------------------------------------------------------------------------------


def test_slow_pods_replace_the_stages_of_pods_alone() -> None:
    """Nodes, Jobs, load balancers and Ingresses change as they do without."""
    usual = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(STAGES.read_text())}
    slow = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(stages(SlowPods(1)))}
    assert {name for name in slow if slow[name] != usual.get(name)} == {"pod-running", "pod-ready", "pod-delete"}
    assert usual.keys() <= slow.keys()


# --- until it is Ready ------------------------------------------------------------------------------------------------

READY = {
    "no probe: as soon as it is seen to run": ([{"name": "late"}], 0.5),
    "every second": ([{"name": "late", "readinessProbe": STACKS_PROBE}], 14.5),
    "after 5 s, every 10: asked after 0.5, 10.5 and 20.5": ([{"name": "late", "readinessProbe": CHARTS_PROBE}], 20.5),
    "up before it is seen to run": ([{"name": "quick", "readinessProbe": {"periodSeconds": 10}}], 0.5),
    "up at once, not asked before its delay": (
        [{"name": "quick", "readinessProbe": {"initialDelaySeconds": 30, "periodSeconds": 5}}],
        30.5,
    ),
    "the default period": ([{"name": "web", "readinessProbe": {}}], 10.5),
    # Containers run after 1.5 s: the startup probe is asked 0.5 s after that, and every 3 s.
    "a startup probe, then at once": (
        [{"name": "web", "startupProbe": {"periodSeconds": 3}, "readinessProbe": {"periodSeconds": 30}}],
        1.5,
    ),
    "one that has become ready has the others asked": (
        [{"name": "web", "readinessProbe": CHARTS_PROBE}, {"name": "late", "readinessProbe": STACKS_PROBE}],
        14.5,
    ),
}


@WITH_JQ
@pytest.mark.usefixtures("even")
@pytest.mark.parametrize(("containers", "expected"), READY.values(), ids=READY.keys())
def test_a_pod_is_ready_at_the_first_probe_after_it_is_up(containers: list[Object], expected: float) -> None:
    assert seconds(pod(*containers), "until_ready") == expected


@WITH_JQ
@pytest.mark.usefixtures("even")
def test_a_sidecar_has_started_before_the_next_container_starts() -> None:
    """The Pod's sandbox 1 s; the init container 0.5 + 1 + 0.5; the sidecar 0.5 + 0.7, asked each second; the last 0.5."""
    found = pod({"name": "web"}, init=({"name": "first"}, SIDECAR))
    assert seconds(found, "until_running") == 5.5
    assert seconds(found, "until_ready") == 0.5


def _some_probe() -> some.SearchStrategy[Object]:
    return some.builds(
        lambda delay, period: {"initialDelaySeconds": delay, "periodSeconds": period},
        some.integers(0, 12),
        some.integers(1, 12),
    )


def _some_container(**kind: str) -> some.SearchStrategy[Object]:
    names = some.sampled_from(["web", "quick", "late", "proxy"])
    probes = dict.fromkeys(("startupProbe", "readinessProbe"), _some_probe())
    return some.fixed_dictionaries(
        {"name": names} | {key: some.just(value) for key, value in kind.items()}, optional=probes
    )


@WITH_JQ
@run_with(max_examples=50, deadline=None)
@given(
    some.lists(_some_container(restartPolicy="Always") | some.just({"name": "web"}), max_size=3),
    some.lists(_some_container(), min_size=1, max_size=3),
)
def test_any_pod_takes_as_long_as_kubelet_would(init: list[Object], containers: list[Object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        make_even(patch)
        found = pod(*containers, init=tuple(init))
        kubelet = Kubelet(found["spec"], EVEN, EVEN_NODE)
        said = by_jq(found, "until_running, until_ready", seed=1)
        assert said == [f"{round(one * 1000)}ms" for one in (kubelet.run, kubelet.ready)]


# --- what was recorded ------------------------------------------------------------------------------------------------


def recorded(name: str) -> Object:
    found: Object = json.loads(reference(f"recorded/{name}-pods.json").read_text())
    return found["items"][0] if "items" in found else found


def passed(found: Object) -> tuple[float, float]:
    """Return the seconds from a Pod's start until its last container ran, and from then until it was Ready."""
    status = found["status"]
    ran = max(one["state"]["running"]["startedAt"] for one in status["containerStatuses"])
    was_ready = next(one["lastTransitionTime"] for one in status["conditions"] if one["type"] == "Ready")
    start, run, ready = map(datetime.fromisoformat, (status["startTime"], ran, was_ready))
    return (run - start).total_seconds(), (ready - run).total_seconds()


def told(found: Object, name: str) -> float:
    return statistics.median(seconds(found, name, seed) for seed in SEEDS)


@WITH_JQ
@pytest.mark.parametrize(
    ("name", "running", "ready"),
    [
        ("mesh/productpage", 1, 1),
        ("guide/productpage", 1, 1),
        ("mesh/kong", 2, 2),
        # There the controller's first configuration was 22 s after its start, on a machine with more to do.
        ("guide/kong", 4, 6),
    ],
)
def test_recorded_pods_took_about_as_long(name: str, running: float, ready: float) -> None:
    found = recorded(name)
    run, was_ready = passed(found)
    assert told(found, "until_running") == pytest.approx(run, abs=running)
    assert told(found, "until_ready") == pytest.approx(was_ready, abs=ready)


@WITH_JQ
def test_kong_with_the_stacks_probes_is_ready_as_soon_as_its_configuration_is_pushed() -> None:
    """Recorded with such probes: after 15 s. With the chart's own, by the same times, after some 22."""
    found = recorded("mesh/kong")
    values = kong_values(Kong(), Images())
    probes = {"proxy": values["readinessProbe"], "ingress-controller": values["ingressController"]["readinessProbe"]}
    with_stacks = deepcopy(found)
    for container in with_stacks["spec"]["containers"]:
        container["readinessProbe"] |= probes[container["name"]]
    assert told(with_stacks, "until_ready") == pytest.approx(15, abs=1)
    assert told(found, "until_ready") - told(with_stacks, "until_ready") > 4
    for seed in SEEDS:
        pushed = CONTAINERS["proxy"].up * pace(SlowPods(seed), "kong-istio/kong-istio-kong")
        assert 1 <= seconds(with_stacks, "until_ready", seed) / pushed < 1.1


# --- until it is gone -------------------------------------------------------------------------------------------------

KONGS_HOOK = {"lifecycle": {"preStop": {"exec": {"command": ["kong", "quit", "--wait=15"]}}}}
SLEEP = {"lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", "sleep 20"]}}}}
GONE = {
    "told to end": (pod({"name": "web"}), 30, 1.5),
    "its hook first": (pod({"name": "web", **KONGS_HOOK}), 30, 16.5),
    "the slowest of several": (pod({"name": "quick"}, {"name": "late"}), 30, 2.5),
    "the sidecar after the others": (pod({"name": "web", **KONGS_HOOK}, init=(SIDECAR,)), 30, 17),
    "not longer than its grace": (pod({"name": "web", **SLEEP}), 10, 10),
    "kubelet's own hook": (pod({"name": "web", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}), 30, 6.5),
    "a hook that waits for nothing": (
        pod({"name": "web", "lifecycle": {"preStop": {"exec": {"command": ["pilot-agent", "request", "POST"]}}}}),
        30,
        1.5,
    ),
}


@WITH_JQ
@pytest.mark.usefixtures("even")
@pytest.mark.parametrize(("found", "grace", "expected"), GONE.values(), ids=GONE.keys())
def test_a_pod_is_gone_when_its_containers_have_ended(found: Object, grace: int, expected: float) -> None:
    assert seconds(deleted(found, grace), "until_gone") == expected


@WITH_JQ
@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_a_pod_of_which_nothing_runs_goes_at_once(phase: str) -> None:
    found = deleted(pod({"name": "web", **KONGS_HOOK}))
    found["status"] = {"phase": phase}
    assert seconds(found, "until_gone") == 0.1


# --- the seed ---------------------------------------------------------------------------------------------------------


@WITH_JQ
def test_a_seed_means_the_same_pods_whatever_their_names_end_in() -> None:
    def named(hashed: str, random: str) -> Object:
        found = pod({"name": "grafana"}, name=f"web-{hashed}-{random}", labels={"pod-template-hash": hashed})
        found["metadata"]["generateName"] = f"web-{hashed}-"
        return found

    first, second = named("f885f58", "rkkfw"), named("695f6ddbcd", "rshp8")
    assert seconds(first, "until_running") == seconds(second, "until_running")


@WITH_JQ
@pytest.mark.parametrize("seed", SEEDS)
def test_kwok_is_told_the_pace_that_python_knows(seed: int) -> None:
    assert float(*by_jq(pod(name="web"), "pace", seed)) == pytest.approx(pace(SlowPods(seed), "default/web"))


def test_seeds_and_workloads_differ_within_the_spread() -> None:
    names = [f"reviews-v{number}" for number in range(1, 4)]
    takes = {(seed, name): pace(SlowPods(seed), f"default/{name}") for seed in range(1, 21) for name in names}
    assert len(set(takes.values())) == len(takes)
    assert all(0.85 <= one <= 1.15 for one in takes.values())
    assert min(takes.values()) < 0.9
    assert max(takes.values()) > 1.1


# --- kwok itself ------------------------------------------------------------------------------------------------------

LIVE = {
    "plain": pod({"name": "web"}),
    "probed": pod({"name": "web", "readinessProbe": {**PORT, "initialDelaySeconds": 2, "periodSeconds": 3}}),
    "started": pod({"name": "web", "startupProbe": {**PORT, "periodSeconds": 2}, "readinessProbe": PORT}),
    "hooked": pod({"name": "web", "lifecycle": {"preStop": {"exec": {"command": ["sleep", "3"]}}}}, init=(SIDECAR,)),
    "killed": pod({"name": "web", **SLEEP}, grace=2),
}
#: From their deletion, as in GONE.
LIVE_GONE = {"plain": 1.5, "probed": 1.5, "started": 1.5, "hooked": 5, "killed": 2}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Bring up a sandbox of its own whose Pods are slow, with times that are easy to reckon with."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copy(CHECKOUT.committed_stack_file, root)
    paths = Paths(root)
    try:
        with pytest.MonkeyPatch.context() as patch:
            make_even(patch)
            kwok_cluster.up(paths, pods=SlowPods(1))
        cluster = kwok_cluster.api_server(paths)
        assert cluster.wait_until("serviceaccount", "default", "default", bool, 30)
        yield cluster
    finally:
        kwok_cluster.down(paths)


@pytest.mark.sandbox
def test_pods_of_a_slow_sandbox_run_are_ready_and_go_as_they_would_on_a_node(slow: Cluster) -> None:
    for name, one in LIVE.items():
        slow.create({**one, "metadata": {"namespace": "default", "name": name}})
    found = seen(slow, lambda one: condition(one, "Ready") == "True")
    for name, one in LIVE.items():
        kubelet, times = Kubelet(one["spec"], EVEN, EVEN_NODE), found[name]
        assert about(kubelet.run, times["Running"] - times["taken"]), name
        assert about(kubelet.ready, times["Ready"] - times["Running"]), name
    statuses = {one["metadata"]["name"]: one["status"] for one in slow.list("pod", "default")}
    assert [one["state"].keys() for one in statuses["hooked"]["initContainerStatuses"]] == [{"running"}]
    for name in LIVE:
        slow.delete("pod", name, "default")
    deleted_at = time.monotonic()
    gone = seen(slow, lambda _: False)
    for name, expected in LIVE_GONE.items():
        assert about(expected, gone[name]["last"] - deleted_at), name


@pytest.mark.sandbox
def test_a_pod_that_has_not_started_goes_at_once(slow: Cluster) -> None:
    slow.create(LIVE["hooked"])
    assert slow.wait_until("pod", "web", "default", lambda one: bool(one["spec"].get("nodeName")), 10)
    started = time.monotonic()
    assert slow.delete("pod", "web", "default", seconds=10)
    assert time.monotonic() - started < 1


def about(expected: float, passed: float) -> bool:
    """Allow for the looks that this test takes, and for a busy machine."""
    return expected - 0.3 <= passed <= expected + 1.5


def condition(found: Object, kind: str) -> str:
    return next((one["status"] for one in found["status"].get("conditions", []) if one["type"] == kind), "")


def seen(slow: Cluster, is_so: Callable[[Object], bool]) -> dict[str, dict[str, float]]:
    """Look until all Pods are so, or are gone; return when each was seen first on a node, Running and Ready, and last."""
    times: dict[str, dict[str, float]] = defaultdict(dict)
    while not all(map(is_so, found := slow.list("pod", "default"))):
        note(found, times)
        time.sleep(0.05)
    note(found, times)
    return times


def note(found: Iterable[Object], times: dict[str, dict[str, float]]) -> None:
    now = time.monotonic()
    for one in found:
        name, status = one["metadata"]["name"], one["status"]
        so = {"taken": "nodeName" in one["spec"], status["phase"]: True, "Ready": condition(one, "Ready") == "True"}
        for event in (event for event, is_so in so.items() if is_so):
            times[name].setdefault(event, now)
        times[name]["last"] = now
