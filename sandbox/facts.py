"""What `up` found out about this machine, kept for as long as the sandbox."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

#: The kinds of a sandbox's cluster: kind's, with real pods, and the one whose nodes are simulated.
KIND, SIMULATED = "kind", "simulated"

#: Everything in a simulated sandbox that listens, always on 127.0.0.1.
PORTS = (
    "etcd",
    "etcd-peer",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
)
#: What an istiod listens at, on 127.0.0.1 as well.
ISTIOD_PORTS = ("webhooks", "grpc", "secure-grpc", "http", "monitoring")
#: Istio's name for the revision of a control plane that was given none.
DEFAULT_REVISION = "default"

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
    #: What the sandbox's cluster is.
    kind: str = SIMULATED
    #: Revision of a control plane -> the ports of its istiod, which its webhooks are called at.
    istiods: dict[str, dict[str, int]] = field(default_factory=dict)

    def with_istiods(self, revisions: Iterable[str]) -> Facts:
        """Return the facts with ports for the istiod of each revision; one that has some keeps them."""
        istiods = dict(self.istiods)
        for revision in revisions:
            taken = {*self.ports.values(), *(port for ports in istiods.values() for port in ports.values())}
            istiods.setdefault(revision, free_ports(ISTIOD_PORTS, taken))
        return replace(self, istiods=istiods)

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


def free_ports(names: Sequence[str] = PORTS, taken: Container[int] = ()) -> dict[str, int]:
    """Find a port for each name that is free on loopback, and not taken by what may not run at the moment."""
    candidates = iter(random.sample(_RANGE, len(_RANGE)))
    free = (port for port in candidates if port not in taken and _is_free(port))
    return dict(zip(names, free, strict=False))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
