"""Where everything of a sandbox lies."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from names import SANDBOX_NAME, sandbox_folder

#: kwokctl names the context after the cluster: `kwok-kong-istio`.
CLUSTER = "kong-istio"
CONTEXT = f"kwok-{CLUSTER}"

_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?)?")


class Paths:
    """The folders and files of one of a checkout's sandboxes."""

    def __init__(self, root: Path, name: str = "") -> None:
        self.root = root
        self.select(name)

    def select(self, name: str) -> None:
        """Mean the sandbox of this name from now on; without one, the checkout's usual one. Raises `ValueError`."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} names no sandbox: take at most 20 small letters, digits and hyphens.")
        root = self.root
        self.name = name
        #: The cluster's name, where a tool wants one.
        self.cluster_name = f"{CLUSTER}-{name}" if name else CLUSTER
        #: The git-ignored folder that everything lives in, and that `down` removes.
        self.sandbox = root / sandbox_folder(name)
        #: The stack's settings as committed.
        self.committed_stack_file = root / "Pulumi.sandbox.yaml"
        #: The stack's settings with what is true of this machine, for `pulumi --config-file`.
        self.stack_file = self.sandbox / "Pulumi.sandbox.yaml"
        #: It holds nothing but the sandbox.
        self.kubeconfig = self.sandbox / "kubeconfig"
        #: What a kind sandbox has of its own.
        self.kind_record = self.sandbox / "kind.json"
        #: Which sandbox this is, written before anything of it runs.
        self.identity = self.sandbox / "identity.json"
        #: What `up` found out about this machine.
        self.facts = self.sandbox / "facts.json"
        #: The passphrase of the stack's secrets.
        self.passphrase = self.sandbox / "passphrase"
        #: The folder that is Pulumi's backend.
        self.state = self.sandbox / "state"
        #: Links to the programs under their own names, for PATH.
        self.programs = self.sandbox / "bin"
        #: Charts prepared here because their repository is out of reach.
        self.charts = self.sandbox / "charts"
        #: The logs of what the sandbox itself starts; kwokctl's lie in `cluster / "logs"`.
        self.logs = self.sandbox / "logs"
        #: The home folder of programs that work on it: they shall find nothing of the user's.
        self.home = self.sandbox / "home"
        #: Where programs that work on the sandbox put what they need for a moment.
        self.temporary = self.sandbox / "tmp"
        #: Records of the processes that the sandbox itself started.
        self.processes = self.sandbox / "processes"
        #: The folder that kwokctl takes for its own, and the one that it gives the cluster.
        self.kwok = self.sandbox / "kwok"
        self.cluster = self.kwok / "clusters" / self.cluster_name
        #: Where the committed settings have the checks write their page.
        self.report = self.sandbox / "checks" / "report.html"
        #: The folder that istiod runs in, and writes its certificates to.
        self.istiod = self.sandbox / "istiod"

    @property
    def context(self) -> str:
        """The context in its kubeconfig, as kind or kwokctl names it after the cluster."""
        try:
            return f"kind-{json.loads(self.kind_record.read_text())['cluster']}"
        except FileNotFoundError:
            return f"kwok-{self.cluster_name}"


def _of_the_environment() -> Paths:
    try:
        return Paths(Path(__file__).resolve().parent.parent, os.environ.get(SANDBOX_NAME, ""))
    except ValueError as problem:
        # Whatever was run, it was meant for a sandbox that there can't be.
        raise SystemExit(f"{SANDBOX_NAME}: {problem}") from None


#: The sandbox that is meant, of the checkout that this file is part of.
CHECKOUT = _of_the_environment()


def tool_cache() -> Path:
    """Return the folder outside the repository that tools are kept in from one sandbox to the next."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says to ignore a relative path.
    cache = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return cache / "kong-istio" / "tools"
