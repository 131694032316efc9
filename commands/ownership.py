"""What in a cluster is the stack's: by the marks of its Helm releases, or because nobody else writes it."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from commands import leftovers
from kube import Cluster
from names import ISTIO_BASE, KONG, KONG_DEPLOYMENT, KONG_NAMESPACE, RELEASES

Object = dict[str, Any]

#: The release that Helm marks Istio's CRDs with.
ISTIO = f"{RELEASES[ISTIO_BASE]}/{ISTIO_BASE}"


def release_of(item: Object) -> str:
    """Return the name of the stack's Helm release that an object is marked with; empty for none of them."""
    annotations = item["metadata"].get("annotations") or {}
    name = str(annotations.get("meta.helm.sh/release-name"))
    return name if RELEASES.get(name, "") == annotations.get("meta.helm.sh/release-namespace") else ""


def release_secrets(cluster: Cluster, further: Collection[str] = ()) -> list[Object]:
    """Return the Secrets in which Helm remembers the stack's releases; `further`: the applications', as namespace/name."""
    own = [*(f"{namespace}/{name}" for name, namespace in RELEASES.items()), *further]
    names = dict.fromkeys(each.partition("/")[2] for each in own)
    found = cluster.list("secrets", labels=f"owner=helm,name in ({','.join(names)})")
    return [item for item in found if release_id(item) in own]


def release_id(secret: Object) -> str:
    """Return of which release one of Helm's Secrets is, as namespace/name."""
    return f"{secret['metadata']['namespace']}/{secret['metadata']['labels']['name']}"


def mark_crds(cluster: Cluster) -> None:
    """Label the CRDs that the stack's charts installed: without it Kong's could not be told from another Kong's.

    Helm makes a chart's CRDs before the rest of it, so Kong's are those from between its namespace and its Deployment.
    """
    namespace = cluster.get("namespaces", KONG_NAMESPACE)
    deployment = cluster.get("deployments", KONG_DEPLOYMENT, KONG_NAMESPACE)
    if not namespace or not deployment:
        return
    first, last = leftovers.age(namespace), leftovers.age(deployment)

    def mark(item: Object) -> None:
        is_kongs = item["spec"]["group"] == leftovers.KONG_GROUP and first <= leftovers.age(item) <= last
        if name := KONG if is_kongs else ISTIO_BASE if release_of(item) == ISTIO_BASE else "":
            labels = {"metadata": {"labels": {leftovers.MARK: name}}}
            cluster.patch("customresourcedefinitions", item["metadata"]["name"], "", labels)

    with ThreadPoolExecutor() as pool:
        list(pool.map(mark, cluster.list("customresourcedefinitions")))


def crds_left(cluster: Cluster) -> list[Object]:
    """Return the stack's CRDs that nobody needs any more."""
    own = leftovers.crds(cluster, ISTIO)
    kept = [item["metadata"]["name"] for item, _ in leftovers.needed(cluster, own, ISTIO)]
    return [item for item in own if item["metadata"]["name"] not in kept]


def made_by_istiod(cluster: Cluster) -> list[Object]:
    """Return what the stack's istiod made by itself in the whole cluster."""
    return [*leftovers.config_maps(cluster, ISTIO), *leftovers.gateway_classes(cluster, ISTIO)]
