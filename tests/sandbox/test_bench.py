"""`make bench`: what is a figure, the longest chain of an `up`, when a request can be answered, and what is written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from fakes.cluster import Cluster

from commands.cluster_access import NO_CLUSTER
from names import KONG_NAMESPACE, KONG_POD_LABELS
from sandbox import SandboxError, pulumi_engine, whole_stack
from sandbox.bench import __main__ as command
from sandbox.bench import answering, contenders, critical, kong, pictures, report
from sandbox.bench.answering import Observer, PodTimes
from sandbox.bench.contenders import Answered
from sandbox.bench.measuring import Run, events, timed
from sandbox.bench.rows import CHECKS, EQUAL, MEASUREMENTS, STACK, TYPED, AtOnce, Figure, Measurement, Side, in_turn
from sandbox.facts import Facts
from sandbox.paths import CHECKOUT, Paths
from sandbox.slow_pods import SlowPods

APPLICATIONS = ("bookinfo",)

# --- Figures ----------------------------------------------------------------------------------------------------------


def figure(*below: float, goal: float | None = 2) -> Figure:
    other = Side("other", list(below)) if below else None
    return Figure(name="f", title="f", goal=goal, above=Side("one", [4.0, 9.0, 5.0]), below=other)


def test_a_figure_is_the_ratio_of_medians_or_a_median() -> None:
    assert (figure(2.0, 2.5, 9.0).value, figure(2.0, 2.5, 9.0).reached) == (2.0, True)
    assert (figure(2.0).value, figure(2.0).reached) == (2.5, False)
    assert (figure().value, figure(goal=None).reached) == (5.0, None)
    assert figure().above.spread == 2.5


def test_contenders_change_their_order_from_run_to_run() -> None:
    said: list[str] = []
    for number in range(2):
        in_turn(number, [lambda: said.append("a"), lambda: said.append("b")])
    assert said == ["a", "b", "b", "a"]


def test_every_figure_is_there_once() -> None:
    names = [name for measurement in MEASUREMENTS for name in measurement.figures]
    assert len(names) == len(set(names))


def test_without_the_engine_the_rest_is_measured() -> None:
    found = command._chosen(["up-guide", "destroy", "preview"], missing="no Pulumi here")
    assert [(each.name, each.wanted) for each in found] == [("at-once", ["up-guide"])]


# --- The longest chain ------------------------------------------------------------------------------------------------


def urn(name: str) -> str:
    return f"urn:pulumi:s::p::kubernetes:core/v1:Namespace::{name}"


def event(kind: str, name: str, type_: str = "kubernetes:core/v1:Namespace") -> dict[str, Any]:
    custom = not type_.startswith("kong-istio:")
    return {kind: {"metadata": {"op": "create", "urn": urn(name), "type": type_, "new": {"custom": custom}}}}


def made(**seconds: tuple[float, float]) -> list[tuple[float, dict[str, Any]]]:
    found = [
        (second, event(kind, name))
        for name, both in seconds.items()
        for second, kind in zip(both, ("resourcePreEvent", "resOutputsEvent"), strict=True)
    ]
    return sorted(found, key=lambda each: each[0])


def resource(name: str, *after: str, parent: str = "") -> dict[str, Any]:
    above = {"parent": urn(parent)} if parent else {}
    return {"urn": urn(name), "dependencies": [urn(other) for other in after], **above}


def test_the_longest_chain_counts_what_each_took_and_no_waits() -> None:
    # `late` could have begun at 5; it had to wait until 8, which is a loss, and in no chain.
    steps = critical.steps(made(first=(3, 4), long=(4, 5), short=(4, 4.5), late=(8, 10)))
    path = critical.longest(
        steps,
        [resource("first"), resource("long", "first"), resource("short", "first"), resource("late", "long", "short")],
    )
    assert [steps[each].name for each in path.urns] == ["Namespace/first", "Namespace/long", "Namespace/late"]
    assert path.seconds == 3 + 1 + 1 + 2
    assert str(path) == "start 3.0 s > Namespace/first 1.0 s > Namespace/long 1.0 s > Namespace/late 2.0 s"


def test_a_resource_waits_for_what_its_component_waits_for() -> None:
    steps = critical.steps(made(before=(1, 3), inside=(3, 4), alone=(1, 3.5)))
    state = [
        resource("before"),
        resource("component", "before"),
        resource("inside", parent="component"),
        resource("alone"),
    ]
    assert critical.longest(steps, state).urns == [urn("before"), urn("inside")]


def test_what_the_engine_makes_itself_takes_no_time() -> None:
    said = [(1.0, event("resourcePreEvent", "a", "kong-istio:index:Mesh")), (9.0, event("resOutputsEvent", "a"))]
    assert critical.steps(said) == {}
    assert critical.longest({}, [resource("a")]).seconds == 0


def test_kongs_configuration_is_pushed_when_kwok_would_say_so() -> None:
    # As jq says: {up: 14} at the `pace` of slow_pods/times.jq.
    assert kong.pushed(SlowPods(3)) == pytest.approx(13.578514600824928)


# --- When a request can be answered -----------------------------------------------------------------------------------


def pod(namespace: str, labels: dict[str, str], *, ready: bool = True, sidecar: bool = True) -> dict[str, Any]:
    annotations = {"sidecar.istio.io/status": "{}"} if sidecar else {}
    proxies = [{"name": "istio-proxy", "image": "proxyv2:1.30.3", "restartPolicy": "Always"}] if sidecar else []
    return {
        "metadata": {"name": f"{namespace}-0", "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {"initContainers": proxies, "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@pytest.fixture
def cluster() -> Cluster:
    """Return a cluster in which a request can be answered."""
    found = Cluster()
    found.objects["pods", KONG_NAMESPACE].clear()
    found.put("pods", KONG_NAMESPACE, pod(KONG_NAMESPACE, dict(KONG_POD_LABELS)))
    found.put("pods", "bookinfo", pod("bookinfo", {"app": "productpage"}))
    service = {"metadata": {"name": "productpage"}, "spec": {"selector": {"app": "productpage"}}}
    found.put("services", "bookinfo", service)
    for namespace in (KONG_NAMESPACE, "bookinfo"):
        found.put("namespaces", "", {"metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}}})
    return found


def spoil(cluster: Cluster, what: str) -> None:
    match what:
        case "kong":
            cluster.put("pods", KONG_NAMESPACE, pod(KONG_NAMESPACE, dict(KONG_POD_LABELS), ready=False))
        case "application":
            cluster.put("pods", "bookinfo", pod("bookinfo", {"app": "productpage"}, ready=False))
        case "ingress":
            cluster.objects["ingresses", "bookinfo"].clear()
        case "plugin":
            cluster.objects["kongplugins.configuration.konghq.com", "bookinfo"].clear()
        case "annotation":
            cluster.objects["ingresses", "bookinfo"]["productpage"]["metadata"]["annotations"] = {}


LACKING = {
    "kong": "no pod of Kong's is Ready",
    "application": "not all pods of the Service bookinfo/productpage are Ready",
    "ingress": "there is no Ingress in bookinfo",
    "plugin": "the Ingress bookinfo/productpage has no KongPlugin rate-limit",
    "annotation": "the Ingress bookinfo/productpage names no KongPlugin",
}


def test_a_request_can_be_answered(cluster: Cluster) -> None:
    assert answering.lacking(cluster, APPLICATIONS) == ""


@pytest.mark.parametrize(("what", "sentence"), LACKING.items())
def test_a_request_cannot_be_answered(what: str, sentence: str, cluster: Cluster) -> None:
    spoil(cluster, what)
    assert answering.lacking(cluster, APPLICATIONS) == sentence


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every command end at once, where there is no engine."""
    monkeypatch.setattr(contenders, "timed", lambda *_, **__: Run(seconds=1.0))
    monkeypatch.setattr(pulumi_engine, "missing", lambda: "it is not here")


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("what", LACKING)
def test_an_up_that_ends_before_its_route_is_served_fails(what: str, cluster: Cluster) -> None:
    spoil(cluster, what)
    with pytest.raises(SandboxError, match=f"came to its end before a request .*: {LACKING[what]}"):
        contenders.stack(cluster)


@pytest.mark.usefixtures("ended")
def test_a_pod_without_its_sidecar_fails_the_run_and_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Facts, "load", lambda _: Facts({}, {}, {}, "istiod", ""))
    contenders.stack(cluster)
    cluster.put("pods", "bookinfo", pod("bookinfo", {"app": "productpage"}, sidecar=False))
    with pytest.raises(SandboxError, match=r"^pods without their sidecar: bookinfo/bookinfo-0\.$"):
        contenders.stack(cluster)
    assert contenders.stack(cluster, sidecars_required=False).without_sidecar == {"bookinfo/bookinfo-0"}


def test_the_list_has_what_the_stack_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = "urn:pulumi:sandbox::kong-istio::pulumi:pulumi:Stack::s"
    provider = {
        "urn": "kubernetes",
        "type": "pulumi:providers:kubernetes",
        "parent": stack,
        "inputs": {"kubeconfig": ".sandbox-bench/kubeconfig", "context": "c"},
    }
    own = {"urn": "p", "type": "kong-istio:index:Precheck", "parent": stack}
    made = [
        {"urn": stack, "type": "pulumi:pulumi:Stack"},
        {"urn": "d", "type": "pulumi:providers:pulumi"},
        provider,
        own,
    ]
    state = json.dumps({"deployment": {"resources": made}})
    sandbox = tmp_path / ".sandbox-bench"
    (sandbox / "charts").mkdir(parents=True)
    monkeypatch.setattr(contenders, "CHECKOUT", SimpleNamespace(root=CHECKOUT.root, sandbox=sandbox))
    monkeypatch.setattr(whole_stack, "pulumi_output", lambda *_: state)
    folder = sandbox / "listed"
    contenders.write_listed(folder)
    assert json.loads((folder / "sandbox.json").read_text()) == [provider, own]
    nowhere = {**provider, "inputs": {"kubeconfig": NO_CLUSTER}}
    assert json.loads((folder / "away.json").read_text()) == [nowhere, own]
    assert {file.stat().st_mode & 0o777 for file in folder.glob("*.json")} == {0o600}
    assert (folder / ".sandbox-bench" / "charts").is_dir()
    assert (folder / "sandbox" / "charts").is_dir()
    assert (folder / "__main__.py").is_file()


def test_the_guide_is_waited_for_until_a_request_can_be_answered(cluster: Cluster) -> None:
    spoil(cluster, "kong")
    observer = Observer(cluster, APPLICATIONS, injection=True)
    observer.start()
    with pytest.raises(SandboxError, match="no pod of Kong's is Ready"):
        observer.await_answer(0.3)
    cluster.put("pods", KONG_NAMESPACE, pod(KONG_NAMESPACE, dict(KONG_POD_LABELS)))
    answered = observer.await_answer(5)
    observer.end()
    assert answered > 0.3
    assert observer.pods["kong-istio/kong-istio-0"].ready == answered


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_a_command_that_fails_tells_the_engines_errors() -> None:
    error = {"diagnosticEvent": {"severity": "error", "prefix": "<{%fg 1%}>error: <{%reset%}>", "message": "no room\n"}}
    other = {"diagnosticEvent": {"severity": "info", "message": "creating"}}
    program = f"print({json.dumps(other)!r}); print({json.dumps(error)!r}); raise SystemExit(1)"
    with pytest.raises(SandboxError, match=r"failed after \d+\.\d s:\nerror: no room$"):
        timed([sys.executable, "-c", program], environment=os.environ)


def test_an_event_has_the_second_of_its_arrival() -> None:
    program = "import time; print('{\"sequence\": 1}', flush=True); time.sleep(0.5); print('{\"sequence\": 2}')"
    run = timed([sys.executable, "-c", program], environment=os.environ)
    (first, one), (second, two) = events(run)
    assert (one, two) == ({"sequence": 1}, {"sequence": 2})
    assert 0.4 < second - first < run.seconds
    assert run.command_cpu_seconds > 0


# --- What is written --------------------------------------------------------------------------------------------------


@pytest.fixture
def measured() -> Measurement:
    steps = critical.steps(made(first=(1, 2), aside=(1, 1.5)))
    path = critical.longest(steps, [resource("first"), resource("aside")])
    pods = {"bookinfo/web-0": PodTimes(2, running=2.5, ready=3)}
    found = AtOnce(list(AtOnce.figures))
    found.runs[STACK] = [Answered(seconds=3, first_answer=2.5, path=path, pods=pods)]
    found.runs[TYPED] = [Answered(seconds=6, first_answer=5)]
    found.runs[EQUAL] = [Answered(seconds=2, first_answer=1)]
    found.runs[CHECKS] = [Run(seconds=1, lines=[(1, "8 passed, 0 failed, 15 not checked")])]
    return found


def test_the_results_hold_the_machine_the_figures_and_every_run(measured: Measurement, tmp_path: Path) -> None:
    report.write([measured], {"slow": "no room."}, tmp_path / "new" / "results.json")
    told = json.loads((tmp_path / "new" / "results.json").read_text())
    assert {"cores", "memory_mib", "python", "kubernetes"} <= told["machine"].keys()
    assert told["failed"] == {"slow": "no room."}
    assert [each["name"] for each in told["figures"]] == list(AtOnce.figures)
    assert told["figures"][0] | {"remark": ""} == {
        "name": "up-guide",
        "title": AtOnce.figures["up-guide"][0],
        "unit": "s",
        "remark": "",
        "contenders": [
            {"name": STACK, "median": 3, "spread": 0, "runs": [3]},
            {"name": TYPED, "median": 6, "spread": 0, "runs": [6]},
        ],
        "value": 0.5,
        "goal": 0.8,
        "reached": True,
    }
    run = told["runs"]["at-once"][STACK][0]
    assert run["critical_path"]["seconds"] == 2
    assert run["pods"] == {"bookinfo/web-0": {"seen": 2, "running": 2.5, "ready": 3}}
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"results.json", "results.svg", "timeline.svg"}


def test_only_what_is_asked_for_is_told(measured: Measurement) -> None:
    measured.wanted = ["checks"]
    assert [figure.remark for figure in report.figures_of([measured])] == ["8 passed, 0 failed, 15 not checked"]


def drawn_in(picture: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(f"{{http://www.w3.org/2000/svg}}{kind}"))  # noqa: S314 -- our own


def texts(picture: str) -> list[str]:
    return ["".join(each.itertext()) for each in drawn_in(picture, "text")]


def test_the_picture_has_every_figure_and_all_runs(measured: Measurement) -> None:
    figures = measured.results()
    drawn = pictures.medians(figures)
    assert [text for text in texts(drawn) if text in {each.title for each in figures}] == [
        each.title for each in figures
    ]
    assert "1.50, goal ≤ 0.8" in texts(drawn)
    assert len(drawn_in(drawn, "circle")) == sum(len(side.values) for each in figures for side in report.sides_of(each))


def test_the_timeline_marks_the_critical_path_and_has_the_pods(measured: Measurement) -> None:
    run = measured.runs[STACK][0]
    assert isinstance(run, Answered)
    drawn = pictures.timeline(run)
    assert {"Namespace/first", "Namespace/aside", "bookinfo/web-0"} <= set(texts(drawn))
    marked = ["".join(bar.itertext()) for bar in drawn_in(drawn, "rect") if bar.get("class") == "critical"]
    assert marked == ["on the critical path", "Namespace/first: 1.0 s, from 1.0 s on"]


# --- The command ------------------------------------------------------------------------------------------------------


def test_it_refuses_a_sandbox_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CHECKOUT", Paths(tmp_path))
    monkeypatch.setenv("KONG_ISTIO_SANDBOX_NAME", "")
    (tmp_path / ".sandbox-bench").mkdir()
    with pytest.raises(SystemExit, match="make down NAME=bench"):
        command.main(["--runs", "1"])


def test_what_is_measured_no_more_is_told_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(AtOnce):
        name = "broken"

        def run(self, _number: int, /) -> None:
            raise SandboxError("no room.")

    class Whole(AtOnce):
        def run(self, _number: int, /) -> None:
            for side, seconds in ((STACK, 1.0), (TYPED, 2.0), (EQUAL, 2.0)):
                self.runs[side].append(Answered(seconds=seconds, first_answer=seconds))

    options = command._parser().parse_args(["--runs", "2", "--output", str(tmp_path / "r.json")])
    assert command._measure([Broken(["up-guide"]), Whole(["up-guide"])], options) == {"broken": "no room."}
    said = capsys.readouterr().out
    assert "broken could not be measured: no room." in said
    assert "at-once, run 2 of 2: up-guide 0.50" in said
    assert len(json.loads((tmp_path / "r.json").read_text())["runs"]["at-once"][STACK]) == 2
