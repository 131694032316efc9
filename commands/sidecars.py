"""Sidecars: which istiod injected the one of a pod, of which version it is, and of which it should be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from commands.when_deleted.unused_revision import STATUS, revision_of
from kube import Cluster
from names import INJECTOR_WEBHOOK, ISTIO_NAMESPACE, of_revision
from workloads import Image

Object = dict[str, Any]

SIDECAR = "istio-proxy"
#: What pods may ask for themselves.
_OWN_IMAGE = "sidecar.istio.io/proxyImage"
#: What Istio calls the revision of an istiod without one.
DEFAULT = "default"


def sidecar_of(pod: Object) -> Object | None:
    """Return the sidecar that istiod gave a pod; a native one is an init container, and of a gateway it is all there is."""
    natives = [one for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    if STATUS not in annotations_of(pod):
        return None
    return next((one for one in [*natives, *pod["spec"]["containers"]] if one["name"] == SIDECAR), None)


def is_of_job(pod: Object) -> bool:
    """Return whether a Job has started a pod, which ends by itself."""
    return any(owner.get("kind") == "Job" for owner in pod["metadata"].get("ownerReferences") or [])


def stays(pod: Object) -> bool:
    """Return whether a pod neither ends nor has ended."""
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" not in pod["metadata"] and phase not in ("Succeeded", "Failed")


def versions(cluster: Cluster, revisions: Iterable[str]) -> dict[str, str]:
    """Return the version that istiod's injector gives to sidecars, by the labels of those revisions that have one."""
    found = {revision: _version(cluster, revision) for revision in revisions}
    return {revision or DEFAULT: version for revision, version in found.items() if version}


def _version(cluster: Cluster, revision: str) -> str:
    config = cluster.get("configmaps", of_revision(INJECTOR_WEBHOOK, revision), ISTIO_NAMESPACE)
    if not config:
        return ""
    shared = json.loads(config["data"]["values"])["global"]
    image = str((shared.get("proxy") or {}).get("image") or "")
    # As istiod reads it (istio/istio, pkg/kube/inject/template.go: ProxyImage).
    return Image.parse(image).version if "/" in image else str(shared.get("tag", ""))


def lag(pod: Object, current: Mapping[str, str], expected: str = "") -> str:
    """Return what is behind in a pod's sidecar; empty where nothing is.

    `current`: the version of each revision. `expected`: the revision that it should be of, empty where any will do.
    """
    sidecar, revision = sidecar_of(pod), revision_of(annotations_of(pod))
    if sidecar is None:
        return ""
    version = Image.parse(sidecar["image"]).version
    if revision not in current or (expected and revision != expected):
        return f"{version} of revision {revision}"
    # A variant such as -distroless stands behind the version, and so does what makes it one before a release.
    rest = version.removeprefix(current[revision])
    same = rest != version and (not rest or re.match(r"-(?!alpha|beta|rc)", rest) is not None)
    return "" if same or _OWN_IMAGE in annotations_of(pod) else f"{version} of revision {revision}"


def annotations_of(pod: Object) -> dict[str, str]:
    """Return a pod's annotations."""
    return pod["metadata"].get("annotations") or {}
