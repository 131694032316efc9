"""What in a cluster is the stack's: by the marks of its Helm releases, or because nobody else writes it."""

from __future__ import annotations

from typing import Any

from kube import Cluster
from names import ISTIO_BASE, RELEASES

Object = dict[str, Any]

# istiod writes them into every namespace (istio: pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
_CONFIG_MAPS = ("istio-ca-root-cert", "istio-ca-crl")
_KONG_GROUP = "configuration.konghq.com"


def release_of(item: Object) -> str:
    """Return the name of the stack's Helm release that an object is marked with; empty for none of them."""
    annotations = item["metadata"].get("annotations") or {}
    name = str(annotations.get("meta.helm.sh/release-name"))
    return name if RELEASES.get(name, "") == annotations.get("meta.helm.sh/release-namespace") else ""


def release_secrets(cluster: Cluster) -> list[Object]:
    """Return the Secrets in which Helm remembers releases of the stack's names, in their namespaces."""
    found = cluster.list("secrets", labels=f"owner=helm,name in ({','.join(RELEASES)})")
    return [item for item in found if RELEASES[item["metadata"]["labels"]["name"]] == item["metadata"]["namespace"]]


def crds(cluster: Cluster) -> list[Object]:
    """Return the CRDs that the stack's charts install. Kong's carry no mark but their group."""
    return [
        item
        for item in cluster.list("customresourcedefinitions")
        if release_of(item) == ISTIO_BASE or item["spec"]["group"] == _KONG_GROUP
    ]


def config_maps(cluster: Cluster) -> list[Object]:
    """Return what istiod wrote into every namespace."""
    return [item for name in _CONFIG_MAPS for item in cluster.list("configmaps", fields=f"metadata.name={name}")]
