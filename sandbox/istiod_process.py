"""Istiod beside the simulated cluster, so that sidecars are really injected.

A simulated node runs no container, so the chart's istiod never answers. This watcher runs the real one on the
host whenever the stack has installed Istio: istiod started before the ConfigMap `istio-sidecar-injector` exists
never injects, and one that has outlived it holds certificates of a mesh that is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from kube import Cluster
from names import INJECTOR_WEBHOOK, ISTIO_NAMESPACE, VALIDATOR_WEBHOOKS
from sandbox import processes
from sandbox.facts import Facts
from sandbox.paths import CHECKOUT, Paths

# So long one watch is followed; then the next one is.
_WATCH_SECONDS = 3600
_TICK = 0.2
_LONGEST_PAUSE = 30.0


def start_watcher(paths: Paths = CHECKOUT) -> None:
    """Start the watcher unless it runs."""
    if processes.recorded(watcher_record(paths)) is not None:
        return
    pid = processes.start_detached(
        [sys.executable, "-m", "sandbox.istiod_process", str(paths.root), paths.name],
        log=paths.logs / "watcher.log",
        folder=CHECKOUT.root,
        environment={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    processes.record(watcher_record(paths), pid)


def stop_watcher(paths: Paths = CHECKOUT) -> None:
    """End the watcher, and istiod, which ends with it unless the watcher was killed."""
    processes.end_recorded(watcher_record(paths))
    processes.end_recorded(istiod_record(paths))


def watcher_record(paths: Paths) -> Path:
    """Return where the watcher is recorded."""
    return paths.processes / "watcher.json"


def istiod_record(paths: Paths) -> Path:
    """Return where istiod is recorded."""
    return paths.processes / "istiod.json"


def command(facts: Facts, paths: Paths) -> list[str]:
    """Return the command that runs istiod, with every listener on loopback."""
    addresses = {
        "--httpsAddr": "istiod-webhooks",
        "--grpcAddr": "istiod-grpc",
        "--secureGRPCAddr": "istiod-secure-grpc",
        "--httpAddr": "istiod-http",
        "--monitoringAddr": "istiod-monitoring",
    }
    return [
        facts.istiod,
        "discovery",
        f"--kubeconfig={paths.kubeconfig}",
        *(f"{flag}=127.0.0.1:{facts.ports[name]}" for flag, name in addresses.items()),
        "--ctrlz_port=0",
        "--shutdownDuration=1s",
    ]


def environment(paths: Paths) -> dict[str, str]:
    """Return what the chart's Deployment would give istiod, as far as it holds outside of a cluster."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(paths.istiod),
        "POD_NAMESPACE": ISTIO_NAMESPACE,
        "POD_NAME": "istiod-sandbox",
        "REVISION": "default",
        "CLUSTER_ID": "Kubernetes",
        "PILOT_CERT_PROVIDER": "istiod",
        # Puts localhost, where the webhooks are called, into istiod's certificate.
        "ISTIOD_CUSTOM_HOST": "localhost",
        "INJECTION_WEBHOOK_CONFIG_NAME": INJECTOR_WEBHOOK,
        "VALIDATION_WEBHOOK_CONFIG_NAME": VALIDATOR_WEBHOOKS[0],
        # Nobody to elect from, and the lease of one that was killed would hold up the next.
        "ENABLE_LEADER_ELECTION": "false",
    }


class Istiod:
    """The istiod process: run for one ConfigMap, restarted if it ends."""

    def __init__(self, facts: Facts, paths: Paths) -> None:
        self._facts = facts
        self._paths = paths
        self._process: subprocess.Popen[bytes] | None = None
        self._serves = ""
        self._started = 0.0
        self._pause = 0.0

    def serve(self, uid: str) -> None:
        """Run for the ConfigMap of this uid; not at all if there is none."""
        if uid != self._serves:
            self.stop()
            self._serves, self._pause = uid, 0.0
        if uid and self._is_due():
            self._start()

    def stop(self) -> None:
        """End istiod if it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _say("istiod stopped")
        self._process = None
        istiod_record(self._paths).unlink(missing_ok=True)

    def _is_due(self) -> bool:
        if self._process is None:
            return True
        code = self._process.poll()
        if code is None or time.monotonic() < self._started + self._pause:
            return False
        _say(f"istiod ended with code {code}; its log is {self._paths.logs / 'istiod.log'}")
        return True

    def _start(self) -> None:
        self._pause = min(max(1.0, self._pause * 2), _LONGEST_PAUSE)
        self._started = time.monotonic()
        self._paths.istiod.mkdir(parents=True, exist_ok=True)
        with (self._paths.logs / "istiod.log").open("ab") as log:
            self._process = subprocess.Popen(
                command(self._facts, self._paths),
                cwd=self._paths.istiod,
                env=environment(self._paths),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        processes.record(istiod_record(self._paths), self._process.pid)
        _say(f"istiod started, process {self._process.pid}")


class InjectorWatch(threading.Thread):
    """Knows the uid of the injector's ConfigMap, which has the name of its webhook."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.uid = ""
        self._cluster = cluster

    def run(self) -> None:
        """Watch for ever. While the API server can't be reached, what was known last holds."""
        while True:
            try:
                for found in self._cluster.follow("configmap", INJECTOR_WEBHOOK, ISTIO_NAMESPACE, _WATCH_SECONDS):
                    self.uid = found["metadata"]["uid"] if found else ""
            # Whatever went wrong: without the watch nobody would ever start or stop istiod.
            except Exception as problem:
                _say(f"watching again: {problem}")
                time.sleep(1)


def run(paths: Paths) -> None:
    """Keep istiod as the cluster needs it until this process is no longer the recorded watcher."""
    facts = Facts.load(paths.facts)
    if facts is None or not facts.istiod:
        return
    # A watcher that was killed leaves its istiod behind, on the ports that ours needs.
    processes.end_recorded(istiod_record(paths))
    istiod = Istiod(facts, paths)
    watch = InjectorWatch(Cluster(str(paths.kubeconfig), paths.context))
    watch.start()
    _say("waiting for Istio to be installed")
    try:
        while not _is_replaced(paths):
            istiod.serve(watch.uid)
            time.sleep(_TICK)
    finally:
        istiod.stop()


def _is_replaced(paths: Paths) -> bool:
    """Say whether the sandbox is gone, or has another watcher. `up` records us only once we run."""
    recorded = processes.recorded(watcher_record(paths))
    return not paths.sandbox.exists() or recorded not in (None, os.getpid())


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    run(Paths(Path(sys.argv[1]), sys.argv[2]))
