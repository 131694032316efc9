"""`down` needs nothing: where Pulumi or a plugin of its own is missing, the sandbox ends without them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stack import Answer, Project, make_project, said

# The sandbox's API server answers, as far as `down` can see.
DOWN = """
from types import SimpleNamespace
from sandbox import identity, kwok_cluster, whole_stack
kwok_cluster.status = lambda: SimpleNamespace(ready=True, facts=True)
def prove(*_):
    if {elsewhere}:
        raise whole_stack.SandboxError("It is another cluster.")
identity.prove = prove
raise SystemExit(whole_stack.take_down())
"""
PULUMI = """#!/bin/sh
[ "$1" = version ] || echo "$*" >> "{calls}"
case "$1 $2" in
  "stack export") echo '{{}}' ;;
  "stack history") echo '[]' ;;
  "destroy --yes") echo "$PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" >> "{calls}"; test -d "{sandbox}" ;;
esac
"""
PLUGINS = ("pulumi-resource-kubernetes", "pulumi-resource-command")

Down = Callable[..., tuple[Answer, list[str]]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a copy of the checkout."""
    return make_project(tmp_path_factory.mktemp("down"))


@pytest.fixture
def down(project: Project, tmp_path: Path) -> Down:
    """Run `down` with nothing on PATH but some programs of Pulumi's; return what it said, and how pulumi was called."""
    calls = tmp_path / "calls"

    def run(
        *programs: str, state: bool = True, elsewhere: bool = False, locked: bool = False
    ) -> tuple[Answer, list[str]]:
        stacks = project.paths.state / ".pulumi" / "stacks" / "kong-istio"
        stacks.mkdir(parents=True)
        project.paths.facts.write_text("{}")
        if state:
            (stacks / "sandbox.json").write_text('{"checkpoint": {}}')
        if locked:
            lock = project.paths.state / ".pulumi" / "locks" / "organization" / "kong-istio" / "sandbox" / "id.json"
            lock.parent.mkdir(parents=True)
            lock.write_text("{}")
        for name in programs:
            (tmp_path / name).write_text(PULUMI.format(calls=calls, sandbox=project.paths.sandbox))
            (tmp_path / name).chmod(0o755)
        environment = {**project.environment, "PATH": str(tmp_path)}
        answer = project.run(sys.executable, "-c", DOWN.format(elsewhere=elsewhere), environment=environment)
        return answer, calls.read_text().splitlines() if calls.exists() else []

    return run


@pytest.mark.parametrize(
    ("programs", "why"),
    [
        ([], "the Pulumi CLI is not on this machine's PATH"),
        (PLUGINS, "the Pulumi CLI is not on this machine's PATH"),
        (["pulumi"], "Python language host (pulumi-language-python) is not on PATH"),
        (["pulumi", "pulumi-language-python"], "the provider plugin kubernetes"),
        (["pulumi", "pulumi-language-python", PLUGINS[0]], "the provider plugin command"),
    ],
)
def test_without_all_of_pulumi_nothing_is_downloaded_and_the_sandbox_ends(
    programs: list[str], why: str, down: Down, project: Project
) -> None:
    answer, calls = down(*programs)
    assert answer.returncode == 0, said(answer)
    assert calls == []
    assert not project.paths.sandbox.exists()
    assert "The stack ends with the sandbox, undestroyed: " in answer.stdout
    assert why in answer.stdout
    assert "ownload" not in said(answer)


def test_a_rehearsed_stack_was_never_pulumis(down: Down, project: Project) -> None:
    answer, _ = down(state=False)
    assert answer.returncode == 0, said(answer)
    assert "undestroyed" not in answer.stdout
    assert not project.paths.sandbox.exists()


def test_a_stack_is_not_destroyed_in_another_cluster_than_the_sandboxs(down: Down, project: Project) -> None:
    answer, calls = down("pulumi", "pulumi-language-python", *PLUGINS, elsewhere=True)
    assert answer.returncode == 1
    assert answer.stderr.strip() == "It is another cluster. The sandbox ends all the same."
    assert [call for call in calls if call.startswith("destroy")] == []
    assert not project.paths.sandbox.exists()


def test_with_pulumi_the_stack_is_destroyed_first_with_the_plugins_that_are_there(down: Down, project: Project) -> None:
    answer, calls = down("pulumi", "pulumi-language-python", *PLUGINS)
    assert answer.returncode == 0, said(answer)
    assert [" ".join(call.split()[:2]) for call in calls] == ["destroy --yes", "true"]
    assert not project.paths.sandbox.exists()


def test_what_was_cut_off_is_recovered_before_it_is_destroyed(down: Down, project: Project) -> None:
    answer, calls = down("pulumi", "pulumi-language-python", *PLUGINS, locked=True)
    assert answer.returncode == 0, said(answer)
    looks = ["stack history", "stack export", "refresh --yes"]
    assert [" ".join(call.split()[:2]) for call in calls] == [*looks, "destroy --yes", "true"]
    assert not project.paths.sandbox.exists()
