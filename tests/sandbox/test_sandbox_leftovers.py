"""Killed, moved, copied, deleted, full or read-only: the next command finds what is left, and ends or reuses it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from stack import Project, make_project, said, wait_for

from kube import Cluster
from sandbox import SandboxError, identity, kwok_cluster, processes
from sandbox.facts import Facts, free_ports, held, is_free
from sandbox.paths import CHECKOUT, Paths

# --- what is a sandbox's --------------------------------------------------------------------------------------------


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path)
    found.sandbox.mkdir()
    identity.create(found)
    return found


@contextmanager
def process_of(paths: Paths, role: str, folder: Path) -> Iterator[int]:
    """Run something that belongs to a sandbox, and that nobody has recorded."""
    sleeping = subprocess.Popen(["sleep", "60"], cwd=folder, env=os.environ | identity.mark(paths, role))
    try:
        yield sleeping.pid
    finally:
        sleeping.kill()
        sleeping.wait()


def test_a_process_that_nothing_recorded_is_found_by_what_it_carries(paths: Paths, tmp_path: Path) -> None:
    other = Paths(tmp_path, "other")
    other.sandbox.mkdir()
    identity.create(other)
    with process_of(paths, identity.ISTIOD, tmp_path) as pid, process_of(other, identity.ISTIOD, tmp_path) as others:
        assert identity.running(paths) == identity.running(paths, identity.ISTIOD) == [pid]
        assert identity.running(paths, identity.STACK) == []
        assert kwok_cluster.down(paths)
        assert processes.start_time(pid) == ""
        assert processes.start_time(others) != ""


def test_a_sandbox_without_an_id_has_no_processes(tmp_path: Path) -> None:
    assert identity.running(Paths(tmp_path)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to know the folder of a process")
def test_what_ran_in_a_folder_that_was_deleted_is_ended(paths: Paths) -> None:
    paths.cluster.mkdir(parents=True)
    with process_of(paths, identity.CONTROL_PLANE, paths.cluster) as inside, process_of(paths, "x", paths.root) as out:
        assert identity.orphans(paths) == []
        shutil.rmtree(paths.sandbox)
        assert identity.orphans(paths) == [inside]
        assert kwok_cluster.down(paths)
        assert (processes.start_time(inside), processes.start_time(out) != "") == ("", True)
    assert not kwok_cluster.down(paths)


def test_a_copy_leaves_the_originals_processes_alone_and_a_moved_one_finds_them(paths: Paths, tmp_path: Path) -> None:
    copy = Paths(tmp_path / "copy")
    shutil.copytree(paths.sandbox, copy.sandbox)
    with process_of(paths, identity.CONTROL_PLANE, tmp_path) as pid:
        assert identity.is_copy(copy)
        assert kwok_cluster.down(copy)
        assert processes.start_time(pid) != ""
        moved = Paths(tmp_path / "moved")
        moved.root.mkdir()
        paths.sandbox.rename(moved.sandbox)
        assert (identity.is_copy(moved), identity.former_folder(moved)) == (False, paths.sandbox)
        assert kwok_cluster.down(moved)
        assert processes.start_time(pid) == ""


def test_a_broken_note_of_what_was_found_out_is_no_sandbox(paths: Paths) -> None:
    for text in ("", "{", "[]", '{"ports": {}}'):
        paths.facts.write_text(text)
        assert Facts.load(paths.facts) is None


def test_a_clock_that_was_set_back_is_told(paths: Paths) -> None:
    shutil.copy(CHECKOUT.committed_stack_file, paths.root)
    Facts(ports={}, charts={}, origins={}, istiod="", not_shown="").save(paths.facts)
    authority = paths.cluster / "pki" / "ca.crt"
    authority.parent.mkdir(parents=True)
    authority.touch()
    os.utime(authority, (time.time() + 3 * 86400,) * 2)
    with pytest.raises(
        SandboxError, match=r"clock is 3 days behind .*: set the clock\. Or run `python -m sandbox down`"
    ):
        kwok_cluster.up(paths)


# --- ports ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="a held port would keep out its server, too")
def test_a_held_port_is_free_for_its_server_alone() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with held([port]):
        assert not is_free(port)
        with socket.create_server(("127.0.0.1", port)), held([port]):
            socket.create_connection(("127.0.0.1", port)).close()
        assert not is_free(port)
    assert is_free(port)


# --- where nothing can be written -----------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=64m") as root:
        shutil.copy(CHECKOUT.committed_stack_file, root)
        with pytest.raises(
            SandboxError, match=r"^6\d MB are free where .*small lies, and a sandbox takes 250 MB: make room"
        ):
            kwok_cluster.up(Paths(root))
        assert not (root / ".sandbox").exists()


def test_a_read_only_checkout_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "readonly", "size=300m") as root:
        shutil.copy(CHECKOUT.committed_stack_file, root)
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        with pytest.raises(SandboxError, match=r"readonly/\.sandbox: Read-only file system\. Make room there, or give"):
            kwok_cluster.up(Paths(root))


# --- a sandbox that is up -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Copy the checkout; whatever a test leaves behind is ended."""
    found = make_project(tmp_path_factory.mktemp("leftovers").resolve())
    yield found
    kwok_cluster.down(found.paths)


def sandbox(project: Project, command: str, root: Path | None = None) -> str:
    answer = subprocess.run(
        ["venv/bin/python", "-m", "sandbox", command],
        cwd=root or project.paths.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, said(answer)
    return str(said(answer))


def write(paths: Paths, name: str) -> None:
    metadata = {"name": name, "namespace": "default"}
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    Cluster(str(paths.kubeconfig), paths.context).create(kept)


def has(paths: Paths, name: str) -> bool:
    return bool(Cluster(str(paths.kubeconfig), paths.context).get("configmap", name, "default"))


def assert_nothing_runs(project: Project) -> None:
    marked = processes.carrying("KONG_ISTIO_SANDBOX_PROCESS=")
    left = [pid for pid in marked if str(project.paths.root.parent) in processes.command_line(pid)]
    assert left == [], [processes.command_line(pid) for pid in left]


# How long after its start an `up` is killed: while it prepares, while kwokctl starts the components one after the other,
# while the API server gets ready, and at moments that differ with each run of the tests.
MOMENTS = [0.3, 0.7, 1.0, 1.3, 1.7, 2.2, 3.0, *(round(random.uniform(0.2, 4), 2) for _ in range(3))]  # noqa: S311


@pytest.mark.sandbox
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("then", ["up", "down"])
def test_an_up_that_was_killed_leaves_nothing_that_the_next_command_does_not_find(
    project: Project, moment: float, then: str
) -> None:
    killed = subprocess.Popen(
        ["venv/bin/python", "-m", "sandbox", "up"],
        cwd=project.paths.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(moment)
    with suppress(ProcessLookupError):
        os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    sandbox(project, then)
    if then == "up":
        found = kwok_cluster.status(project.paths)
        assert found.live
        assert set(found.components.values()) <= set(identity.running(project.paths, identity.CONTROL_PLANE))
        assert len(identity.running(project.paths, identity.CONTROL_PLANE)) == len(kwok_cluster.COMPONENTS)
        sandbox(project, "down")
    assert not project.paths.sandbox.exists()
    assert_nothing_runs(project)


@pytest.fixture
def up(project: Project) -> Iterator[Paths]:
    """Have a sandbox that is up, with something in it."""
    sandbox(project, "up")
    if not has(project.paths, "kept"):
        write(project.paths, "kept")
    yield project.paths
    assert_one_of_each(project.paths)


def assert_one_of_each(paths: Paths) -> None:
    found = kwok_cluster.status(paths)
    assert found.live
    assert sorted(identity.running(paths, identity.CONTROL_PLANE)) == sorted(filter(None, found.components.values()))


KILLED: dict[str, Callable[[kwok_cluster.Status, Paths], list[int | None]]] = {
    **{name: lambda found, _, name=name: [found.components[name]] for name in kwok_cluster.COMPONENTS},  # type: ignore[misc]
    "all of the control plane": lambda found, _: list(found.components.values()),
    "the watcher": lambda _, paths: [processes.recorded(paths.processes / "watcher.json")],
    "everything": lambda _, paths: list(identity.running(paths)),
}


@pytest.mark.sandbox
@pytest.mark.parametrize("killed", KILLED)
def test_what_was_killed_is_started_again_with_what_it_held(up: Paths, project: Project, killed: str) -> None:
    pids = [pid for pid in KILLED[killed](kwok_cluster.status(up), up) if pid]
    processes.kill(pids)
    sandbox(project, "up")
    assert has(up, "kept")
    watched = processes.recorded(up.processes / "watcher.json")
    assert (watched is not None) == (not kwok_cluster.status(up).facts.not_shown)  # type: ignore[union-attr]


@pytest.mark.sandbox
def test_a_component_whose_record_was_lost_is_not_started_twice(up: Paths, project: Project) -> None:
    (up.cluster / "pids" / "kube-scheduler.pid").unlink()
    sandbox(project, "up")


@pytest.mark.sandbox
def test_a_port_that_was_taken_meanwhile_is_replaced_with_the_data_kept(up: Paths, project: Project) -> None:
    before = Facts.load(up.facts)
    assert before
    processes.kill(identity.running(up))
    with socket.create_server(("127.0.0.1", before.ports["etcd"])):
        with socket.create_server(("127.0.0.1", before.ports["kube-apiserver"])):
            sandbox(project, "up")
        after = Facts.load(up.facts)
        assert after
        differing = {name for name, port in before.ports.items() if after.ports[name] != port}
        assert differing == {"etcd", "kube-apiserver"}
        assert has(up, "kept")


@pytest.mark.sandbox
def test_a_port_that_is_taken_between_the_look_and_the_use_is_named_and_another_one_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = Paths(tmp_path)
    shutil.copy(CHECKOUT.committed_stack_file, tmp_path)
    really = free_ports
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = really() | {"etcd": server.getsockname()[1]}
        choices = iter([first])
        monkeypatch.setattr(kwok_cluster, "free_ports", lambda *given: next(choices, None) or really(*given))
        try:
            kwok_cluster.up(paths)
            assert kwok_cluster.status(paths).live
        finally:
            kwok_cluster.down(paths)
    printed = capsys.readouterr().out
    assert "etcd ended: " in printed
    assert "address already in use" in printed
    assert "Trying with other ports." in printed


@pytest.mark.sandbox
def test_a_checkout_that_was_moved_has_its_sandbox_at_the_new_place(up: Paths, project: Project) -> None:
    before = up.stack_file.read_text()
    root, elsewhere = project.paths.root, project.paths.root.with_name("moved to")
    root.rename(elsewhere)
    try:
        sandbox(project, "up", elsewhere)
        moved = Paths(elsewhere)
        assert has(moved, "kept")
        assert_one_of_each(moved)
        assert moved.stack_file.read_text() == before, "the stack has another setting, and so a diff"
        written = [moved.kubeconfig, moved.cluster / "kwok.yaml", moved.cluster / "kubeconfig.yaml"]
        assert not any(f"{root}/" in file.read_text() for file in written)
    finally:
        elsewhere.rename(root)
    sandbox(project, "up")


@pytest.mark.sandbox
def test_a_kubeconfig_of_another_cluster_is_refused_and_a_deleted_one_written_anew(up: Paths, project: Project) -> None:
    own = up.kubeconfig.read_text()
    others = yaml.safe_load(own)
    others["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    up.kubeconfig.write_text(yaml.safe_dump(others))
    answer = project.python("-m", "sandbox", "up")
    assert answer.returncode == 1
    assert answer.stderr == f"sandbox: {identity.elsewhere(up)}\n"
    up.kubeconfig.unlink()
    sandbox(project, "up")
    assert up.kubeconfig.read_text() == own
    assert up.kubeconfig.stat().st_mode & 0o777 == 0o600


@pytest.mark.sandbox
def test_a_cluster_with_another_identity_is_refused(up: Paths, project: Project) -> None:
    facts = Facts.load(up.facts)
    assert facts
    text = up.facts.read_text()
    up.facts.write_text(text.replace(facts.cluster, "another"))
    for arguments in (("-m", "sandbox", "up"), ("-m", "sandbox.rehearsal")):
        answer = project.python(*arguments)
        assert answer.returncode == 1
        assert answer.stderr.splitlines() == [f"{'sandbox: ' if 'up' in arguments else ''}{identity.elsewhere(up)}"]
    up.facts.write_text(text)


@pytest.mark.sandbox
def test_two_sandboxes_of_one_checkout_share_no_port(up: Paths, project: Project) -> None:
    second = Paths(project.paths.root, "second")
    answer = project.python("-m", "sandbox", "up", "--name", "second")
    assert answer.returncode == 0, said(answer)
    try:
        ports = [ports_of(Facts.load(paths.facts)) for paths in (up, second)]
        assert not ports[0] & ports[1]
        assert not has(second, "kept")
        assert_one_of_each(second)
    finally:
        assert project.python("-m", "sandbox", "down", "--name", "second").returncode == 0
    assert not second.sandbox.exists()


def ports_of(facts: Facts | None) -> set[int]:
    assert facts
    return {*facts.ports.values(), *(port for ports in facts.istiods.values() for port in ports.values())}


@pytest.mark.sandbox
def test_what_is_secret_is_the_users_alone(up: Paths) -> None:
    assert up.sandbox.stat().st_mode & 0o077 == 0
    inside = [up.kubeconfig, up.passphrase, *up.cluster.rglob("*"), *up.istiod.rglob("*")]
    assert [file for file in inside if not file.is_symlink() and file.stat().st_mode & 0o077] == []


@pytest.mark.sandbox
def test_ups_at_the_same_time_make_one_sandbox(project: Project) -> None:
    sandbox(project, "down")
    command = ["venv/bin/python", "-m", "sandbox", "up"]
    ups = [
        subprocess.Popen(command, cwd=project.paths.root, env=project.environment, stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [one.wait() for one in ups] == [0, 0, 0]
    assert_one_of_each(project.paths)
    sandbox(project, "down")
    wait_for(lambda: not identity.running(project.paths), "the end of all")
