"""Which sandbox this is: told by its processes and its cluster, not by names or by where its folder lies."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from kube import Cluster, ClusterError
from sandbox import SandboxError, processes
from sandbox.facts import Facts
from sandbox.paths import Paths

_FILE = "identity.json"
# In the environment of whatever a sandbox starts that may outlive the command: it is there from the process' first
# moment, while a record comes too late where the command is killed.
_MARK = "KONG_ISTIO_SANDBOX_PROCESS"
#: Of the control plane's processes, of istiod's and its watcher's, and of those that work on the stack.
CONTROL_PLANE, ISTIOD, STACK = "control-plane", "istiod", "stack"


def create(paths: Paths) -> None:
    """Give a new sandbox its id."""
    paths.identity.write_text(json.dumps({"id": secrets.token_hex(8), "folder": str(paths.sandbox)}) + "\n")


def mark(paths: Paths, role: str) -> dict[str, str]:
    """Return what a process of this sandbox carries in its environment."""
    return {_MARK: f"{_id(paths.sandbox)}.{role}"}


def running(paths: Paths, role: str = "") -> list[int]:
    """Return the ids of the processes that this sandbox has started and that still run."""
    known = _id(paths.sandbox)
    return processes.carrying(f"{_MARK}={known}.{role}") if known else []


def orphans(paths: Paths) -> list[int]:
    """Return the processes of a sandbox whose folder was deleted from under it, as `git clean` does."""
    return [pid for pid in processes.carrying(f"{_MARK}=") if processes.lost_folder(pid, paths.sandbox)]


def former_folder(paths: Paths) -> Path | None:
    """Return where the sandbox was before its checkout was moved or copied; nothing if it was not."""
    folder = _read(paths.sandbox).get("folder") or str(paths.sandbox)
    return Path(folder) if folder != str(paths.sandbox) else None


def is_copy(paths: Paths) -> bool:
    """Return whether this is the copy of a sandbox that is still where it was: what runs is the other's."""
    former = former_folder(paths)
    return bool(former and _id(former) == _id(paths.sandbox))


def settle(paths: Paths) -> None:
    """Note that the sandbox is where it is now."""
    paths.identity.write_text(json.dumps(_read(paths.sandbox) | {"folder": str(paths.sandbox)}) + "\n")


def prove(facts: Facts, paths: Paths) -> str:
    """Return the UID of the sandbox's cluster. Raises where its kubeconfig leads to another one than was recorded at its start."""
    try:
        found = Cluster(str(paths.kubeconfig), paths.context).uid()
    except ClusterError as problem:
        raise SandboxError(str(problem)) from None
    if facts.cluster not in ("", found):
        raise SandboxError(elsewhere(paths))
    return found


def elsewhere(paths: Paths) -> str:
    """Say that the kubeconfig leads to another cluster."""
    return (
        f"{paths.kubeconfig} leads to another cluster than the sandbox's, so nothing is done there: delete that file, "
        "and `make up` writes it anew."
    )


def _id(folder: Path) -> str:
    return str(_read(folder).get("id", ""))


def _read(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / _FILE).read_text()))
    except (OSError, ValueError):
        return {}
