"""What in a cluster is the stack's: by the marks of its Helm releases, or because nobody else writes it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from commands.when_deleted import leftovers
from kube import Cluster
from names import ISTIO_BASE, RELEASES, home_of

Object = dict[str, Any]

#: The release that Helm marks Istio's CRDs with.
ISTIO = f"{RELEASES[ISTIO_BASE]}/{ISTIO_BASE}"


def release_of(item: Object) -> str:
    """Return the name of the stack's Helm release that an object is marked with; empty for none of them."""
    annotations = item["metadata"].get("annotations") or {}
    name = str(annotations.get("meta.helm.sh/release-name"))
    return name if home_of(name) == annotations.get("meta.helm.sh/release-namespace") else ""


def release_secrets(cluster: Cluster, further: Collection[str] = ()) -> list[Object]:
    """Return the Secrets in which Helm remembers the stack's releases; `further`: the applications', as namespace/name."""
    own = [*(f"{namespace}/{name}" for name, namespace in RELEASES.items()), *further]
    names = dict.fromkeys(each.partition("/")[2] for each in own)
    found = cluster.list("secrets", labels=f"owner=helm,name in ({','.join(names)})")
    return [item for item in found if release_id(item) in own]


def release_id(secret: Object) -> str:
    """Return of which release one of Helm's Secrets is, as namespace/name."""
    return f"{secret['metadata']['namespace']}/{secret['metadata']['labels']['name']}"


def crds_left(cluster: Cluster) -> list[Object]:
    """Return the stack's CRDs that nobody needs any more."""
    own = leftovers.crds(cluster, ISTIO)
    kept = [item["metadata"]["name"] for item, _ in leftovers.needed(cluster, own, ISTIO)]
    return [item for item in own if item["metadata"]["name"] not in kept]


def made_by_istiod(cluster: Cluster) -> list[Object]:
    """Return what the stack's istiod made by itself in the whole cluster."""
    return [*leftovers.config_maps(cluster, ISTIO), *leftovers.gateway_classes(cluster, ISTIO)]
