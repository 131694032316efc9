"""Looks, before anything is created, for what would stop the stack: what `istioctl x precheck` would stop at.

Checked are the Kubernetes version, the permissions that the charts need, and that no stranger's mesh or Kong is
in the way. Prints what it found as JSON; a reason to stop goes to standard error as one sentence.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from commands import command_line, ownership
from commands.command_line import CommandError
from kube import Cluster
from names import INGRESS_CLASS, ISTIO_BASE, ISTIOD, KONG
from versions import KUBERNETES_MINIMUM, KUBERNETES_TESTED

# (group, resource): what the charts create. Kinds in a namespace are asked for in all namespaces.
_CREATES = (
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("", "configmaps"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "ingressclasses"),
)


def main() -> None:
    """Run the precheck from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    version = _version(cluster)
    with ThreadPoolExecutor() as pool:
        checks = [
            pool.submit(check_permissions, cluster),
            pool.submit(check_webhooks, cluster, options.ingress_class),
            pool.submit(check_control_planes, cluster),
            pool.submit(check_crds, cluster),
        ]
        if options.first:
            checks.append(pool.submit(check_releases, cluster))
            checks.append(pool.submit(check_namespaces, cluster, options.namespace))
        for check in checks:
            check.result()
    print(json.dumps({"kubernetes": version}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--namespace", action="append", default=[], help="one that the stack creates")
    parser.add_argument("--ingress-class", default=INGRESS_CLASS, help="that Kong is to serve")
    parser.add_argument("--first", action="store_true", help="the stack has installed nothing yet")
    return parser.parse_args()


def _version(cluster: Cluster) -> str:
    answer = cluster.raw("/version")
    warning = check_version(str(answer["major"]), str(answer["minor"]))
    if warning:
        print(warning, file=sys.stderr)
    return str(answer["gitVersion"])


def check_version(major: str, minor: str) -> str | None:
    """Return a warning for a Kubernetes newer than tested; raise for one that Istio refuses."""
    # Managed clusters write the minor as "32+".
    found = int(major), int(re.sub(r"\D.*", "", minor))
    if found < KUBERNETES_MINIMUM:
        raise CommandError(
            f"The cluster runs Kubernetes {_dotted(found)}: this Istio needs {_dotted(KUBERNETES_MINIMUM)} or newer; "
            "upgrade the cluster, or choose another one."
        )
    if found > KUBERNETES_TESTED:
        return (
            f"warning: Kubernetes {_dotted(found)} is newer than {_dotted(KUBERNETES_TESTED)}, "
            "the newest that this Istio was tested with."
        )
    return None


def check_permissions(cluster: Cluster) -> None:
    """Raise for the first kind of object that the user may not create."""
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "create", "group": group, "resource": resource}},
        }
        for group, resource in _CREATES
    ]
    with ThreadPoolExecutor() as pool:
        answers = pool.map(cluster.create, reviews)
        allowed = [answer["status"].get("allowed") for answer in answers]
    refused = [resource for (_, resource), may in zip(_CREATES, allowed, strict=True) if not may]
    if refused:
        raise CommandError(
            f"This user may not create {', '.join(refused)}: ask for those permissions (cluster-admin has them), "
            "or name another context."
        )


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
        if _is_istio_webhook(item) and ownership.release_of(item) not in (ISTIO_BASE, ISTIOD):
            raise CommandError(
                f"The webhook configuration {name} belongs to another Istio: two meshes would inject the same pods; "
                "uninstall that one first (istioctl uninstall --purge, or helm uninstall)."
            )


def check_control_planes(cluster: Cluster) -> None:
    """Raise for an istiod that the stack's release did not install."""
    for item in cluster.list("deployments", labels="app=istiod"):
        if ownership.release_of(item) != ISTIOD:
            where = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            raise CommandError(
                f"The Deployment {where} is the control plane of another Istio: uninstall that one first "
                "(istioctl uninstall --purge, or helm uninstall)."
            )


def check_crds(cluster: Cluster) -> None:
    """Raise for Istio's CRDs where another Helm release, or none, owns them: Helm would refuse."""
    for item in cluster.list("customresourcedefinitions", labels="app.kubernetes.io/part-of=istio"):
        if ownership.release_of(item) != ISTIO_BASE:
            raise CommandError(
                f"The CRD {item['metadata']['name']} is there already and is not the release istio-base's: Helm "
                "would refuse it; uninstall the other Istio and delete its CRDs "
                "(kubectl delete crd --selector app.kubernetes.io/part-of=istio)."
            )


def check_releases(cluster: Cluster) -> None:
    """Raise for a Helm release of a name that the stack is about to use."""
    for item in ownership.release_secrets(cluster):
        name, namespace = item["metadata"]["labels"]["name"], item["metadata"]["namespace"]
        raise CommandError(
            f"The Helm release {name} is in {namespace} already and not in this stack's state: it is another "
            f"installation, or the rest of an `up` that was killed; remove it with `helm uninstall {name} "
            f"--namespace {namespace}`."
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


def _is_istio_webhook(item: dict[str, Any]) -> bool:
    return any(str(webhook["name"]).endswith(".istio.io") for webhook in item.get("webhooks") or [])


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)


if __name__ == "__main__":
    command_line.run(main)
