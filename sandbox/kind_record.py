"""What the kind sandbox has of its own, written down before it is made: only this is ever started, changed or deleted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from sandbox.paths import Paths


@dataclass(frozen=True)
class Record:
    """`cluster`: kind's name for it. `runtime`: the program whose container its node is.

    `kong_port`, `api_port`: on this machine's loopback. `node`: the container's id, and `uid`: of the namespace
    kube-system, both empty until the cluster is made.
    """

    cluster: str
    runtime: str
    kong_port: int
    api_port: int
    node: str = ""
    uid: str = ""

    @property
    def is_made(self) -> bool:
        """Whether the making came to its end."""
        return bool(self.uid)

    @classmethod
    def load(cls, paths: Paths) -> Record | None:
        """Read the record; nothing where this sandbox has no kind cluster."""
        try:
            return cls(**json.loads(paths.kind_record.read_text()))
        except FileNotFoundError:
            return None

    def save(self, paths: Paths) -> Record:
        """Write it down."""
        paths.sandbox.mkdir(parents=True, exist_ok=True)
        draft = paths.kind_record.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(paths.kind_record)
        return self

    def begun_anew(self) -> Record:
        """Return it for another cluster of the same name."""
        return replace(self, node="", uid="")


def cluster_name(paths: Paths) -> str:
    """Return a name that no other checkout's sandbox has, and no cluster of the user's.

    It is recorded: a checkout that is moved keeps the one that it has.
    """
    place = hashlib.sha256(str(paths.root).encode()).hexdigest()[:8]
    return f"{paths.cluster_name}-{place}"
