"""The policy pack as Pulumi's engine runs it: previews of the shipped stacks, with no cluster and no credentials."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import policies
import pytest
from stack import Answer, Project, said

from preview import pulumi_preview

pytestmark = pytest.mark.engine

Preview = Callable[[str, dict[str, Any]], Answer]
_FOUND = re.compile(r"^ +- \[(mandatory|advisory)\] +([\w-]+) ", re.MULTILINE)


@pytest.fixture(scope="module")
def preview(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Preview:
    """Preview a shipped stack with the policy pack, with charts of this machine and a state of its own."""
    if reason := pulumi_preview.missing():
        pytest.skip(reason)
    if not policies.PACK.exists():
        pytest.skip(policies.NO_PACK)
    project: Project = request.getfixturevalue("project")
    own = project.paths.root / "policy" / "venv"
    if not own.exists():
        own.symlink_to(policies.FOLDER / "venv")
    folder = tmp_path_factory.mktemp("previews")
    charts = policies.local_charts(tmp_path_factory.mktemp("charts"))
    environment = {
        **project.environment,
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": folder.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "of no secret",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    # `stack init` writes a stack file beside the project's, where it would stay.
    shutil.copy(project.paths.root / "Pulumi.yaml", folder)

    def run(stack: str, excuses: dict[str, Any]) -> Answer:
        settings = tmp_path_factory.mktemp(stack)
        file = policies.stack_file(settings, charts, stack, sandbox=False, kubeconfig="absent")
        config = settings / "config.json"
        config.write_text(json.dumps(excuses))
        init = ("pulumi", "stack", "init", settings.name, "--no-select", "--non-interactive", f"--cwd={folder}")
        answer = project.run(*init, environment=environment)
        assert answer.returncode == 0, said(answer)
        options = (f"--stack={settings.name}", f"--config-file={file}", "--non-interactive")
        pack = ("--policy-pack=policy", f"--policy-pack-config={config}")
        return project.run("pulumi", "preview", *options, *pack, environment=environment)

    return run


def excuses_of(stack: str) -> dict[str, Any]:
    """Return what a stack is excused from, and charts from folders besides."""
    own = policies.FOLDER / f"config.{stack}.json"
    return {**(json.loads(own.read_text()) if own.exists() else {}), **json.loads(policies.OFFLINE.read_text())}


def found(answer: Answer, severity: str) -> set[str]:
    """Return the rules that the engine shows with findings."""
    return {rule for level, rule in _FOUND.findall(answer.stdout) if level == severity}


@pytest.mark.parametrize("stack", policies.STACKS)
def test_a_shipped_stack_passes_the_policy_pack(preview: Preview, stack: str) -> None:
    answer = preview(stack, excuses_of(stack))
    assert "kong-istio@v1.0.0 (local: policy)" in answer.stdout, f"no policy pack ran:\n{said(answer)}"
    assert found(answer, "mandatory") == set(), said(answer)
    assert answer.returncode == 0, said(answer)


def test_a_preview_fails_on_what_a_stack_is_not_excused_from(preview: Preview) -> None:
    answer = preview("sandbox", {})
    assert answer.returncode != 0, said(answer)
    assert found(answer, "mandatory") >= {
        "dashboards-ask-who-looks",
        "mesh-refuses-plain-text",
        "namespaces-are-labelled",
        "versions-were-tested-together",
    }


def test_the_engine_takes_levels_from_the_configuration(preview: Preview) -> None:
    levels = dict.fromkeys(("dashboards-ask-who-looks", "mesh-refuses-plain-text"), "advisory")
    others = dict.fromkeys(("namespaces-are-labelled", "requests-and-limits-are-set"), "disabled")
    answer = preview("sandbox", {**json.loads(policies.OFFLINE.read_text()), **levels, **others})
    assert answer.returncode == 0, said(answer)
    assert (found(answer, "mandatory"), found(answer, "advisory")) == (set(), set(levels))
