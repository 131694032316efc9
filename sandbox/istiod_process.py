"""One istiod beside the simulated cluster: how it is run, and kept running.

Those of several control planes run the same program: what tells their sidecars apart is the chart that each was
installed by, whose ConfigMap says what is injected. A ConfigMap that changes is read anew by istiod itself.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from names import INJECTOR_WEBHOOK, ISTIO_NAMESPACE, ISTIOD, VALIDATOR_WEBHOOKS
from sandbox import identity, processes
from sandbox.facts import DEFAULT_REVISION, Facts
from sandbox.paths import Paths

_LONGEST_PAUSE = 30.0
_LISTENERS = {
    "--httpsAddr": "webhooks",
    "--grpcAddr": "grpc",
    "--secureGRPCAddr": "secure-grpc",
    "--httpAddr": "http",
    "--monitoringAddr": "monitoring",
}


def running(paths: Paths) -> dict[str, int]:
    """Return the istiods that run: name to process id."""
    found = {record.stem: processes.recorded(record) for record in records(paths)}
    return {name: pid for name, pid in found.items() if pid is not None}


def records(paths: Paths) -> list[Path]:
    """Return where the istiods that were started are recorded."""
    return sorted(paths.processes.glob(f"{ISTIOD}*.json"))


def name_of(revision: str) -> str:
    """Return what the chart calls the Deployment of a revision."""
    return ISTIOD if revision == DEFAULT_REVISION else f"{ISTIOD}-{revision}"


def command(program: str, ports: Mapping[str, int], paths: Paths) -> list[str]:
    """Return the command that runs an istiod, with every listener on loopback."""
    return [
        program,
        "discovery",
        f"--kubeconfig={paths.kubeconfig}",
        *(f"{flag}=127.0.0.1:{ports[name]}" for flag, name in _LISTENERS.items()),
        "--ctrlz_port=0",
        "--shutdownDuration=1s",
    ]


def environment(revision: str, folder: Path, paths: Paths) -> dict[str, str]:
    """Return what the chart's Deployment would give istiod, as far as it holds outside of a cluster."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        **identity.mark(paths, identity.ISTIOD),
        "POD_NAMESPACE": ISTIO_NAMESPACE,
        "POD_NAME": f"{name_of(revision)}-sandbox",
        # By its label, istiod finds its webhooks and its ConfigMaps. The two names below only say that it shall.
        "REVISION": revision,
        "CLUSTER_ID": "Kubernetes",
        "PILOT_CERT_PROVIDER": "istiod",
        # Puts localhost, where the webhooks are called, into istiod's certificate.
        "ISTIOD_CUSTOM_HOST": "localhost",
        "INJECTION_WEBHOOK_CONFIG_NAME": INJECTOR_WEBHOOK,
        "VALIDATION_WEBHOOK_CONFIG_NAME": VALIDATOR_WEBHOOKS[0],
        # What several would write is the same, as they share the CA in istio-ca-secret. The lease of one that was
        # killed would hold up the next.
        "ENABLE_LEADER_ELECTION": "false",
    }


class Istiod:
    """The istiod of a revision: run for one Deployment, restarted if it ends."""

    def __init__(self, revision: str, paths: Paths) -> None:
        self._revision = revision
        self._paths = paths
        self._name = name_of(revision)
        self._process: subprocess.Popen[bytes] | None = None
        self._serves = ""
        self._started = 0.0
        self._pause = 0.0

    def serve(self, uid: str) -> None:
        """Run for the Deployment of this uid; not at all if there is none."""
        if uid != self._serves:
            self.stop()
            self._serves, self._pause = uid, 0.0
        if uid and self._is_due():
            self._start()

    def ask_to_end(self) -> None:
        """Have it end soon, while others are told the same."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End it if it runs."""
        if self._process is None:
            return
        self.ask_to_end()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        say(f"{self._name} stopped")
        self._process = None
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self._paths.processes / f"{self._name}.json"

    @property
    def _log(self) -> Path:
        return self._paths.logs / f"{self._name}.log"

    def _is_due(self) -> bool:
        code = self._process.poll() if self._process else None
        if (self._process and code is None) or time.monotonic() < self._started + self._pause:
            return False
        if self._process:
            say(f"{self._name} ended with code {code}; its log is {self._log}")
        return True

    def _start(self) -> None:
        self._pause = min(max(1.0, self._pause * 2), _LONGEST_PAUSE)
        self._started = time.monotonic()
        # Read anew, as an `up` may have added the revision.
        facts = Facts.load(self._paths.facts)
        if facts is None or self._revision not in facts.istiods:
            say(f"{self._name} has no ports: name its revision in Pulumi.sandbox.yaml, then `python -m sandbox up`")
            return
        folder = self._paths.istiod / self._revision
        folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command(facts.istiod, facts.istiods[self._revision], self._paths),
                cwd=folder,
                env=environment(self._revision, folder, self._paths),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=processes.PRIVATE,
            )
        processes.record(self._record, self._process.pid)
        say(f"{self._name} started, process {self._process.pid}")


def say(text: str) -> None:
    """Write a line into the watcher's log."""
    print(time.strftime("%H:%M:%S"), text, flush=True)
