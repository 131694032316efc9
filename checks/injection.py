"""Sidecars: in every pod of the mesh's namespaces, and in none elsewhere.

Besides looking at the pods that are there, it asks for one in each kind of namespace with a dry run: the API server then
calls the real webhook, and creates nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from checks import endpoints
from checks.framework import Check, Failed, NotChecked, eventually
from checks.target import Target
from commands.sidecars import SIDECAR, is_of_job, stays
from commands.when_deleted.unused_revision import STATUS
from kube import Cluster, ClusterError
from names import ISTIO_NAMESPACE, KONG_NAMESPACE

Object = dict[str, Any]

_ASKS = "sidecar.istio.io/inject"

_ASKED = "injection-asked"
_SECONDS = 30
_PAUSE = 3


def look(target: Target) -> str:
    """Return what was seen of pods with and without sidecars."""
    if not target.injection:
        raise NotChecked("not shown: sidecar injection is switched off for this stack (istio.injection)")
    return eventually(lambda: _look_once(target), _SECONDS, _PAUSE)


def _look_once(target: Target) -> str:
    namespaces = endpoints.ask(target, lambda cluster: cluster.list("namespaces"))
    pods = [pod for name in target.namespaces for pod in endpoints.ask(target, partial(_pods, namespace=name))]
    labelled = {item["metadata"]["name"] for item in namespaces if is_labelled(item)}
    inside = judge_inside(pods, target, labelled)
    # All pods of the cluster are asked for once, when there is nothing left to wait for.
    outside = judge_outside(endpoints.ask(target, _pods), target, labelled)
    image = pods[0]["spec"]["containers"][0]["image"]
    return "; ".join([inside, outside, *_asked(target, namespaces, labelled, image)])


def _pods(cluster: Cluster, namespace: str | None = None) -> list[Object]:
    return cluster.list("pods", namespace)


def is_labelled(namespace: Object) -> bool:
    """Return whether istiod injects into a namespace."""
    labels = namespace["metadata"].get("labels") or {}
    return labels.get("istio-injection") == "enabled" or ("istio.io/rev" in labels and "istio-injection" not in labels)


def has_sidecar(pod: Object) -> bool:
    """Return whether a pod has a sidecar that runs beside its containers; a native one is an init container."""
    natives = [one for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    names = {container["name"] for container in [*natives, *pod["spec"]["containers"]]}
    return SIDECAR in names and STATUS in (pod["metadata"].get("annotations") or {})


def judge_inside(pods: list[Object], target: Target, labelled: Collection[str]) -> str:
    """Return how many pods of the mesh's namespaces there are, if all of them have a sidecar, or a reason for none."""
    counts, named = [], []
    for namespace in target.namespaces:
        there = [pod for pod in pods if _namespace(pod) == namespace]
        own = [pod for pod in there if stays(pod)]
        # Nobody asks Kong's own pods what they want: all that the checks see of the mesh starts there.
        reasons = {
            pod["metadata"]["name"]: "" if namespace == KONG_NAMESPACE else why_none(pod)
            for pod in own
            if not has_sidecar(pod)
        }
        named += [f"{namespace}/{name} has none ({why})" for name, why in reasons.items() if why]
        bare = [name for name, why in reasons.items() if not why]
        if bare or not (own or any(map(is_of_job, there))):
            unlabelled = f"the namespace {namespace} has no label istio-injection=enabled"
            late = "they started before istiod injected, or ask for no sidecar: restart them"
            absent = "its Deployments are gone, scaled to nothing, or refused their pods"
            raise Failed(
                f"pods in {namespace}, each with {SIDECAR} and the annotation {STATUS}",
                f"none in {', '.join(bare)}" if bare else "no pods",
                cause=unlabelled if namespace not in labelled else late if bare else absent,
                look=_describe(target, namespace),
                # Where no pod starts or ends, nothing is under way that would bring others.
                certain=namespace not in labelled or (bool(bare) and all(map(_is_ready, own))),
            )
        counts.append(f"{len(own) - len(reasons)} in {namespace}")
    return "; ".join([f"all pods have a sidecar ({', '.join(counts)})", *named])


def why_none(pod: Object) -> str:
    """Return why a pod may well have no sidecar; empty where nothing says so.

    istiod injects into no pod of the host's network, and none that asks for that (istio/istio, pkg/kube/inject/inject.go).
    A Job may have started before istiod injected, and ends.
    """
    asked = (pod["metadata"].get("annotations") or {}).get(_ASKS)
    asked = (pod["metadata"].get("labels") or {}).get(_ASKS, asked)
    if asked == "false":
        return f"it says {_ASKS}: false"
    if pod["spec"].get("hostNetwork"):
        return "it is on its node's network"
    return "it is of a Job" if is_of_job(pod) else ""


def judge_outside(pods: list[Object], target: Target, labelled: Collection[str]) -> str:
    """Return how many pods there are outside of the mesh, if none of them has a sidecar."""
    others = [pod for pod in pods if _namespace(pod) not in labelled and not _wants_one(pod) and stays(pod)]
    injected = [f"{_namespace(pod)}/{pod['metadata']['name']}" for pod in others if has_sidecar(pod)]
    if injected:
        raise Failed(
            "no sidecar in pods of namespaces without the label",
            f"one in {', '.join(injected)}",
            cause="the namespace had the label when they started, or the webhook selects more than it should",
            look=target.command("get", "namespaces", "--label-columns=istio-injection,istio.io/rev"),
            certain=True,
        )
    return f"none of the {len(others)} pods outside has one"


def _asked(target: Target, namespaces: list[Object], labelled: Collection[str], image: str) -> list[str]:
    """Return what the API server answers to pods that are only asked for: in each namespace of the mesh, and outside."""
    actual = [_asked_inside(target, namespace, image) for namespace in target.namespaces]
    if outside := _outside(namespaces, labelled, target):
        actual.append(_asked_outside(target, outside, image))
    return actual


def _asked_inside(target: Target, namespace: str, image: str) -> str:
    try:
        created = dry_run(target, namespace, image)
    except ClusterError as error:
        raise Failed(
            f"a sidecar for a new pod in {namespace}",
            f"its refusal: {str(error).rstrip('.')}",
            cause="the API server does not reach istiod's webhook or does not trust it, or a policy refuses the pod",
            look=target.command(
                "get", "mutatingwebhookconfigurations", "--selector=app=sidecar-injector", "--output=yaml"
            ),
        ) from None
    return judge_new(created, target, namespace, expected=True)


def _asked_outside(target: Target, namespace: str, image: str) -> str:
    try:
        created = dry_run(target, namespace, image)
    except ClusterError as error:
        # A cluster may well refuse bare pods there, and that is the control alone.
        return f"a new pod in {namespace} is refused, so none was looked at there ({str(error).rstrip('.')})"
    return judge_new(created, target, namespace, expected=False)


def dry_run(target: Target, namespace: str, image: str) -> Object:
    """Return the pod that the API server would create. Raises `ClusterError` where it would refuse it."""
    return target.cluster.create(_pod(namespace, image), dry_run=True)


def judge_new(pod: Object, target: Target, namespace: str, *, expected: bool) -> str:
    """Return what a new pod would get, if that is a sidecar exactly where one is expected."""
    given = has_sidecar(pod)
    if given == expected:
        return f"a new pod in {namespace} would get {'one' if given else 'none'}"
    inside = f"the namespace {namespace} has no label istio-injection=enabled, or the webhook does not select it"
    outside = "the webhook selects namespaces that have no label"
    raise Failed(
        f"{'a' if expected else 'no'} sidecar for a new pod in {namespace}",
        "one" if given else "none",
        cause=inside if expected else outside,
        look=target.command("get", "namespaces", "--label-columns=istio-injection,istio.io/rev"),
    )


def _outside(namespaces: list[Object], labelled: Collection[str], target: Target) -> str:
    """Return a namespace that is not in the mesh; `default` where it is not."""
    own = {ISTIO_NAMESPACE, *labelled, *target.namespaces}
    found = sorted(item["metadata"]["name"] for item in namespaces if item["metadata"]["name"] not in own)
    return "default" if "default" in found else next(iter(found), "")


def _pod(namespace: str, image: str) -> Object:
    """Return a pod that even the strictest Pod Security standard lets pass. It is never created."""
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "asked", "image": image, "securityContext": confined}
    secure = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _ASKED, "namespace": namespace},
        "spec": {"securityContext": secure, "containers": [container]},
    }


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _wants_one(pod: Object) -> bool:
    """Return whether a pod asks for a sidecar by itself, whatever its namespace."""
    metadata = pod["metadata"]
    asked = (metadata.get("labels") or {}).get(_ASKS)
    return str(asked) == "true"


def _namespace(pod: Object) -> str:
    return str(pod["metadata"]["namespace"])


def _describe(target: Target, namespace: str) -> str:
    return target.command("--namespace", namespace, "describe", "namespaces/" + namespace, "replicasets", "pods")


CHECKS = (
    Check(
        number="2",
        name="injection",
        statement="Every pod of the mesh's namespaces has a sidecar, but for those that say why not, and no pod elsewhere.",
        how="all pods that are there, and what the API server would create for a new one inside and outside (a dry run)",
        look=look,
        seconds=_SECONDS,
    ),
)
