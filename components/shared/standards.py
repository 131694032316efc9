"""What holds for every component of the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from commands.cluster_access import Access
from components.shared import pod_security
from components.shared.named_secrets import NamedSecrets
from components.shared.pod_security import Level, injected_level
from settings import Images, Settings
from settings.control_planes import injected_namespaces, of_namespace

#: The label for sidecars of the default revision, which wins over one that names a revision.
SIDECARS = "istio-injection"
REVISION = "istio.io/rev"


@dataclass(frozen=True, kw_only=True)
class Standards:
    """`access`: the cluster. `images`: where images come from. `named_secrets`: how Secrets of others are waited for.

    Of namespaces: `revisions`: the revision of Istio that injects their pods, where it has a name. `injected`: the Pod Security level of those whose pods get a sidecar. `pod_security`: whether levels
    are enforced at all. `network_policies`: whether NetworkPolicies are created. `protect`: the engine refuses to delete
    or replace a namespace. It says so in the preview of a destroy, before anything is deleted; a destroy without a
    preview deletes what is in it.
    """

    access: Access
    images: Images
    named_secrets: NamedSecrets
    revisions: Mapping[str, str] = field(default_factory=dict)
    injected: Level = "privileged"
    pod_security: bool = False
    network_policies: bool = False
    protect: bool = False

    @classmethod
    def of(cls, settings: Settings, access: Access) -> Standards:
        """Return what the settings say."""
        return cls(
            access=access,
            images=settings.images,
            named_secrets=NamedSecrets(access=access, timeout_seconds=settings.security.secret_timeout_seconds),
            revisions={
                name: plane.revision
                for name in injected_namespaces(settings)
                if (plane := of_namespace(settings.istio, name)).revision
            },
            injected=injected_level(settings.istio),
            pod_security=settings.security.pod_security,
            network_policies=settings.security.network_policies,
            protect=settings.security.protect_namespaces,
        )

    def namespace_labels(self, name: str, level: Level | None = None) -> dict[str, str]:
        """Return the labels by which a namespace has a level of Pod Security; without one also a sidecar in each pod."""
        guarded = pod_security.labels(level or self.injected) if self.pod_security else {}
        return {**({} if level else self._sidecar_label(name)), **guarded}

    def _sidecar_label(self, namespace: str) -> dict[str, str]:
        revision = self.revisions.get(namespace)
        return {REVISION: revision} if revision else {SIDECARS: "enabled"}

    @property
    def harden(self) -> bool:
        """Whether an application's pods have to be changed to pass the level of its namespace."""
        return self.pod_security and self.injected == "restricted"
