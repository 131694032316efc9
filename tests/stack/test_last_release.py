"""A stack that the last release of this project made, brought up to date by this one, by Pulumi's own engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from last_release import extract, missing
from stack import Answer, Stack, said
from test_changes import CARRIERS
from test_engine import leftovers
from test_environments import create, sandbox_in

from sandbox import pulumi_engine
from sandbox.machine_settings import with_facts

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

STACK = "upgraded"
CONSUMERS = "kongconsumers.configuration.konghq.com"
# Of somebody else, in a namespace that is not the stack's.
CONSUMER = {
    "apiVersion": "configuration.konghq.com/v1",
    "kind": "KongConsumer",
    "metadata": {"name": "somebody", "namespace": "default"},
    "username": "somebody",
}


class Upgraded:
    """A stack in a sandbox, and two programs for it."""

    def __init__(self, stack: Stack, release: Path) -> None:
        self.stack, self.release = stack, release
        self.today = stack.paths.root
        # Both find the cluster, and charts prepared for this machine, where the settings of a sandbox say.
        (release / ".sandbox").symlink_to(stack.paths.sandbox)
        (release / "venv").symlink_to((self.today / "venv").readlink())
        self.file = stack.paths.sandbox / f"Pulumi.{STACK}.yaml"
        settings = yaml.safe_load((release / "Pulumi.sandbox.yaml").read_text())
        self.file.write_text(yaml.safe_dump(with_facts(settings, stack.facts)))
        create(stack, STACK, stack.environment)

    def pulumi(self, program: Path, *arguments: str) -> Answer:
        options = (f"--stack={STACK}", f"--config-file={self.file}", "--non-interactive", f"--cwd={program}")
        answer = self.stack.project.run("pulumi", *arguments, *options, environment=self.stack.environment)
        assert answer.returncode == 0, said(answer)
        return answer

    def urns(self) -> set[str]:
        exported = self.stack.run("pulumi", "stack", "export", f"--stack={STACK}", "--non-interactive")
        urns = {each["urn"] for each in json.loads(exported)["deployment"]["resources"]}
        # The engine's own, for the look at the state.
        return {urn for urn in urns if ":providers:pulumi::" not in urn}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """Bring up the last release in a sandbox of its own; skip where there is no engine, or not that commit."""
    if reason := pulumi_engine.missing() or missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp(STACK)
    with sandbox_in(folder) as stack:
        release = folder / "release"
        release.mkdir()
        found = Upgraded(stack, extract(release))
        found.pulumi(release, "up", "--yes", "--skip-preview")
        yield found


def test_nothing_that_carries_traffic_is_made_anew(upgraded: Upgraded) -> None:
    before = upgraded.urns()
    steps = json.loads(upgraded.pulumi(upgraded.today, "preview", "--json", "--show-sames").stdout)["steps"]
    assert [step["urn"] for step in steps if "replace" in step["op"]] == []
    deleted = [step["urn"] for step in steps if step["op"].startswith("delete")]
    assert [urn for urn in deleted if urn.rpartition("::")[0].rpartition(":")[2] in CARRIERS] == []
    # One that goes by another name now has its former one in its old state.
    found = [step for step in steps if step["op"] in ("same", "update")]
    kept = {(step.get("oldState") or step)["urn"] for step in found}
    assert before - kept == set(deleted), "these are neither kept nor deleted"


def kongs_crds(stack: Stack) -> dict[str, str]:
    """Return the uid of each of Kong's CRDs."""
    listed = {item["metadata"]["name"]: item["metadata"]["uid"] for item in stack.list("customresourcedefinitions")}
    return {name: uid for name, uid in listed.items() if name.endswith(".konghq.com")}


def test_a_second_up_has_nothing_to_do_and_a_destroy_leaves_what_others_use(upgraded: Upgraded) -> None:
    stack, crds = upgraded.stack, kongs_crds(upgraded.stack)
    stack.kubectl("create", "--filename=-", stdin=json.dumps(CONSUMER))
    upgraded.pulumi(upgraded.today, "up", "--yes", "--skip-preview")
    assert len(crds) == 12
    assert kongs_crds(stack) == crds, "Helm's CRDs were not taken over in place"
    schemas = stack.get("customresourcedefinition", CONSUMERS)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert "username" in schemas["properties"], "the CRDs are not those of this program"
    upgraded.pulumi(upgraded.today, "preview", "--refresh", "--expect-no-changes")
    destroyed = upgraded.pulumi(upgraded.today, "destroy", "--yes", "--skip-preview")
    assert "Kept the CRD of KongConsumer (configuration.konghq.com): there are still objects of it." in said(destroyed)
    assert leftovers(stack) == [f"CustomResourceDefinition {CONSUMERS}"]
    assert stack.get("kongconsumer", "somebody", "default")["username"] == "somebody"
