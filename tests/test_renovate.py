"""Every pin that no package manager's file holds is one that Renovate finds, or says why it is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.paths import CHECKOUT
from sandbox.programs import TOOLS
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY, KUBERNETES_TESTED

ROOT = CHECKOUT.root
CONFIG: dict[str, Any] = json.loads((ROOT / ".github" / "renovate.json").read_text())
# Renovate's are JavaScript's: a named group has no P.
NAMED = re.compile(r"\(\?<(?=\w)")
NO_BOT = "# No bot raises it: "


@dataclass(frozen=True)
class Pin:
    """What a custom manager finds in a file."""

    file: str
    datasource: str
    dependency: str
    version: str
    registry: str = ""


def files(pattern: str) -> Iterator[Path]:
    expression = re.compile(pattern.strip("/"))
    for file in (*ROOT.glob("*.py"), *ROOT.glob("sandbox/*.py"), *ROOT.glob(".github/**/*"), *ROOT.glob("manifests/*")):
        if file.is_file() and expression.search(str(file.relative_to(ROOT))):
            yield file


def pins() -> Iterator[Pin]:
    for manager in CONFIG["customManagers"]:
        for file in (file for pattern in manager["managerFilePatterns"] for file in files(pattern)):
            for expression in manager["matchStrings"]:
                for found in re.finditer(NAMED.sub("(?P<", expression), file.read_text()):
                    groups = found.groupdict()
                    yield Pin(
                        str(file.relative_to(ROOT)),
                        groups.get("datasource") or manager["datasourceTemplate"],
                        groups["depName"],
                        groups["currentValue"],
                        groups.get("registryUrl") or "",
                    )


PINS = list(pins())


def versions(dependency: str, datasource: str) -> set[str]:
    return {pin.version for pin in PINS if (pin.dependency, pin.datasource) == (dependency, datasource)}


@pytest.mark.parametrize("name", CHARTS)
def test_the_version_of_each_chart_is_found_with_its_repository(name: str) -> None:
    chart = CHARTS[name]
    # Istio's charts have one version, and so one pin.
    dependency = "istiod" if "istio-release" in chart.repository else chart.name
    assert Pin("versions.py", "helm", dependency, chart.version, chart.repository) in PINS


def test_the_versions_of_kongs_images_are_found() -> None:
    assert versions("kong", "docker") == {KONG_GATEWAY}
    assert versions("kong/kubernetes-ingress-controller", "docker") == {KONG_CONTROLLER}


def test_the_images_of_manifests_are_found() -> None:
    manifests = [doc for file in (ROOT / "manifests").glob("*.yaml") for doc in yaml.safe_load_all(file.read_text())]
    templates = [doc["spec"]["template"]["spec"] for doc in manifests if doc and doc["kind"] == "Deployment"]
    images = {container["image"] for template in templates for container in template["containers"]}
    found = {f"{pin.dependency}:{pin.version}" for pin in PINS if pin.file.startswith("manifests/")}
    assert images
    assert found == images


def test_the_nodes_of_kind_are_found_and_stay_tested() -> None:
    # One version, in the workflow and in the sandbox.
    (node,) = versions("kindest/node", "docker")
    pinned = {str(file.relative_to(ROOT)) for file in files(".") if "kindest/node:v" in file.read_text()}
    assert {pin.file for pin in PINS if pin.dependency == "kindest/node"} == pinned
    (rule,) = (rule for rule in CONFIG["packageRules"] if rule.get("matchDepNames") == ["kindest/node"])
    major, minor = KUBERNETES_TESTED
    assert rule["allowedVersions"] == f"<{major}.{minor + 1}"
    assert node.startswith(f"v{major}.")
    assert versions("sigs.k8s.io/kind", "go") == {f"v{TOOLS['kind'].version}"}


@pytest.mark.parametrize("name", ["versions.py", "sandbox/programs.py"])
def test_every_version_is_found_or_says_why_not(name: str) -> None:
    text = (ROOT / name).read_text()
    stated = set(re.findall(r'^\w+ = "(\d+\.\d+\.\d+[^"]*)"|version="(\d[^"]*)"', text, re.MULTILINE))
    excused = set(re.findall(rf'^{NO_BOT}.+\n\w+ = "([^"]+)"', text, re.MULTILINE))
    found = {pin.version for pin in PINS if pin.file == name}
    assert {one or other for one, other in stated} == found | excused
    assert not found & excused


def test_every_comment_is_above_a_version() -> None:
    comments = [line for name in {pin.file for pin in PINS} for line in (ROOT / name).read_text().splitlines()]
    written = sum("# renovate: " in line for line in comments)
    assert written == sum(not pin.file.startswith("manifests/") for pin in PINS)


def test_no_pin_is_raised_by_two_bots() -> None:
    dependabot = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    assert {update["package-ecosystem"] for update in dependabot["updates"]} == {"github-actions", "pip"}
    assert CONFIG["enabledManagers"] == ["custom.regex", "gomod"]


def test_nothing_is_merged_by_itself_and_no_major_is_raised_unasked() -> None:
    assert CONFIG["automerge"] is False
    assert not any(rule.get("automerge") for rule in CONFIG["packageRules"])
    (major,) = (rule for rule in CONFIG["packageRules"] if rule.get("matchUpdateTypes") == ["major"])
    assert major["dependencyDashboardApproval"]


def test_a_program_of_the_sandbox_is_raised_together_with_its_module() -> None:
    modules_of_programs = (ROOT / "sandbox" / "go" / "go.mod").read_text()
    groups = {rule["groupName"]: rule["matchDepNames"] for rule in CONFIG["packageRules"] if "groupName" in rule}
    for pin in (pin for pin in PINS if pin.file == "sandbox/programs.py"):
        (names,) = (names for names in groups.values() if pin.dependency in names)
        modules = [name.removesuffix("**") for name in names if name != pin.dependency]
        assert any(module in modules_of_programs for module in modules), names
