"""A small stack that is moved from one Istio to another, and what can be seen of it meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml
from stack import Answer, Object, Stack, said

from kube import ClusterError
from sandbox import kwok_cluster

#: Of the stack, what is enough to see it move.
SMALL: Object = {
    "kong-istio:observability": {name: {"enabled": False} for name in ("prometheus", "grafana", "kiali")},
    "kong-istio:checks": {"enabled": False},
}
# The namespaces whose Deployments are looked at.
NAMESPACES = ("istio-system", "bookinfo", "kong-istio")
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Look:
    """What there was at a moment. Deployments are `<namespace>/<name>`."""

    at: float
    #: Deployment -> how many pods are available, and how many are to be.
    available: dict[str, tuple[int, int]]
    #: Deployment -> revision and version of Istio in its pods -> how many of them are ready.
    ready: dict[str, Counter[str]]


class Lookout(threading.Thread):
    """Looks at the cluster several times a second."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.looks: list[Look] = []
        self._cluster = stack.cluster
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                self.looks.append(self._look())
            except ClusterError:
                continue

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _look(self) -> Look:
        deployments = [item for namespace in NAMESPACES for item in self._cluster.list("deployments", namespace)]
        ready: dict[str, Counter[str]] = {}
        for pod in (item for namespace in NAMESPACES for item in self._cluster.list("pods", namespace)):
            if _is_ready(pod):
                ready.setdefault(_deployment_of(pod), Counter())[istio_of(pod)] += 1
        available = {
            _name(item): (item["status"].get("availableReplicas", 0), item["spec"]["replicas"]) for item in deployments
        }
        return Look(time.monotonic(), available, ready)


def gaps(looks: list[Look]) -> list[str]:
    """Return where fewer pods of a Deployment were available than are to be, once they had been."""
    found: list[str] = []
    whole: set[str] = set()
    for look in looks:
        # One that was deleted and is made again has yet to come up.
        whole &= look.available.keys()
        for name, (now, wanted) in look.available.items():
            if now >= wanted:
                whole.add(name)
            elif name in whole:
                found.append(f"{name}: {now} of {wanted} after {look.at - looks[0].at:.1f} s")
    return found


@dataclass
class Run:
    """One `up`: how long it took, what it changed, and what was seen meanwhile."""

    answer: Answer
    seconds: float
    #: What the engine says of each resource, in its order: `<operation> <type>::<name>`.
    operations: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def changes(self) -> Counter[str]:
        """Return how many resources were created, updated and so on."""
        return Counter(line.split()[0] for line in self.operations if not line.startswith("same"))


@dataclass
class Mover:
    """A stack in a sandbox of its own, whose settings of Istio change."""

    stack: Stack

    def settle(self, istio: Mapping[str, Any]) -> None:
        """Write the settings as somebody would who edits the stack file, and have the sandbox prepare for them."""
        file = self.stack.paths.committed_stack_file
        settings = yaml.safe_load(file.read_text())
        settings["config"] |= {**SMALL, "kong-istio:istio": dict(istio)}
        file.write_text(yaml.safe_dump(settings))
        kwok_cluster.up(self.stack.paths)

    def up(self, istio: Mapping[str, Any], *options: str) -> Run:
        """Run `up` with these settings; its failure is for the caller to judge."""
        self.settle(istio)
        log = self.stack.paths.sandbox / "events.json"
        log.unlink(missing_ok=True)
        started = time.monotonic()
        with self.watched() as lookout:
            answer = self._pulumi("up", "--yes", "--skip-preview", f"--event-log={log}", *options)
        return Run(answer, time.monotonic() - started, list(_operations(log.read_text())), lookout.looks)

    def preview(self, istio: Mapping[str, Any]) -> set[str]:
        """Return what an `up` with these settings would do, as `update Namespace bookinfo`."""
        self.settle(istio)
        answer = self._pulumi("preview", "--json")
        assert answer.returncode == 0, said(answer)
        steps = [(step["op"], step["urn"]) for step in json.loads(answer.stdout)["steps"]]
        return {f"{operation} {_short(urn)}" for operation, urn in steps if operation != "same"}

    @contextmanager
    def watched(self) -> Iterator[Lookout]:
        lookout = Lookout(self.stack)
        lookout.start()
        try:
            yield lookout
        finally:
            lookout.end()

    def sidecars(self, namespace: str) -> set[str]:
        """Return revision and version of the sidecars in a namespace, as `default 1.30.3`."""
        return {istio_of(pod) for pod in self.stack.cluster.list("pods", namespace)}

    def _pulumi(self, *arguments: str) -> Answer:
        file = self.stack.paths.stack_file.relative_to(self.stack.paths.root)
        options = ("--stack=sandbox", f"--config-file={file}", "--non-interactive")
        # It writes the events only where its own developers look.
        environment = {**self.stack.environment, "PULUMI_DEBUG_COMMANDS": "true"}
        return self.stack.project.run("pulumi", *arguments, *options, environment=environment)


def istio_of(pod: Object) -> str:
    """Return revision and version of a pod's sidecar, or of the istiod that it is, as `default 1.30.3`; empty without."""
    metadata = pod["metadata"]
    status = json.loads(metadata.get("annotations", {}).get("sidecar.istio.io/status", "{}"))
    revision = status.get("revision") or metadata["labels"].get("istio.io/rev")
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    images = [item["image"] for item in containers if item["name"] in ("istio-proxy", "discovery")]
    return f"{revision} {images[0].rpartition(':')[2].partition('-')[0]}" if images else ""


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)


def _operations(log: str) -> Iterator[str]:
    for line in log.splitlines():
        event = json.loads(line)
        done = event.get("resOutputsEvent")
        if done:
            yield f"{done['metadata']['op']} {_short(done['metadata']['urn'])}"


def _short(urn: str) -> str:
    kind, _, name = urn.rpartition("::")
    return f"{kind.rpartition(':')[2]} {name}"


def _name(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _deployment_of(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name'].rsplit('-', 2)[0]}"
