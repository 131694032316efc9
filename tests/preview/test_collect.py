"""Previews of a stack before and after a change: what differs, and what the policies find."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from previews import FINDING, PREVIEW, ROOT
from stack import make_project

from plan import helm
from plan.recording import Resource
from policy.rule import Finding
from preview import (
    changes,
    collect,
    compare,
    project_copies,
    schema,
)
from preview.__main__ import main
from preview.changes import Change, Difference, Part
from preview.collect import bounded
from preview.comment import MARKER
from preview.compare import Side
from preview.pulumi_preview import copied_stack, missing, why, written

# --- Before and after ------------------------------------------------------------------------------------------------

RELEASE = "kubernetes:helm.sh/v3:Release"
URN = "urn:pulumi:dev::kong-istio::{}::{}"


def state(name: str, type_: str = "kubernetes:apps/v1:Deployment", **more: Any) -> Resource:
    known: dict[str, Any] = {"custom": True, "inputs": {}, **more}
    return Resource(urn=URN.format(type_, name), type=type_, name=name, **known)


def side(*states: Resource, root: Path = ROOT) -> Side:
    return Side(root=root, resources={each.urn: each for each in states})


def release(**values: Any) -> Resource:
    return state("kong", RELEASE, inputs={"chart": "kong", "name": "kong", "namespace": "edge", "values": values})


def render_charts(monkeypatch: pytest.MonkeyPatch, template: Callable[..., str]) -> None:
    """Say what stands in for `helm template`."""
    monkeypatch.setattr(helm, "find", lambda: Path("helm"))
    monkeypatch.setattr(helm, "template", template)


def test_a_resource_changes_when_the_program_asks_for_it_otherwise() -> None:
    before = side(state("a", inputs={"x": 1}), state("b"), state("gone"))
    after = side(state("a", inputs={"x": 2}), state("b"), state("new"))
    found = {each.name: each.change for each in compare.resources(after, before)}
    assert found == {"a": Change.UPDATE, "b": Change.SAME, "gone": Change.DELETE, "new": Change.CREATE}
    assert {each.change for each in compare.resources(after, None)} == {Change.CREATE}


def test_a_component_changes_by_those_below_it_only() -> None:
    before = side(state("mesh", "kong-istio:index:IstioMesh", custom=False, inputs={"mtls": "PERMISSIVE"}))
    after = side(state("mesh", "kong-istio:index:IstioMesh", custom=False, inputs={"mtls": "STRICT"}))
    assert compare.resources(after, before)[0].change is Change.SAME
    assert list(compare.differences(after, before)) == []


def test_a_graph_that_is_cut_names_no_resource_that_is_not_there() -> None:
    states = [state(f"r{n}", dependencies=frozenset([URN.format("T", "r0")])) for n in range(1200)]
    found = compare.resources(side(state("late", parent=states[-1].urn), *states), None)
    assert len(schema.read(replace(PREVIEW, resources=found).to_json().encode()).resources) == 1000


def test_values_and_what_they_render_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def template(*_: Any, values: Any, **__: Any) -> str:
        return yaml.safe_dump({"kind": "Deployment", "metadata": {"name": "kong"}, "spec": values})

    render_charts(monkeypatch, template)
    found = list(compare.differences(side(release(replicas=2)), side(release(replicas=1))))
    assert [(each.part, each.name) for each in found] == [
        (Part.VALUES, "kong"),
        (Part.MANIFESTS, "kong: Deployment kong"),
    ]
    for each in found:
        assert "-  replicas: 1\n+  replicas: 2" in each.text


def test_a_release_that_is_the_same_is_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    render_charts(monkeypatch, lambda *_, **__: pytest.fail("rendered"))
    assert list(compare.differences(side(release(a=1)), side(release(a=1)))) == []


def test_a_chart_in_the_project_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, replicas in (("before", 1), ("after", 2), ("same", 2)):
        (tmp_path / name / "kong").mkdir(parents=True)
        (tmp_path / name / "kong" / "values.yaml").write_text(f"replicas: {replicas}")
    rendered: list[str] = []

    def template(_: Path, root: Path, **__: Any) -> str:
        rendered.append(root.name)
        return f"kind: Pod\nmetadata: {{name: a, namespace: {root.name}}}"

    render_charts(monkeypatch, template)
    after, before, same = (side(release(), root=tmp_path / name) for name in ("after", "before", "same"))
    notes = {each.name: each.note for each in compare.differences(after, before)}
    assert set(rendered) == {"before", "after"}
    assert notes == {"kong: Pod after/a": "created", "kong: Pod before/a": "deleted"}
    assert list(compare.differences(after, same)) == []


def test_secrets_in_manifests_are_hidden_and_made_up_certificates_are_no_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def template(*_: Any, values: Any, **__: Any) -> str:
        secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": f"c2Vj{values['n']}"}}
        hook = {"kind": "Hook", "metadata": {"name": "h"}, "client": {"caBundle": f"QUJD{values['n']}"}}
        return yaml.safe_dump_all([secret, hook])

    render_charts(monkeypatch, template)
    found = list(compare.differences(side(release(n=2)), side(release(n=1))))
    assert [each.part for each in found] == [Part.VALUES]


@pytest.mark.parametrize("program", ["find", "template"])
def test_a_chart_that_is_not_reached_is_a_note(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise helm.HelmError("no such host")

    render_charts(monkeypatch, fail)
    monkeypatch.setattr(helm, program, fail)
    found = list(compare.differences(side(release(n=2)), side(release(n=1))))
    assert (found[1].part, found[1].note) == (Part.MANIFESTS, "no such host")


def test_a_preview_that_is_too_large_leaves_off_the_longest() -> None:
    texts = ["+" + "😀" * 9000, "+short"]
    differences = tuple(Difference(part=Part.VALUES, name=f"d{n}", text=texts[n % 2]) for n in range(80))
    small = bounded(replace(PREVIEW, differences=differences))
    assert schema.read(small.to_json().encode()) == small
    assert sum(each.text == "+short" for each in small.differences) == 40


def test_a_difference_that_is_too_long_is_cut_at_a_line() -> None:
    cut = compare.difference(Part.VALUES, "n", "", "\n".join(["x" * 99] * 1000))
    assert len(cut.text) <= changes.DIFFERENCE.most
    assert set(cut.text.splitlines()[1:]) == {"+" + "x" * 99}
    assert cut.note == f"{1000 - cut.lines('+')} more lines are left off"


def test_what_is_too_much_to_be_read_is_cut() -> None:
    long = Finding(rule="r" * 2000, severity="advisory", resource="x", what="a\nb\x00", remedy="c")
    many = (Difference(part=Part.VALUES, name="n" * 500, text="+1"),) * 400
    found = bounded(replace(PREVIEW, problem="p" * 2000, differences=many, findings=(long, *[FINDING] * 400)))
    assert schema.read(found.to_json().encode()) == found
    assert (found.findings[0].what, found.findings[0].severity) == ("a b�", "advisory")
    assert found.differences[-1].note == "101 more differences are left off"


def test_why_a_preview_failed_is_the_programs_own_sentence() -> None:
    messages = {
        "working": "info",
        "error: kong.replicas is 0: set it to 1.\n": "error",
        "error: an unhandled error occurred: program exited with non-zero exit code: 1": "error",
    }
    diagnostics = [{"severity": severity, "message": message} for message, severity in messages.items()]
    assert why(json.dumps({"diagnostics": diagnostics}), "") == "kong.replicas is 0: set it to 1."
    assert why("not JSON", "error: no stack\n") == "no stack"


# --- The copy of a stack file ----------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.skipif(bool(missing()), reason="Pulumi is not here")
def test_a_copy_keeps_settings_as_they_are_written_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("{name: kong-istio, runtime: python}")
    (tmp_path / "Pulumi.dev.yaml").write_text("""
        encryptionsalt: v1:salt
        secretsprovider: awskms://k
        config:
          kong-istio:version: 1.30
          kong-istio:kubeconfig: ~/.kube/config
          kong-istio:rateLimit: {minute: 3, policy: yes, redis: {password: {secure: "v1:abc"}}}
          kong-istio:applications: [{name: shop, a.b: {secure: "v1:def"}}, {secure: "v1:ghi"}]
    """)
    with copied_stack(tmp_path, "dev", {"kong": "vendored/kong"}) as (file, _):
        copy = yaml.safe_load(file.read_text())
    assert copy.keys() == {"config", "encryptionsalt"}
    config = copy["config"]
    hidden = [
        config["kong-istio:rateLimit"]["redis"].pop("password"),
        config["kong-istio:applications"][0].pop("a.b"),
        config["kong-istio:applications"].pop(),
    ]
    assert all(value.keys() == {"secure"} and value["secure"] not in ("v1:abc", "v1:def", "v1:ghi") for value in hidden)
    assert config == {
        "kong-istio:version": "1.30",
        "kong-istio:rateLimit": {"minute": 3, "policy": "yes", "redis": {}},
        "kong-istio:applications": [{"name": "shop"}],
        "kong-istio:charts": {"kong": "vendored/kong"},
    }


def test_a_place_in_settings_is_written_as_pulumi_takes_it() -> None:
    assert written(("kong-istio:applications", 0, 'a."b"')) == 'kong-istio:applications[0]["a.\\"b\\""]'


# --- Policies --------------------------------------------------------------------------------------------------------


def test_policies_that_fail_are_a_problem_of_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr("policy.findings", fail)
    monkeypatch.setattr("preview.pulumi_preview.preview", lambda *_: {})
    found = collect.collect("dev", ROOT, None, {})
    assert found.policy_problem == "KeyError: 'x'"
    assert found.failed


# --- Copies of the project -------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "kept.txt").write_text("before")
    (root / "gone.txt").write_text("before")
    (root / ".gitignore").write_text("ignored\n/venv\n")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "one"]):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false", *words]
        subprocess.run(git, cwd=root, check=True)
    (root / "kept.txt").write_text("after")
    (root / "gone.txt").unlink()
    (root / "new.txt").write_text("after")
    (root / "ignored").write_text("secret")
    (root / "venv").mkdir()
    return root


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file() and file.name != ".gitignore"}


def test_both_are_copied_and_nothing_that_git_ignores(repository: Path) -> None:
    with project_copies.copies(repository, None) as (head, base):
        assert base
        assert content(head) == {"kept.txt": "after", "new.txt": "after"}
        assert content(base) == {"kept.txt": "before", "gone.txt": "before"}
        assert (head / "venv").resolve() == (base / "venv").resolve() == repository / "venv"


@pytest.mark.parametrize("name", ["nothing", "--output=/tmp/x", ""])
def test_a_commit_that_is_none_is_a_sentence(name: str, repository: Path) -> None:
    with pytest.raises(project_copies.GitError, match="no commit"), project_copies.copies(repository, name):
        pass


# --- The command -----------------------------------------------------------------------------------------------------


def test_an_unknown_stack_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "nowhere"]) == 2
    assert "There is no stack nowhere" in capsys.readouterr().err


def test_without_pulumi_the_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--stack", "dev"]) == 2
    assert "pulumi, which is not on PATH" in capsys.readouterr().err


@pytest.mark.engine
@pytest.mark.skipif(bool(missing()), reason="Pulumi is not here")
def test_a_change_is_previewed_without_a_cluster_or_a_secret(tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("there is no git")
    project = make_project(tmp_path.resolve())
    root = project.paths.root
    for name in ("base", "istiod"):
        (root / "vendored" / name).mkdir(parents=True)
        (root / "vendored" / name / "Chart.yaml").write_text(f"{{apiVersion: v2, name: {name}, version: 1.0.0}}")
    local = {name: f"sandbox/charts/{name}" for name in ("kong", "prometheus", "grafana", "kiali-server")}
    config: dict[str, Any] = {
        "kong-istio:kubeContext": "nowhere",
        "kong-istio:charts": {**local, **{name: f"vendored/{name}" for name in ("base", "istiod")}},
        "kong-istio:kong": {"admissionWebhook": False},
        "kong-istio:rateLimit": {
            "minute": 30,
            "policy": "redis",
            "redis": {"host": "redis.example.com", "password": {"secure": "v1:somebody:elses"}},
        },
    }
    file = root / "Pulumi.own.yaml"
    file.write_text(yaml.safe_dump({"encryptionsalt": "v1:x:v1:y", "config": config}))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["add", "--all"], ["commit", "--quiet", "--message", "own"]):
        assert project.run(*git, *words).returncode == 0
    config["kong-istio:rateLimit"]["minute"] = 60
    config["kong-istio:kong"]["replicas"] = 2
    file.write_text(yaml.safe_dump({"encryptionsalt": "v1:x:v1:y", "config": config}))

    command = ["-m", "preview", "--stack", "own", "--base", "HEAD", "--output", str(tmp_path / "out")]
    command += ["--summary", str(tmp_path / "summary.md")]
    subprocess.run([sys.executable, *command], cwd=root, capture_output=True, check=False)
    found = schema.read((tmp_path / "out" / "own.json").read_bytes())
    assert found.problem == ""
    assert found.base_problem == ""
    changes = {each.name for each in found.resources if each.change is Change.UPDATE}
    assert {"kong-istio", "bookinfo-route-rate-limit"} <= changes
    assert found.count(Change.CREATE) == found.count(Change.DELETE) == 0
    assert {each.part for each in found.differences} == set(Part)
    assert (tmp_path / "summary.md").read_text().startswith(MARKER)
    # What a random secret would be, or a place on this machine, would change from run to run.
    assert str(tmp_path) not in found.to_json()
