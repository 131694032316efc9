"""What stops a destroy that would reach another cluster than the stack is in."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from commands.cluster_access import Access
from components.shared import project_command


@dataclass(frozen=True, kw_only=True)
class DestroyGuardArgs:
    """`access`: the stack's cluster."""

    access: Access


class DestroyGuard(pulumi.ComponentResource):
    """Fails a destroy in another cluster, before anything is deleted. Type `kong-istio:index:DestroyGuard`.

    Creates: Command `destroy-guard`, which does nothing until it is deleted, and then compares the cluster that the context
    leads to with the one that the stack is in: Pulumi deletes by name, and does not run the program then. What this
    component waits for is deleted after it.
    """

    def __init__(self, name: str, args: DestroyGuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:DestroyGuard", name, {}, opts)
        project_command.run_when_deleted(
            name,
            "destroy_guard",
            args.access,
            ["--stack", pulumi.get_stack()],
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
