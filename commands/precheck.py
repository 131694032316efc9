"""Looks, before anything is created, for what would stop the stack: what `istioctl x precheck` would stop at.

Checked are the Kubernetes version, the permissions that the charts need, and that no stranger's mesh or Kong is
in the way. Prints what it found as JSON; a reason to stop goes to standard error as one sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from commands import command_line, istio_revisions, ownership
from commands.command_line import CommandError
from commands.when_deleted import leftovers
from commands.when_deleted.leftovers import MARK
from kube import Cluster
from names import (
    INGRESS_CLASS,
    ISTIO_BASE,
    ISTIO_CNI,
    ISTIO_CNI_DAEMON_SET,
    ISTIOD,
    KONG,
    KONG_NAMESPACE,
    RELEASES,
)
from versions import KUBERNETES_MINIMUM

_CHANGES = ("get", "list", "watch", "create", "update", "patch", "delete")
_READS = ("get", "list", "watch")
# Group -> resource -> what is done to it. Kinds in a namespace are asked for in all namespaces.
_NEEDED: Mapping[str, Mapping[str, Sequence[str]]] = {
    "": {
        **dict.fromkeys(("namespaces", "serviceaccounts", "services", "configmaps", "secrets"), _CHANGES),
        **dict.fromkeys(("pods", "events"), _READS),
    },
    "apps": {"deployments": _CHANGES, **dict.fromkeys(("replicasets", "statefulsets", "daemonsets"), _READS)},
    # Charts give rights that the user may not have: that takes `escalate` and `bind`.
    "rbac.authorization.k8s.io": {
        "clusterroles": (*_CHANGES, "escalate", "bind"),
        "clusterrolebindings": _CHANGES,
        "roles": (*_CHANGES, "escalate", "bind"),
        "rolebindings": _CHANGES,
    },
    "apiextensions.k8s.io": {"customresourcedefinitions": _CHANGES},
    "admissionregistration.k8s.io": {
        "mutatingwebhookconfigurations": _CHANGES,
        "validatingwebhookconfigurations": _CHANGES,
    },
    "networking.k8s.io": {"ingresses": _CHANGES, "ingressclasses": _CHANGES},
    "configuration.konghq.com": {"kongplugins": _CHANGES, "kongclusterplugins": _CHANGES},
    "policy": {"poddisruptionbudgets": _READS},
    "security.istio.io": {"peerauthentications": _CHANGES},
}
_AT_ONCE = 16

_ISTIO_GROUPS = ("networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io")
# What Istio's CRDs are selected by: today, and up to Istio 1.23.
_ISTIO_LABELS = ("app.kubernetes.io/part-of", "release")
_KONG_PLUGINS = "kongplugins.configuration.konghq.com"
# A field of a KongPlugin that the stack uses and that came late.
_LATE_FIELD = "configPatches"
# Of which release of github.com/Kong/kubernetes-configuration a CRD is.
_KONG_RELEASE = "kubernetes-configuration.konghq.com/version"


def main() -> None:
    """Run the precheck from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    new = _new_namespaces(options)
    looks: Sequence[Callable[[], object]] = (
        lambda: check_permissions(cluster, options.also),
        lambda: check_webhooks(cluster, options.ingress_class),
        lambda: check_control_planes(cluster),
        lambda: istio_revisions.check(cluster, dict(pair.partition("=")[::2] for pair in options.revision)),
        lambda: check_crds(cluster),
        lambda: check_kong_crds(cluster, options.kong_crds) if options.kong_crds is not None else None,
        lambda: check_namespaces(cluster, new),
        lambda: check_releases(cluster, list(RELEASES.values()) if options.first and not _adopts() else new),
    )
    version = command_line.patiently(lambda: _version(cluster))
    with ThreadPoolExecutor() as pool:
        for check in [pool.submit(command_line.patiently, look) for look in looks]:
            check.result()
    print(json.dumps({"kubernetes": version, **({"namespaces": options.namespace} if options.namespace else {})}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--namespace", action="append", default=[], help="one that the stack has")
    parser.add_argument(
        "--revision", action="append", default=[], metavar="REVISION=VERSION", help="of an istiod that the stack has"
    )
    parser.add_argument("--ingress-class", default=INGRESS_CLASS, help="that Kong is to serve")
    parser.add_argument("--also", action="append", default=[], help="group/resource that this stack creates as well")
    parser.add_argument("--kong-crds", type=json.loads, help="JSON of those that the stack brings")
    parser.add_argument("--first", action="store_true", help="the stack has installed nothing yet")
    return parser.parse_args()


def _new_namespaces(options: argparse.Namespace) -> Sequence[str]:
    """Return those namespaces that the stack is about to create; none where it is to adopt what is there."""
    if _adopts():
        return []
    if options.first:
        return list(options.namespace)
    # The engine passes on what the last run printed.
    former = json.loads(os.environ.get("PULUMI_COMMAND_STDOUT") or "{}").get("namespaces", options.namespace)
    return [name for name in options.namespace if name not in former]


def _adopts() -> bool:
    """Return whether the provider takes over objects that are there (docs/operations.md, "Adopt what is there")."""
    return os.environ.get("PULUMI_K8S_UPSERT_EXISTING_OBJECTS") == "true"


def _version(cluster: Cluster) -> str:
    answer = cluster.raw("/version")
    check_version(str(answer["major"]), str(answer["minor"]))
    return str(answer["gitVersion"])


def check_version(major: str, minor: str) -> None:
    """Raise for a Kubernetes that Istio refuses; the program warns of one that is newer than tested."""
    # Managed clusters write the minor as "32+".
    found = int(major), int(re.sub(r"\D.*", "", minor))
    if found < KUBERNETES_MINIMUM:
        raise CommandError(
            f"The cluster runs Kubernetes {_dotted(found)}: this Istio needs {_dotted(KUBERNETES_MINIMUM)} or newer; "
            "upgrade the cluster, or choose another one."
        )


def check_permissions(cluster: Cluster, also: Sequence[str] = ()) -> None:
    """Raise for what the user may not do of what the stack does; `also` are further resources, as `group/resource`."""
    if _may(cluster, "*", "*", "*"):
        return
    further = [tuple(each.split("/")) for each in also]
    asked = [
        *((verb, group, kind) for group, kinds in _NEEDED.items() for kind, verbs in kinds.items() for verb in verbs),
        *((verb, group, kind) for group, kind in further for verb in _CHANGES),
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        allowed = pool.map(lambda each: _may(cluster, *each), asked)
    missing: dict[str, list[str]] = {}
    for (verb, _, resource), may in zip(asked, allowed, strict=True):
        if not may:
            missing.setdefault(resource, []).append(verb)
    if missing:
        alike: dict[str, list[str]] = {}
        for resource, verbs in missing.items():
            alike.setdefault(", ".join(verbs), []).append(resource)
        shown = "; ".join(f"{verbs} {', '.join(resources)}" for verbs, resources in alike.items())
        raise CommandError(
            f"This user may not {shown}: ask for those permissions (cluster-admin has them), or name another context."
        )


def _may(cluster: Cluster, verb: str, group: str, resource: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": resource}},
    }
    return bool(cluster.create(review)["status"].get("allowed"))


def check_webhooks(cluster: Cluster, ingress_class: str = INGRESS_CLASS) -> None:
    """Raise for an Istio webhook or an IngressClass of Kong's that no release of the stack installed."""
    kinds = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "ingressclasses")
    for item in (item for kind in kinds for item in cluster.list(kind)):
        name = item["metadata"]["name"]
        if item["kind"] == "IngressClass" and name == ingress_class and ownership.release_of(item) != KONG:
            raise CommandError(
                f"The IngressClass {ingress_class} is there already and is not this stack's: two controllers would serve one "
                "class; uninstall the other Kong first, or set kong.ingressClass to another name."
            )
        if _is_istio_webhook(item) and not _is_own(item):
            raise CommandError(
                f"The webhook configuration {name} belongs to another Istio: two meshes would inject the same pods; "
                "uninstall that one first (istioctl uninstall --purge, or helm uninstall)."
            )


def check_control_planes(cluster: Cluster) -> None:
    """Raise for an istiod, or an istio-cni, that the stack's release did not install."""
    for item in cluster.list("deployments", labels="app=istiod"):
        if not _is_own(item):
            raise CommandError(
                f"The Deployment {_place(item)} is the control plane of another Istio: uninstall that one first "
                "(istioctl uninstall --purge, or helm uninstall)."
            )
    for item in cluster.list("daemonsets"):
        if item["metadata"]["name"] == ISTIO_CNI_DAEMON_SET and ownership.release_of(item) != ISTIO_CNI:
            raise CommandError(
                f"The DaemonSet {_place(item)} is another Istio's: it would redirect the traffic of the stack's pods as "
                "well; uninstall that one first (istioctl uninstall --purge, or helm uninstall)."
            )


def check_crds(cluster: Cluster) -> None:
    """Raise for CRDs that Helm would refuse, as they are another Istio's."""
    for item in cluster.list("customresourcedefinitions"):
        name = item["metadata"]["name"]
        if name.partition(".")[2] in _ISTIO_GROUPS and ownership.release_of(item) != ISTIO_BASE:
            labels = item["metadata"].get("labels") or {}
            which = next((f"--selector {key}={labels[key]}" for key in _ISTIO_LABELS if key in labels), name)
            raise CommandError(
                f"The CRD {name} is there already and is not the release istio-base's: Helm would refuse it; uninstall the "
                f"other Istio and delete its CRDs (kubectl delete crd {which})."
            )


def check_kong_crds(cluster: Cluster, own: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise where Kong's CRDs of the stack, `own`, cannot take the place of the cluster's; where it has none, for theirs.

    `own` has the name of each, its release (`of`) and its API versions (`versions`).
    """
    there = {item["metadata"]["name"]: item for item in cluster.list("customresourcedefinitions")}
    if not own:
        _check_others_crds(there.get(_KONG_PLUGINS))
    others = [_place(item) for item in leftovers.kongs(cluster) if item["metadata"]["namespace"] != KONG_NAMESPACE]
    for name, crd in own.items():
        if item := there.get(name):
            _check_stored(item, crd["versions"])
            if MARK not in (item["metadata"].get("labels") or {}) or others:
                _check_newer(item, crd["of"], others)


def _check_others_crds(plugins: dict[str, Any] | None) -> None:
    if plugins and not _lacks(plugins, _LATE_FIELD):
        return
    found = (
        f"has an older Kong's CRD {_KONG_PLUGINS}, without {_LATE_FIELD}" if plugins else f"has no CRD {_KONG_PLUGINS}"
    )
    raise CommandError(
        f"kong.crds is none, and the cluster {found}: have whoever installs Kong's CRDs bring them up to date, or leave "
        "kong.crds out."
    )


def _check_stored(item: dict[str, Any], versions: Collection[str]) -> None:
    """Raise where objects may be stored in a version that the new CRD does not have: the API server refuses it then."""
    name = item["metadata"]["name"]
    for version in (item.get("status") or {}).get("storedVersions") or []:
        if version not in versions:
            raise CommandError(
                f"The CRD {name} has objects stored as {version}, and the stack's new CRD has {', '.join(versions)} alone: "
                f"write them anew (kubectl get {name} --all-namespaces --output yaml | kubectl replace --filename -), take "
                f"{version} out of the CRD's status.storedVersions (kubectl edit crd {name} --subresource status), and try "
                "again."
            )


def _check_newer(item: dict[str, Any], own: str, others: Sequence[str]) -> None:
    """Raise for a CRD of a newer Kong; say where another Kong's is brought to a newer one."""
    name, there = item["metadata"]["name"], (item["metadata"].get("annotations") or {}).get(_KONG_RELEASE, "")
    who = f"{others[0]} uses it" if others else "this stack did not make it"
    if _numbers(there) > _numbers(own):
        raise CommandError(
            f"The CRD {name} is of {there}, newer than the stack's {own}, and {who}: an older one could lose fields of its "
            "objects; set kong.crds to the newer CRDs, or to none to leave them as they are."
        )
    if others and there != own:
        print(
            f"warning: The CRD {name} is brought from {there or 'an older one'} to {own}, and {who}.", file=sys.stderr
        )


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:3]))


def check_releases(cluster: Cluster, namespaces: Collection[str]) -> None:
    """Raise for a Helm release of a name that the stack is about to use, in one of these namespaces."""
    for item in ownership.release_secrets(cluster):
        name, namespace = item["metadata"]["labels"]["name"], item["metadata"]["namespace"]
        if namespace in namespaces:
            raise CommandError(
                f"The Helm release {name} is in {namespace} already and not in this stack's state: if it is the rest of an "
                "`up` that was killed, `make recover` goes on with that one; if it is another installation, remove it with "
                f"`helm uninstall {name} --namespace {namespace}`."
            )


def check_namespaces(cluster: Cluster, names: Collection[str]) -> None:
    """Raise for a namespace that the stack is about to create."""
    for item in cluster.list("namespaces"):
        name = item["metadata"]["name"]
        if name in names:
            raise CommandError(
                f"The namespace {name} is there already and not in this stack's state: the stack creates its namespaces, and "
                "a destroy would delete it with all that is in it; delete it, or give the application another one."
            )


def _lacks(crd: dict[str, Any], field: str) -> bool:
    schemas = [version["schema"]["openAPIV3Schema"] for version in (crd.get("spec") or {}).get("versions") or []]
    return bool(schemas) and not any(field in schema.get("properties", {}) for schema in schemas)


def _place(item: dict[str, Any]) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _is_own(item: dict[str, Any]) -> bool:
    """Return whether an object is of one of the stack's releases of Istio, or a revision tag that leads to one."""
    return ownership.release_of(item).startswith((ISTIO_BASE, ISTIOD)) or MARK in (item["metadata"].get("labels") or {})


def _is_istio_webhook(item: dict[str, Any]) -> bool:
    return any(str(webhook["name"]).endswith(".istio.io") for webhook in item.get("webhooks") or [])


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)


if __name__ == "__main__":
    command_line.run(main)
