"""Clears away what Helm leaves of Istio and Kong, and nothing that the stack did not make."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from commands.when_deleted.api import (
    AT_ONCE,
    PAUSE_SECONDS,
    Api,
    Cluster,
    LeftoversError,
    Object,
    Objects,
    connect,
    namespace_of,
    parser,
    run,
    wait_for_pods,
)

#: The label of Kong's CRDs that are the stack's; Istio's are known by Helm's annotations.
MARK = "kong-istio/release"
_KONG_CONTROLLERS = ("kubernetes-ingress-controller", "kong-operator", "gateway-operator")

# istiod writes them into every namespace that it serves, over what is there
# (istio: pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
_CONFIG_MAPS = ("istio-ca-root-cert", "istio-ca-crl")
# It creates its GatewayClasses where the kind is there (istio: pilot/pkg/config/kube/gatewaycommon/gatewayclass.go).
_GATEWAY_CONTROLLERS = "istio.io/"
_ISTIODS_MANAGER = "pilot-discovery"  # the name of its program, with which it begins

_GONE_SECONDS = 60


def main() -> None:
    """Clear up from the command line."""
    options = _options()
    api = connect(options)
    if not api:
        return
    # Until its end, istiod writes anew what is deleted.
    wait_for_pods(api, options.istio.partition("/")[0], labels="app=istiod")
    looked_at = _Looked(api)
    # All of it before anything is deleted, as what is Istio's is told by the age of its CRDs.
    doomed = {
        "gatewayclasses": [
            item for item in gateway_classes(looked_at, options.istio) if not _has_gateways(looked_at, item)
        ],
        # Those of pods that still end go with their namespace.
        "configmaps": [
            item for item in config_maps(looked_at, options.istio) if namespace_of(item) not in options.namespace
        ],
        "customresourcedefinitions": [] if options.keep_crds else _unneeded_crds(looked_at, options),
    }
    with ThreadPoolExecutor(len(doomed)) as pool:
        list(pool.map(lambda kind: delete(api, kind, doomed[kind]), doomed))


def _options() -> argparse.Namespace:
    found = parser(__doc__)
    # States of former versions have no --istio, and the second name of --keep-crds.
    found.add_argument("--istio", default="istio-system/istio-base", help="namespace/name of Istio's release with CRDs")
    found.add_argument("--namespace", action="append", default=[], help="goes as well, with the objects in it")
    found.add_argument("--keep-crds", "--keep-definitions", action="store_true", help="leave the CRDs")
    return found.parse_args()


class _Looked:
    """A cluster of which nothing is asked twice."""

    def __init__(self, cluster: Cluster) -> None:
        self.list = cache(cluster.list)


# --- whose is it --------------------------------------------------------------------------------------------------


def crds(cluster: Cluster, istio: str) -> Objects:
    """Return the CRDs that are the stack's; `istio` is the release that Helm marks Istio's with."""
    found = cluster.list("customresourcedefinitions")
    return [item for item in found if release(item) == istio or MARK in _labels(item)]


def config_maps(cluster: Cluster, istio: str) -> Objects:
    """Return what istiod wrote into every namespace, save what another istiod in the cluster writes as well."""
    roots, more = (cluster.list("configmaps", fields=f"metadata.name={name}") for name in _CONFIG_MAPS)
    written = {namespace_of(item): item.get("data") for item in roots}
    strangers = {namespace_of(item) for item in _istiods(cluster, istio)}
    if strangers - written.keys():
        # One that has written nothing yet: nobody knows which are its own.
        return []
    theirs = [written[namespace] for namespace in strangers]
    return [item for item in (*roots, *more) if written.get(namespace_of(item)) not in theirs]


def gateway_classes(cluster: Cluster, istio: str) -> Objects:
    """Return the GatewayClasses that istiod made, unless another istiod is there, which would make them again."""
    if _istiods(cluster, istio):
        return []
    base = [age(item) for item in cluster.list("customresourcedefinitions") if release(item) == istio]
    return [
        item
        for item in cluster.list("gatewayclasses")
        if str(item["spec"]["controllerName"]).startswith(_GATEWAY_CONTROLLERS)
        and all(manager.startswith(_ISTIODS_MANAGER) for manager in _managers(item))
        and (not base or age(item) >= min(base))
    ]


def needed(cluster: Cluster, own: Objects, istio: str, going: Collection[str] = ()) -> list[tuple[Object, str]]:
    """Return those of the stack's CRDs that somebody still needs, each with who that is; `going`: namespaces that go too."""

    def is_used(crd: Object) -> bool:
        return any(namespace_of(item) not in going for item in cluster.list(crd["metadata"]["name"]))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        used = list(pool.map(is_used, own))
    strangers = {True: kongs(cluster), False: _istiods(cluster, istio)}
    found: list[tuple[Object, str]] = []
    for item, has_objects in zip(own, used, strict=True):
        others = strangers[MARK in _labels(item) and release(item) != istio]
        if has_objects:
            found.append((item, "there are still objects of it"))
        elif others:
            found.append((item, f"{namespace_of(others[0])}/{others[0]['metadata']['name']} needs it"))
    return found


def _istiods(cluster: Cluster, istio: str) -> Objects:
    own = istio.partition("/")[0]
    return [item for item in cluster.list("deployments", labels="app=istiod") if namespace_of(item) != own]


def kongs(cluster: Cluster) -> Objects:
    """Return the controllers of Kong in the cluster; at the end of a destroy none is the stack's."""

    def is_one(item: Object) -> bool:
        images = [str(container["image"]) for container in item["spec"]["template"]["spec"]["containers"]]
        return any(name in image for name in _KONG_CONTROLLERS for image in images)

    return [item for item in cluster.list("deployments") if is_one(item)]


def _has_gateways(cluster: Cluster, gateway_class: Object) -> bool:
    name = gateway_class["metadata"]["name"]
    return any(item["spec"]["gatewayClassName"] == name for item in cluster.list("gateways"))


def release(item: Object) -> str:
    """Return the namespace and name of the Helm release that an object is marked with, as `namespace/name`."""
    annotations = item["metadata"].get("annotations") or {}
    return f"{annotations.get('meta.helm.sh/release-namespace')}/{annotations.get('meta.helm.sh/release-name')}"


def age(item: Object) -> str:
    """Return when an object was created, such as 2026-01-31T12:00:00Z, which compares as text."""
    return str(item["metadata"].get("creationTimestamp", ""))


def _managers(item: Object) -> list[str]:
    return [str(entry.get("manager")) for entry in item["metadata"].get("managedFields") or []]


def _labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


# --- what is done about it ----------------------------------------------------------------------------------------


def _unneeded_crds(cluster: Cluster, options: argparse.Namespace) -> Objects:
    """Return the CRDs that are the stack's, save those that somebody needs; these are named."""
    own = crds(cluster, options.istio)
    needs = needed(cluster, own, options.istio, options.namespace)
    kept = {item["metadata"]["name"]: (item, why) for item, why in needs}
    for _, (item, why) in sorted(kept.items()):
        print(f"Kept the CRD of {item['spec']['names']['kind']} ({item['spec']['group']}): {why}.", file=sys.stderr)
    return [item for item in own if item["metadata"]["name"] not in kept]


def delete(api: Api, kind: str, items: Objects) -> None:
    """Delete objects of a kind, and wait until they are gone."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waits = pool.map(lambda item: api.delete(kind, item), items)
        left = {item["metadata"]["uid"] for item, wait in zip(items, waits, strict=True) if wait}
    end = time.monotonic() + _GONE_SECONDS
    while left:
        there = [item for item in api.list(kind) if item["metadata"]["uid"] in left]
        left &= {item["metadata"]["uid"] for item in there}
        if left and time.monotonic() >= end:
            raise LeftoversError(
                f"{kind}/{there[0]['metadata']['name']} is not gone {_GONE_SECONDS} s after its deletion: look at "
                "what waits in its metadata.finalizers."
            )
        time.sleep(PAUSE_SECONDS if left else 0)


if __name__ == "__main__":
    run(main)
