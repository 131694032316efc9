"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from charts import CONTRACT, NOT_RUN
from fakes.go import FAKE_GO, script
from fakes.releases import Releases
from stack import Project, Stack, make_project

from components.shared import releases
from sandbox import downloads, fetching, identity, isolation, kwok_cluster
from sandbox.choice import VARIABLE
from sandbox.facts import KIND, Facts
from sandbox.paths import CHECKOUT, Paths, tool_cache

# Python looks for garbage every 700 new objects, through all that these tests keep: an eighth of their time.
gc.set_threshold(50_000, 20, 100)

# `make unit` takes the first by `--hypothesis-profile`.
hypothesis.settings.register_profile("unit", max_examples=150)
hypothesis.settings.register_profile("all", max_examples=2000)
hypothesis.settings.load_profile("all")

_ONE_CLUSTER = "there is one cluster, and no second test may work on it at the same time: run this without -n"


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n auto` is: one more than processors, as many tests wait for time to pass."""
    return (os.cpu_count() or 1) + 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep tests of the cluster out of workers that run side by side."""
    if "PYTEST_XDIST_WORKER" in os.environ and {"sandbox", "engine"} & {mark.name for mark in item.iter_markers()}:
        pytest.fail(_ONE_CLUSTER)
    on_pods = os.environ.get(VARIABLE) == KIND
    if on_pods and {"stack", "live"} & set(getattr(item, "fixturenames", ())) and not _of(item, "pods", "pods_only"):
        pytest.skip("rests on the simulated cluster, and SANDBOX is kind")
    if not on_pods and _of(item, "pods_only"):
        pytest.skip("needs real pods: `make test SANDBOX=kind`")


def _of(item: pytest.Item, *marks: str) -> bool:
    return bool({mark.name for mark in item.iter_markers()} & set(marks))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say with what the contracts with the published charts ran, and for which charts they did not."""
    reports = [one for found in terminalreporter.stats.values() for one in found if isinstance(one, pytest.TestReport)]
    ran = {str(text) for report in reports for name, text in report.user_properties if name == CONTRACT}
    skipped = [str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)]
    missed = {text.partition(NOT_RUN)[2].split()[0] for text in skipped if NOT_RUN in text}
    for text in sorted(ran):
        terminalreporter.write_line(f"Compared with the published chart {text}")
    if missed:
        terminalreporter.write_line(f"NOT COMPARED with the published charts: {', '.join(sorted(missed))}", yellow=True)


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is up."""

    paths: Paths
    facts: Facts

    @property
    def environment(self) -> dict[str, str]:
        """The environment for programs that work on it."""
        return isolation.environment(self.paths)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run one of its tools and return what it says."""
        answer = subprocess.run(
            command,
            executable=self.paths.programs / command[0],
            cwd=self.paths.root,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, f"{' '.join(command)}: {answer.stderr}"
        return answer.stdout


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Bring up the checkout's own sandbox unless it is, and take it down only if it was not."""
    was_up = kwok_cluster.status().live
    facts = kwok_cluster.up()
    # Before a test writes anything: is it the one that was recorded?
    identity.prove(facts, CHECKOUT)
    yield Sandbox(CHECKOUT, facts)
    if not was_up:
        kwok_cluster.down()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Copy the checkout, so that no test touches a sandbox that its user has up there."""
    return make_project(tmp_path_factory.mktemp("copy").resolve())


@pytest.fixture(scope="session")
def stack(project: Project) -> Iterator[Stack]:
    """Bring the whole stack up in the copy's sandbox, by Pulumi's engine or rehearsed, and take it down."""
    found = Stack(project)
    try:
        found.up()
        yield found
    finally:
        found.down()
    project.assert_home_untouched("After `up` and `down`")


@pytest.fixture(scope="module")
def live(stack: Stack) -> Stack:
    """Bring the whole stack back up if a test took it down; skip where no sidecar is injected."""
    stack.up_unless_it_is()
    if stack.facts.not_shown:
        pytest.skip(f"not shown: {stack.facts.not_shown}")
    return stack


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand for a machine without a kubeconfig, to which every chart repository answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("machine") / "none"))
        patch.setattr(releases, "urlopen", lambda *_, **__: nullcontext())
        yield


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """Serve what a test adds as if it were the hosts that programs are downloaded from."""
    with Releases().running(tmp_path_factory.mktemp("hosts")) as found:
        yield found


@pytest.fixture(name="releases")
def published_releases(hosts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """Give the test an empty machine, Linux on amd64, whose only way out leads to the fakes."""
    for kept in (hosts.files, hosts.asked, hosts.led_to, hosts.closed):
        kept.clear()
    unwanted = ("KONG_ISTIO_OFFLINE", "https_proxy", "no_proxy", "ALL_PROXY", "all_proxy", "XDG_CACHE_HOME")
    for name in (*unwanted, *fetching.BUNDLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in hosts.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(downloads, "this_platform", lambda: ("linux", "amd64"))
    monkeypatch.setattr(fetching, "_out_of_reach", {})
    monkeypatch.setattr(fetching, "_PAUSE", 0)
    tool_cache().mkdir(parents=True)
    return hosts


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a machine with an empty home, no tools, no network, and no processor that downloads are known for."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "GOENV", "KONG_ISTIO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "path"), "/usr/bin", "/bin"]))
    monkeypatch.setattr(downloads, "this_platform", lambda: ("plan9", "mips"))
    # What the machine that runs the tests has must not be found.
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: which(name, path=str(tmp_path / "path")))
    # No package index either: wheels are those that a test puts there.
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "path"


@pytest.fixture
def go(bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Put a fake Go on PATH; return the calls of `go build` so far."""
    log = tmp_path / "go.log"
    log.touch()
    monkeypatch.setenv("GO_LOG", str(log))
    script(bare_machine / "go", FAKE_GO)
    return lambda: [line for line in log.read_text().splitlines() if " build " in line]
