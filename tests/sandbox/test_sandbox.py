"""The sandbox: what it finds out, writes down and starts; and, where marked, the real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from conftest import Sandbox

from sandbox import (
    SandboxError,
    builds,
    chart_sources,
    istio_settings,
    istiod_process,
    istiod_watcher,
    kwok_cluster,
    machine_settings,
    processes,
    tools,
)
from sandbox import __main__ as command_line
from sandbox.facts import DEFAULT_REVISION, ISTIOD_PORTS, PORTS, Facts, free_ports
from sandbox.paths import CHECKOUT, Paths, tool_cache
from versions import CHARTS

FACTS = Facts(
    ports={name: 20000 + number for number, name in enumerate(PORTS)},
    charts={"kong": "sandbox/charts/kong"},
    origins={"kong": "stand-in"},
    istiod="/cache/pilot-discovery",
    not_shown="",
    istiods={
        revision: {name: start + number for number, name in enumerate(ISTIOD_PORTS)}
        for revision, start in ((DEFAULT_REVISION, 20100), ("1-31-0", 20200))
    },
)
WITHOUT_ISTIOD = Facts(**{**FACTS.__dict__, "istiod": "", "not_shown": "there is no Go on this machine"})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Make a checkout without a sandbox."""
    (tmp_path / "Pulumi.sandbox.yaml").write_text(
        yaml.safe_dump(
            {
                "config": {
                    "kong-istio:sandbox": True,
                    "kong-istio:istio": {"mtls": "STRICT", "istiodValues": {"traceSampling": 5}},
                    "kong-istio:charts": {"grafana": "https://charts.example.org"},
                }
            }
        )
    )
    return Paths(tmp_path)


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


# --- the stack file -------------------------------------------------------------------------------------------


def written(facts: Facts, paths: Paths) -> dict[str, Any]:
    paths.sandbox.mkdir(exist_ok=True)
    machine_settings.write(facts, paths)
    loaded: dict[str, Any] = yaml.safe_load(paths.stack_file.read_text())
    return loaded


def test_the_stack_file_adds_this_machine_to_the_committed_settings(paths: Paths) -> None:
    config = written(FACTS, paths)["config"]
    assert config["kong-istio:sandbox"] is True
    assert config["kong-istio:istio"] == {
        "mtls": "STRICT",
        "baseValues": {"base": {"validationURL": "https://localhost:20100/validate"}},
        "istiodValues": {"traceSampling": 5, **webhooks_at(20100)},
    }
    assert config["kong-istio:checks"] == {"istiodAddress": "127.0.0.1:20101"}


def webhooks_at(port: int) -> dict[str, Any]:
    return {
        "istiodRemote": {"injectionURL": f"https://localhost:{port}/inject"},
        "base": {"validationURL": f"https://localhost:{port}/validate"},
    }


@pytest.mark.parametrize(
    ("istio", "stable", "canary"),
    [
        ({"canary": {"version": "1.31.0"}}, 20100, 20200),
        ({"canary": {"version": "1.31.1", "revision": "1-31-0"}}, 20100, 20200),
        ({"revision": "1-31-0"}, 20200, None),
        ({"revision": "1-31-0", "canary": {"version": "1.30.3", "revision": "default"}}, 20200, 20100),
    ],
)
def test_each_control_plane_is_called_at_the_ports_of_its_revision(
    paths: Paths, istio: dict[str, Any], stable: int, canary: int | None
) -> None:
    paths.committed_stack_file.write_text(yaml.safe_dump({"config": {"kong-istio:istio": istio}}))
    config = written(FACTS, paths)["config"]
    found = config["kong-istio:istio"]
    assert found["istiodValues"] == webhooks_at(stable)
    assert found["baseValues"] == {"base": webhooks_at(stable)["base"]}
    assert config["kong-istio:checks"]["istiodAddress"] == f"127.0.0.1:{stable + 1}"
    assert found.get("canary", {}).get("istiodValues") == (webhooks_at(canary) if canary else None)
    assert set(istio_settings.revisions(istio)) <= set(FACTS.istiods), "revisions without ports"


def test_charts_that_the_settings_name_hold_against_ours(paths: Paths) -> None:
    facts = Facts(**{**FACTS.__dict__, "charts": {"kong": "sandbox/charts/kong", "grafana": "ours"}})
    assert written(facts, paths)["config"]["kong-istio:charts"] == {
        "kong": "sandbox/charts/kong",
        "grafana": "https://charts.example.org",
    }


def test_without_istiod_nothing_is_to_be_injected(paths: Paths) -> None:
    istio = written(WITHOUT_ISTIOD, paths)["config"]["kong-istio:istio"]
    assert istio == {
        "mtls": "STRICT",
        "injection": False,
        "istiodValues": {"traceSampling": 5, "global": {"operatorManageWebhooks": True}},
    }


def test_the_stack_file_keeps_pulumis_salt_and_nothing_else_of_its_past(paths: Paths) -> None:
    settings = written(FACTS, paths)
    settings["encryptionsalt"] = "v1:salt"
    settings["config"]["kong-istio:sandbox"] = "changed by hand"
    paths.stack_file.write_text(yaml.safe_dump(settings))
    again = written(FACTS, paths)
    assert again["encryptionsalt"] == "v1:salt"
    assert again["config"]["kong-istio:sandbox"] is True


def test_a_stack_file_that_is_right_is_not_touched(paths: Paths) -> None:
    written(FACTS, paths)
    before = paths.stack_file.stat().st_mtime_ns, paths.stack_file.stat().st_ino
    written(FACTS, paths)
    assert (paths.stack_file.stat().st_mtime_ns, paths.stack_file.stat().st_ino) == before


@pytest.mark.parametrize(("text", "says"), [(None, "is missing.*git checkout"), ("config: [", "is not YAML")])
def test_committed_settings_that_cannot_be_read_are_named(paths: Paths, text: str | None, says: str) -> None:
    paths.committed_stack_file.unlink()
    if text:
        paths.committed_stack_file.write_text(text)
    with pytest.raises(SandboxError, match=says):
        machine_settings.committed(paths)


# --- charts ---------------------------------------------------------------------------------------------------


@pytest.fixture
def istio_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for Istio's Go module: read-only charts with the versions and images of its source."""
    source = tmp_path / "module"
    for folder in ("base", "gateway", "istio-cni", "istio-control/istio-discovery"):
        chart = source / "manifests" / "charts" / folder
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("name: x\nversion: 1.0.0\nappVersion: 1.0.0\n")
        (chart / "values.yaml").write_text("g:\n  hub: registry.istio.io/testing\n  tag: latest\n  a: latest\n")
        (chart / "templates" / "x.yaml").write_text("image: latest\n")
        (chart / "templates").chmod(0o555)
    (source / "VERSION").write_text("9.9\n")
    answer = json.dumps({"Dir": str(source)})
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\n[ $1 = env ] && echo go1.99 || echo '{answer}'\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(go.parent), "/usr/bin", "/bin"]))
    return source


@pytest.mark.usefixtures("istio_source")
def test_copies_of_istios_charts_stand_for_the_versions_that_the_settings_ask_for(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONG_ISTIO_OFFLINE", "1")
    sources = chart_sources.resolve({}, paths)
    facts = Facts(**{**FACTS.__dict__, "charts": {name: source.path for name, source in sources.items()}})
    istio = {"version": "9.9.1", "canary": {"version": "9.10.0", "revision": "1-31-0", "charts": {"base": "mine"}}}
    paths.committed_stack_file.write_text(yaml.safe_dump({"config": {"kong-istio:istio": istio}}))
    istio_settings.copy_charts(facts, istio, paths)
    config = written(facts, paths)["config"]
    stable = {name: config["kong-istio:charts"][name] for name in ("base", "istiod", "gateway", "cni")}
    canary = config["kong-istio:istio"]["canary"]["charts"]
    assert {name: stamp(paths, folder) for name, folder in stable.items()} == dict.fromkeys(stable, stamped("9.9.1"))
    assert canary.pop("base") == "mine"
    assert {name: stamp(paths, folder) for name, folder in canary.items()} == {"istiod": stamped("9.10.0")}
    assert config["kong-istio:charts"]["kong"] == facts.charts["kong"]


def stamped(version: str) -> tuple[str, str]:
    return f"{version}-eed52ebb66ad", f"{version}-eed52ebb66ad"


def stamp(paths: Paths, folder: str) -> tuple[str, str]:
    """Return the version that a chart calls itself, and its images."""
    chart, values = (yaml.safe_load((paths.root / folder / name).read_text()) for name in ("Chart.yaml", "values.yaml"))
    return chart["version"], values["g"]["tag"]


def test_where_istios_repository_answers_the_version_is_its_matter(paths: Paths) -> None:
    istio = {"version": "1.30.2", "canary": {"version": "1.31.0"}}
    paths.committed_stack_file.write_text(yaml.safe_dump({"config": {"kong-istio:istio": istio}}))
    istio_settings.copy_charts(FACTS, istio, paths)
    config = written(FACTS, paths)["config"]
    assert config["kong-istio:charts"] == FACTS.charts
    assert "charts" not in config["kong-istio:istio"]["canary"]


@pytest.mark.parametrize("istio", [{"version": "../x"}, {"version": 1.3}, {"canary": "1.31.0"}, {"canary": {}}])
def test_what_the_settings_will_refuse_breaks_nothing_before(paths: Paths, istio: dict[str, Any]) -> None:
    facts = Facts(**{**FACTS.__dict__, "charts": {"istiod": ".sandbox/charts/istiod"}})
    istio_settings.copy_charts(facts, istio, paths)
    assert istio_settings.revisions(istio) == ["default"]
    assert istio_settings.charts(facts, istio) == facts.charts


@pytest.mark.usefixtures("istio_source")
def test_offline_every_chart_has_a_source_that_is_said(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONG_ISTIO_OFFLINE", "1")
    sources = chart_sources.resolve(machine_settings.committed_charts(paths), paths)
    assert set(sources) == set(CHARTS)
    assert sources["grafana"] == chart_sources.Source("https://charts.example.org (settings)")
    assert "Go module istio.io/istio eed52ebb66ad" in sources["istiod"].origin
    assert "stand-in" in sources["kong"].origin
    assert (paths.root / sources["kong"].path / "Chart.yaml").exists()
    chart = paths.root / sources["istiod"].path
    # The source's own line and commit: what runs is not the release in the table.
    version = "9.9.0-eed52ebb66ad"
    assert yaml.safe_load((chart / "Chart.yaml").read_text()) == {
        "name": "x",
        "version": version,
        "appVersion": version,
    }
    values = yaml.safe_load((chart / "values.yaml").read_text())
    assert values == {"g": {"hub": "registry.istio.io/release", "tag": version, "a": "latest"}}
    assert (chart / "templates" / "x.yaml").read_text() == "image: latest\n"
    assert (chart / "templates").stat().st_mode & 0o200, "`down` could not remove the copy"


def test_repositories_that_answer_are_used(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_sources, "reachable_repositories", lambda repositories: set(repositories))
    sources = chart_sources.resolve({}, paths)
    assert all(source.path == "" and "official" in source.origin for source in sources.values())
    assert not paths.charts.exists()


def test_a_repository_is_reachable_if_its_index_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/charts/index.yaml" else 404)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None: ...

    monkeypatch.delenv("KONG_ISTIO_OFFLINE", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    asked = {f"{here}/charts", f"{here}/nothing", "http://127.0.0.1:1/charts"}
    assert chart_sources.reachable_repositories(asked) == {f"{here}/charts"}
    server.shutdown()
    server.server_close()


def test_a_chart_that_cannot_be_had_is_named_with_a_remedy(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONG_ISTIO_OFFLINE", "1")
    monkeypatch.setattr(chart_sources, "CHECKOUT", Paths(tmp_path))
    everything_else = dict.fromkeys(set(CHARTS) - {"kong"}, "elsewhere")
    with pytest.raises(SandboxError, match=r"chart kong .*charts\.konghq\.com.*setting `charts`"):
        chart_sources.resolve(everything_else, paths)
    everything_else = dict.fromkeys(set(CHARTS) - {"base"}, "elsewhere")
    monkeypatch.setattr(builds, "go_problem", lambda: "there is no Go on this machine")
    with pytest.raises(SandboxError, match=r"charts base .*no Go.*Connect to the network"):
        chart_sources.resolve(everything_else, paths)


# --- processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[int]:
    """Start a process that is not our child, as the sandbox's are for the next command."""
    starter = (
        "import os, sys; from pathlib import Path; from sandbox import processes;"
        "log = Path(sys.argv[1]);"
        "print(processes.start_detached(['sleep', '300'], log=log, folder=log.parent, environment=os.environ))"
    )
    started = subprocess.run(
        [sys.executable, "-c", starter, str(tmp_path / "log")],
        cwd=CHECKOUT.root,
        capture_output=True,
        text=True,
        check=True,
    )
    pid = int(started.stdout)
    yield pid
    processes.end(pid, grace=0)


def test_a_recorded_process_is_ended(sleeper: int, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    processes.record(record, sleeper)
    assert processes.recorded(record) == sleeper
    processes.end_recorded(record)
    assert processes.start_time(sleeper) == ""
    assert not record.exists()


def test_a_process_that_merely_has_the_id_is_left_alone(sleeper: int, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"pid": sleeper, "started": "long ago"}))
    assert processes.recorded(record) is None
    processes.end_recorded(record)
    assert processes.start_time(sleeper) != ""


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "started": "y"}', '{"pid": 1, "started": ""}'])
def test_a_broken_record_is_no_process(tmp_path: Path, text: str) -> None:
    record = tmp_path / "record.json"
    record.write_text(text)
    assert processes.recorded(record) is None


def test_down_spares_a_process_that_got_a_components_id(paths: Paths, sleeper: int) -> None:
    (paths.cluster / "pids").mkdir(parents=True)
    (paths.cluster / "pids" / "etcd.pid").write_text(str(sleeper))
    assert kwok_cluster.status(paths).components["etcd"] is None
    assert kwok_cluster.down(paths)
    assert processes.start_time(sleeper) != ""
    assert not paths.sandbox.exists()


# --- ports and istiod -----------------------------------------------------------------------------------------


def test_ports_are_distinct_and_not_lent_to_outgoing_connections() -> None:
    ports = free_ports()
    assert set(ports) == set(PORTS)
    assert len(set(ports.values())) == len(PORTS)
    assert max(ports.values()) < 32768


def test_an_istiod_keeps_its_ports_and_the_next_gets_others() -> None:
    both = Facts(**{**FACTS.__dict__, "istiods": {}}).with_istiods(["default"]).with_istiods(["default", "1-31-0"])
    again = both.with_istiods(["1-32-0", "1-31-0"])
    assert both.istiods.items() < again.istiods.items()
    assert len({port for ports in again.istiods.values() for port in ports.values()}) == 3 * len(ISTIOD_PORTS)


def test_ports_that_are_taken_are_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.facts._RANGE", range(20000, 20003))
    monkeypatch.setattr("sandbox.facts.is_free", lambda port: port != 20002)
    assert free_ports(["etcd"], {20000}) == {"etcd": 20001}


def test_kwokctl_is_given_every_components_first_argument_before_any_second_one(paths: Paths) -> None:
    # It counts them otherwise, and gives arguments to the wrong component.
    paths.sandbox.mkdir(exist_ok=True)
    given = kwok_cluster._create_arguments(defaultdict(Path), defaultdict(int), Path(), paths)
    named = [argument.split("=")[1] for argument in given if argument.startswith("--extra-args=")]
    assert len(named) > len(set(named))
    assert len(set(named[: len(set(named))])) == len(set(named))


def test_istiod_listens_on_loopback_only(paths: Paths) -> None:
    command = istiod_process.command("pilot-discovery", FACTS.istiods["1-31-0"], paths)
    listeners = [argument for argument in command if "Addr=" in argument]
    assert len(listeners) == 5
    assert all("Addr=127.0.0.1:202" in argument for argument in listeners)


@pytest.fixture
def notes(paths: Paths) -> Path:
    """Make an istiod that notes each start, and dies when the file `die` is there; return its notes."""
    notes = paths.root / "starts"
    program = paths.root / "pilot-discovery"
    program.write_text(
        f"#!/bin/sh\necho $REVISION $PWD >> {notes}\nwhile [ ! -e {paths.root}/die ]; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    paths.logs.mkdir(parents=True)
    Facts(**{**FACTS.__dict__, "istiod": str(program)}).save(paths.facts)
    return notes


Supervised = Callable[[str], istiod_process.Istiod]


@pytest.fixture
def supervised(paths: Paths) -> Iterator[Supervised]:
    """Make what runs the istiod of a revision."""
    made: list[istiod_process.Istiod] = []

    def make(revision: str) -> istiod_process.Istiod:
        made.append(istiod_process.Istiod(revision, paths))
        return made[-1]

    yield make
    for istiod in made:
        istiod.stop()


def serve_until(istiod: istiod_process.Istiod, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it was not started again"
        istiod.serve("uid")
        time.sleep(0.05)


def starts(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def test_istiod_runs_only_while_its_deployment_is_there(supervised: Supervised, notes: Path, paths: Paths) -> None:
    istiod = supervised(DEFAULT_REVISION)
    istiod.serve("")
    assert istiod_process.running(paths) == {}
    istiod.serve("first")
    first = istiod_process.running(paths)["istiod"]
    wait_for(lambda: len(starts(notes)) == 1)
    istiod.serve("first")
    assert istiod_process.running(paths) == {"istiod": first}
    istiod.serve("second")
    assert processes.start_time(first) == "", "istiod outlived its mesh"
    wait_for(lambda: len(starts(notes)) == 2)
    second = istiod_process.running(paths)["istiod"]
    istiod.serve("")
    assert istiod_process.running(paths) == {}
    assert processes.start_time(second) == ""


def test_istiods_of_two_revisions_run_apart(supervised: Supervised, notes: Path, paths: Paths) -> None:
    stable, canary = supervised(DEFAULT_REVISION), supervised("1-31-0")
    stable.serve("one")
    canary.serve("two")
    wait_for(lambda: len(starts(notes)) == 2)
    assert {line.split()[0]: Path(line.split()[1]) for line in starts(notes)} == {
        "default": paths.istiod / "default",
        "1-31-0": paths.istiod / "1-31-0",
    }
    running = istiod_process.running(paths)
    assert set(running) == {"istiod", "istiod-1-31-0"}
    stable.serve("")
    assert istiod_process.running(paths) == {"istiod-1-31-0": running["istiod-1-31-0"]}


def test_a_revision_without_ports_is_named_and_starts_once_it_has_some(
    supervised: Supervised, notes: Path, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    istiod = supervised("1-32-0")
    istiod.serve("uid")
    istiod.serve("uid")
    said = capsys.readouterr().out
    assert said.count("istiod-1-32-0 has no ports: name its revision in Pulumi.sandbox.yaml") == 1
    facts = Facts.load(paths.facts)
    assert facts
    facts.with_istiods(["1-32-0"]).save(paths.facts)
    serve_until(istiod, lambda: len(starts(notes)) == 1)


def test_istiod_is_started_again_when_it_dies(supervised: Supervised, notes: Path, paths: Paths) -> None:
    istiod = supervised(DEFAULT_REVISION)
    (paths.root / "die").touch()
    istiod.serve("uid")
    wait_for(lambda: len(starts(notes)) == 1 and not istiod_process.running(paths))
    (paths.root / "die").unlink()
    serve_until(istiod, lambda: len(starts(notes)) == 2)


def test_the_watcher_does_nothing_where_istiod_is_missing(paths: Paths) -> None:
    paths.sandbox.mkdir()
    WITHOUT_ISTIOD.save(paths.facts)
    istiod_watcher.run(paths)


def test_down_ends_the_istiods_of_a_watcher_that_was_killed(paths: Paths, sleeper: int) -> None:
    paths.sandbox.mkdir()
    processes.record(paths.processes / "istiod-1-31-0.json", sleeper)
    assert kwok_cluster.status(paths).istiods == {"istiod-1-31-0": sleeper}
    assert kwok_cluster.down(paths)
    assert processes.start_time(sleeper) == ""


# --- the commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def fake_kwokctl(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have every tool be a script that fails as kwokctl would."""
    program = paths.root / "kwokctl-fake"
    program.write_text(f'#!/bin/sh\necho "$@" > {paths.root}/arguments\necho "port is taken"\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("KONG_ISTIO_OFFLINE", "1")
    monkeypatch.setattr(tools, "ensure", lambda names, **_: dict.fromkeys(names, program))
    monkeypatch.setattr(chart_sources, "resolve", lambda _committed, _paths: {})
    return paths.root / "arguments"


def test_an_up_that_fails_says_why_and_the_next_one_starts_afresh(paths: Paths, fake_kwokctl: Path) -> None:
    with pytest.raises(SandboxError, match=r"did not start: port is taken\. The whole story is in (\S+)"):
        kwok_cluster.up(paths)
    assert "port is taken" in (paths.logs / "kwokctl.log").read_text()
    assert not kwok_cluster.status(paths).exists
    (paths.sandbox / "left over").touch()
    with pytest.raises(SandboxError, match="port is taken"):
        kwok_cluster.up(paths)
    assert not (paths.sandbox / "left over").exists()
    assert f"--kubeconfig={paths.kubeconfig}" in fake_kwokctl.read_text()


def test_commands_without_a_sandbox(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "CHECKOUT", paths)
    monkeypatch.setattr(kwok_cluster, "status", lambda: STATUS(paths))
    monkeypatch.setattr(kwok_cluster, "down", lambda: DOWN(paths))
    assert command_line.main(["kubeconfig"]) == 1
    assert "python -m sandbox up" in capsys.readouterr().err
    assert command_line.main(["status"]) == 1
    assert "there is no sandbox" in capsys.readouterr().out
    assert command_line.main(["down"]) == 0
    assert "there is no sandbox" in capsys.readouterr().out
    assert not paths.sandbox.exists()


STATUS, DOWN = kwok_cluster.status, kwok_cluster.down


# --- the real thing -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Bring up a sandbox apart from the checkout's, which may hold a stack, for a user with an empty home."""
    root, home = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("home")
    shutil.copy(CHECKOUT.committed_stack_file, root)
    paths = Paths(root)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in caches().items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(home))
        facts = kwok_cluster.up(paths)
        pids = running(paths)
        yield Sandbox(paths, facts)
        pids |= running(paths)
        kwok_cluster.down(paths)
    assert [pid for pid in pids if processes.start_time(pid)] == []
    assert not paths.sandbox.exists()
    assert list(home.rglob("*")) == []


def caches() -> dict[str, str]:
    """Return the caches that may be kept in the user's home."""
    found = {"XDG_CACHE_HOME": str(tool_cache().parent.parent)}
    if shutil.which("go"):
        names = ("GOCACHE", "GOMODCACHE", "GOENV")
        said = subprocess.run(["go", "env", "-json", *names], capture_output=True, text=True, check=True).stdout
        found |= json.loads(said)
    return found


def running(paths: Paths) -> set[int]:
    """Return the ids of everything that a sandbox runs."""
    found = kwok_cluster.status(paths)
    watcher = processes.recorded(istiod_watcher.watcher_record(paths))
    return {pid for pid in (*found.components.values(), *found.istiods.values(), watcher) if pid}


def listeners(paths: Paths) -> list[str]:
    """Return the addresses at which anything of a sandbox listens."""
    said = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    pids = running(paths)
    return [line.split()[3] for line in said.splitlines() if any(f"pid={pid}," in line for pid in pids)]


@pytest.mark.sandbox
def test_its_nodes_are_ready_and_new_enough_for_native_sidecars(own: Sandbox) -> None:
    nodes = json.loads(own.run("kubectl", "get", "nodes", "-o", "json"))["items"]
    assert len(nodes) == 2
    for node in nodes:
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.2"
        assert {"type": "Ready", "status": "True"}.items() <= node["status"]["conditions"][0].items()


@pytest.mark.sandbox
def test_load_balancers_and_ingresses_get_addresses(own: Sandbox) -> None:
    own.run("kubectl", "create", "namespace", "addresses")
    own.run("kubectl", "-n", "addresses", "create", "deployment", "web", "--image=nginx")
    for name in ("one", "two"):
        own.run("kubectl", "-n", "addresses", "create", "service", "loadbalancer", name, "--tcp=80:80")
    own.run("kubectl", "-n", "addresses", "create", "ingress", "web", "--rule=a.example.org/*=one:80")
    own.run("kubectl", "-n", "addresses", "rollout", "status", "deployment/web", "--timeout=20s")

    def address(kind: str) -> str:
        template = "jsonpath={.status.loadBalancer.ingress[0].ip}"
        return str(wait_for(lambda: own.run("kubectl", "-n", "addresses", "get", kind, "-o", template)))

    addresses = {address(kind) for kind in ("service/one", "service/two", "ingress/web")}
    assert len(addresses) == 3
    assert all(address.startswith("192.0.2.") for address in addresses)
    pod = own.run("kubectl", "-n", "addresses", "get", "pods", "-o", "jsonpath={.items[0].status.podIP}")
    service = own.run("kubectl", "-n", "addresses", "get", "service/one", "-o", "jsonpath={.spec.clusterIP}")
    assert pod.startswith("10.244.")
    assert service.startswith("10.96.")
    own.run("kubectl", "delete", "namespace", "addresses", "--timeout=30s")


@pytest.mark.sandbox
def test_a_second_up_changes_nothing(own: Sandbox) -> None:
    before = own.paths.stack_file.stat().st_mtime_ns, kwok_cluster.status(own.paths).components
    started = time.monotonic()
    assert kwok_cluster.up(own.paths) == own.facts
    assert time.monotonic() - started < 1
    assert (own.paths.stack_file.stat().st_mtime_ns, kwok_cluster.status(own.paths).components) == before


@pytest.fixture
def with_istiod(own: Sandbox) -> Sandbox:
    """Return the sandbox; skip where it injects no sidecars."""
    if own.facts.not_shown:
        pytest.skip(f"injection is not shown: {own.facts.not_shown}")
    return own


@pytest.mark.sandbox
def test_sidecars_are_injected_where_the_namespace_asks_for_it(with_istiod: Sandbox) -> None:
    own = with_istiod
    for _ in range(2):  # the second time, the watcher has to notice that the first mesh is gone
        install_istio(own)
        assert sidecar(own, "in-mesh", "istio-injection=enabled")
        assert not sidecar(own, "no-mesh", "istio-injection=disabled")
        if shutil.which("ss"):
            assert len(listeners(own.paths)) >= 11
            assert all(listener.startswith("127.0.0.1:") for listener in listeners(own.paths))
        own.run("helm", "uninstall", "-n", "istio-system", "istiod", "--wait")
        own.run("kubectl", "delete", "namespace", "in-mesh", "no-mesh", "istio-system", "--timeout=60s")
        wait_for(lambda: not kwok_cluster.status(own.paths).istiods)


@pytest.mark.sandbox
def test_each_of_two_control_planes_injects_what_its_own_chart_says(with_istiod: Sandbox) -> None:
    own = with_istiod
    committed = yaml.safe_load(own.paths.committed_stack_file.read_text())
    istio = {"canary": {"version": "1.31.0"}}
    own.paths.committed_stack_file.write_text(
        yaml.safe_dump({"config": {**committed["config"], "kong-istio:istio": istio}})
    )
    kwok_cluster.up(own.paths)
    install_istio(own)
    install_istiod(own, "1-31-0", {"revision": "1-31-0", "global": {"tag": "1.31.0"}})
    assert set(wait_for(lambda: len(found := kwok_cluster.status(own.paths).istiods) == 2 and found)) == {
        "istiod",
        "istiod-1-31-0",
    }
    assert re.fullmatch(r"default \S+(?<!:1\.31\.0)", sidecar(own, "stable", "istio-injection=enabled"))
    assert re.fullmatch(r"1-31-0 \S+:1\.31\.0", sidecar(own, "canary", "istio.io/rev=1-31-0"))
    # In place: the process stays, as it reads the chart's ConfigMap anew.
    before = kwok_cluster.status(own.paths).istiods
    install_istiod(own, "", {"global": {"tag": "1.30.9"}})
    wait_for(lambda: sidecar(own, f"place-{time.monotonic_ns()}", "istio-injection=enabled").endswith(":1.30.9"))
    assert kwok_cluster.status(own.paths).istiods == before
    own.run("helm", "uninstall", "-n", "istio-system", "istiod", "--wait")
    wait_for(lambda: set(kwok_cluster.status(own.paths).istiods) == {"istiod-1-31-0"})
    assert sidecar(own, "left", "istio.io/rev=1-31-0").startswith("1-31-0 ")


def install_istio(own: Sandbox) -> None:
    own.run("kubectl", "create", "namespace", "istio-system")
    install(own, "istio-base", "base", stack_settings(own)["baseValues"])
    install_istiod(own, "", {})


def install_istiod(own: Sandbox, revision: str, values: dict[str, Any]) -> None:
    settings = stack_settings(own)["canary"] if revision else stack_settings(own)
    name = f"istiod-{revision}" if revision else "istiod"
    install(own, name, "istiod", {**settings["istiodValues"], **values})


def stack_settings(own: Sandbox) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(own.paths.stack_file.read_text())["config"]["kong-istio:istio"]
    return settings


def install(own: Sandbox, release: str, chart: str, values: dict[str, Any]) -> None:
    published = CHARTS[chart]
    source = own.facts.charts.get(chart)
    where = [source] if source else [published.name, "--version", published.version, "--repo", published.repository]
    options = ("-n", "istio-system", "--wait", "-f", "-")
    own.run("helm", "upgrade", "--install", release, *where, *options, stdin=yaml.safe_dump(values))


def sidecar(own: Sandbox, namespace: str, label: str) -> str:
    """Return revision and image of the sidecar that a Deployment's pod gets in a new namespace; nothing if none."""
    own.run("kubectl", "create", "namespace", namespace)
    own.run("kubectl", "label", "namespace", namespace, label)
    own.run("kubectl", "-n", namespace, "create", "deployment", "web", "--image=nginx")
    own.run("kubectl", "-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    (pod,) = json.loads(own.run("kubectl", "-n", namespace, "get", "pods", "-o", "json"))["items"]
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    images = [container["image"] for container in containers if container["name"] == "istio-proxy"]
    status = pod["metadata"].get("annotations", {}).get("sidecar.istio.io/status", "{}")
    return f"{json.loads(status)['revision']} {images[0]}" if images else ""


@pytest.mark.sandbox
@pytest.mark.skipif(not shutil.which("ss"), reason="needs ss")
def test_nothing_of_it_listens_beyond_loopback(own: Sandbox) -> None:
    assert len(listeners(own.paths)) >= 6
    assert all(listener.startswith("127.0.0.1:") for listener in listeners(own.paths))


@pytest.mark.sandbox
def test_half_a_sandbox_is_fixed_with_what_it_held(own: Sandbox) -> None:
    own.run("kubectl", "create", "configmap", "kept")
    before = kwok_cluster.status(own.paths).components
    for name in ("kube-apiserver", "kwok-controller"):
        processes.end(before[name] or 0, grace=0)
    assert not kwok_cluster.status(own.paths).live
    kwok_cluster.up(own.paths)
    after = kwok_cluster.status(own.paths)
    assert after.live
    assert after.components["etcd"] == before["etcd"]
    own.run("kubectl", "get", "configmap", "kept")
