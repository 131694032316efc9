"""Sidecars that follow their control plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.mesh import MeshOutputs
from components.shared import project_command
from components.shared.standards import Standards


@dataclass(frozen=True, kw_only=True)
class SidecarsArgs:
    """`namespaces`: the stack's with sidecars, in the order in which their workloads are started anew. `mesh`: whose they are."""

    namespaces: Sequence[str]
    mesh: MeshOutputs
    standards: Standards


class Sidecars(pulumi.ComponentResource):
    """Starts anew what has sidecars of another istiod than its namespace. Type `kong-istio:index:Sidecars`.

    Creates: Command `sidecars-ready` (`python -m commands.sidecars_ready`), run when it is new, when a control plane changes and
    when a namespace moves to another. On a first `up` it finds nothing to do. What the workloads are of has to be there.
    Raises in `up`: a workload whose pods do not become available, or do not get the sidecar that they should have.
    """

    def __init__(self, name: str, args: SidecarsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Sidecars", name, {"namespaces": list(args.namespaces)}, opts)
        revisions = args.standards.revisions
        project_command.run(
            "sidecars-ready",
            "commands.sidecars_ready",
            args.standards.access,
            [*(f"--namespace={each}={revisions.get(each, '')}" for each in args.namespaces), *args.mesh.digest],
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
