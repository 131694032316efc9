"""`python -m checks` and `python -m checks.forwards`: what they run, say, write and end with."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from fakes.api_server import ApiServer, write_kubeconfig
from fakes.cluster import Cluster

from checks import __main__ as cli
from checks import forwards, framework, registry, runner, selected_stack, through_kong
from checks.describe import describe
from checks.framework import Check, Failed, NotChecked, Outcome, eventually
from checks.report import Part
from checks.report.progress import Progress
from checks.target import RoutedApplication, Target, from_json, to_json
from commands import http_client
from display.console import console
from kube import ClusterError
from sandbox import isolation
from sandbox.paths import CHECKOUT
from settings import restore

SHOP = RoutedApplication(name="shop", namespace="shop", service="front", port=80, limits={"minute": 30})
TARGET = Target(context="kind", applications=(SHOP,))
Look = Callable[[Target], str]


def passes(_: Target) -> str:
    return "all is well"


def fails(_: Target) -> str:
    raise Failed("200", "404", cause="no route", look="kubectl get ingress")


def cannot_look(_: Target) -> str:
    raise NotChecked("nobody there")


def check(number: str, name: str, look: Look = passes, **settings: Any) -> Check:
    return Check(number=number, name=name, statement=f"{name} is right", how="looking", look=look, **settings)


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what puts fake checks in the place of the registry's."""

    def use(*checks: Check, last: Sequence[str] = ()) -> None:
        monkeypatch.setattr(cli, "named", lambda names: registry.named(names, checks))
        monkeypatch.setattr(cli, "PARTS", {one.name: Part.EDGE for one in checks})
        monkeypatch.setattr(cli, "AFTER_TRAFFIC", frozenset(last))

    # The tests' own handlers come back.
    monkeypatch.setattr(cli, "_interrupt_once", lambda: None)
    return use


@pytest.fixture(autouse=True)
def not_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "stopping", threading.Event())


def run(*arguments: str, target: Target = TARGET) -> int:
    return cli.main([*arguments, "--target", to_json(target)])


# --- Exit code and summary --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("looks", "code", "summary"),
    [
        ([passes, passes], 0, "2 passed, 0 failed, 0 not checked"),
        ([passes, cannot_look], 0, "1 passed, 0 failed, 1 not checked"),
        ([cannot_look, cannot_look], 0, "0 passed, 0 failed, 2 not checked"),
        ([passes, fails], 1, "1 passed, 1 failed, 0 not checked"),
        ([fails, cannot_look, passes], 1, "1 passed, 1 failed, 1 not checked"),
    ],
)
def test_passed_failed_and_not_checked_are_kept_apart(
    looks: list[Look], code: int, summary: str, ours: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ours(*(check(str(number), f"check {number}", look) for number, look in enumerate(looks)))
    assert run() == code
    assert summary in capsys.readouterr().out.splitlines()[-1]


def test_what_is_not_checked_never_passes_for_passed(ours: Callable[..., None], tmp_path: Path) -> None:
    ours(check("1", "page", data_path=True), check("2", "limit", load=True))
    report = tmp_path / "report.json"
    assert run("--json", str(report), target=dataclasses.replace(TARGET, simulated=True)) == 0
    assert [one["outcome"] for one in json.loads(report.read_text())["checks"]] == ["not checked"] * 2


def test_load_is_sent_only_where_it_is_allowed(ours: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    sent = []

    def send(_: Target) -> str:
        sent.append(1)
        return "sent"

    ours(check("9", "limit", send, load=True))
    assert run() == 0
    assert not sent
    assert "switched off for this stack" in " ".join(capsys.readouterr().out.split())
    assert run("run", "--load") == 0
    assert sent


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "nonsense"], "There is no check called nonsense (there are: page)."),
        (["--target", "{}x"], "The target is not what `python -m checks describe` prints"),
        (["--target", '{"nonsense": 1}'], "The target is not what `python -m checks describe` prints"),
        (["--target", "/nowhere/target.json"], "/nowhere/target.json cannot be read: No such file or directory."),
        (["--settings", "{}x"], "The settings are no JSON object"),
        (["--settings", '{"kubeContext": 1}'], "kubeContext is 1: it must be text."),
        (["--settings", "{}"], "The stack names no cluster: set kubeContext in its settings."),
        (["--settings", "/nowhere/settings.json"], "/nowhere/settings.json cannot be read: No such file or directory."),
        (["unchanged", "--target", "{}"], "`unchanged` asks Pulumi"),
        (["unchanged", "--settings", "{}"], "`unchanged` asks Pulumi"),
    ],
)
def test_what_cannot_be_looked_at_ends_with_2_and_a_sentence(
    arguments: list[str], sentence: str, ours: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ours(check("1", "page"))
    assert cli.main(arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("requests", ["0", "301", "-1", "many"])
def test_the_number_of_requests_has_its_bounds(requests: str) -> None:
    with pytest.raises(SystemExit) as end:
        run("traffic", "--requests", requests)
    assert end.value.code == 2


@pytest.mark.parametrize(("given", "sent"), [(["--requests", "7"], 7), ([], 25)])
def test_traffic_sends_what_is_asked_for(
    given: list[str], sent: int, ours: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours()
    actual: list[Target] = []

    def send(target: Target) -> str:
        actual.append(target)
        return "sent"

    monkeypatch.setattr(cli, "TRAFFIC", (check("10", "traffic", send, load=True),))
    assert run("traffic", *given) == 0
    assert [(target.requests, target.load) for target in actual] == [(sent, True)]


def test_a_target_comes_from_a_file_or_from_standard_input(
    ours: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual: list[str] = []

    def look(target: Target) -> str:
        actual.append(target.context)
        return ""

    ours(check("1", "page", look))
    file = tmp_path / "target.json"
    file.write_text(to_json(dataclasses.replace(TARGET, context="from a file")))
    assert cli.main(["--target", str(file)]) == 0
    with file.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert cli.main(["run", "--target", "-"]) == 0
    assert actual == ["from a file"] * 2


def test_only_the_named_checks_run(ours: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    ours(check("1", "control plane"), check("5", "page"), check("6", "path", fails))
    assert run("run", "--only", "5", "control plane") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 passed")


# --- Reports ----------------------------------------------------------------------------------------------------------


def test_reports_are_written_where_they_are_wanted(ours: Callable[..., None], tmp_path: Path) -> None:
    ours(check("1", "page", fails))
    folder = tmp_path / "made" / "for it"
    assert run("--reports", str(folder), "--json", str(tmp_path / "one.json")) == 1
    assert json.loads((tmp_path / "one.json").read_text())["failed"] == 1
    assert json.loads((folder / "report.json").read_text())["failed"] == 1
    assert ElementTree.fromstring((folder / "junit.xml").read_text()).get("failures") == "1"  # noqa: S314 -- its own
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_a_report_that_cannot_be_written_is_said(
    ours: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours(check("1", "page"))
    (tmp_path / "file").write_text("")
    assert run("--html", str(tmp_path / "file" / "report.html")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_graph_gets_the_counts_and_nothing_else(
    ours: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ours(check("1", "page", fails), check("2", "path"))
    assert run("--counts", "--digest", "0123") == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"passed": 1, "failed": 1, "notChecked": 0, "failedChecks": ["page"]}
    assert said.err.splitlines()[-1] == "Checks: 1 passed, 1 failed, 0 not checked (failed: page)."
    for word in ("200", "404", "no route", "kubectl get ingress"):
        assert word in said.err


def test_where_the_stack_says_so_a_failure_does_not_fail_the_command(ours: Callable[..., None]) -> None:
    ours(check("1", "page", fails))
    assert run("--counts", "--warn") == 0


# --- Running ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(tmp_path: Path) -> Progress:
    return Progress(console((tmp_path / "progress").open("w")))


def test_each_check_is_told_of_as_it_ends(ours: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def slow(_: Target) -> str:
        time.sleep(0.3)
        return ""

    ours(check("1", "slow", slow), check("2", "quick"), check("9", "last", cannot_look, load=True))
    run("run", "--load")
    lines = [line.split(" (")[0].split() for line in capsys.readouterr().err.splitlines()]
    assert lines[1:] == [["passed", "quick"], ["passed", "slow"], ["not", "checked", "last"]]


def test_what_only_looks_looks_at_once(quiet: Progress) -> None:
    all_there_are = len(registry.CHECKS)
    together = threading.Barrier(all_there_are, timeout=5)
    checks = [check(str(number), f"check {number}", lambda _: str(together.wait())) for number in range(all_there_are)]
    results = runner.run(checks, TARGET, quiet)
    assert [result.outcome for result in results] == [Outcome.PASSED] * all_there_are
    assert [result.check for result in results] == checks


def test_without_load_nothing_is_kept_for_after_the_traffic(ours: Callable[..., None]) -> None:
    together = threading.Barrier(2, timeout=5)
    checks = [check(number, number, lambda _: str(together.wait())) for number in ("5", "11")]
    ours(*checks, last=["11"])
    assert run() == 0


def test_with_load_what_the_traffic_leaves_is_looked_for_after_it(
    ours: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ours(check("11", "edge"), check("10", "traffic", load=True), last=["edge"])
    assert run("run", "--load") == 0
    lines = [line.split(" (")[0].split() for line in capsys.readouterr().err.splitlines()]
    assert lines[1:] == [["passed", "traffic"], ["passed", "edge"]]


@pytest.mark.parametrize("names", [("one",), ("one", "two", "three")])
def test_routes_are_looked_at_together_and_told_in_their_order(names: Sequence[str]) -> None:
    together = threading.Barrier(len(names), timeout=10)

    def look(route: RoutedApplication) -> str:
        together.wait()
        if route.name == "one":
            # The first in order is the last to end.
            time.sleep(0.1)
        return "seen"

    routes = tuple(dataclasses.replace(SHOP, name=name) for name in names)
    told = through_kong.for_each(dataclasses.replace(TARGET, applications=routes), look)
    assert told == "; ".join(f"{name}: seen" for name in names)


def test_of_routes_that_are_looked_at_together_the_first_failure_is_told_and_a_skip_is_no_failure() -> None:
    outcomes: dict[str, str | Exception] = {"one": "seen", "two": NotChecked("gRPC")}
    outcomes |= {name: KeyError(name) for name in ("three", "four")}

    def look(route: RoutedApplication) -> str:
        outcome = outcomes[route.name]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    routes = [dataclasses.replace(SHOP, name=name) for name in outcomes]
    assert through_kong.of_each_at_once(routes[:2], look) == "one: seen; two not checked: gRPC"
    with pytest.raises(NotChecked, match="two not checked: gRPC"):
        through_kong.of_each_at_once(routes[1:2], look)
    with pytest.raises(KeyError, match="three"):
        through_kong.of_each_at_once(routes, look)


def test_load_is_sent_after_the_others_and_one_after_another(quiet: Progress) -> None:
    order: list[str] = []

    def noting(name: str, pause: float) -> Look:
        def look(_: Target) -> str:
            order.append(f"{name} begins")
            time.sleep(pause)
            order.append(f"{name} ends")
            return ""

        return look

    checks = [
        check("9", "limit", noting("limit", 0.05), load=True),
        check("10", "traffic", noting("traffic", 0), load=True),
        check("11", "metrics", noting("metrics", 0)),
        check("15", "dashboards", noting("dashboards", 0.1)),
    ]
    runner.run(checks, dataclasses.replace(TARGET, load=True), quiet, last=["metrics"])
    steps = ("dashboards", "limit", "traffic", "metrics")
    assert order == [f"{name} {step}" for name in steps for step in ("begins", "ends")]


def test_load_that_comes_last_waits_beside_those_that_look(quiet: Progress) -> None:
    together = threading.Barrier(2, timeout=5)
    checks = [
        check("9", "limit", lambda _: str(together.wait()), load=True),
        check("11", "metrics", lambda _: str(together.wait())),
    ]
    results = runner.run(checks, dataclasses.replace(TARGET, load=True), quiet, last=["limit", "metrics"])
    assert [result.outcome for result in results] == [Outcome.PASSED] * 2


@pytest.mark.parametrize("load", [True, False], ids=["alone", "beside others"])
def test_a_wait_for_a_window_is_told_with_the_seconds_left(
    load: bool, quiet: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(_: Target) -> str:
        framework.pause(0.3, "the window has to end")
        return ""

    monkeypatch.setattr(framework, "_TELL_SECONDS", 0.15)
    told: list[str] = []
    monkeypatch.setattr(quiet, "waiting", lambda checks: told.extend(check.name for check in checks))
    runner.run([check("9", "limit", waits, load=load)], dataclasses.replace(TARGET, load=True), quiet)
    assert "limit (the window has to end, 0 s left)" in told


def test_a_failure_that_is_certain_is_not_waited_for() -> None:
    looks: list[bool] = []

    def look() -> str:
        looks.append(len(looks) == 1)
        raise Failed("200", "404", cause="no route", look="kubectl get ingress", certain=looks[-1])

    with pytest.raises(Failed):
        eventually(look, 60, 0.01)
    assert looks == [False, True]


def test_what_creates_something_runs_where_an_interrupt_arrives(quiet: Progress) -> None:
    threads: list[threading.Thread] = []

    def look(_: Target) -> str:
        threads.append(threading.current_thread())
        return ""

    runner.run([check("13", "plain text", look, load=True)], dataclasses.replace(TARGET, load=True), quiet)
    assert threads == [threading.main_thread()]


def test_a_check_that_hangs_is_a_failure_and_holds_up_nothing(quiet: Progress) -> None:
    never = threading.Event()
    checks = [check("1", "hangs", lambda _: str(never.wait(30)), seconds=0), check("2", "quick")]
    started = time.monotonic()
    hanging, quick = runner.run(checks, TARGET, quiet, grace=0.3)
    never.set()
    assert time.monotonic() - started < 5
    assert (hanging.outcome, quick.outcome) == (Outcome.FAILED, Outcome.PASSED)
    assert hanging.expected == "an outcome within 0 s"


def raises(error: Exception) -> Look:
    def look(_: Target) -> str:
        raise error

    return look


def test_a_broken_check_is_a_failure_that_says_so(quiet: Progress) -> None:
    broken, other = runner.run([check("1", "broken", raises(KeyError("items"))), check("2", "other")], TARGET, quiet)
    assert (broken.outcome, other.outcome) == (Outcome.FAILED, Outcome.PASSED)
    assert broken.actual == "KeyError: 'items'"
    assert "a fault of the check" in broken.cause


def test_a_cluster_that_does_not_answer_is_a_failure_with_a_way_on(quiet: Progress) -> None:
    (result,) = runner.run([check("1", "one", raises(ClusterError("connection refused")))], TARGET, quiet)
    assert (result.outcome, result.actual) == (Outcome.FAILED, "connection refused")
    assert result.look.startswith("kubectl --context kind get --raw")


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import sys, time
from pathlib import Path
from checks import __main__ as cli, registry
from checks.framework import Check, Failed, eventually
from checks.target import Target

folder = Path(sys.argv[1])

def made(name, wait):
    def look(target):
        (folder / name).touch()
        try:
            wait()
        finally:
            (folder / name).unlink()
    return look

def absent():
    raise Failed("it", "nothing", cause="", look="")

checks = (
    Check(number="1", name="looks", statement="", how="", look=made("looks", lambda: eventually(absent, 60))),
    Check(number="2", name="makes", statement="", how="", look=made("makes", lambda: time.sleep(60)), load=True),
)
own = [check for check in checks if check.name == sys.argv[2]]
cli.named = lambda names: tuple(own)
cli.PARTS = {}
sys.exit(cli.main(["run", "--load", "--target", "{}"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["looks", "makes"])
def test_an_interrupt_removes_what_the_check_had_made(name: str, number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), name]
    process = subprocess.Popen(command, cwd=CHECKOUT.root, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / name).exists)
    process.send_signal(number)
    process.send_signal(number)  # a second one in a hurry
    _, complained = process.communicate(timeout=20)
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in complained
    assert complained.splitlines()[-1].startswith("checks: interrupted")


def test_what_polls_stops_when_the_run_does() -> None:
    framework.stopping.set()
    with pytest.raises(NotChecked, match="interrupted"):
        eventually(lambda: fails(TARGET), 60)


# --- Which stack ------------------------------------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return what puts a fake program on PATH, written in Python; each call's arguments go into a file beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, body: str) -> Path:
        calls = folder / f"{name}.calls"
        (folder / name).write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\nwords = sys.argv[1:]\n"
            f"print(json.dumps(words), file=open({str(calls)!r}, 'a'), flush=True)\n{body}\n"
        )
        (folder / name).chmod(0o755)
        return calls

    return make


@pytest.fixture
def no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        root, facts, sandbox = CHECKOUT.root, tmp_path / "none", tmp_path

    monkeypatch.setattr(selected_stack, "CHECKOUT", Nowhere)


PULUMI = """
if words[:2] == ["stack", "--show-name"]:
    print({selected!r}) if {selected!r} else sys.exit("error: no stack selected")
elif words[0] == "config" and "--show-secrets" in words:
    sys.exit({refusal!r}) if {refusal!r} else print(json.dumps({config!r}))
elif words[0] == "preview":
    print(json.dumps({plan!r}))
    sys.exit({code})
"""
CONTEXT = {"kong-istio:kubeContext": {"value": "kind", "secret": False}}


def pulumi(
    selected: str = "",
    config: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    code: int = 0,
    refusal: str = "",
) -> str:
    config = CONTEXT if config is None else config
    return PULUMI.format(selected=selected, config=config, plan=plan or {}, code=code, refusal=refusal)


@pytest.mark.usefixtures("no_sandbox")
@pytest.mark.parametrize(("arguments", "name"), [([], "dev"), (["--stack", "prod"], "prod")])
def test_the_target_is_the_named_or_selected_stack(
    arguments: list[str],
    name: str,
    ours: Callable[..., None],
    programs: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = programs("pulumi", pulumi("dev"))
    ours(check("1", "page", lambda target: target.context))
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert f"Checking the stack {name}" in said.err
    assert "kind" in said.out
    words = json.loads(calls.read_text().splitlines()[-1])
    assert words[words.index("--stack") + 1] == name


@pytest.mark.usefixtures("no_sandbox")
def test_a_stack_is_known_by_all_of_its_settings(
    ours: Callable[..., None], programs: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    limit = {"minute": 7, "policy": "redis", "redis": {"host": "redis.example", "password": "correct horse"}}
    config = {
        "kong-istio:kubeContext": {"value": "kind-two", "secret": False},
        "kong-istio:kong": {"value": '{"serviceType":"NodePort"}', "objectValue": {}, "secret": False},
        "kong-istio:keepCrds": {"value": "true", "secret": False},
        "kong-istio:rateLimit": {"value": json.dumps(limit), "secret": True},
        "pulumi:disable-default-providers": {"value": "[]", "secret": False},
    }
    programs("pulumi", pulumi("dev", config))
    ours(check("1", "page", lambda target: f"{target.context} by {target.service_type}"))
    assert cli.main([]) == 0
    assert "kind-two by NodePort" in capsys.readouterr().out
    assert cli.main(["describe"]) == 0
    described = capsys.readouterr().out
    assert [application.limits for application in from_json(described).applications] == [{"minute": 7}]
    assert "correct horse" not in described
    assert cli.main(["--target", described]) == 0
    assert "kind-two by NodePort" in capsys.readouterr().out


@pytest.mark.parametrize("encrypted", [True, False])
def test_the_sandboxs_stack_file_is_decrypted_by_pulumi(
    encrypted: bool,
    programs: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Sandbox:
        root, facts, sandbox, stack_file = CHECKOUT.root, tmp_path / "facts", tmp_path, tmp_path / "Pulumi.sandbox.yaml"

    Sandbox.facts.write_text("{}")
    context = {"secure": "v1:abc"} if encrypted else "kind-in-the-file"
    Sandbox.stack_file.write_text(yaml.safe_dump({"config": {"kong-istio:kubeContext": context}}))
    monkeypatch.setattr(selected_stack, "CHECKOUT", Sandbox)
    monkeypatch.setattr(isolation, "environment", lambda: dict(os.environ))
    calls = programs("pulumi", pulumi("sandbox", {"kong-istio:kubeContext": {"value": "kind-told", "secret": True}}))
    assert cli.main(["describe", "--stack", "sandbox"]) == 0
    assert json.loads(capsys.readouterr().out)["context"] == ("kind-told" if encrypted else "kind-in-the-file")
    assert (str(Sandbox.stack_file) in calls.read_text() if calls.exists() else False) is encrypted
    # Brought up without an engine there is none to ask.
    (tmp_path / "outputs.json").write_text("{}")
    assert cli.main(["describe", "--stack", "sandbox"]) == 0
    expected = "rehearsal-placeholder" if encrypted else "kind-in-the-file"
    assert json.loads(capsys.readouterr().out)["context"] == expected


@pytest.mark.usefixtures("no_sandbox")
def test_a_stack_whose_secrets_cannot_be_decrypted_is_said(
    ours: Callable[..., None], programs: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    programs("pulumi", pulumi("dev", refusal="error: incorrect passphrase"))
    ours(check("1", "page"))
    assert cli.main([]) == 2
    said = "checks: The settings of the stack dev cannot be read, or not decrypted: incorrect passphrase.\n"
    assert capsys.readouterr().err == said


def test_settings_are_checked_in_place_of_a_stack(
    ours: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without what `public` leaves out; and nobody looks for the manifests, which may be on another machine.
    application = {"name": "shop", "namespace": "shop", "manifests": "nowhere", "route": {"service": "web", "port": 80}}
    file = tmp_path / "settings.json"
    limit = {"minute": 7, "policy": "redis", "redis": {}}
    file.write_text(json.dumps({"kubeContext": "kind", "applications": [application], "rateLimit": limit}))
    ours(check("1", "page", lambda target: f"{target.applications[0].service} {target.applications[0].limits}"))
    assert cli.main(["run", "--settings", str(file)]) == 0
    assert "web {'minute': 7}" in capsys.readouterr().out


@pytest.mark.usefixtures("no_sandbox")
def test_without_a_stack_there_is_a_sentence(
    ours: Callable[..., None], programs: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    programs("pulumi", pulumi())
    ours(check("1", "page"))
    assert cli.main([]) == 2
    assert "No stack is selected and there is no sandbox" in capsys.readouterr().err


# --- unchanged --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_sandbox", "ours")
def test_a_stack_that_stays_as_it_is_is_unchanged(
    programs: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = programs("pulumi", pulumi(plan={"steps": [{"op": "refresh"}], "changeSummary": {"same": 44}}))
    assert cli.main(["unchanged", "--stack", "dev"]) == 0
    assert "44 resources unchanged" in capsys.readouterr().out
    asked = [json.loads(line) for line in calls.read_text().splitlines()]
    assert [("--expect-no-changes" in words, "--refresh" in words) for words in asked] == [(True, False), (True, True)]
    assert all(words[0] == "preview" for words in asked), "nothing is deployed"


@pytest.mark.usefixtures("no_sandbox", "ours")
def test_a_stack_that_would_change_says_what(
    programs: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    urn = "urn:pulumi:dev::kong-istio::kong-istio:index:X$kubernetes:networking.k8s.io/v1:Ingress::route"
    programs("pulumi", pulumi(plan={"steps": [{"op": "update", "urn": urn}]}, code=7))
    assert cli.main(["unchanged", "--stack", "dev"]) == 1
    assert "update Ingress route" in capsys.readouterr().out


@pytest.mark.usefixtures("no_sandbox", "ours")
def test_a_preview_that_fails_is_no_unchanged_stack(
    programs: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"diagnostics": [{"severity": "error", "message": "kubeContext is empty\nand more"}]}
    programs("pulumi", pulumi(plan=plan, code=255))
    assert cli.main(["unchanged", "--stack", "dev"]) == 1
    assert "kubeContext is empty" in capsys.readouterr().out


# --- gone -------------------------------------------------------------------------------------------------------------


HELM = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}
LEFT: dict[str, tuple[str, dict[str, Any], str]] = {
    "namespaces gone": ("namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}}, "delete namespace shop"),
    "webhooks gone": (
        "mutatingwebhookconfigurations",
        {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "injector", "annotations": HELM}},
        "delete mutatingwebhookconfiguration injector",
    ),
    "rights gone": (
        "clusterroles",
        {"kind": "ClusterRole", "metadata": {"name": "istiod", "annotations": HELM}},
        "delete clusterrole istiod",
    ),
    "ingress class gone": (
        "ingressclasses",
        {
            "kind": "IngressClass",
            "metadata": {
                "name": "kong",
                "annotations": {
                    "meta.helm.sh/release-name": "kong-istio",
                    "meta.helm.sh/release-namespace": "kong-istio",
                },
            },
            "spec": {"controller": "ingress-controllers.konghq.com/kong"},
        },
        "delete ingressclass kong",
    ),
    "config maps gone": (
        "configmaps",
        {"kind": "ConfigMap", "metadata": {"name": "istio-ca-root-cert", "namespace": "default"}},
        "delete configmap istio-ca-root-cert --namespace=default",
    ),
    "config maps gone: GatewayClass": (
        "gatewayclasses",
        {
            "kind": "GatewayClass",
            "metadata": {"name": "istio", "managedFields": [{"manager": "pilot-discovery"}]},
            "spec": {"controllerName": "istio.io/gateway-controller"},
        },
        "delete gatewayclass istio",
    ),
    "releases gone": (
        "secrets",
        {
            "kind": "Secret",
            "metadata": {
                "name": "sh.helm.v1",
                "namespace": "istio-system",
                "labels": {"owner": "helm", "name": "istiod"},
            },
        },
        "delete secret sh.helm.v1 --namespace=istio-system",
    ),
    "CRDs gone": (
        "customresourcedefinitions",
        {
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": "kongplugins.configuration.konghq.com",
                "labels": {"kong-istio/release": "kong-istio"},
            },
            "spec": {"group": "configuration.konghq.com"},
        },
        # Never to delete: the objects that hold it would go with it.
        "get kongplugins.configuration.konghq.com --all-namespaces",
    ),
}
# What looks like the stack's and is somebody else's.
OTHERS: dict[str, list[dict[str, Any]]] = {
    "namespaces": [{"kind": "Namespace", "metadata": {"name": "shop-of-others"}}],
    "validatingwebhookconfigurations": [{"kind": "X", "metadata": {"name": "istio-like"}}],
    "clusterroles": [{"kind": "ClusterRole", "metadata": {"name": "kong-reader", "annotations": {}}}],
    "ingressclasses": [
        {"kind": "X", "metadata": {"name": "kong"}, "spec": {"controller": "ingress-controllers.konghq.com/kong"}}
    ],
    "configmaps": [{"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": "default"}}],
    "secrets": [
        {
            "kind": "Secret",
            "metadata": {"name": "x", "namespace": "apps", "labels": {"owner": "helm", "name": "grafana"}},
        }
    ],
    "customresourcedefinitions": [
        {"kind": "X", "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com"}},
        # Of a Kong that somebody else installed.
        {
            "kind": "X",
            "metadata": {"name": "tcpingresses.configuration.konghq.com"},
            "spec": {"group": "configuration.konghq.com"},
        },
    ],
    "gatewayclasses": [
        {"kind": "X", "metadata": {"name": "kong"}, "spec": {"controllerName": "konghq.com/kic-gateway-controller"}}
    ],
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return the cluster that is looked at, with what is others'."""
    found = Cluster()
    found.objects.clear()
    for kind, items in OTHERS.items():
        for item in items:
            found.put(kind, item["metadata"].get("namespace", ""), item)
    monkeypatch.setattr(Target, "cluster", found)
    return found


@pytest.mark.usefixtures("ours", "cluster")
def test_nothing_left_is_gone_and_what_is_others_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gone") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("7 passed, 0 failed, 0 not checked")


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_is_named_with_the_command_that_removes_it(name: str, cluster: Cluster, tmp_path: Path) -> None:
    kind, item, command = LEFT[name]
    cluster.put(kind, item["metadata"].get("namespace", ""), item)
    assert run("gone", "--json", str(tmp_path / "report.json")) == 1
    checks = json.loads((tmp_path / "report.json").read_text())["checks"]
    (failed,) = (one for one in checks if one["outcome"] == "failed")
    assert failed["name"] == name.partition(":")[0]
    assert failed["seen"].endswith(item["metadata"]["name"])
    assert failed["look"] == f"kubectl --context kind {command}"


@pytest.mark.usefixtures("ours")
def test_what_another_istio_and_another_kong_need_does_not_count(cluster: Cluster) -> None:
    images = {"template": {"spec": {"containers": [{"image": "kong/kubernetes-ingress-controller:3.5"}]}}}
    istiod = {"metadata": {"name": "istiod", "namespace": "mesh-two", "labels": {"app": "istiod"}}, "spec": images}
    cluster.put("deployments", "mesh-two", istiod)
    for home in ("mesh-two", "served"):
        root = {"name": "istio-ca-root-cert", "namespace": home}
        cluster.put("configmaps", home, {"kind": "ConfigMap", "metadata": root, "data": {"root-cert.pem": "theirs"}})
    kind, item, _ = LEFT["CRDs gone"]
    cluster.put(kind, "", item)
    assert run("gone") == 0


@pytest.mark.usefixtures("ours")
def test_what_is_on_its_way_out_is_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    going = {"kind": "Namespace", "metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    cluster.put("namespaces", "", going)
    listed = cluster.list

    def gone_once_seen(kind: str, *where: Any, **which: Any) -> list[dict[str, Any]]:
        found = listed(kind, *where, **which)
        cluster.objects["namespaces", ""].pop("shop", None) if kind == "namespaces" else None
        return found

    monkeypatch.setattr(cluster, "list", gone_once_seen)
    assert run("gone") == 0
    assert "shop" not in cluster.objects["namespaces", ""]


@pytest.mark.usefixtures("no_sandbox", "ours")
@pytest.mark.parametrize(("keep", "code"), [("true", 0), ("false", 1)])
def test_crds_that_were_to_stay_may_be_there(
    keep: str, code: int, programs: Callable[[str, str], Path], cluster: Cluster
) -> None:
    kind, item, _ = LEFT["CRDs gone"]
    programs("pulumi", pulumi("dev", {**CONTEXT, "kong-istio:keepCrds": {"value": keep}}))
    cluster.put(kind, "", item)
    assert cli.main(["gone"]) == code
    settings = json.dumps({"kubeContext": "kind", "keepCrds": keep == "true"})
    assert cli.main(["gone", "--settings", settings]) == code


# --- Dashboards -------------------------------------------------------------------------------------------------------

FORWARDED = """
import json, sys
from checks import forwards, selected_stack
from checks.target import from_json
class Stack:
    def settings(self):
        return sys.argv[1]
    def enter(self):
        pass
selected_stack.find = lambda name: Stack()
forwards.describe = from_json
forwards.DASHBOARD_PORTS = json.loads(sys.argv[2])
sys.exit(forwards.main([]))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ports() -> dict[str, int]:
    """Return the ports of the dashboards, here and in the cluster."""
    return {name: free_port() for name in ("prometheus", "grafana", "kiali")}


@pytest.fixture
def dashboards(ports: dict[str, int], tmp_path: Path) -> Iterator[Target]:
    """Give the target of a cluster in which the dashboards run."""
    server = ApiServer()
    with server.running() as url:
        for name, port in ports.items():
            metadata = {"name": name, "namespace": "istio-system", "labels": {"app": name}}
            spec = {"selector": {"app": name}, "ports": [{"port": port}]}
            server.put("services", {"kind": "Service", "metadata": metadata, "spec": spec})
            server.put("pods", {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running"}})
            server.ports[name, port] = int(url.rpartition(":")[2])
        kubeconfig = write_kubeconfig(tmp_path / "config", {"kind": url})
        yield dataclasses.replace(TARGET, kubeconfig=str(kubeconfig))


def forward(target: Target, ports: dict[str, int]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FORWARDED, to_json(target), json.dumps(ports)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=CHECKOUT.root, stdout=pipe, stderr=pipe, text=True)


def wait_for(look: Callable[[], Any], seconds: float = 15) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def test_dashboards_are_forwarded_until_ctrl_c(dashboards: Target, ports: dict[str, int]) -> None:
    process = forward(dashboards, ports)
    assert process.stdout
    said = [process.stdout.readline()]
    while "Ctrl-C" not in said[-1]:
        assert said[-1], process.communicate()
        said.append(process.stdout.readline())
    links = " ".join(said)
    assert f"http://localhost:{ports['kiali']}/kiali/console/graph/namespaces?namespaces=kong-istio,shop" in links
    assert f"http://localhost:{ports['grafana']}" in links
    assert f"http://localhost:{ports['prometheus']}" in links
    assert "--context kind --namespace istio-system create token kiali" in links
    for port in ports.values():
        assert http_client.get(f"http://127.0.0.1:{port}/readyz").text == "ok"
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=15)
    assert (process.returncode, complained) == (0, "")
    assert not any(accepts(port) for port in ports.values())


def test_a_port_that_is_taken_ends_the_other_forwards_and_is_said(dashboards: Target, ports: dict[str, int]) -> None:
    with socket.create_server(("127.0.0.1", ports["kiali"])):
        process = forward(dashboards, ports)
        said, complained = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert complained == f"Port {ports['kiali']} of this machine cannot be used: Address already in use.\n"


def test_only_dashboards_that_the_stack_has_are_linked() -> None:
    few = dataclasses.replace(TARGET, grafana=False, kiali=False)
    assert forwards.links(few) == ["Prometheus  http://localhost:9090/graph"]
    open_to_all = dataclasses.replace(TARGET, grafana_anonymous=True, kiali_auth="anonymous")
    assert not [line for line in forwards.links(open_to_all) if "token" in line or "password" in line]


def test_the_login_of_grafana_is_in_the_secret_that_the_stack_has() -> None:
    config = {"kubeContext": "kind", "observability": {"grafana": {"adminSecret": "login"}}}
    login = [line for line in forwards.links(describe(restore(config))) if "get secret" in line]
    assert ["get secret login " in line for line in login] == [True, True]
    assert [line.split()[0] for line in login] == ["user", "password"]
    assert "get secret grafana-admin " in " ".join(forwards.links(TARGET))


def test_where_nodes_are_simulated_nothing_is_forwarded(ports: dict[str, int]) -> None:
    process = forward(dataclasses.replace(TARGET, simulated=True), ports)
    _, complained = process.communicate(timeout=15)
    assert process.returncode == 2
    assert complained == "Nodes are simulated: no dashboard runs that a port-forward could lead to.\n"
