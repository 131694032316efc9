"""The look at the cluster before anything is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from commands.cluster_access import Access
from components import kong_crds
from components.shared import project_command
from components.shared.manifests import Manifest
from names import INGRESS_CLASS
from versions import CHARTS


@dataclass(frozen=True, kw_only=True)
class PrecheckArgs:
    """`access`: the cluster to look at. `namespaces`: those that the stack creates. `ingress_class`: what Kong serves.

    `revisions`: of Istio, each with its version, empty where a folder alone knows it. `also`: resources that not every stack creates, as `group/resource`. `kong_crds`: those that the stack brings.
    """

    access: Access
    namespaces: Sequence[str]
    ingress_class: str = INGRESS_CLASS
    revisions: Mapping[str, str] = field(default_factory=dict)
    also: Sequence[str] = ()
    kong_crds: Sequence[Manifest] = ()


@dataclass(frozen=True, kw_only=True)
class PrecheckOutputs:
    """`kubernetes_version`: the API server's, today."""

    kubernetes_version: pulumi.Output[str]


class Precheck(pulumi.ComponentResource):
    """Looks for what would stop the stack, before anything is created. Type `kong-istio:index:Precheck`.

    Creates: Command `precheck` (`python -m commands.precheck`), run when it is new and when its arguments change.
    Outputs: `PrecheckOutputs`.
    Raises in `up`, in one sentence: an API server that does not answer, a Kubernetes that Istio refuses, missing
    permissions, another Istio or Kong, an upgrade of Istio that skips a step, CRDs that are not to be changed, a namespace of the stack that exists already.
    """

    def __init__(self, name: str, args: PrecheckArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Precheck", name, {"context": args.access.context}, opts)
        command = project_command.run(
            name,
            "commands.precheck",
            args.access,
            [
                *([] if args.ingress_class == INGRESS_CLASS else ["--ingress-class", args.ingress_class]),
                *project_command.digest(CHARTS),
                *("--kong-crds", kong_crds.summary(args.kong_crds)),
                *(f"--also={resource}" for resource in args.also),
                *(f"--revision={revision}={version}" for revision, version in args.revisions.items()),
                *(f"--namespace={name}" for name in args.namespaces),
            ],
            pulumi.ResourceOptions(parent=self),
            # Later, the releases that it finds are the stack's own, and so are the namespaces that it knows.
            only_first=["--first"],
        )
        version = args.access.identity.version
        report = project_command.report_of_today(command, name, args.access, lambda _: {"kubernetes": version})
        self.outputs = PrecheckOutputs(kubernetes_version=report.apply(lambda said: said["kubernetes"]))
        self.register_outputs({"kubernetes": self.outputs.kubernetes_version})
