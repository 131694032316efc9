"""The istiods beside the simulated cluster, so that sidecars are really injected.

A simulated node runs no container, so the charts' istiods never answer. This watcher runs the real one on the host
for each Deployment of an istiod that the stack has installed, and ends it when that goes: istiod started before its
ConfigMap, which Helm creates ahead of the Deployment, never injects, and one that has outlived its mesh holds
certificates of a mesh that is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from kube import Cluster
from names import ISTIO_NAMESPACE
from sandbox import identity, isolation, istiod_process, processes
from sandbox.facts import Facts, held
from sandbox.istiod_process import Istiod, say
from sandbox.paths import CHECKOUT, Paths

_TICK = 0.2


def start_watcher(paths: Paths = CHECKOUT) -> None:
    """Start the watcher unless it runs."""
    if processes.recorded(watcher_record(paths)) is not None:
        return
    pid = processes.start_detached(
        [sys.executable, "-m", "sandbox.istiod_watcher", str(paths.root), paths.name],
        log=paths.logs / "watcher.log",
        folder=CHECKOUT.root,
        environment={
            **isolation.environment(paths),
            **identity.mark(paths, identity.ISTIOD),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    processes.record(watcher_record(paths), pid)


def stop_watcher(paths: Paths = CHECKOUT) -> None:
    """End the watcher, and the istiods, which end with it unless the watcher was killed."""
    for record in (watcher_record(paths), *istiod_process.records(paths)):
        processes.end_recorded(record)


def watcher_record(paths: Paths) -> Path:
    """Return where the watcher is recorded."""
    return paths.processes / "watcher.json"


class ControlPlanes(threading.Thread):
    """Knows the uid of the Deployment of each istiod that is to run, by its revision."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.uids: dict[str, str] = {}
        self._cluster = cluster

    def run(self) -> None:
        """Look for ever. While the API server can't be reached, what was known last holds."""
        while True:
            try:
                self.uids = self._look()
            # Whatever went wrong: without the look nobody would ever start or stop an istiod.
            except Exception as problem:
                say(f"looking again: {problem}")
                time.sleep(1)
            time.sleep(_TICK)

    def _look(self) -> dict[str, str]:
        found = self._cluster.list("deployments", ISTIO_NAMESPACE, labels="app=istiod")
        wanted = [item["metadata"] for item in found if item["spec"]["replicas"]]
        return {metadata["labels"]["istio.io/rev"]: metadata["uid"] for metadata in wanted}


def run(paths: Paths) -> None:
    """Keep the istiods as the cluster needs them until this process is no longer the recorded watcher."""
    facts = Facts.load(paths.facts)
    if facts is None or not facts.istiod:
        return
    istiods: dict[str, Istiod] = {}
    planes = ControlPlanes(Cluster(str(paths.kubeconfig), paths.context))
    planes.start()
    say("waiting for Istio to be installed")
    try:
        with held([port for ports in facts.istiods.values() for port in ports.values()]):
            while not _is_replaced(paths):
                uids = planes.uids
                istiods |= {revision: Istiod(revision, paths) for revision in uids.keys() - istiods.keys()}
                for revision, istiod in istiods.items():
                    istiod.serve(uids.get(revision, ""))
                time.sleep(_TICK)
    finally:
        for istiod in istiods.values():
            istiod.ask_to_end()
        for istiod in istiods.values():
            istiod.stop()


def _is_replaced(paths: Paths) -> bool:
    """Say whether the sandbox is gone, or has another watcher. `up` records us only once we run."""
    recorded = processes.recorded(watcher_record(paths))
    return not paths.sandbox.exists() or recorded not in (None, os.getpid())


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    run(Paths(Path(sys.argv[1]), sys.argv[2]))
