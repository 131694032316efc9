"""The sandbox's life: `up`, `down` and `status`."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from kube import Cluster, ClusterError
from sandbox import (
    SandboxError,
    chart_sources,
    identity,
    isolation,
    istio_settings,
    istiod_process,
    istiod_watcher,
    machine_settings,
    processes,
    sandbox_folder,
    tools,
)
from sandbox.facts import Facts, can_serve, free_ports, held
from sandbox.locks import locked
from sandbox.paths import CHECKOUT, Paths
from sandbox.programs import TOOLS
from sandbox.slow_pods import STAGES, SlowPods, stages

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
_VITAL = ("etcd", "kube-apiserver")
_TRIES = 3
_TICK = 0.1
_MEGABYTES = 250
_LONGEST = 300
_IN_USE = "address already in use"
_DAY = 86400
_RESTART = "Run `python -m sandbox down`, then `up`; the stack in it goes with it."


class PortTakenError(SandboxError):
    """A component found that somebody else has taken its port since it was chosen."""


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
    components = _components(paths)
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


def up(paths: Paths = CHECKOUT, *, pods: SlowPods | None = None) -> Facts:
    """Bring the sandbox up unless it is; fix it if half of it ended.

    `pods`: how slow the Pods of a new one are; without it they are ready at once. One that is up keeps its own.
    """
    with _one_sentence(paths), locked(paths.root, waiting=_WAITING):
        processes.kill(identity.orphans(paths))
        if identity.is_copy(paths):
            shutil.rmtree(paths.sandbox)
        facts = Facts.load(paths.facts)
        facts = _fixed(facts, paths) if facts else _create(paths, pods)
        facts = _with_istiods(facts, paths)
        if not facts.not_shown:
            istiod_watcher.start_watcher(paths)
        machine_settings.write(facts, paths)
    return facts


def down(paths: Paths = CHECKOUT) -> bool:
    """End everything that runs and remove every trace; say whether there was anything."""
    orphans = identity.orphans(paths)
    processes.kill(orphans)
    if not paths.sandbox.exists():
        return bool(orphans)
    with _one_sentence(paths), locked(paths.root, waiting=_WAITING):
        _remove(paths)
    return True


def _with_istiods(facts: Facts, paths: Paths) -> Facts:
    """Have what the control planes in the settings need: charts of their versions, and ports for each istiod.

    Ports that somebody has taken while nobody held them are replaced.
    """
    istio = machine_settings.istio(paths)
    istio_settings.copy_charts(facts, istio, paths)
    kept = facts.istiods
    if not processes.recorded(istiod_watcher.watcher_record(paths)):
        # One that was killed leaves its istiods behind, on the ports that the next one's need.
        processes.kill(identity.running(paths, identity.ISTIOD))
        kept = {revision: ports for revision, ports in kept.items() if all(map(can_serve, ports.values()))}
    found = replace(facts, istiods=kept).with_istiods(istio_settings.revisions(istio))
    if found != facts:
        found.save(paths.facts)
    return found


@contextmanager
def _one_sentence(paths: Paths) -> Iterator[None]:
    """Say in one sentence what the system refused, such as to write to a full disk."""
    try:
        yield
    except OSError as problem:
        place = problem.filename or paths.sandbox
        raise SandboxError(
            f"{place}: {problem.strerror or problem}. Make room there, or give this user write access, and try again."
        ) from None


def _remove(paths: Paths) -> None:
    if not identity.is_copy(paths):
        _stop(paths)
    # Half a folder must not pass for a sandbox.
    paths.facts.unlink(missing_ok=True)
    shutil.rmtree(paths.sandbox)


def _stop(paths: Paths) -> None:
    istiod_watcher.stop_watcher(paths)
    # Nothing is to be saved, and the API server takes its time over a polite end. One may be about to start another.
    while left := {pid for pid in _components(paths).values() if pid} | set(identity.running(paths)):
        processes.kill(left)


def _components(paths: Paths) -> dict[str, int | None]:
    """Return the components' process ids, as far as they run: kwokctl's own records don't tell one from a later process."""
    ours = set(identity.running(paths, identity.CONTROL_PLANE))
    return {name: _recognised(_noted_id(name, paths), ours, paths) for name in COMPONENTS}


def _noted_id(name: str, paths: Paths) -> int:
    try:
        return int(_pid_file(name, paths).read_text())
    except (OSError, ValueError):
        return 0


def _recognised(pid: int, ours: Collection[int], paths: Paths) -> int | None:
    """Return the process id if it is a component's; where the environment can't be looked at, its command line tells."""
    return pid if pid and (pid in ours or str(paths.sandbox) in processes.command_line(pid)) else None


def _pid_file(name: str, paths: Paths) -> Path:
    return paths.cluster / "pids" / f"{name}.pid"


# --- a new sandbox --------------------------------------------------------------------------------------------


def _create(paths: Paths, pods: SlowPods | None) -> Facts:
    for tries_left in reversed(range(_TRIES)):
        if paths.sandbox.exists():
            # What an `up` that failed has left, kept until now for its logs.
            _remove(paths)
        try:
            return _start(paths, pods)
        except BaseException as problem:
            _stop(paths)
            if not (tries_left and isinstance(problem, PortTakenError)):
                raise
            print(f"{problem} Trying with other ports.", flush=True)
    raise AssertionError("the last try returns or raises")


def _start(paths: Paths, pods: SlowPods | None) -> Facts:
    committed_charts = machine_settings.committed_charts(paths)
    # What is built together takes half the time.
    programs = tools.ensure(tools.CONTROL_PLANE, optional=[tools.ISTIOD])
    istiod_program, not_shown = _istiod_program()
    _check_room(paths)
    sandbox_folder.prepare(programs, paths)
    ports = free_ports()
    with ThreadPoolExecutor(2) as pool, held(ports.values()):
        # The client's package takes its time, and this process has nothing to do but wait.
        pool.submit(import_module, "kubernetes.config")
        resolving = pool.submit(chart_sources.resolve, committed_charts, paths)
        _kwokctl("create", _create_arguments(programs, ports, _stages(pods, paths), paths), paths)
        cluster = api_server(paths)
        _await_ready(cluster, paths)
        _create_nodes(cluster)
        sources = resolving.result()
    facts = Facts(
        ports=ports,
        charts={name: source.path for name, source in sources.items() if source.path},
        origins={name: source.origin for name, source in sources.items()},
        istiod=istiod_program,
        not_shown=not_shown,
        cluster=cluster.uid(),
    )
    facts.save(paths.facts)
    return facts


def _check_room(paths: Paths) -> None:
    free = shutil.disk_usage(paths.root).free // 2**20
    if free < _MEGABYTES:
        raise SandboxError(
            f"{free} MB are free where {paths.root} lies, and a sandbox takes {_MEGABYTES} MB: make room there, and try again."
        )


def _istiod_program() -> tuple[str, str]:
    """Return istiod, or why there is none. The sandbox is of use without it."""
    try:
        return str(tools.ensure([tools.ISTIOD])[tools.ISTIOD]), ""
    except SandboxError as problem:
        return "", str(problem)


def _stages(pods: SlowPods | None, paths: Paths) -> Path:
    """Return the file of kwok's stages."""
    if pods is None:
        return STAGES
    written = paths.sandbox / "stages.yaml"
    written.write_text(stages(pods))
    return written


def _create_arguments(
    programs: Mapping[str, Path], ports: Mapping[str, int], kwok_stages: Path, paths: Paths
) -> list[str]:
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
        f"--config={kwok_stages}",
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
        # A member that is alone elects itself after a random time of up to the timeout, a second by default.
        "--extra-args=etcd=heartbeat-interval=50",
        # From here on only second ones: behind a component's second one, kwokctl 0.8 gives those of others to the wrong component.
        "--extra-args=etcd=election-timeout=250",
        # It refuses to start where it finds no address to advertise, as on a machine without a network, and
        # takes none that is on loopback.
        f"--extra-args=kube-apiserver=advertise-address={_CONTROL_PLANE_ADDRESS}",
    ]


def _kwokctl(verb: str, arguments: list[str], paths: Paths) -> None:
    """Run kwokctl until it ends, or until a component does that nothing works without."""
    command = ["kwokctl", verb, "cluster", f"--name={paths.cluster_name}", *arguments]
    log = paths.logs / "kwokctl.log"
    # From a variable it reads a folder up to the first blank only.
    paths.home.mkdir(exist_ok=True)
    if not (link := paths.home / ".kwok").is_symlink():
        link.symlink_to(Path("..") / paths.kwok.name)
    paths.kwok.mkdir(exist_ok=True)
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            executable=paths.programs / "kwokctl",
            env=isolation.environment(paths) | {"KWOK_WORKDIR": ""} | identity.mark(paths, identity.CONTROL_PLANE),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            umask=processes.PRIVATE,
        ) as process,
    ):
        while process.poll() is None:
            try:
                _refuse_ended(paths, _VITAL)
                process.wait(_TICK)
            except subprocess.TimeoutExpired:
                continue
            except BaseException:
                process.kill()
                raise
    if process.returncode:
        raise SandboxError(f"the control plane did not start: {_last_line(log)}. The whole story is in {log}.")


def _refuse_ended(paths: Paths, names: Collection[str] = COMPONENTS) -> None:
    """Raise for a component that ended, with what its log says."""
    for name, pid in _components(paths).items():
        if name in names and pid is None and _noted_id(name, paths):
            log = paths.cluster / "logs" / f"{name}.log"
            told = _last_line(log, _IN_USE, "no space left", "error", "Error")
            kind = PortTakenError if _IN_USE in told else SandboxError
            raise kind(f"{name} ended: {told}. The whole story is in {log}.")


def _last_line(log: Path, *telling: str) -> str:
    """Return the last line of a log that holds the first of some words that any line holds; else simply the last."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    for word in telling:
        if found := [line for line in lines if word in line]:
            return found[-1][:_LONGEST].rstrip(".")
    return lines[-1][:_LONGEST].rstrip(".") if lines else "it said nothing"


def _await_ready(cluster: Cluster, paths: Paths) -> None:
    deadline = time.monotonic() + 60
    while not cluster.is_ready():
        _refuse_ended(paths, _VITAL)
        if time.monotonic() > deadline:
            raise SandboxError(f"the API server did not become ready within a minute. {_RESTART}")
        time.sleep(_TICK)


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


# --- a sandbox that was moved, or half of which has ended ----------------------------------------------------------


def _fixed(facts: Facts, paths: Paths) -> Facts:
    """Start what ended; the cluster's data lies in the sandbox's folder and is still there."""
    _check_clock(paths)
    if not paths.identity.exists():
        # It was made by an earlier version.
        identity.create(paths)
    found = status(paths)
    former, taken = identity.former_folder(paths), _taken_ports(found, facts)
    if former or taken:
        _stop(paths)
        facts = replace(facts, ports=facts.ports | free_ports(list(taken)))
        ports = {str(port): str(facts.ports[name]) for name, port in taken.items()}
        _rewrite(({str(former): str(paths.sandbox)} if former else {}) | ports, paths)
        facts.save(paths.facts)
        identity.settle(paths)
        found = status(paths)
    _check_kubeconfig(paths)
    if not found.live:
        _restart(found, paths)
    identity.prove(facts, paths)
    return facts


def _check_clock(paths: Paths) -> None:
    """Raise where the cluster's certificates are not valid yet: kwokctl has them begin a day before they are made."""
    authority = paths.cluster / "pki" / "ca.crt"
    if authority.exists() and (behind := authority.stat().st_mtime - time.time()) > _DAY:
        raise SandboxError(
            f"this machine's clock is {behind / _DAY:.0f} days behind the day on which the sandbox was made, and its certificates "
            f"are not valid yet: set the clock. Or r{_RESTART[1:]}"
        )


def _taken_ports(found: Status, facts: Facts) -> dict[str, int]:
    """Return the ports of what does not run that somebody else has taken since."""
    dead = {name for name, pid in found.components.items() if pid is None}
    of_istiod = (
        set() if found.watcher or facts.not_shown else {name for name in facts.ports if name.startswith("istiod")}
    )
    mine = dead | ({"etcd-peer"} if "etcd" in dead else set()) | of_istiod
    return {name: port for name, port in facts.ports.items() if name in mine and not can_serve(port)}


def _rewrite(changes: Mapping[str, str], paths: Paths) -> None:
    """Have kwokctl's configuration and the kubeconfigs say something else, such as another folder."""
    for file in (paths.cluster / "kwok.yaml", _kwokctls_kubeconfig(paths), paths.kubeconfig):
        text = file.read_text()
        for old, new in changes.items():
            # A folder at the beginning of a path, or a port as a whole.
            text = re.sub(rf"(?<![\w/.]){re.escape(old)}(?!\w)", new.replace("\\", r"\\"), text)
        file.write_text(text)


def _check_kubeconfig(paths: Paths) -> None:
    """Write the sandbox's kubeconfig anew if it was deleted. Raises where it is another cluster's."""
    own = _kwokctls_kubeconfig(paths).read_text()
    if not paths.kubeconfig.exists():
        paths.kubeconfig.touch(mode=0o600)
        paths.kubeconfig.write_text(own)
    if _servers(paths.kubeconfig.read_text()) != _servers(own):
        raise SandboxError(identity.elsewhere(paths))


def _kwokctls_kubeconfig(paths: Paths) -> Path:
    return paths.cluster / "kubeconfig.yaml"


def _servers(kubeconfig: str) -> list[str]:
    return re.findall(r"^\s*server: *(\S+)", kubeconfig, re.MULTILINE)


def _restart(found: Status, paths: Paths) -> None:
    dead = [name for name, pid in found.components.items() if pid is None]
    print(f"not running: {', '.join(dead) or 'nothing, but the API server does not answer'}; fixing", flush=True)
    # What an `up` has started that was killed before it was noted.
    processes.kill(
        set(identity.running(paths, identity.CONTROL_PLANE)) - {pid for pid in found.components.values() if pid}
    )
    for name in dead:
        # kwokctl would take any process of this id for its own.
        _pid_file(name, paths).unlink(missing_ok=True)
    # The cache of tools may have been emptied since.
    tools.link(tools.ensure(tools.CONTROL_PLANE), paths)
    _kwokctl("start", [], paths)
    _await_ready(api_server(paths), paths)
    _refuse_ended(paths)
