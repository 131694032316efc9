"""The kind sandbox: a cluster of its own whose node is a container, with real pods and real traffic; `up`, `down` and `status`.

Nothing but the cluster in the record is ever touched: not by its name alone, but by the id of its container and the UID
of its namespace kube-system.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kube import Cluster, ClusterError
from sandbox import SandboxError, chart_sources, identity, kind_program, machine_settings, sandbox_folder, tools
from sandbox.containers import Machine, NoAnswerError, Node, Runtime, answering, free_disk
from sandbox.facts import KIND, Facts, free_ports
from sandbox.kind_program import PortTakenError
from sandbox.kind_record import Record, cluster_name
from sandbox.locks import locked
from sandbox.paths import CHECKOUT, Paths
from versions import CHARTS

PROGRAMS = ("kubectl", "helm", "kind")
# What the stack with its node takes: the pods' requests are 1.3 GiB, those of Istio's and Kubernetes' own defaults, and most of what
# BookInfo, Kong and the dashboards use asks for nothing. docs/environments/dev.md asks the same of any laptop's cluster.
_MEMORY = 5 * 2**30
_PROCESSORS = 2
# The node's image and the stack's, unpacked.
_DISK = 10 * 10**9

_WAITING = "another `up` or `down` of this sandbox is running; waiting for it"
_READY_SECONDS = 180
_PORTS_TRIED = 3
_AGAIN = "Run `make down`, then `make up`."
_RAISE = {
    "docker": "Docker Desktop: Settings, Resources; colima: `colima stop && colima start --cpu 4 --memory 6`",
    "podman": "`podman machine stop && podman machine set --cpus 4 --memory 6144 && podman machine start`",
    "nerdctl": "the virtual machine's configuration (`limactl edit`)",
}


@dataclass(frozen=True)
class Status:
    """What there is of a kind sandbox. `problem`: why that is not known, or what of it is not as it was made."""

    facts: Facts | None
    runs: bool = False
    ready: bool = False
    problem: str = ""

    @property
    def live(self) -> bool:
        """Whether it is whole and answers."""
        return self.facts is not None and self.ready

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What runs, for people."""
        node = self.problem or ("runs" if self.runs else "does not run")
        return [("node (container)", node), ("API server", "ready" if self.ready else "does not answer")]


def status(paths: Paths = CHECKOUT) -> Status:
    """Find out what runs."""
    record, facts = Record.load(paths), Facts.load(paths.facts)
    if record is None or facts is None:
        return Status(facts=None)
    try:
        node = _own_node(record, Runtime(record.runtime))
    except SandboxError as problem:
        return Status(facts=facts, problem=str(problem))
    if node is None:
        return Status(facts=facts, problem=f"the cluster {record.cluster} is gone")
    runs = node.runs
    return Status(facts=facts, runs=runs, ready=runs and _api_server(record, paths).is_ready())


def up(paths: Paths = CHECKOUT) -> Facts:
    """Bring the cluster up unless it is; mend it where it stopped, was deleted or was never finished."""
    with locked(paths.root, waiting=_WAITING):
        _leave_to_the_original(paths)
        record, known = Record.load(paths), Facts.load(paths.facts)
        runtime, machine = _containers(record)
        node = _own_node(record, runtime) if record and record.is_made else None
        if node is None:
            check_size(runtime, machine)
        # Before anything is pulled.
        origins = known.origins if known else _origins(machine_settings.committed_charts(paths))
        if record and node:
            _start(node, runtime, record, paths)
        else:
            record = _make(record, runtime, paths)
        facts = _note(record, origins, paths)
        identity.settle(paths)
        machine_settings.write(facts, paths)
    return facts


def _leave_to_the_original(paths: Paths) -> None:
    """Forget the cluster of the checkout that this one was copied from, with its sandbox; that one still has it."""
    if identity.is_copy(paths):
        shutil.rmtree(paths.sandbox)


def _containers(record: Record | None) -> tuple[Runtime, Machine]:
    """Return what runs containers here: for a cluster that there is, what it was made with. Raises `SandboxError`."""
    if record is None:
        return answering()
    runtime = Runtime(record.runtime)
    try:
        return runtime, runtime.machine()
    except NoAnswerError as problem:
        raise SandboxError(f"{problem}; `make up` then goes on with the kind cluster {record.cluster}.") from None


def down(paths: Paths = CHECKOUT) -> bool:
    """Delete the cluster and every trace; say whether there was anything.

    Where its container cannot be deleted, the record of it stays for the next `down`. Raises `SandboxError`.
    """
    if not paths.sandbox.exists():
        return False
    with locked(paths.root, waiting=_WAITING):
        if (record := Record.load(paths)) and not identity.is_copy(paths):
            try:
                _delete(record, Runtime(record.runtime), paths)
            except SandboxError as problem:
                _keep_only_the_record(record, paths)
                raise SandboxError(
                    f"{problem}. The kind cluster {record.cluster} could not be deleted: then run `make down` once more."
                ) from None
        shutil.rmtree(paths.sandbox)
    return True


# --- a new cluster -----------------------------------------------------------------------------------------------------


def _make(record: Record | None, runtime: Runtime, paths: Paths) -> Record:
    """Make the cluster; one that was begun is deleted first, and of one that is gone the stack's state as well."""
    if record is None:
        name = cluster_name(paths)
        if stranger := runtime.nodes(name):
            raise SandboxError(
                f"there is a kind cluster {name} that this sandbox has not made ({stranger[0].name}): delete it with "
                f"`kind delete cluster --name {name}`, and run `make up` again."
            )
    else:
        print(
            f"the kind cluster {record.cluster} is {'gone' if record.is_made else 'half made'}; making it anew",
            flush=True,
        )
        _delete(record, runtime, paths)
        _keep_only_the_record(record, paths)
    programs = tools.ensure(PROGRAMS)
    sandbox_folder.prepare(programs, paths)
    for _ in range(_PORTS_TRIED):
        ports = free_ports(("kong", "kube-apiserver"))
        name = record.cluster if record else cluster_name(paths)
        record = Record(name, runtime.name, kong_port=ports["kong"], api_port=ports["kube-apiserver"]).save(paths)
        try:
            kind_program.create(record, runtime, paths)
            return _identified(record, runtime, paths)
        except PortTakenError as taken:
            print(f"{taken}; trying others", flush=True)
            _delete(record, runtime, paths)
    raise SandboxError(f"no free port was found for Kong and the API server in {_PORTS_TRIED} attempts. {_AGAIN}")


def check_size(runtime: Runtime, machine: Machine) -> None:
    """Refuse, before anything is pulled, what would end in pods that are killed or never scheduled. Raises `SandboxError`."""
    # The kubelet refuses to start on it since 1.35 (its setting failCgroupV1), and kind would wait four minutes for that.
    if machine.cgroups == "1":
        raise SandboxError(
            f"{runtime.title} runs on a kernel with cgroup v1, which Kubernetes takes no more: switch it to cgroup v2 "
            "(Linux: boot with systemd.unified_cgroup_hierarchy=1; WSL: `wsl --update`), or take the simulated cluster: "
            "`make up SANDBOX=simulated`."
        )
    remedy = f"Raise it ({_RAISE[runtime.name]}), or take the simulated cluster: `make up SANDBOX=simulated`."
    if machine.memory < _MEMORY:
        raise SandboxError(
            f"{runtime.title} has {machine.memory / 2**30:.1f} GiB of memory, and the stack with its node needs "
            f"{_MEMORY / 2**30:.0f} GiB. {remedy}"
        )
    if machine.processors < _PROCESSORS:
        raise SandboxError(
            f"{runtime.title} has {machine.processors} processor, and the stack's pods request {_PROCESSORS}. {remedy}"
        )
    free = free_disk(machine)
    if free is not None and free < _DISK:
        raise SandboxError(
            f"{machine.folder} has {free / 10**9:.1f} GB free, and the images of the node and the stack need some "
            f"{_DISK / 10**9:.0f} GB: make room (`{runtime.name} system prune`), or take the simulated cluster: "
            "`make up SANDBOX=simulated`."
        )


def _identified(record: Record, runtime: Runtime, paths: Paths) -> Record:
    """Write down what tells the new cluster from any other."""
    nodes = runtime.nodes(record.cluster)
    if not nodes:
        raise SandboxError(f"kind made the cluster {record.cluster}, and {runtime.title} knows no node of it. {_AGAIN}")
    _await_ready(record, paths)
    return replace(record, node=nodes[0].id, uid=_uid(record, paths)).save(paths)


def _note(record: Record, origins: dict[str, str], paths: Paths) -> Facts:
    """Note what is true of this machine."""
    ports = {"kong": record.kong_port, "kube-apiserver": record.api_port}
    facts = Facts(ports=ports, charts={}, origins=origins, istiod="", not_shown="", kind=KIND, cluster=record.uid)
    if Facts.load(paths.facts) != facts:
        facts.save(paths.facts)
    return facts


def _origins(committed: dict[str, str]) -> dict[str, str]:
    """Say where each chart comes from: real images go with the published charts alone. Raises `SandboxError`."""
    open_names = [name for name in CHARTS if name not in committed]
    reachable = chart_sources.reachable_repositories({CHARTS[name].repository for name in open_names})
    if missing := sorted({CHARTS[name].repository for name in open_names} - reachable):
        raise SandboxError(
            f"{missing[0]} does not answer, and containers need the published charts: connect to the network, name a mirror in "
            "the setting `charts` of Pulumi.sandbox.yaml, or take the simulated cluster: `make down`, then "
            "`make up SANDBOX=simulated`."
        )
    official = {name: f"{CHARTS[name].repository} {CHARTS[name].version} (official)" for name in open_names}
    return {name: f"{path} (settings)" for name, path in committed.items()} | official


# --- one that is there -------------------------------------------------------------------------------------------------


def _own_node(record: Record, runtime: Runtime) -> Node | None:
    """Return the node's container; nothing where it is gone. Raises `SandboxError` for somebody else's of that name."""
    nodes = runtime.nodes(record.cluster)
    if record.is_made and nodes and record.node not in {node.id for node in nodes}:
        raise SandboxError(
            f"the kind cluster {record.cluster} is not the one that this sandbox has made, and is left alone: delete it with "
            f"`kind delete cluster --name {record.cluster}`, and run `make up` again"
        )
    return next((node for node in nodes if node.id == record.node), None)


def _start(node: Node, runtime: Runtime, record: Record, paths: Paths) -> None:
    if not node.runs:
        print(f"the node {node.name} does not run; starting it", flush=True)
        runtime.start(node)
    if not paths.kubeconfig.exists():
        kind_program.write_kubeconfig(record, runtime, paths)
    _await_ready(record, paths)
    if _uid(record, paths) != record.uid:
        raise SandboxError(f"another cluster than the recorded one answers at 127.0.0.1:{record.api_port}. {_AGAIN}")


def _api_server(record: Record, paths: Paths) -> Cluster:
    return Cluster(str(paths.kubeconfig), f"kind-{record.cluster}")


def _await_ready(record: Record, paths: Paths) -> None:
    cluster, deadline = _api_server(record, paths), time.monotonic() + _READY_SECONDS
    while not cluster.is_ready():
        if time.monotonic() > deadline:
            raise SandboxError(
                f"the API server of {record.cluster} did not become ready in {_READY_SECONDS} s. {_AGAIN}"
            )
        time.sleep(0.5)


def _uid(record: Record, paths: Paths) -> str:
    try:
        found = _api_server(record, paths).get("namespace", "kube-system")
    except ClusterError as problem:
        raise SandboxError(f"{problem} {_AGAIN}") from None
    return str(found["metadata"]["uid"]) if found else ""


# --- its end -----------------------------------------------------------------------------------------------------------


def _delete(record: Record, runtime: Runtime, paths: Paths) -> None:
    """Delete the cluster's containers and volumes, by kind where it is at hand. Raises `SandboxError`."""
    nodes = runtime.nodes(record.cluster)
    if record.is_made and nodes and record.node not in {node.id for node in nodes}:
        # Somebody has made another one of that name since.
        return
    program = tools.find_by_name("kind")
    if program and nodes:
        kind_program.delete(program, record, runtime, paths)
    for node in runtime.nodes(record.cluster):
        runtime.remove(node)


def _keep_only_the_record(record: Record, paths: Paths) -> None:
    """Remove all else: without its cluster, the stack's state is about nothing."""
    record.save(paths)
    for path in paths.sandbox.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != paths.kind_record:
            path.unlink()


def can_be_had() -> Path:
    """Return the program kind, having it obtained where need be. Raises `SandboxError`."""
    return tools.ensure(["kind"])["kind"]


__all__ = ["NoAnswerError", "Status", "can_be_had", "check_size", "down", "status", "up"]
