"""What a stack would register: the engine's rules for configuration, and the recorded graph."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pulumi
import pytest
from demo_project import make_demo

from plan import Recording, graph_drawing, record
from plan import __main__ as plan_command
from plan.stack_config import PLACEHOLDER, Project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the small project."""
    return make_demo(tmp_path)


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


def test_dates_and_keys_that_are_no_texts_are_texts(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text("config:\n  demo:password: {secure: AAB}\n  demo:more: {8080: a, b: 2026-01-31, true: c}\n")
    values = Project(project).read(file).values
    assert values["demo:more"] == '{"8080":"a","b":"2026-01-31","true":"c"}'


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
    lines = list(graph_drawing.outputs(recorded(project)))
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
