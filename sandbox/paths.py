"""Where everything of a sandbox lies."""

from __future__ import annotations

import os
from pathlib import Path

#: kwokctl names the context after the cluster: `kwok-kong-istio`.
CLUSTER = "kong-istio"
CONTEXT = f"kwok-{CLUSTER}"


class Paths:
    """The folders and files of one checkout's sandbox."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: The git-ignored folder that everything lives in, and that `down` removes.
        self.sandbox = root / ".sandbox"
        #: The stack's settings as committed.
        self.committed_stack_file = root / "Pulumi.sandbox.yaml"
        #: The stack's settings with what is true of this machine, for `pulumi --config-file`.
        self.stack_file = self.sandbox / "Pulumi.sandbox.yaml"
        #: It holds nothing but the sandbox.
        self.kubeconfig = self.sandbox / "kubeconfig"
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
        #: Where programs that work on the sandbox put what they need for a moment.
        self.temporary = self.sandbox / "tmp"
        #: Records of the processes that the sandbox itself started.
        self.processes = self.sandbox / "processes"
        #: The folder that kwokctl takes for its own, and the one that it gives the cluster.
        self.kwok = self.sandbox / "kwok"
        self.cluster = self.kwok / "clusters" / CLUSTER
        #: The folder that istiod runs in, and writes its certificates to.
        self.istiod = self.sandbox / "istiod"


#: The checkout that this file is part of.
CHECKOUT = Paths(Path(__file__).resolve().parent.parent)


def tool_cache() -> Path:
    """Return the folder outside the repository that tools are kept in from one sandbox to the next."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says to ignore a relative path.
    cache = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return cache / "kong-istio" / "tools"
