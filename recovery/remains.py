"""What an `up` or a `destroy` that was cut off left in the cluster, and what is to be done with each of it.

Only what Pulumi's Kubernetes provider wrote is touched, and of that only what this stack made for sure: what the state
says was begun, what is in a namespace that the stack created, and namespaces with nothing in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kube import Cluster, Object
from recovery.engine import RELEASE, Resource, State, pair
from recovery.helm_release import HelmRelease, delete, kind_of, live

# The provider's field manager, and Helm's inside it.
_PROVIDER = "pulumi-kubernetes"
# What shows that somebody uses a namespace, and what Kubernetes and istiod write into every one.
_IN_USE = ("pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "deployments.apps")
_IN_EVERY_NAMESPACE = ("kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl")


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """`text`: what is done, and why. `perform`: does it; None where it is left to people.

    `unfinished`: the id of a Helm release that the next `up` is to update, whatever its inputs.
    """

    text: str
    perform: Callable[[Cluster], object] | None = None
    unfinished: str = ""


def remedies(cluster: Cluster, state: State, planned: Sequence[Resource]) -> list[Remedy]:
    """Return what is to be done before an `up` or a `destroy` can go on; `planned`: what an `up` would create."""
    return [*_of_releases(cluster, state, planned), *_of_objects(cluster, state, planned), *_going(cluster, state)]


def _of_releases(cluster: Cluster, state: State, planned: Sequence[Resource]) -> Iterator[Remedy]:
    for namespace, name in sorted(state.releases):
        found = HelmRelease.find(cluster, namespace, name)
        if found and (found.status == "failed" or found.status.startswith("pending-")):
            text = f"have the Helm release {name} upgraded, as it is {found.status}{found.trouble(cluster)}"
            yield Remedy(text=text, perform=found.fail, unfinished=f"{namespace}/{name}")
        elif found and found.status == "uninstalling":
            yield Remedy(text=f"uninstall the Helm release {name} to its end", perform=found.uninstall)
    for resource in (each for each in planned if each["type"] == RELEASE):
        namespace, name = resource["inputs"]["namespace"], resource["inputs"]["name"]
        found = HelmRelease.find(cluster, namespace, name)
        if not found:
            continue
        text = f"the Helm release {name} in {namespace} ({found.status})"
        if _is_the_stacks(cluster, state, resource, found.secrets[-1]):
            yield Remedy(text=f"uninstall {text}: it is not in the stack's state", perform=found.uninstall)
        else:
            yield Remedy(text=f"{text}: not this stack's work for sure")


def _of_objects(cluster: Cluster, state: State, planned: Sequence[Resource]) -> Iterator[Remedy]:
    for resource in (each for each in planned if each["type"] != RELEASE):
        found = live(cluster, resource["inputs"])
        if not found:
            continue
        if _is_the_stacks(cluster, state, resource, found):
            yield _deletion(f"delete the {_named(found)}: it is not in the stack's state", found)
        else:
            yield Remedy(text=f"the {_named(found)}: not this stack's work for sure")


def _going(cluster: Cluster, state: State) -> Iterator[Remedy]:
    """Yield what Kubernetes was told to delete, and has not yet: until then, the name is taken."""
    for resource in state.resources:
        if state.begun.get(resource["urn"]) == "deleting" and "kind" in resource.get("inputs", {}):
            namespace, name = pair(str(resource["id"]))
            found = cluster.get(kind_of(resource["inputs"]), name, namespace)
            if found and found["metadata"].get("deletionTimestamp"):
                yield _deletion(f"wait until the {_named(found)} is gone", found)


def _deletion(text: str, found: Object) -> Remedy:
    return Remedy(text=text, perform=lambda cluster: delete(cluster, found))


def _is_the_stacks(cluster: Cluster, state: State, resource: Resource, found: Object) -> bool:
    """Return whether this stack made an object for sure: another stack's were made by the same provider."""
    if not any(each["manager"].startswith(_PROVIDER) for each in found["metadata"].get("managedFields") or []):
        return False
    if found["kind"] == "Namespace":
        return _is_empty(cluster, found["metadata"]["name"])
    begun = state.begun.get(resource["urn"]) == "creating"
    return begun or found["metadata"].get("namespace") in state.namespaces


def _is_empty(cluster: Cluster, namespace: str) -> bool:
    inside = (item for kind in _IN_USE for item in cluster.list(kind, namespace))
    return all(item["metadata"]["name"] in _IN_EVERY_NAMESPACE for item in inside)


def _named(item: Object) -> str:
    metadata = item["metadata"]
    return f"{item['kind']} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"
