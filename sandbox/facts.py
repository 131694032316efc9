"""What `up` found out about this machine, kept for as long as the sandbox."""

from __future__ import annotations

import json
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

#: Everything in a sandbox that listens, always on 127.0.0.1.
PORTS = (
    "etcd",
    "etcd-peer",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
    "istiod-webhooks",
    "istiod-grpc",
    "istiod-secure-grpc",
    "istiod-http",
    "istiod-monitoring",
)

# Below what Linux (32768) and macOS (49152) lend to outgoing connections: istiod's ports stay free until it comes.
_RANGE = range(20000, 32000)


@dataclass(frozen=True)
class Facts:
    """Ports, where each chart comes from, and istiod."""

    ports: dict[str, int]
    #: Charts whose repository is out of reach: name to path, relative to the checkout.
    charts: dict[str, str]
    #: For every chart, where it comes from, in words.
    origins: dict[str, str]
    #: The program; empty where it cannot be obtained.
    istiod: str
    #: Why sidecar injection is not shown; empty where it is.
    not_shown: str

    @classmethod
    def load(cls, path: Path) -> Facts | None:
        """Read the facts; nothing if no `up` has come to its end."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None

    def save(self, path: Path) -> None:
        """Write the facts."""
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(path)


def free_ports() -> dict[str, int]:
    """Find a port that is free on loopback for everything that listens."""
    candidates = random.sample(_RANGE, len(_RANGE))
    return {name: next(port for port in iter(candidates.pop, None) if _is_free(port)) for name in PORTS}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
