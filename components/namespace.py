"""The namespaces of the stack: each with its Pod Security level, and with the policies that guard it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.shared import pod_security
from components.shared.kubernetes_object import KubernetesObject, namespace
from components.shared.manifests import Manifest
from components.shared.named_secrets import NamedSecrets
from components.shared.pod_security import Level, injected_level
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """How every namespace is made.

    `injected`: the level of those whose pods get a sidecar. `pod_security`: whether levels are enforced at all.
    `network_policies`: whether the given policies are made. `protect`: the engine refuses to delete or replace them. It
    says so in the preview of a destroy, before anything is deleted; one without a preview deletes what is in them.
    `pull_secrets`: what `named_secrets` waits for in each of them, as its pods pull with it.
    """

    named_secrets: NamedSecrets

    injected: Level = "privileged"
    pod_security: bool = False
    network_policies: bool = False
    protect: bool = False
    pull_secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, named_secrets: NamedSecrets) -> Namespaces:
        """Return how the settings want namespaces."""
        return cls(
            named_secrets=named_secrets,
            injected=injected_level(settings.istio),
            pod_security=settings.security.pod_security,
            network_policies=settings.security.network_policies,
            protect=settings.security.protect_namespaces,
            pull_secrets=settings.images.pull_secrets,
        )

    @property
    def harden(self) -> bool:
        """Whether an application's pods have to be made to pass the level of its namespace."""
        return self.pod_security and self.injected == "restricted"

    def make(
        self,
        name: str,
        parent: pulumi.Resource,
        *,
        level: Level | None = None,
        policies: Sequence[Manifest] = (),
    ) -> list[pulumi.Resource]:
        """Make a namespace and the NetworkPolicies in it; return all of it, the namespace first.

        Without a `level` of its own it is one whose pods get a sidecar. Pods that wait for everything returned are
        guarded from their start, and can pull.
        """
        labels = pod_security.labels(level or self.injected) if self.pod_security else {}
        home = KubernetesObject(
            name,
            namespace(name, injected=level is None, labels=labels),
            pulumi.ResourceOptions(parent=parent, protect=self.protect),
        )
        guards = [
            KubernetesObject(
                f"{name}-{policy['metadata']['name']}",
                policy,
                pulumi.ResourceOptions(parent=parent, depends_on=[home]),
            )
            for policy in (policies if self.network_policies else ())
        ]
        below = pulumi.ResourceOptions(parent=parent, depends_on=[home])
        pulling = [
            self.named_secrets.wait(f"{name}-pull-{secret}", "registry", name, secret, below)
            for secret in self.pull_secrets
        ]
        return [home, *guards, *pulling]
