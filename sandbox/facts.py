"""What `up` found out about this machine, kept for as long as the sandbox."""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
    #: The UID of the cluster, by which it is told from any other.
    cluster: str = ""
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
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, path: Path) -> None:
        """Write the facts."""
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(path)


def free_ports(names: Sequence[str] = PORTS, taken: Container[int] = ()) -> dict[str, int]:
    """Find a port for each name that is free on loopback, and not taken by what may not run at the moment."""
    candidates = iter(random.sample(_RANGE, len(_RANGE)))
    free = (port for port in candidates if port not in taken and is_free(port))
    return dict(zip(names, free, strict=False))


def is_free(port: int) -> bool:
    """Return whether nobody has a port on loopback."""
    with suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False


def can_serve(port: int) -> bool:
    """Return whether a server may listen on a port: what is left of an earlier one's connections keeps no server out."""
    with suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        probe.listen()
        return True
    return False


@contextmanager
def held(ports: Collection[int]) -> Iterator[None]:
    """Keep others from finding ports free, as far as the system can; the servers that they are meant for get them.

    On Linux a socket that is bound and does not listen lets in who wants to use the address again, as Go's servers do, and
    nobody else. Elsewhere it would let in nobody.
    """
    with ExitStack() as stack:
        for port in ports if sys.platform == "linux" else ():
            with suppress(OSError):
                holder = stack.enter_context(socket.socket())
                holder.bind(("127.0.0.1", port))
                # Only now: before, it would share a port with another holder.
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield
