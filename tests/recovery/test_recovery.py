"""What is found of an `up` or a `destroy` that was cut off, and what is done about it, shown and asked."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.api_server import ApiServer, write_kubeconfig

from checks import selected_stack
from checks.selected_stack import Stack
from components.shared.kubernetes_object import type_token
from kube import Cluster
from recovery import RecoveryError
from recovery import __main__ as cli
from recovery.engine import Engine, Lock, State
from recovery.helm_release import HelmRelease
from recovery.remains import remedies

Object = dict[str, Any]
URN = "urn:pulumi:dev::kong-istio::"
PROVIDERS = [{"manager": "pulumi-kubernetes", "operation": "Update"}]
SOMEBODYS = [{"manager": "kubectl", "operation": "Update"}]


# --- a cluster and a state ------------------------------------------------------------------------------------


@pytest.fixture
def server() -> ApiServer:
    made = ApiServer()
    further = [("Secret", "secrets"), ("ConfigMap", "configmaps"), ("PersistentVolumeClaim", "persistentvolumeclaims")]
    made.kinds["v1"] += [(kind, plural, True, []) for kind, plural in further]
    return made


@pytest.fixture
def url(server: ApiServer) -> Iterator[str]:
    with server.running() as url:
        yield url


@pytest.fixture
def cluster(url: str, tmp_path: Path) -> Cluster:
    return Cluster(str(write_kubeconfig(tmp_path / "config", {"kind": url})), "kind")


def put(server: ApiServer, kind: str, name: str, namespace: str = "", **further: Any) -> Object:
    metadata = {"name": name, "managedFields": further.pop("by", PROVIDERS), **further}
    if namespace:
        metadata["namespace"] = namespace
    version = {"Deployment": "apps/v1"}.get(kind, "v1")
    return server.put(f"{kind.lower()}s", {"apiVersion": version, "kind": kind, "metadata": metadata})


def put_release(server: ApiServer, name: str, namespace: str, status: str, by: Any = PROVIDERS) -> Object:
    """Write down a release as Helm does, with a Deployment, an object of somebody else's and one that is kept."""
    marks = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}
    put(server, "Deployment", name, namespace, annotations=marks)["spec"] = {"selector": {"matchLabels": {"app": name}}}
    put(server, "Service", "somebodys", namespace)
    put(server, "Service", "kept", namespace, annotations={**marks, "helm.sh/resource-policy": "keep"})
    kinds = {"Deployment": "apps/v1", "Service": "v1"}
    listed = [("Deployment", name), ("Service", "somebodys"), ("Service", "kept"), ("Service", "never-made")]
    manifest = "---\n".join(
        json.dumps({"apiVersion": kinds[kind], "kind": kind, "metadata": {"name": each}}) + "\n"
        for kind, each in listed
    )
    told = {"name": name, "info": {"status": status}, "manifest": manifest}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(told).encode()))).decode()
    labels = {"owner": "helm", "name": name, "status": status, "version": "1"}
    metadata = {"name": f"sh.helm.release.v1.{name}.v1", "namespace": namespace, "labels": labels, "managedFields": by}
    return server.put(
        "secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"release": packed}}
    )


def resource(kind: str, name: str, namespace: str = "") -> Object:
    """Return a resource as the engine tells of one that it would create."""
    if kind == "Release":
        inputs: Object = {"name": name, "namespace": namespace}
        token = "kubernetes:helm.sh/v3:Release"
    else:
        version = {"Deployment": "apps/v1"}.get(kind, "v1")
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        inputs = {"apiVersion": version, "kind": kind, "metadata": metadata}
        token = type_token(version, kind)
    return {"urn": f"{URN}{token}::{name}", "type": token, "inputs": inputs}


def made(kind: str, name: str, namespace: str = "") -> Object:
    """Return a resource as it stands in the state."""
    return {**resource(kind, name, namespace), "id": f"{namespace}/{name}" if namespace else name}


def state(*resources: Object, **begun: list[Object]) -> State:
    """Return a state with these resources; `begun`: what was begun, such as deleting=[…]."""
    operations = [{"type": kind, "resource": each} for kind, some in begun.items() for each in some]
    return State({"deployment": {"resources": list(resources), "pending_operations": operations}})


def names(server: ApiServer) -> set[str]:
    return {name for _, _, name in server.objects}


# --- what is in the cluster -----------------------------------------------------------------------------------

SHOP = made("Namespace", "shop")
ISTIO_SYSTEM = made("Namespace", "istio-system")
FRONT = resource("Deployment", "front", "shop")
KIALI = resource("Release", "kiali", "istio-system")
WhatIs = Callable[[ApiServer], object]


@pytest.mark.parametrize(
    ("there", "known", "planned", "expected"),
    [
        pytest.param(
            lambda server: put(server, "Deployment", "front", "shop"),
            state(SHOP),
            [FRONT],
            ["delete the Deployment shop/front: it is not in the stack's state"],
            id="an object in the stack's namespace",
        ),
        pytest.param(
            lambda server: put(server, "Deployment", "front", "default"),
            state(creating=[resource("Deployment", "front", "default")]),
            [resource("Deployment", "front", "default")],
            ["delete the Deployment default/front: it is not in the stack's state"],
            id="an object elsewhere, whose creation was begun",
        ),
        pytest.param(
            lambda server: put(server, "Deployment", "front", "default"),
            state(SHOP),
            [resource("Deployment", "front", "default")],
            ["LEFT the Deployment default/front: not this stack's work for sure"],
            id="an object elsewhere",
        ),
        pytest.param(
            lambda server: put(server, "Deployment", "front", "shop", by=SOMEBODYS),
            state(SHOP, creating=[FRONT]),
            [FRONT],
            ["LEFT the Deployment shop/front: not this stack's work for sure"],
            id="an object that somebody else wrote",
        ),
        pytest.param(
            lambda server: [put(server, "Namespace", "shop"), put(server, "ConfigMap", "kube-root-ca.crt", "shop")],
            state(),
            [resource("Namespace", "shop")],
            ["delete the Namespace shop: it is not in the stack's state"],
            id="an empty namespace",
        ),
        pytest.param(
            lambda server: [put(server, "Namespace", "shop"), put(server, "ConfigMap", "somebodys", "shop")],
            state(creating=[resource("Namespace", "shop")]),
            [resource("Namespace", "shop")],
            ["LEFT the Namespace shop: not this stack's work for sure"],
            id="a namespace with something in it",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "pending-install"),
            state(ISTIO_SYSTEM),
            [KIALI],
            ["uninstall the Helm release kiali in istio-system (pending-install): it is not in the stack's state"],
            id="a release that the state does not know",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "deployed", by=SOMEBODYS),
            state(ISTIO_SYSTEM),
            [KIALI],
            ["LEFT the Helm release kiali in istio-system (deployed): not this stack's work for sure"],
            id="a release that somebody installed",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "deployed"),
            state(),
            [KIALI],
            ["LEFT the Helm release kiali in istio-system (deployed): not this stack's work for sure"],
            id="a release of another stack",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "pending-upgrade"),
            state(made("Release", "kiali", "istio-system")),
            [],
            ["have the Helm release kiali upgraded, as it is pending-upgrade"],
            id="an upgrade that was killed",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "failed"),
            state(made("Release", "kiali", "istio-system")),
            [],
            ["have the Helm release kiali upgraded, as it is failed"],
            id="an installation that was interrupted",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "uninstalling"),
            state(made("Release", "kiali", "istio-system")),
            [],
            ["uninstall the Helm release kiali to its end"],
            id="an uninstallation that was killed",
        ),
        pytest.param(
            lambda server: put_release(server, "kiali", "istio-system", "deployed"),
            state(made("Release", "kiali", "istio-system")),
            [],
            [],
            id="a release that is well",
        ),
        pytest.param(
            lambda server: put(server, "Namespace", "shop", deletionTimestamp="2026-01-02T03:04:05Z"),
            state(SHOP, deleting=[SHOP]),
            [],
            ["wait until the Namespace shop is gone"],
            id="a namespace that is being deleted",
        ),
        pytest.param(
            lambda server: put(server, "Namespace", "shop"),
            state(SHOP, deleting=[SHOP]),
            [],
            [],
            id="a namespace that was about to be deleted",
        ),
        pytest.param(lambda _: None, state(SHOP, creating=[FRONT]), [FRONT, KIALI], [], id="nothing there"),
    ],
)
def test_what_is_half_done_is_found(
    server: ApiServer, cluster: Cluster, there: WhatIs, known: State, planned: list[Object], expected: list[str]
) -> None:
    there(server)
    found = remedies(cluster, known, planned)
    assert [f"{'' if each.perform else 'LEFT '}{each.text}" for each in found] == expected


def test_why_a_release_failed_is_told(server: ApiServer, cluster: Cluster) -> None:
    """Helm itself says `context deadline exceeded`."""
    put_release(server, "kiali", "istio-system", "failed")
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/2 nodes are available",
    }
    metadata = {"name": "kiali-0", "namespace": "istio-system", "labels": {"app": "kiali"}}
    server.put("pods", {"metadata": metadata, "status": {"conditions": [condition]}})
    (found,) = remedies(cluster, state(made("Release", "kiali", "istio-system")), [])
    assert found.text.endswith("upgraded, as it is failed (pod kiali-0: Unschedulable 0/2 nodes are available)")


def test_what_up_has_replaced_already_is_not_the_stacks() -> None:
    old = {**made("Release", "kiali", "istio-system"), "delete": True}
    waiting = {**made("Deployment", "front", "shop"), "pendingReplacement": True}
    assert state(old, waiting).resources == []


def test_a_release_goes_with_what_is_its_own_and_not_to_be_kept(server: ApiServer, cluster: Cluster) -> None:
    put_release(server, "kiali", "istio-system", "pending-install")
    release = HelmRelease.find(cluster, "istio-system", "kiali")
    assert release
    release.uninstall(cluster)
    assert names(server) == {"somebodys", "kept"}


def test_an_upgrade_that_was_killed_is_to_helm_one_that_failed(server: ApiServer, cluster: Cluster) -> None:
    put_release(server, "kiali", "istio-system", "pending-upgrade")
    release = HelmRelease.find(cluster, "istio-system", "kiali")
    assert release
    release.fail(cluster)
    after = HelmRelease.find(cluster, "istio-system", "kiali")
    assert after
    assert after.status == "failed"
    assert after.secrets[-1]["metadata"]["labels"]["owner"] == "helm"
    told = gzip.decompress(base64.b64decode(base64.b64decode(after.secrets[-1]["data"]["release"])))
    assert json.loads(told)["info"]["status"] == "failed"
    assert names(server) >= {"kiali", "somebodys", "kept"}


# --- the lock -------------------------------------------------------------------------------------------------

LOCKED = (
    "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock "
    "file with `pulumi cancel`.\n  file:///state/.pulumi/locks/organization/kong-istio/dev/4e22.json: "
    "created by somebody@{host} (pid {pid}) at 2026-01-02T03:04:05Z"
)


@dataclass(frozen=True)
class Answers(Stack):
    """A stack whose Pulumi answers from a table: part of a command -> code, output, errors. `asked`: every command. `imported`: every state."""

    name: str = "dev"
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)

    def pulumi(self, *arguments: str, **_: Any) -> subprocess.CompletedProcess[str]:
        words = " ".join(arguments)
        self.asked.append(words)
        if words.startswith("stack import"):
            self.imported.append(Path(arguments[-1]).read_text())
        code, out, err = next((answer for key, answer in self.answers.items() if key in words), (0, "", ""))
        return subprocess.CompletedProcess(words, code, out, err)


def held_by(host: str, pid: int) -> Lock | None:
    locked = LOCKED.format(host=host, pid=pid)
    return Engine(Answers(answers={"stack export": (0, "{}", ""), "refresh": (255, "", locked)})).lock()


def test_a_lock_of_a_process_that_has_ended_may_go() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = held_by(socket.gethostname(), ended.pid)
    assert lock
    assert lock.running == ""
    assert str(lock) == f"by somebody@{socket.gethostname()} (process {ended.pid}), which has ended"


def test_a_lock_of_a_process_with_another_name_may_go() -> None:
    """After a reboot, the number is somebody else's."""
    lock = held_by(socket.gethostname(), os.getpid())
    assert lock
    assert "pulumi" not in Path(sys.executable).name
    assert lock.running == ""


def test_a_lock_of_a_pulumi_that_runs_stays() -> None:
    process = subprocess.Popen(["pulumi", "30"], executable="/bin/sleep")
    try:
        lock = held_by(socket.gethostname(), process.pid)
        assert lock
        assert lock.running == f"somebody@{socket.gethostname()} (process {process.pid})"
    finally:
        process.kill()
        process.wait()


def test_of_a_lock_from_elsewhere_nobody_knows() -> None:
    lock = held_by("elsewhere", os.getpid())
    assert lock
    assert lock.running == ""
    assert str(lock).endswith("go on only if that process has ended")


def test_pulumi_clouds_lock_names_nobody() -> None:
    answer = (255, "", "error: [409] Conflict: Another update is currently in progress.")
    lock = Engine(Answers(answers={"stack export": (0, "{}", ""), "refresh": answer})).lock()
    assert lock
    assert "go on only if none runs" in str(lock)


def test_what_pulumi_complains_about_is_told_in_one_sentence() -> None:
    answer = (255, "", "error: incorrect passphrase, please set PULUMI_CONFIG_PASSPHRASE\n")
    with pytest.raises(RecoveryError, match=r"^`pulumi refresh` failed: incorrect passphrase, please set \w+\.$"):
        Engine(Answers(answers={"stack export": (0, "{}", ""), "refresh": answer})).lock()


def test_of_a_state_that_a_full_disk_cut_off_it_says_where_a_whole_one_is() -> None:
    answer = (255, "", "error: failed to load checkpoint: place 1: unexpected end of JSON input\n")
    engine = Engine(Answers(name="organization/kong-istio/dev", answers={"stack export": answer}))
    with pytest.raises(
        RecoveryError, match=r"state of dev ends in the middle.+ .pulumi/backups/kong-istio/dev/, or .+ again\.$"
    ):
        _ = engine.state


@pytest.mark.parametrize(
    ("history", "interrupted"),
    [
        ([], False),
        ([("update", "succeeded")], False),
        ([("update", "failed")], True),
        ([("refresh", "succeeded"), ("destroy", "failed")], True),
        ([("refresh", "failed"), ("update", "succeeded")], False),
    ],
)
def test_an_update_that_did_not_come_to_a_good_end_is_one_to_look_after(
    history: list[tuple[str, str]], interrupted: bool
) -> None:
    told = json.dumps([{"kind": kind, "result": result} for kind, result in history])
    engine = Engine(Answers(answers={"stack export": (0, "{}", ""), "stack history": (0, told, "")}))
    assert engine.interrupted == interrupted


# --- shown, asked and done ------------------------------------------------------------------------------------


@pytest.fixture
def cut_off(server: ApiServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Return a stack whose `up` was killed on another machine, with an object that the state does not know."""
    put(server, "Deployment", "front", "shop")
    put(server, "Namespace", "kube-system", uid="the-cluster")
    known = {"deployment": {"resources": [SHOP], "pending_operations": [{"type": "creating", "resource": FRONT}]}}
    settings = {
        "kong-istio:kubeconfig": {"value": str(write_kubeconfig(tmp_path / "config", {"kind": url}))},
        "kong-istio:kubeContext": {"value": "kind"},
    }
    stack = Answers(
        answers={
            "stack export": (0, json.dumps(known), ""),
            "stack history": (0, "[]", ""),
            "--skip-pending-creates": (255, "", LOCKED.format(host="elsewhere", pid=1)),
            "preview": (0, json.dumps({"steps": [{"op": "create", "newState": FRONT}]}), ""),
            "config": (0, json.dumps(settings), ""),
        }
    )
    monkeypatch.setattr(selected_stack, "find", lambda _: stack)
    return stack


def asked(stack: Answers) -> list[str]:
    return [words for words in stack.asked if words.startswith("cancel") or "--clear" in words]


def test_without_a_word_it_shows_and_does_nothing(
    cut_off: Answers, server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["--stack", "dev"]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "What was cut off in the stack dev, and is to be done:",
        "  * take off the lock by somebody@elsewhere (process 1): go on only if that process has ended",
        "  * delete the Deployment shop/front: it is not in the stack's state",
        "  * have the engine look at everything, and forget what never ended (1 begun)",
    ]
    assert told.err == "recovery: Nothing was done: say so with --yes (`make recover YES=1`).\n"
    assert asked(cut_off) == []
    assert "front" in names(server)


def test_with_a_word_it_unlocks_clears_up_and_has_the_engine_look(cut_off: Answers, server: ApiServer) -> None:
    assert cli.main(["--stack", "dev", "--yes", "--then", "nothing"]) == 0
    assert asked(cut_off) == ["cancel --yes", "refresh --yes --skip-preview --clear-pending-creates"]
    assert "front" not in names(server)


def test_the_next_up_updates_a_release_that_is_not_finished(cut_off: Answers, server: ApiServer) -> None:
    kiali = made("Release", "kiali", "istio-system")
    put_release(server, "kiali", "istio-system", "pending-upgrade")
    known = {"deployment": {"resources": [SHOP, kiali, made("Release", "istiod", "istio-system")]}}
    cut_off.answers["stack export"] = (0, json.dumps(known), "")
    assert cli.main(["--stack", "dev", "--yes", "--then", "nothing"]) == 0
    (imported,) = cut_off.imported
    marked = {each["id"]: each.get("initErrors") for each in json.loads(imported)["deployment"]["resources"]}
    assert marked == {"shop": None, "istio-system/kiali": ["Helm was cut off"], "istio-system/istiod": None}
    assert cut_off.asked.index("refresh --yes --skip-preview --clear-pending-creates") < len(cut_off.asked) - 2


def test_in_another_cluster_nothing_is_done(
    cut_off: Answers, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {"urn": f"{URN}command:local:Command::precheck", "type": "command:local:Command"}
    precheck = {**command, "outputs": {"environment": {"CLUSTER_UID": "another-cluster"}}}
    cut_off.answers["stack export"] = (0, json.dumps({"deployment": {"resources": [SHOP, precheck]}}), "")
    assert cli.main(["--stack", "dev", "--yes"]) == 1
    assert "The context kind leads to another cluster than at the last `up`" in capsys.readouterr().err
    assert asked(cut_off) == []
    assert "front" in names(server)


def test_it_goes_on_with_up(cut_off: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, ...]] = []
    monkeypatch.setattr(Answers, "become_pulumi", lambda _, *arguments: became.append(arguments))
    assert cli.main(["--stack", "dev", "--yes"]) == 0
    assert became == [("up", "--yes", "--skip-preview")]
    assert asked(cut_off)


def test_a_stack_that_is_well_is_not_looked_at_further(cut_off: Answers) -> None:
    cut_off.answers.update({"stack export": (0, "{}", ""), "--skip-pending-creates": (0, "", "")})
    assert cli.main(["--only-if-interrupted", "--then", "nothing"]) == 0
    assert not any(words.startswith("preview") for words in cut_off.asked)
