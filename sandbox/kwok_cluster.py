"""The sandbox's life: `up`, `down` and `status`."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kube import Cluster, ClusterError
from sandbox import (
    SandboxError,
    chart_sources,
    isolation,
    istio_settings,
    istiod_process,
    istiod_watcher,
    machine_settings,
    processes,
    sandbox_folder,
    tools,
)
from sandbox.facts import Facts, free_ports
from sandbox.locks import locked
from sandbox.paths import CHECKOUT, Paths
from sandbox.programs import TOOLS

#: kwokctl's names for what it starts, in the order in which they may be killed.
COMPONENTS = ("kwok-controller", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")

# Nodes, pods and Services have ranges of their own; kwok's default for pods lies in the API server's default for
# Services. The last is a /24 because stages.yaml makes
# addresses for load balancers in 192.0.2.0/24, a range for documentation, from it.
_POD_RANGE = "10.244.0.1/16"
_SERVICE_RANGE = "10.96.0.0/24"
_CONTROL_PLANE_ADDRESS = "10.64.0.254"
_NODE_ADDRESSES = ("10.64.0.1", "10.64.0.2")
_WAITING = "another `up` or `down` of this sandbox is running; waiting for it"
_RESTART = "Run `python -m sandbox down`, then `up`; the stack in it goes with it."


@dataclass(frozen=True)
class Status:
    """What runs of a sandbox."""

    #: An `up` came to its end.
    exists: bool
    #: Component to process id, or nothing.
    components: dict[str, int | None]
    ready: bool
    watcher: bool
    #: Those that run: name to process id.
    istiods: dict[str, int]
    facts: Facts | None

    @property
    def live(self) -> bool:
        """Whether the control plane is whole and answers."""
        return self.exists and self.ready and all(self.components.values())

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What runs, for people."""
        rows = [(name, f"runs, process {pid}" if pid else "does not run") for name, pid in self.components.items()]
        rows.append(("API server", "ready" if self.ready else "does not answer"))
        if self.facts and not self.facts.not_shown:
            waits = "waits for Istio to be installed" if self.watcher else "does not run"
            istiods = {name: f"runs, process {pid}" for name, pid in self.istiods.items()}
            rows += (istiods or {"istiod": waits}).items()
        return rows


def status(paths: Paths = CHECKOUT) -> Status:
    """Find out what runs."""
    facts = Facts.load(paths.facts)
    components = {name: _component(name, paths) for name in COMPONENTS}
    runs = facts is not None and components["kube-apiserver"] is not None
    return Status(
        exists=facts is not None,
        components=components,
        ready=runs and api_server(paths).is_ready(),
        watcher=processes.recorded(istiod_watcher.watcher_record(paths)) is not None,
        istiods=istiod_process.running(paths),
        facts=facts,
    )


def api_server(paths: Paths) -> Cluster:
    """Return the sandbox's own cluster; its kubeconfig may yet have to be written."""
    return Cluster(str(paths.kubeconfig), paths.context)


def up(paths: Paths = CHECKOUT) -> Facts:
    """Bring the sandbox up unless it is; fix it if half of it ended."""
    with locked(paths.root, waiting=_WAITING):
        found = status(paths)
        facts = found.facts
        if facts is None:
            facts = _create(paths)
        elif not found.live:
            _fix(found, paths)
        facts = _with_istiods(facts, paths)
        if not facts.not_shown:
            istiod_watcher.start_watcher(paths)
        machine_settings.write(facts, paths)
    return facts


def down(paths: Paths = CHECKOUT) -> bool:
    """End everything that runs and remove every trace; say whether there was anything."""
    if not paths.sandbox.exists():
        return False
    with locked(paths.root, waiting=_WAITING):
        _remove(paths)
    return True


def _with_istiods(facts: Facts, paths: Paths) -> Facts:
    """Have what the control planes in the settings need: charts of their versions, and ports for each istiod."""
    istio = machine_settings.istio(paths)
    istio_settings.copy_charts(facts, istio, paths)
    found = facts.with_istiods(istio_settings.revisions(istio))
    if found != facts:
        found.save(paths.facts)
    return found


def _remove(paths: Paths) -> None:
    _stop(paths)
    shutil.rmtree(paths.sandbox)


def _stop(paths: Paths) -> None:
    istiod_watcher.stop_watcher(paths)
    for name in COMPONENTS:
        if (pid := _component(name, paths)) is not None:
            # Nothing is to be saved, and the API server takes its time over a polite end.
            processes.end(pid, grace=0)


def _component(name: str, paths: Paths) -> int | None:
    """Return the id of a component that runs: kwokctl's own records don't tell it from a later process."""
    try:
        pid = int(_pid_file(name, paths).read_text())
    except (OSError, ValueError):
        return None
    return pid if str(paths.cluster) in processes.command_line(pid) else None


def _pid_file(name: str, paths: Paths) -> Path:
    return paths.cluster / "pids" / f"{name}.pid"


# --- a new sandbox --------------------------------------------------------------------------------------------


def _create(paths: Paths) -> Facts:
    if paths.sandbox.exists():
        # What an `up` that failed has left, kept until now for its logs.
        _remove(paths)
    try:
        return _start(paths)
    except BaseException:
        _stop(paths)
        raise


def _start(paths: Paths) -> Facts:
    committed_charts = machine_settings.committed_charts(paths)
    programs = tools.ensure(tools.CONTROL_PLANE)
    istiod_program, not_shown = _istiod_program()
    sandbox_folder.prepare(programs, paths)
    ports = free_ports()
    with ThreadPoolExecutor(1) as pool:
        resolving = pool.submit(chart_sources.resolve, committed_charts, paths)
        _kwokctl("create", _create_arguments(programs, ports, paths), paths)
        cluster = api_server(paths)
        _await_ready(cluster)
        _create_nodes(cluster)
        sources = resolving.result()
    facts = Facts(
        ports=ports,
        charts={name: source.path for name, source in sources.items() if source.path},
        origins={name: source.origin for name, source in sources.items()},
        istiod=istiod_program,
        not_shown=not_shown,
    )
    facts.save(paths.facts)
    return facts


def _istiod_program() -> tuple[str, str]:
    """Return istiod, or why there is none. The sandbox is of use without it."""
    try:
        return str(tools.ensure([tools.ISTIOD])[tools.ISTIOD]), ""
    except SandboxError as problem:
        return "", str(problem)


def _create_arguments(programs: Mapping[str, Path], ports: Mapping[str, int], paths: Paths) -> list[str]:
    options = {
        "bindAddress": "127.0.0.1",
        "etcdPeerPort": ports["etcd-peer"],
        "kubectlBinary": str(programs["kubectl"]),
    }
    configuration = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
    }
    (paths.sandbox / "kwokctl.yaml").write_text(yaml.safe_dump(configuration))
    binaries = {
        "etcd": "etcd",
        "kube-apiserver": "kube-apiserver",
        "kube-controller-manager": "kube-controller-manager",
        "kube-scheduler": "kube-scheduler",
        "kwok-controller": "kwok",
    }
    return [
        "--runtime=binary",
        f"--config={paths.sandbox / 'kwokctl.yaml'}",
        f"--config={Path(__file__).with_name('stages.yaml')}",
        # Without it, kwokctl writes to the user's own.
        f"--kubeconfig={paths.kubeconfig}",
        "--disable-qps-limits",
        *(f"--{component}-binary={programs[program]}" for component, program in binaries.items()),
        f"--etcd-port={ports['etcd']}",
        f"--kube-apiserver-port={ports['kube-apiserver']}",
        f"--kube-controller-manager-port={ports['kube-controller-manager']}",
        f"--kube-scheduler-port={ports['kube-scheduler']}",
        f"--controller-port={ports['kwok-controller']}",
        f"--extra-args=kube-apiserver=service-cluster-ip-range={_SERVICE_RANGE}",
        f"--extra-args=kwok-controller=cidr={_POD_RANGE}",
        # It refuses to start where it finds no address to advertise, as on a machine without a network, and
        # takes none that is on loopback.
        f"--extra-args=kube-apiserver=advertise-address={_CONTROL_PLANE_ADDRESS}",
    ]


def _kwokctl(verb: str, arguments: list[str], paths: Paths) -> None:
    log = paths.logs / "kwokctl.log"
    with log.open("ab") as output:
        code = subprocess.run(
            ["kwokctl", verb, "cluster", f"--name={paths.cluster_name}", *arguments],
            executable=paths.programs / "kwokctl",
            env=isolation.environment(paths),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise SandboxError(
            f"the control plane did not start: {lines[-1] if lines else 'kwokctl said nothing'}. "
            f"The whole story is in {log} and {paths.cluster / 'logs'}."
        )


def _await_ready(cluster: Cluster) -> None:
    deadline = time.monotonic() + 60
    while not cluster.is_ready():
        if time.monotonic() > deadline:
            raise SandboxError(f"the API server did not become ready within a minute. {_RESTART}")
        time.sleep(0.1)


def _create_nodes(cluster: Cluster) -> None:
    try:
        names = [
            cluster.create(_node(number, address))["metadata"]["name"]
            for number, address in enumerate(_NODE_ADDRESSES, start=1)
        ]
        problem = "" if all(cluster.wait_until("node", name, "", _is_ready, 30) for name in names) else "time is up"
    except ClusterError as error:
        problem = str(error).rstrip(".")
    if problem:
        raise SandboxError(f"the simulated nodes did not become ready: {problem}. {_RESTART}")


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def _node(number: int, address: str) -> dict[str, object]:
    """Describe a node of a usual size, so that requests which no node could meet fail here too."""
    size = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    name = f"sandbox-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": size,
            "capacity": size,
            "nodeInfo": {
                "architecture": "amd64",
                "containerRuntimeVersion": f"kwok://{TOOLS['kwok'].version}",
                # From 1.33 on Istio injects its proxy as a native sidecar.
                "kubeletVersion": f"v{TOOLS['kube-apiserver'].version}",
                "operatingSystem": "linux",
            },
        },
    }


# --- half of a sandbox has ended ---------------------------------------------------------------------------------


def _fix(found: Status, paths: Paths) -> None:
    """Start what ended; the cluster's data lies in `.sandbox` and is still there."""
    dead = [name for name, pid in found.components.items() if pid is None]
    print(f"not running: {', '.join(dead) or 'nothing, but the API server does not answer'}; fixing", flush=True)
    for name in dead:
        # kwokctl would take any process of this id for its own.
        _pid_file(name, paths).unlink(missing_ok=True)
    # The cache of tools may have been emptied since.
    tools.link(tools.ensure(tools.CONTROL_PLANE), paths)
    _kwokctl("start", [], paths)
    _await_ready(api_server(paths))
    if not status(paths).live:
        raise SandboxError(f"the sandbox is half dead and could not be fixed. {_RESTART}")
