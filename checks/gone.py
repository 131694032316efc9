"""Row 17: nothing of a destroyed stack is left in the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checks import endpoints
from checks.framework import Check, Failed, eventually
from checks.target import Target
from commands import ownership
from kube import Cluster
from names import PROBE_NAMESPACE, RELEASES

Item = dict[str, Any]

# Namespaces and what finalizers hold take their time.
_SECONDS = 60
_PAUSE = 1
_SHOWN = 4
_CRD = "CustomResourceDefinition"


def checks(*, keep_crds: bool) -> tuple[Check, ...]:
    """Return the checks; `keep_crds`: the CRDs of Istio and Kong were to stay."""
    found = [
        _check(
            "17",
            "namespaces gone",
            "None of the stack's namespaces is left.",
            "every namespace",
            _own_namespaces,
        ),
        _check(
            "17b",
            "webhooks gone",
            "No webhook of the stack is left, which would hold up whatever it is asked about.",
            "every configuration of webhooks",
            _of_releases("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
        ),
        _check(
            "17c",
            "rights gone",
            "No cluster-wide right of the stack is left.",
            "every ClusterRole and ClusterRoleBinding",
            _of_releases("clusterroles", "clusterrolebindings"),
        ),
        _check(
            "17d",
            "ingress class gone",
            "Kong's IngressClass is gone.",
            "every IngressClass",
            _of_releases("ingressclasses"),
        ),
        _check(
            "17e",
            "config maps gone",
            "What istiod made by itself is gone: a ConfigMap in every namespace, and GatewayClasses.",
            "these, save what another istiod in the cluster accounts for",
            lambda cluster, _: ownership.made_by_istiod(cluster),
        ),
        _check(
            "17f",
            "releases gone",
            "Helm remembers none of the stack's releases.",
            "Helm's Secrets",
            lambda cluster, target: ownership.release_secrets(cluster, target.further_releases),
        ),
    ]
    if not keep_crds:
        statement = "The CRDs that the stack installed are gone, save those that somebody else needs."
        how = "every CRD with the stack's marks; objects of it, and other controllers, that need it"
        found.append(_check("17g", "CRDs gone", statement, how, lambda cluster, _: ownership.crds_left(cluster)))
    return tuple(found)


def _check(number: str, name: str, statement: str, how: str, left_in: Callable[[Cluster, Target], list[Item]]) -> Check:
    def look(target: Target) -> str:
        def settled() -> list[Item]:
            left = endpoints.ask(target, lambda cluster: left_in(cluster, target))
            if any(_is_going(item) for item in left):
                raise _failure(target, left)
            return left

        # Only what is on its way out is worth waiting for.
        left = eventually(settled, _SECONDS, _PAUSE)
        if left:
            raise _failure(target, left)
        return "none left"

    return Check(number=number, name=name, statement=statement, how=how, look=look, seconds=_SECONDS)


def _own_namespaces(cluster: Cluster, target: Target) -> list[Item]:
    own = {*RELEASES.values(), PROBE_NAMESPACE, *target.namespaces}
    return [item for item in cluster.list("namespaces") if item["metadata"]["name"] in own]


def _of_releases(*kinds: str) -> Callable[[Cluster, Target], list[Item]]:
    """Return what lists the objects that Helm created for the stack, or istiod did, which marks its own with its release."""

    def left_in(cluster: Cluster, _: Target) -> list[Item]:
        return [item for kind in kinds for item in cluster.list(kind) if ownership.release_of(item)]

    return left_in


def _failure(target: Target, left: list[Item]) -> Failed:
    return Failed("nothing of the stack", _names(left), cause=_cause(left), look="; ".join(_commands(target, left)))


def _is_going(item: Item) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def _names(items: list[Item]) -> str:
    names = [_shown(item) for item in items]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _shown(item: Item) -> str:
    namespace = item["metadata"].get("namespace")
    return f"{item['kind']} {namespace + '/' if namespace else ''}{item['metadata']['name']}"


def _cause(items: list[Item]) -> str:
    if any(_is_going(item) for item in items):
        return "it is being deleted, and something holds it: a finalizer, or what is still in it"
    return "the destroy was interrupted or did without it, or somebody created it again"


def _commands(target: Target, items: list[Item]) -> list[str]:
    """Return a command for each kind and namespace that removes what is left; of CRDs, one that shows their use."""
    if items[0]["kind"] == _CRD:
        kinds = ",".join(item["metadata"]["name"] for item in items)
        return [target.command("get", kinds, "--all-namespaces")]
    groups: dict[tuple[str, str], list[str]] = {}
    for item in items:
        groups.setdefault((item["kind"], item["metadata"].get("namespace", "")), []).append(item["metadata"]["name"])
    return [
        target.command("delete", kind.lower(), *names, *([f"--namespace={namespace}"] if namespace else []))
        for (kind, namespace), names in sorted(groups.items())
    ]
