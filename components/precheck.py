"""The look at the cluster before anything is created."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from cluster.access import Access
from components import commands
from versions import CHARTS


@dataclass(frozen=True, kw_only=True)
class PrecheckArgs:
    """`access`: the cluster to look at."""

    access: Access


class Precheck(pulumi.ComponentResource):
    """Looks for what would stop the stack, before anything is created. Type `kong-istio:index:Precheck`.

    Creates: Command `precheck` (`python -m cluster.precheck`), run when it is new and when its arguments change.
    Fails with one sentence for: an API server that does not answer, a Kubernetes that Istio refuses, missing
    permissions, another Istio or Kong. A Kubernetes newer than tested is a warning.
    Outputs: `report`, JSON with `kubernetes`, the server's version.
    """

    report: pulumi.Output[str]

    def __init__(self, name: str, args: PrecheckArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Precheck", name, {"context": args.access.context}, opts)
        command = commands.run(
            name,
            "cluster.precheck",
            [*args.access.arguments(), *commands.digest(CHARTS)],
            pulumi.ResourceOptions(parent=self),
            # Later, the releases that it finds are the stack's own.
            only_first=["--first"],
        )
        self.report = command.stdout
        self.register_outputs({"report": self.report})
