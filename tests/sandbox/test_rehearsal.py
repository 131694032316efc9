"""The rehearsal: its timeline, and what is applied to a sandbox."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from demo_project import make_demo

from display.console import console
from plan import Recording, Resource, graph_drawing
from plan.program import run
from plan.stack_config import Project
from sandbox.rehearsal import timeline
from sandbox.rehearsal.__main__ import main
from sandbox.rehearsal.apply import Applier, Sandbox, ready


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the small project."""
    return make_demo(tmp_path)


# The timeline


def timed(*resources: tuple[str, float, float, set[str]]) -> Recording:
    return Recording(
        [
            Resource(
                urn=name,
                type="demo:index:Thing",
                name=name,
                custom=True,
                inputs={},
                dependencies=frozenset(needed),
                started=started,
                finished=finished,
                outcome="created",
            )
            for name, started, finished, needed in resources
        ],
        {},
        set(),
    )


def test_the_critical_path_is_the_chain_that_takes_longest() -> None:
    graph = timed(("a", 0, 1, set()), ("b", 1, 3, {"a"}), ("c", 1, 2, {"a"}), ("d", 3, 4, {"a", "b", "c"}))
    assert graph.critical_path() == ["a", "b", "d"]
    *bars, total = shown(graph).splitlines()
    assert [line[0] for line in bars] == ["*", "*", " ", "*"]
    assert total == "Total 4.00 s; critical path 4.00 s: a > b > d"
    assert "  n0 --> n3" not in graph_drawing.mermaid(graph)  # follows from the others
    assert "class n0,n1,n3 critical" in graph_drawing.mermaid(graph)


def test_a_long_chain_that_was_done_early_held_up_nothing() -> None:
    graph = timed(("a", 0, 3, set()), ("b", 5, 6, {"a"}), ("late", 0, 7, set()))
    assert graph.critical_path() == ["late"]


def shown(graph: Recording, width: int = 80) -> str:
    stream = io.StringIO()
    to = console(stream)
    to.width = width
    timeline.show_timeline(graph, to)
    return stream.getvalue()


def test_bars_stand_where_their_time_was_and_fit_the_terminal() -> None:
    graph = timed(("a", 0, 2, set()), ("b", 2, 4, {"a"}), ("n" * 30, 0, 4, set()))
    for width in (60, 100):
        first, whole, second = (line.rstrip() for line in shown(graph, width).splitlines()[:3])
        start = whole.index("█")
        assert len(whole) == len(second) == width
        assert len(first) == start + round((width - start) / 2)
        assert second.index("█") == len(first)


# Applying


def test_without_a_sandbox_nothing_is_applied(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Pulumi.sandbox.yaml").write_text("config: {demo:password: x}\n")
    assert main([], project) == 1
    assert capsys.readouterr().err == "No sandbox is up: start one with `python -m sandbox up`.\n"


def command(create: str, **inputs: Any) -> Resource:
    inputs = {"create": create, "environment": {"WORD": "hunter2"}, **inputs}
    secret = frozenset({"environment"})
    return Resource(urn="c", type="command:local:Command", name="c", custom=True, inputs=inputs, secret_inputs=secret)


@pytest.fixture
def pretended(tmp_path: Path) -> Any:
    """Stand in for a sandbox where its API server is never asked."""
    (tmp_path / "kubeconfig").touch()
    return SimpleNamespace(
        cluster=SimpleNamespace(context="ours"),
        environment=dict(os.environ),
        id="1",
        kubeconfig=tmp_path / "kubeconfig",
        memory=tmp_path / "memory.json",
    )


def test_a_command_runs_once(tmp_path: Path, pretended: Any) -> None:
    applier = Applier(tmp_path, pretended)

    def outcome(resource: Resource) -> str:
        assert applier(resource)[1]["stdout"] == "hunter2"
        return resource.outcome

    line = 'echo "$WORD"; echo >> runs'
    assert [outcome(command(line)), outcome(command(line))] == ["created", "unchanged"]
    assert outcome(command(line, update=f"{line}; echo >> updates")) == "changed"
    assert (tmp_path / "updates").exists()
    assert outcome(command(line, triggers=[1])) == "changed"
    pretended.id = "2"
    assert outcome(command(line, triggers=[1])) == "created"
    assert len((tmp_path / "runs").read_text()) == 4
    assert pretended.memory.stat().st_mode & 0o077 == 0


def test_a_failed_command_is_its_last_line_without_secrets(tmp_path: Path, pretended: Any) -> None:
    with pytest.raises(pulumi.RunError) as error:
        Applier(tmp_path, pretended)(command('echo first >&2; echo "No $WORD here." >&2; exit 3'))
    assert str(error.value) == "Command/c: No [secret] here."


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [({}, ""), ({"kubeconfig": "kubeconfig", "context": "ours"}, ""), ({"context": "prod"}, "context")]
    + [({"kubeconfig": text}, "kubeconfig") for text in ("~/.kube/config", "apiVersion: v1\nkind: Config\n")],
)
def test_another_cluster_is_refused(tmp_path: Path, pretended: Any, inputs: dict[str, str], problem: str) -> None:
    provider = Resource(urn="p", type="pulumi:providers:kubernetes", name="p", custom=True, inputs=inputs)
    if not problem:
        Applier(tmp_path, pretended)(provider)
        return
    with pytest.raises(pulumi.RunError, match=f"names a {problem} that is not the sandbox's"):
        Applier(tmp_path, pretended)(provider)


AVAILABLE = {"observedGeneration": 2, "conditions": [{"type": "Available", "status": "True"}]}


@pytest.mark.parametrize(
    ("version", "kind", "rest", "expected"),
    [
        ("apps/v1", "Deployment", {"status": AVAILABLE}, True),
        ("apps/v1", "Deployment", {"status": {**AVAILABLE, "observedGeneration": 1}}, False),
        ("apps/v1", "Deployment", {"status": {"observedGeneration": 2}}, False),
        ("v1", "Service", {"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {}}}, False),
        ("v1", "Service", {"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{}]}}}, True),
        ("v1", "Service", {"spec": {"selector": {"a": "b"}}}, False),
        ("v1", "Service", {"spec": {"clusterIP": "None", "selector": {"a": "b"}}}, True),
        ("v1", "Namespace", {"status": {"phase": "Terminating"}}, False),
        ("configuration.konghq.com/v1", "KongPlugin", {}, True),
    ],
)
def test_readiness_is_what_pulumi_waits_for(version: str, kind: str, rest: dict[str, Any], expected: bool) -> None:
    assert ready({"apiVersion": version, "kind": kind, "metadata": {"generation": 2}, **rest}) is expected


@pytest.fixture
def rehearse(project: Path, sandbox: Any) -> Iterator[Any]:
    place = Sandbox(sandbox.paths, sandbox.environment)
    prefix = f"rehearsal-{uuid.uuid4().hex[:8]}"

    def apply(**config: Any) -> Recording:
        more = {"kubeconfig": str(place.kubeconfig), "context": place.cluster.context, "prefix": prefix}
        given = Project(project).configure({"password": "hunter2", "more": more, **config}, {"password"})
        return run(given, Applier(project, place), preview=False, root=project, environment=place.environment)

    yield apply
    names = [f"{prefix}-first", f"{prefix}-second"]
    sandbox.run("kubectl", "delete", "namespace", *names)


@pytest.mark.sandbox
def test_a_second_rehearsal_leaves_alone_what_is_equal(rehearse: Any) -> None:
    def outcomes(recording: Recording) -> dict[str, str]:
        return {key: r.outcome for key, r in recording.resources.items() if r.outcome and key != "check"}

    first = rehearse()
    assert set(outcomes(first).values()) == {"created"}
    assert first.outputs == {"chart": "1.2.3", "checked": "checked it", "password": "hunter2"}
    assert set(outcomes(rehearse()).values()) == {"unchanged"}
    changed = {key for key, outcome in outcomes(rehearse(replicas=3)).items() if outcome == "changed"}
    assert changed == {"first-deployment", "second-deployment"}
