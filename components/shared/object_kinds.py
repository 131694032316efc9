"""What the kind of a manifest says: its API group, whether a CRD defines it, and whether its objects are in a namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Manifest = dict[str, Any]

# API group -> those of its kinds whose objects are in no namespace. Kubernetes' own groups, as its API server lists them
# (`kubectl api-resources --namespaced=false`, with every version of 1.37 served).
_OF_KUBERNETES = {
    "": {"ComponentStatus", "Namespace", "Node", "PersistentVolume"},
    "admissionregistration.k8s.io": {
        *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"),
    },
    "apiextensions.k8s.io": {"CustomResourceDefinition"},
    "apiregistration.k8s.io": {"APIService"},
    "apps": set(),
    "authentication.k8s.io": {"SelfSubjectReview", "TokenReview"},
    "authorization.k8s.io": {"SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"},
    "autoscaling": set(),
    "batch": set(),
    "certificates.k8s.io": {"CertificateSigningRequest", "ClusterTrustBundle"},
    "coordination.k8s.io": set(),
    "discovery.k8s.io": set(),
    "events.k8s.io": set(),
    "extensions": set(),
    "flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
    "internal.apiserver.k8s.io": {"StorageVersion"},
    "networking.k8s.io": {"IPAddress", "IngressClass", "ServiceCIDR"},
    "node.k8s.io": {"RuntimeClass"},
    "policy": {"PodSecurityPolicy"},
    "rbac.authorization.k8s.io": {"ClusterRole", "ClusterRoleBinding"},
    "resource.k8s.io": {"DeviceClass", "DeviceTaintRule", "ResourceSlice"},
    "scheduling.k8s.io": {"PriorityClass"},
    "storage.k8s.io": {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
    "storagemigration.k8s.io": {"StorageVersionMigration"},
}
# The groups whose CRDs the stack brings, and what applications beside Kong and Istio have most often.
_OF_CRDS = {
    "cert-manager.io": {"ClusterIssuer"},
    "configuration.konghq.com": {"KongClusterPlugin", "KongLicense", "KongVault"},
    "extensions.istio.io": set(),
    "gateway.networking.k8s.io": {"GatewayClass"},
    "monitoring.coreos.com": set(),
    "networking.istio.io": set(),
    "security.istio.io": set(),
    "snapshot.storage.k8s.io": {"VolumeSnapshotClass", "VolumeSnapshotContent"},
    "telemetry.istio.io": set(),
}
_CLUSTER_SCOPED: Mapping[str, set[str]] = {**_OF_KUBERNETES, **_OF_CRDS}

# Says whether the objects of a manifest's kind are in a namespace; None where that is not known.
Discovery = Callable[[Manifest], bool | None]


def nobody(_: Manifest) -> None:
    """Know no kind: the discovery without a cluster."""


def group_of(manifest: Manifest) -> str:
    """Return the API group of an object; the core group is empty."""
    group, slash, _ = str(manifest["apiVersion"]).partition("/")
    return group if slash else ""


def is_custom(manifest: Manifest) -> bool:
    """Return whether the object's kind has to be defined in the cluster first."""
    return group_of(manifest) not in _OF_KUBERNETES


def is_kubernetes(manifest: Manifest, kind: str) -> bool:
    """Return whether the object is of a kind of Kubernetes' own: there are other Services, such as Knative's."""
    return manifest["kind"] == kind and not is_custom(manifest)


def crds_of(manifest: Manifest, others: Iterable[Manifest]) -> list[Manifest]:
    """Return the CRDs among `others` that define kinds of a custom object's group."""
    return [other for other in others if is_custom(manifest) and _crd(other).get("group") == group_of(manifest)]


def scopes(objects: Iterable[Manifest], discovery: Discovery) -> Callable[[Manifest], bool]:
    """Return what says whether an object is in a namespace.

    Kubernetes' own kinds and the CRDs among `objects` are known; for others `discovery` is asked, once a kind. A kind that
    nobody knows says it itself: by a namespace in the object, and else by its name, as ClusterPolicy does.
    """
    known = {
        (crd.get("group"), crd.get("names", {}).get("kind")): crd.get("scope") != "Cluster"
        for crd in map(_crd, objects)
    }

    def is_namespaced(item: Manifest) -> bool:
        group, kind = group_of(item), item["kind"]
        if group in _CLUSTER_SCOPED:
            return kind not in _CLUSTER_SCOPED[group]
        if (group, kind) not in known and (found := discovery(item)) is not None:
            known[group, kind] = found
        return known.get((group, kind), "namespace" in item["metadata"] or not kind.startswith("Cluster"))

    return is_namespaced


def _crd(manifest: Manifest) -> Mapping[str, Any]:
    """Return what a CRD says of its kind; nothing for another object."""
    return manifest.get("spec", {}) if manifest["kind"] == "CustomResourceDefinition" else {}
