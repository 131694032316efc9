"""Row 17: nothing of a destroyed stack is left in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from checks.framework import Check, Failed, eventually
from checks.probe import NAMESPACE as PROBE_NAMESPACE
from checks.target import Target
from commands.leftovers import CONFIG_MAPS, is_ours
from commands.precheck import RELEASES

Item = dict[str, Any]

# Namespaces and what finalizers hold take their time.
_SECONDS = 60
_SHOWN = 4
_INGRESS_CONTROLLER = "ingress-controllers.konghq.com/kong"
_DEFINITION = "CustomResourceDefinition"
_RELEASE_SECRET = "helm.sh/release.v1"  # noqa: S105 -- the type that Helm gives its Secrets


def checks(*, keep_crds: bool) -> tuple[Check, ...]:
    """Return the checks; `keep_crds`: the CRDs of Istio and Kong were to stay."""
    found = [
        _check("17", "namespaces gone", "None of the stack's namespaces is left.", "namespaces", _is_own_namespace),
        _check(
            "17b",
            "webhooks gone",
            "No webhook of the stack is left, which would hold up whatever it is asked about.",
            "mutatingwebhookconfigurations,validatingwebhookconfigurations",
            _is_of_a_release,
        ),
        _check(
            "17c",
            "rights gone",
            "No cluster-wide right of the stack is left.",
            "clusterroles,clusterrolebindings",
            _is_of_a_release,
        ),
        _check("17d", "ingress class gone", "Kong's IngressClass is gone.", "ingressclasses", _is_kongs_class),
        _check(
            "17e",
            "config maps gone",
            "What istiod wrote into every namespace is gone.",
            "configmaps",
            lambda item, _: item["metadata"]["name"] in CONFIG_MAPS,
        ),
        _check(
            "17f",
            "releases gone",
            "Helm remembers none of the stack's releases.",
            "secrets",
            _is_release_secret,
            f"--field-selector=type={_RELEASE_SECRET}",
        ),
    ]
    if not keep_crds:
        statement = "The definitions of Istio's and Kong's kinds are gone."
        own = _check("17g", "definitions gone", statement, "customresourcedefinitions", lambda item, _: is_ours(item))
        found.append(own)
    return tuple(found)


def _check(
    number: str,
    name: str,
    statement: str,
    kinds: str,
    is_left: Callable[[Item, Target], bool],
    *options: str,
) -> Check:
    def look(target: Target) -> str:
        def settled() -> list[Item]:
            listed = target.kubectl().list(kinds, "--all-namespaces", *options)
            left = [item for item in listed if is_left(item, target)]
            if any(_is_going(item) for item in left):
                raise _failure(target, left)
            return left

        # Only what is on its way out is worth waiting for.
        left = eventually(settled, _SECONDS)
        if left:
            raise _failure(target, left)
        return "none left"

    return Check(number=number, name=name, statement=statement, how=f"kubectl get {kinds}", look=look, seconds=_SECONDS)


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
    if items[0]["kind"] == _DEFINITION:
        return "somebody still has objects of these kinds, which would be deleted with them"
    if any(_is_going(item) for item in items):
        return "it is being deleted, and something holds it: a finalizer, or what is still in it"
    return "the destroy was interrupted or did without it, or somebody made it anew"


def _commands(target: Target, items: list[Item]) -> list[str]:
    """Return a command for each kind and namespace that removes what is left; of definitions, one that shows its use."""
    if items[0]["kind"] == _DEFINITION:
        kinds = ",".join(item["metadata"]["name"] for item in items)
        return [target.command("get", kinds, "--all-namespaces")]
    groups: dict[tuple[str, str], list[str]] = {}
    for item in items:
        groups.setdefault((item["kind"], item["metadata"].get("namespace", "")), []).append(item["metadata"]["name"])
    return [
        target.command("delete", kind.lower(), *names, *([f"--namespace={namespace}"] if namespace else []))
        for (kind, namespace), names in sorted(groups.items())
    ]


def _is_own_namespace(item: Item, target: Target) -> bool:
    return item["metadata"]["name"] in {*RELEASES.values(), PROBE_NAMESPACE, *target.namespaces}


def _is_of_a_release(item: Item, _: Target) -> bool:
    """Return whether Helm made an object for the stack, or istiod did, which marks its own with its release."""
    metadata = item["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    owner = (annotations.get("meta.helm.sh/release-name"), annotations.get("meta.helm.sh/release-namespace"))
    return owner in RELEASES.items()


def _is_kongs_class(item: Item, target: Target) -> bool:
    return bool(item["spec"].get("controller") == _INGRESS_CONTROLLER) and _is_of_a_release(item, target)


def _is_release_secret(item: Item, _: Target) -> bool:
    labels = item["metadata"].get("labels") or {}
    return RELEASES.get(labels.get("name", ""), "none") == str(item["metadata"]["namespace"])
