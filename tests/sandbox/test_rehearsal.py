"""The rehearsal: the engine's rules for configuration, the recorded graph, and what is applied to a sandbox."""

from __future__ import annotations

import io
import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from display.console import console
from plan import Recording, Resource, drawing, record
from plan import __main__ as plan_command
from plan.program import run
from plan.stack_config import PLACEHOLDER, Project
from sandbox.rehearsal import timeline
from sandbox.rehearsal.__main__ import main
from sandbox.rehearsal.apply import Applier, Sandbox, ready

MANIFEST = """
name: demo
runtime: python
config:
  replicas: {type: integer, default: 2}
  debug: {type: boolean, default: false}
  names: {type: array, items: {type: string}, default: [b, a]}
  more: {type: object, default: {}}
  version: {type: string, default: ""}
  password: {type: string}
  pulumi:disable-default-providers: {value: ["*"]}
"""

PROGRAM = """
import pulumi, pulumi_command, pulumi_kubernetes as k8s

config = pulumi.Config()
if config.require_int("replicas") > 9:
    raise pulumi.RunError("demo:replicas is too large.")
more = config.require_object("more")
password = config.require_secret("password")
cluster = k8s.Provider("cluster", kubeconfig=more.get("kubeconfig"), context=more.get("context"))
local = pulumi_command.Provider("local")
prefix = more.get("prefix", "demo")


class Part(pulumi.ComponentResource):
    def __init__(self, name, opts):
        super().__init__("demo:index:Part", name, {}, opts)
        self.namespace = k8s.core.v1.Namespace(
            f"{name}-namespace", metadata={"name": f"{prefix}-{name}"}, opts=pulumi.ResourceOptions(parent=self)
        )
        self.secret = k8s.core.v1.Secret(
            f"{name}-secret",
            metadata={"name": "login", "namespace": self.namespace.metadata["name"]},
            string_data={"password": password},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.deployment = k8s.apps.v1.Deployment(
            f"{name}-deployment",
            metadata={"name": "web", "namespace": self.namespace.metadata["name"]},
            spec={
                "replicas": config.require_int("replicas"),
                "selector": {"match_labels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "web"}]},
                },
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


check = pulumi_command.local.Command(
    "check", create="echo checked $WHO", environment={"WHO": "it"}, opts=pulumi.ResourceOptions(provider=local)
)
first = Part("first", pulumi.ResourceOptions(providers=[cluster], depends_on=[check]))
second = Part("second", pulumi.ResourceOptions(providers=[cluster], depends_on=[first]))
chart = k8s.helm.v3.Release(
    "chart",
    name="chart",
    namespace=first.namespace.metadata["name"],
    chart="chart",
    values={"replicas": 1},
    opts=pulumi.ResourceOptions(provider=cluster),
)
pulumi.export("chart", chart.status.version)
pulumi.export("checked", check.stdout)
pulumi.export("password", password)
"""

CHART = """
apiVersion: v1
kind: ConfigMap
metadata: {name: chart}
data: {replicas: "{{ .Values.replicas }}"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(MANIFEST)
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "chart" / "templates").mkdir(parents=True)
    (tmp_path / "chart" / "Chart.yaml").write_text("{apiVersion: v2, name: chart, version: 1.2.3}")
    (tmp_path / "chart" / "templates" / "all.yaml").write_text(CHART)
    return tmp_path


def recorded(project: Path, **config: Any) -> Recording:
    return record({"password": "hunter2", **config}, {"password"}, root=project)


# Configuration


def test_defaults_arrive_as_the_engine_writes_them(project: Path) -> None:
    values = Project(project).configure({"password": "x", "version": 1.5}).values
    assert values == {
        "demo:replicas": "2",
        "demo:debug": "false",
        "demo:names": '["b","a"]',
        "demo:more": "{}",
        "demo:version": "1.5",
        "demo:password": "x",
        "pulumi:disable-default-providers": '["*"]',
    }


def test_a_stack_file_keeps_text_as_written_and_hides_secrets(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(
        "config:\n  demo:version: 1.30\n  demo:password: {secure: AAB}\n"
        "  demo:more: {login: {secure: AAC}, on: yes}\n  other:key: 0x10\n"
    )
    config = Project(project).read(file)
    assert config.stack == "dev"
    assert config.values["demo:version"] == "1.30"
    assert config.values["other:key"] == "0x10"
    assert config.values["demo:password"] == PLACEHOLDER
    assert config.values["demo:more"] == f'{{"login":"{PLACEHOLDER}","on":"yes"}}'
    assert config.secrets == {"demo:password", "demo:more"}


@pytest.mark.parametrize("value", ["3", 3])
def test_whole_numbers_and_their_text_are_integers(project: Path, value: Any) -> None:
    assert Project(project).configure({"password": "", "replicas": value}).values["demo:replicas"] == "3"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("replicas", "two", "demo:replicas is 'two', but must be an integer."),
        ("replicas", 1.5, "demo:replicas is 1.5, but must be an integer."),
        ("replicas", True, "demo:replicas is True, but must be an integer."),
        ("debug", "yes", "demo:debug is 'yes', but must be a boolean."),
        ("names", "a", "demo:names is 'a', but must be an array of string."),
        ("names", [1], "demo:names is [1], but must be an array of string."),
        ("more", ["a"], "demo:more is ['a'], but must be an object."),
        ("version", {}, "demo:version is {}, but must be a string."),
    ],
)
def test_a_wrong_type_is_one_sentence(project: Path, key: str, value: Any, sentence: str) -> None:
    with pytest.raises(pulumi.RunError) as error:
        Project(project).configure({"password": "x", key: value})
    assert str(error.value) == sentence


def test_a_key_without_default_is_required(project: Path) -> None:
    with pytest.raises(pulumi.RunError, match=r"^Stack 'test' gives no value to demo:password\.$"):
        Project(project).configure({})


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ("{type: integer, default: x}", "Pulumi.yaml's default for demo:key is 'x', but must be an integer."),
        ("{type: boolean, default: yes}", "Pulumi.yaml's default for demo:key is 'yes', but must be a boolean."),
        ("{type: array, default: []}", "Pulumi.yaml declares demo:key as an array without saying of which items."),
        ("{default: a, value: b}", "Pulumi.yaml gives demo:key both a default and a value; keep one of them."),
    ],
)
def test_a_wrong_declaration_is_one_sentence(tmp_path: Path, declared: str, sentence: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text(f"name: demo\nconfig:\n  key: {declared}\n")
    with pytest.raises(pulumi.RunError) as error:
        Project(tmp_path)
    assert str(error.value) == sentence


def test_an_unknown_stack_names_the_known_ones(project: Path) -> None:
    for stack in ("dev", "prod"):
        (project / f"Pulumi.{stack}.yaml").touch()
    with pytest.raises(pulumi.RunError, match=r"^There is no stack 'stage'; there are: dev, prod\.$"):
        Project(project).stack_file("stage")


# The graph


def test_inputs_are_plain_and_numbers_whole(project: Path) -> None:
    resources = recorded(project).resources
    replicas = resources["first-deployment"].inputs["spec"]["replicas"]
    assert (replicas, type(replicas)) == (2, int)
    assert resources["first-secret"].inputs["stringData"] == {"password": "hunter2"}
    assert resources["first-secret"].secret_inputs == {"stringData"}


def test_relations_go_by_name(project: Path) -> None:
    deployment = recorded(project).resources["first-deployment"]
    assert deployment.parent == "first"
    assert deployment.provider == "cluster"
    assert deployment.dependencies == {"first-namespace"}
    assert deployment.property_dependencies == {"metadata": {"first-namespace"}}


def test_a_dependency_on_a_component_is_one_on_what_is_below_it(project: Path) -> None:
    graph = recorded(project)
    below = {"first-namespace", "first-secret", "first-deployment"}
    assert graph.leaves("first") == below
    assert graph.resources["second"].dependencies == below
    assert graph.depends_on("second", "first")
    assert graph.depends_on("second-secret", "first")
    assert graph.depends_on("second-secret", "check")
    assert not graph.depends_on("first", "second")
    assert not graph.depends_on("chart", "first")
    assert graph.depends_on("chart", "first-namespace")


def test_only_a_cluster_knows_some_outputs(project: Path) -> None:
    made_up = record({"password": "hunter2"}, {"password"}, preview=False, root=project)
    assert made_up.outputs == {"checked": "", "password": "hunter2"}
    lines = list(drawing.outputs(recorded(project)))
    assert lines == ["chart: (known after apply)", "checked: (known after apply)", "password: [secret]"]


def test_runs_in_one_process_are_apart(project: Path) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    with (project / "__main__.py").open("a") as program:
        program.write('\nimport os, signal\nos.environ["LEFT"] = "1"\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n')
    with pytest.raises(pulumi.RunError, match=r"^demo:replicas is too large\.$"):
        recorded(project, replicas=10)
    one, two = recorded(project), recorded(project, replicas=3)
    assert one.resources.keys() == two.resources.keys()
    assert two.resources["first-deployment"].inputs["spec"]["replicas"] == 3
    assert "LEFT" not in os.environ
    assert signal.getsignal(signal.SIGINT) == interrupt


def test_disabled_default_providers_are_refused(project: Path) -> None:
    (project / "__main__.py").write_text(
        'import pulumi_kubernetes as k8s\nk8s.core.v1.Namespace("lost", metadata={"name": "lost"})\n'
    )
    with pytest.raises(pulumi.RunError, match=r"^Namespace/lost names no provider"):
        recorded(project)


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
    assert "  n0 --> n3" not in drawing.mermaid(graph)  # follows from the others
    assert "class n0,n1,n3 critical" in drawing.mermaid(graph)


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


def test_a_plan_shows_the_tree_and_no_secret(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Pulumi.sandbox.yaml").write_text("config: {demo:password: {secure: AAB}}\n")
    assert plan_command.main(["--stack", "sandbox", "--graph", str(project / "graph.mmd")], project) == 0
    printed = capsys.readouterr().out
    graph = (project / "graph.mmd").read_text()
    assert re.search(r"├─+ first  \(Part\) *\n│ +├─+ first-deployment  \(Deployment\) *\n", printed)
    assert 'subgraph n2["Part<br/>first"]' in graph
    assert PLACEHOLDER not in printed + graph


def test_bad_input_is_one_sentence_and_no_traceback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "large.yaml"
    file.write_text("config: {demo:password: x, demo:replicas: 10}\n")
    assert plan_command.main(["--config-file", str(file)], project) == 1
    assert capsys.readouterr().err == "demo:replicas is too large.\n"


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
    place = Sandbox(sandbox.paths.sandbox, sandbox.environment)
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
