"""What the charts leave behind when they are uninstalled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from commands import ownership
from commands.cluster_access import Access
from components.shared import project_command


@dataclass(frozen=True, kw_only=True)
class LeftoversArgs:
    """`keep_crds`: leave Istio's and Kong's CRDs, and delete only what istiod made by itself.

    `namespaces`: the stack's, which go after it: an object in one of them keeps no CRD. `namespace`: the first of them; the
    engine, which deletes step by step, then runs it while pods end.
    """

    access: Access
    keep_crds: bool
    namespaces: Sequence[str]
    namespace: pulumi.Resource


class Leftovers(pulumi.ComponentResource):
    """Deletes, when the stack is destroyed, what Helm leaves. Type `kong-istio:index:Leftovers`.

    Creates: Command `leftovers`, which does nothing until it is deleted, and then runs `commands/when_deleted/leftovers.py`:
    Helm keeps Istio's CRDs (`helm.sh/resource-policy: keep`) and Kong's (`crds/` of its chart), and istiod writes a
    ConfigMap into every namespace, and GatewayClasses where the Gateway API is. What waits for this component is gone
    before it runs; the namespaces are not.
    """

    def __init__(self, name: str, args: LeftoversArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Leftovers", name, {"keepCrds": args.keep_crds}, opts)
        arguments = ["--istio", ownership.ISTIO, *(["--keep-crds"] if args.keep_crds else [])]
        arguments += [f"--namespace={namespace}" for namespace in args.namespaces]
        project_command.run_when_deleted(
            name, "leftovers", args.access, arguments, pulumi.ResourceOptions(parent=self, depends_on=[args.namespace])
        )
        self.register_outputs({})
