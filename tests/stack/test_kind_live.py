"""`make up` on a kind cluster, by Pulumi's own engine: with stand-ins for docker and kind, which hand out a simulated cluster.

Its API server and controllers are real and answer under kind's name for the context; no container runs, so nothing answers at
Kong's address, and what the checks would see of it is *not checked*.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from fakes import containers as stand_ins
from fakes.containers import Machine
from stack import Answer, Object, Project, make_project, said

from sandbox import pulumi_engine
from sandbox.facts import KIND, Facts
from sandbox.paths import tool_cache
from sandbox.screen import HEIGHT, WIDTH

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Laptop:
    """A copy of the checkout on a machine whose docker hands out another copy's simulated cluster."""

    project: Project
    host: Project
    machine: Machine
    environment: dict[str, str]

    def run(self, *arguments: str) -> Answer:
        return self.project.python("-m", "sandbox", *arguments, environment=self.environment)

    def up(self) -> str:
        answer = self.run("up", "--with-stack")
        assert answer.returncode == 0, said(answer)
        return said(answer)

    def outputs(self) -> Object:
        exports = self.project.run("pulumi", "stack", "output", "--json", "--stack=sandbox", environment=self.inside)
        assert exports.returncode == 0, said(exports)
        return dict(json.loads(exports.stdout))

    @property
    def inside(self) -> dict[str, str]:
        lines = self.run("env").stdout.splitlines()
        pairs = [line.removeprefix("export ").partition("=") for line in lines if line.startswith("export ")]
        return {**self.environment, **{name: value.strip("'") for name, _, value in pairs}}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    if missing := pulumi_engine.missing():
        pytest.skip(f"Pulumi is not here: {missing}")
    folder = tmp_path_factory.mktemp("kind").resolve()
    host, project = make_project(folder / "host"), make_project(folder / "laptop")
    answer = host.python("-m", "sandbox", "up")
    assert answer.returncode == 0, said(answer)
    try:
        machine = stand_ins.machine(folder, kubeconfig=str(host.paths.kubeconfig))
        settle(project, host)
        path = f"{machine.folder}:{project.environment['PATH']}"
        environment = {
            **project.environment,
            **{"PATH": path, stand_ins.STATE: str(machine.state_file), "SANDBOX": KIND, "BROWSER": "none"},
            # A kind that is kept there would go before the stand-in.
            "XDG_CACHE_HOME": str(without_kind(folder / "cache")),
        }
        made = Laptop(project, host, machine, environment)
        yield made
        made.run("down", "--with-stack")
    finally:
        host.python("-m", "sandbox", "down")


def without_kind(folder: Path) -> Path:
    """Make a cache of tools in which there is all but kind."""
    tools = folder / "kong-istio" / "tools"
    tools.mkdir(parents=True)
    for each in tool_cache().iterdir() if tool_cache().is_dir() else ():
        if not each.name.startswith("kind-"):
            (tools / each.name).symlink_to(each)
    return folder


def settle(project: Project, host: Project) -> None:
    """Have the committed settings take the charts of that machine, and its istiod, which is no pod."""
    facts = Facts.load(host.paths.facts)
    assert facts
    known = yaml.safe_load(host.paths.stack_file.read_text())["config"]
    committed = yaml.safe_load(project.paths.committed_stack_file.read_text())
    config = committed["config"]
    config["kong-istio:istio"] = known["kong-istio:istio"]
    charts = {name: str(host.paths.root / path) for name, path in known["kong-istio:charts"].items()}
    config["kong-istio:charts"] = {**charts, "kong": str(chart_with_a_webhook(project, charts["kong"]))}
    project.paths.committed_stack_file.write_text(yaml.safe_dump(committed))


def chart_with_a_webhook(project: Project, folder: str) -> Path:
    """Return a copy of the stand-in that does not refuse the webhook that it leaves out."""
    copy = project.paths.root / "vendor" / "kong"
    if Path(folder).is_dir():
        shutil.copytree(folder, copy)
        (copy / "templates" / "refusals.yaml").unlink(missing_ok=True)
    return copy


def screen(text: str) -> list[str]:
    return text[text.index("\nThe page ") + 1 :].splitlines()


def test_the_whole_life_of_a_kind_sandbox(laptop: Laptop) -> None:
    text = laptop.up()
    facts = Facts.load(laptop.project.paths.facts)
    assert facts
    url = f"http://localhost:{facts.ports['kong']}"

    assert "Sandbox: kind, as SANDBOX says." in text
    assert re.search(r"1/\d+ +\d+ s +51 MB  \S+  for \S+", text), text
    shown = screen(text)
    assert shown[0].split() == ["The", "page", f"{url}/productpage"]
    assert len(shown) < HEIGHT
    assert max(map(len, shown)) <= WIDTH
    assert laptop.outputs()["proxyUrl"] == url
    # Nodes are simulated, so nothing of the data path can have passed.
    counts = laptop.outputs()["checks"]
    assert counts["failedChecks"] == []
    assert counts["notChecked"] > 0

    again = laptop.up()
    assert re.search(r"^    \d+ unchanged$", again, re.MULTILINE), again
    assert "all " in again
    assert [call[1] for call in laptop.machine.calls("kind")].count("create") == 1

    laptop.machine.change(containers=[{**each, "runs": False} for each in laptop.machine.state["containers"]])
    assert laptop.run("status").returncode == 1
    assert "does not run; starting it" in laptop.up()
    assert laptop.run("status").returncode == 0

    answer = laptop.run("down", "--with-stack")
    assert answer.returncode == 0, said(answer)
    assert "pulumi destroy" in said(answer)
    assert laptop.machine.state["containers"] == []
    assert not laptop.project.paths.sandbox.exists()
    left = laptop.host.run(
        *(str(laptop.host.paths.programs / "kubectl"), "get", "namespaces", "--output=name"),
        *(f"--kubeconfig={laptop.host.paths.kubeconfig}",),
    )
    assert not [name for name in left.stdout.split() if re.search("istio|kong|bookinfo", name)], said(left)
    laptop.project.assert_home_untouched("After the life of a kind sandbox")
