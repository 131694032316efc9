"""The workflows: what they may do, and that all they call is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import report
from checks.report import machine
from components.verification import LIMIT_SECONDS
from names import SANDBOX_FOLDER
from plan.stack_config import Project
from preview import publish, pulumi_preview
from sandbox import tools
from sandbox.choice import VARIABLE
from sandbox.facts import KIND
from settings import read as settings_of
from versions import KUBERNETES_MINIMUM, KUBERNETES_TESTED

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github"
SETUP = FOLDER / "actions" / "setup" / "action.yml"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
Step = dict[str, Any]


def read(file: Path) -> dict[str, Any]:
    """Read a file as GitHub does: `on` is a word, and so is everything else."""
    return dict(yaml.load(file.read_text(), Loader=yaml.BaseLoader))  # noqa: S506 - it reads nothing but text


def workflow(name: str) -> dict[str, Any]:
    return read(FOLDER / "workflows" / f"{name}.yml")


def steps(file: Path) -> list[Step]:
    content = read(file)
    jobs = content["jobs"].values() if "jobs" in content else [content["runs"]]
    return [step for job in jobs for step in job.get("steps", [])]


def every_step() -> Iterator[tuple[str, Step]]:
    return ((file.stem, step) for file in [*WORKFLOWS, SETUP] for step in steps(file))


def commands() -> list[str]:
    """Return every command that a step runs, line by line, once."""
    lines = {line.strip() for _, step in every_step() for line in step.get("run", "").splitlines()}
    return sorted(lines - {""})


COMMANDS = commands()


@pytest.fixture(params=WORKFLOWS, ids=[file.stem for file in WORKFLOWS])
def each(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


# --- What they may -----------------------------------------------------------------------------------------------


def test_what_a_workflow_calls_in_this_repository_is_there() -> None:
    text = "".join(file.read_text() for file in WORKFLOWS)
    called = set(re.findall(r"uses: \./(\S+)", text))
    assert called
    assert all((ROOT / path).is_file() or (ROOT / path / "action.yml").is_file() for path in called)


def test_nothing_is_permitted_that_a_job_does_not_ask_for(each: dict[str, Any]) -> None:
    assert each["permissions"] == {}
    for name, job in each["jobs"].items():
        assert job["permissions"]["contents"] == "read", name


def test_only_the_comment_can_write_and_nothing_but_that() -> None:
    written = {
        (file.stem, scope)
        for file in WORKFLOWS
        for job in read(file)["jobs"].values()
        for scope, access in job["permissions"].items()
        if access != "read"
    }
    assert written == {("comment", "pull-requests")}


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    named = [
        line
        for file in [*WORKFLOWS, SETUP]
        for line in file.read_text().splitlines()
        if re.search(r"\buses:", line) and "./" not in line
    ]
    assert named
    for line in named:
        assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_an_action_has_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for _, step in every_step():
        name, _, commit = step.get("uses", "").partition("@")
        versions.setdefault(name, set()).add(commit)
    assert all(len(commits) == 1 for commits in versions.values())


def test_no_checkout_leaves_the_token_behind() -> None:
    checkouts = [step for _, step in every_step() if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) >= 6
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)


def test_no_expression_is_part_of_a_script() -> None:
    assert [line for line in COMMANDS if "${{" in line] == []


def test_a_pull_requests_code_runs_without_secrets() -> None:
    for name in ("pull-request", "test", "kind"):
        text = str(workflow(name))
        assert "secrets." not in text
        assert "github.token" not in text
    assert workflow("pull-request")["on"] == {"pull_request": ""}
    assert "pull_request_target" not in "".join(file.read_text() for file in WORKFLOWS)


def test_the_comment_runs_mains_code_alone() -> None:
    (job,) = workflow("comment")["jobs"].values()
    checkout, command = job["steps"]
    assert checkout["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert command["run"] == "python3 -m preview comment"
    assert set(command["env"]) == {"GITHUB_TOKEN"}


def test_the_comment_follows_the_previews() -> None:
    assert workflow("comment")["on"]["workflow_run"]["workflows"] == [workflow("pull-request")["name"]]
    found = steps(FOLDER / "workflows" / "pull-request.yml")
    uploaded = [step["with"]["name"] for step in found if "upload-artifact" in step.get("uses", "")]
    assert uploaded == [publish.ARTIFACT]


def test_the_sandbox_in_kind_is_brought_up_twice_and_leaves_nothing() -> None:
    assert workflow("kind")["on"] == {"pull_request": ""}
    (job,) = workflow("kind")["jobs"].values()
    assert job["env"] == {VARIABLE: KIND}
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    assert [line for line in lines if line.startswith("make ")] == ["make up", "make up", "make down"]


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not on this machine")
@pytest.mark.parametrize(
    ("counts", "passes"),
    [
        ({"passed": 22, "failed": 0, "notChecked": 0}, True),
        ({"passed": 21, "failed": 1, "notChecked": 0}, False),
        ({"passed": 21, "failed": 0, "notChecked": 1}, False),
        ({"passed": 0, "failed": 0, "notChecked": 0}, False),
    ],
)
def test_a_check_that_was_left_out_fails_the_sandbox_in_kind(counts: dict[str, int], passes: bool) -> None:
    asked = next(
        step["run"] for step in steps(FOLDER / "workflows" / "kind.yml") if step.get("run", "").startswith("jq ")
    )
    *command, file = shlex.split(asked)
    assert file == f"{SANDBOX_FOLDER}/checks/{report.JSON}"
    run = report.Run(subject="a stack", results=(), started=datetime.now(UTC), seconds=0)
    written = {**json.loads(machine.render(run)), **counts}
    assert counts.keys() <= json.loads(machine.render(run)).keys()
    done = subprocess.run(command, input=json.dumps(written), capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == passes, done.stderr


def ups() -> dict[str, dict[str, Any]]:
    """Return the jobs that run `pulumi up`."""
    jobs = [(name, job) for file in WORKFLOWS for name, job in read(file)["jobs"].items()]
    return {name: job for name, job in jobs if any("pulumi up" in step.get("run", "") for step in job.get("steps", []))}


def test_no_up_is_ever_cancelled() -> None:
    assert set(ups()) == {"end-to-end", "staging", "prod"}
    assert "concurrency" not in workflow("main"), (
        "a run that waits for prod's reviewers holds up the next one's staging"
    )
    for name in ("staging", "prod"):
        assert ups()[name]["concurrency"] == {"group": f"up-{name}", "cancel-in-progress": "false"}
    # What that job leaves behind ends with its machine.
    assert "kind create cluster" in str(ups()["end-to-end"])


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_an_up_is_not_killed_while_the_stack_waits_within_its_limits(stack: str) -> None:
    found = Project(ROOT).read(ROOT / f"Pulumi.{stack}.yaml")
    settings = settings_of(found.values, found.secrets, ROOT)
    istio, kong = settings.istio, settings.kong
    waits = [
        settings.security.secret_timeout_seconds,
        # istio-cni, then istiod; Kong, then its address and each route; what the provider gives a Deployment.
        *(istio.ready_timeout_seconds, istio.ready_timeout_seconds),
        *(kong.ready_timeout_seconds, kong.address_timeout_seconds, kong.ready_timeout_seconds, 600),
        settings.observability.ready_timeout_seconds,
        # The checks of the `up`, and those after it.
        *(LIMIT_SECONDS, LIMIT_SECONDS),
    ]
    assert int(ups()[stack]["timeout-minutes"]) * 60 > sum(waits)
    assert any("make recover STACK=$STACK" in step.get("run", "") for step in ups()[stack]["steps"])


def test_staging_and_prod_wait_for_what_comes_before_and_for_their_gate() -> None:
    jobs = workflow("main")["jobs"]
    assert jobs["staging"]["needs"] == ["test", "end-to-end"]
    assert jobs["prod"]["needs"] == "staging"
    for name in ("staging", "prod"):
        assert jobs[name]["environment"] == name
        assert jobs[name]["env"]["STACK"] == name


def test_every_up_is_followed_by_checks_that_fail_the_job_and_by_their_reports() -> None:
    jobs = [job for file in WORKFLOWS for job in read(file)["jobs"].values()]
    ups = 0
    for job in jobs:
        lines = [step.get("run", "") for step in job.get("steps", [])]
        found = [index for index, line in enumerate(lines) if "pulumi up" in line]
        ups += len(found)
        for index in found:
            # A check that fails is a warning of the `up` before.
            following = shlex.split(lines[index + 1])
            assert following[1:4] == ["-m", "checks", "run"]
            assert "--stack" in following
            assert following[-2:] == ["--reports", "reports"]
            assert "--warn" not in following
            assert "continue-on-error" not in job["steps"][index + 1]
            (upload,) = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
            assert upload["with"]["path"] == "reports"
            assert upload["if"] == "${{ !cancelled() }}"
    assert ups == 3


def test_every_job_ends(each: dict[str, Any]) -> None:
    for name, job in each["jobs"].items():
        assert "uses" in job or int(job["timeout-minutes"]) <= (60 if "STACK" not in job.get("env", {}) else 180), name


# --- What they call ----------------------------------------------------------------------------------------------


def of(program: str) -> list[list[str]]:
    """Return the commands of a program, in words, without where their output goes."""
    words = [shlex.split(line.partition(" >")[0]) for line in COMMANDS]
    return [line for line in words if Path(line[0]).name == program]


def test_what_make_is_asked_for_is_there() -> None:
    for line in of("make"):
        done = subprocess.run(["make", "--dry-run", *line[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", of("python") + of("python3"), ids=" ".join)
def test_modules_know_their_commands_and_options(line: list[str]) -> None:
    _, dash_m, module, *words = line
    assert dash_m == "-m"
    command = words[:1] if not words[0].startswith("-") else []
    help_text = help_of(module, *command)
    for option in words:
        assert not option.startswith("--") or re.search(rf"(?<![\w-]){option}(?![\w-])", help_text), option


@cache
def help_of(module: str, *command: str) -> str:
    asked = [sys.executable, "-m", module, *command, "--help"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.engine
@pytest.mark.skipif(bool(pulumi_preview.missing()), reason="Pulumi is not here")
@pytest.mark.parametrize("line", of("pulumi"), ids=" ".join)
def test_pulumi_knows_its_commands_and_options(line: list[str]) -> None:
    words = [word for word in line[1:] if not word.startswith("-")]
    depth = 2 if words[0] in ("stack", "config") else 1
    done = subprocess.run(["pulumi", *words[:depth], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for option in (word for word in line if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", done.stdout), option


def test_the_pulumi_cli_is_that_of_the_package() -> None:
    version = next(step["with"]["pulumi-version"] for step in steps(SETUP) if "pulumi/" in step.get("uses", ""))
    assert f"pulumi=={version}" in (ROOT / "requirements.in").read_text().splitlines()


def test_python_and_go_are_those_of_the_project() -> None:
    python = next(step["with"]["python-version"] for step in steps(SETUP) if "setup-python" in step.get("uses", ""))
    assert f'requires-python = ">={python}"' in (ROOT / "pyproject.toml").read_text()
    files = {step["with"]["go-version-file"] for _, step in every_step() if "setup-go" in step.get("uses", "")}
    assert all((ROOT / file).is_file() for file in files)


def test_the_cluster_is_of_a_version_that_the_stack_is_tested_with() -> None:
    image = next(step["env"]["NODE"] for _, step in every_step() if "NODE" in step.get("env", {}))
    found = re.fullmatch(r"kindest/node:v(\d+)\.(\d+)\.\d+@sha256:[0-9a-f]{64}", image)
    assert found
    assert KUBERNETES_MINIMUM <= (int(found[1]), int(found[2])) <= KUBERNETES_TESTED


def test_stacks_and_cached_files_that_are_named_are_there() -> None:
    named = {line[line.index("--stack") + 1] for line in of("pulumi") + of("python") if "--stack" in line}
    named |= set(workflow("drift")["jobs"]["preview"]["strategy"]["matrix"]["stack"])
    for name in named - {"$STACK"}:
        assert (ROOT / f"Pulumi.{name}.yaml").is_file()


# --- What others say of them -------------------------------------------------------------------------------------


def test_actionlint_finds_nothing() -> None:
    program = tools.ensure(["actionlint"])["actionlint"]
    # Not every machine has the two, and what they say depends on their version.
    command = [str(program), "-no-color", "-shellcheck=", "-pyflakes=", *map(str, WORKFLOWS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing() -> None:
    program = shutil.which("zizmor", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not program:
        pytest.skip("zizmor is not in this environment")
    command = [program, "--offline", "--quiet", "--no-progress", "--config", str(FOLDER / "zizmor.yml"), str(FOLDER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
