"""No two resources of the stack may be one Kubernetes object.

The engine would find it out in the middle of an `up`, when the second one is there already; whoever applies objects
server-side, as the rehearsal does, would not find it out at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from components.application import guards
from components.route import route_objects
from components.shared.manifests import Manifest, ManifestError, group_of, is_home
from names import ISTIOD
from settings import Application, Settings

# Kept up to date by others, in every namespace or once in a cluster.
_OF_OTHERS = {
    ("ConfigMap", "kube-root-ca.crt"): "the cluster writes",
    ("ConfigMap", "istio-ca-root-cert"): f"{ISTIOD} writes",
}
_GROUPS_OF_CHARTS = {"istio.io": "Istio's chart makes", "konghq.com": "the setting kong.crds has"}


class Identity(NamedTuple):
    """What tells an object from others: its version does not."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def check(settings: Settings, manifests: Mapping[str, Sequence[Manifest]], namespaces: Collection[str]) -> None:
    """Raise `ManifestError` for the first object of the manifests that others make too.

    `manifests`: application -> its objects. `namespaces`: those that the stack makes.
    """
    owners: dict[Identity, str] = {}
    for index, application in enumerate(settings.applications):
        where, objects = f"applications[{index}].manifests", manifests[application.name]
        made = {identity(item) for item in stacks_own(settings, application, objects)}
        made |= {Identity("", "Namespace", "", name) for name in namespaces}
        for item in (item for item in objects if not is_home(item, application.namespace)):
            found = identity(item)
            if maker := _other_maker(item, settings):
                raise ManifestError(f"{where} has {found}, which {maker}: take it out.")
            if found in made:
                raise ManifestError(
                    f"{where} has {found}, which the stack makes itself: give it another name, or take it out."
                )
            if (other := owners.setdefault(found, where)) != where:
                raise ManifestError(
                    f"{other} and {where} both have {found}: give each its own, or take it out of one of them."
                )


def stacks_own(settings: Settings, application: Application, objects: Sequence[Manifest]) -> list[Manifest]:
    """Return what the stack makes in an application's namespace beside its manifests."""
    return [*guards(application, objects, settings.security), *route_objects(settings, application, objects)]


def identity(item: Manifest) -> Identity:
    """Return what an object of the manifests is in the cluster."""
    metadata = item["metadata"]
    return Identity(group_of(item), item["kind"], metadata.get("namespace", ""), metadata["name"])


def _other_maker(item: Manifest, settings: Settings) -> str:
    """Return who else makes an object; empty for nobody."""
    kind, name = item["kind"], str(item["metadata"]["name"])
    if (kind, name) == ("IngressClass", settings.kong.ingress_class):
        return "Kong's chart makes"
    if kind == "CustomResourceDefinition":
        return next((made for group, made in _GROUPS_OF_CHARTS.items() if f".{name}".endswith(f".{group}")), "")
    return _OF_OTHERS.get((kind, name), "")
