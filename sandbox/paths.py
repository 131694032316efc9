"""Where everything of a sandbox lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: kwokctl names the context after the cluster: `kwok-kong-istio`.
CLUSTER = "kong-istio"
CONTEXT = f"kwok-{CLUSTER}"


@dataclass(frozen=True)
class Paths:
    """The folders and files of one checkout's sandbox."""

    root: Path

    @property
    def sandbox(self) -> Path:
        """The git-ignored folder that everything lives in, and that `down` removes."""
        return self.root / ".sandbox"

    @property
    def committed_stack_file(self) -> Path:
        """The stack's settings as committed."""
        return self.root / "Pulumi.sandbox.yaml"

    @property
    def stack_file(self) -> Path:
        """The stack's settings with what is true of this machine, for `pulumi --config-file`."""
        return self.sandbox / "Pulumi.sandbox.yaml"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig, which holds nothing but the sandbox."""
        return self.sandbox / "kubeconfig"

    @property
    def facts(self) -> Path:
        """What `up` found out about this machine."""
        return self.sandbox / "facts.json"

    @property
    def passphrase(self) -> Path:
        """The passphrase of the stack's secrets."""
        return self.sandbox / "passphrase"

    @property
    def state(self) -> Path:
        """The folder that is Pulumi's backend."""
        return self.sandbox / "state"

    @property
    def programs(self) -> Path:
        """Links to the tools under their own names, for PATH."""
        return self.sandbox / "bin"

    @property
    def charts(self) -> Path:
        """Charts prepared here because their repository is out of reach."""
        return self.sandbox / "charts"

    @property
    def logs(self) -> Path:
        """The logs of what the sandbox itself starts; kwokctl's lie in `cluster / "logs"`."""
        return self.sandbox / "logs"

    @property
    def temporary(self) -> Path:
        """Where programs that work on the sandbox put what they need for a moment."""
        return self.sandbox / "tmp"

    @property
    def processes(self) -> Path:
        """Records of the processes that the sandbox itself started."""
        return self.sandbox / "processes"

    @property
    def kwok(self) -> Path:
        """The folder that kwokctl takes for its own."""
        return self.sandbox / "kwok"

    @property
    def cluster(self) -> Path:
        """The folder that kwokctl gives the cluster."""
        return self.kwok / "clusters" / CLUSTER

    @property
    def istiod(self) -> Path:
        """The folder that istiod runs in, and writes its certificates to."""
        return self.sandbox / "istiod"


#: The checkout that this file is part of.
CHECKOUT = Paths(Path(__file__).resolve().parent.parent)


def tool_cache() -> Path:
    """Return the folder outside the repository that tools are kept in from one sandbox to the next."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says to ignore a relative path.
    cache = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return cache / "kong-istio" / "tools"
