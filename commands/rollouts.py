"""Waits until a Deployment, StatefulSet or DaemonSet is rolled out, and tells why one is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from commands import command_line
from commands.command_line import CommandError
from kube import Cluster, ClusterError, label_selector
from workloads import Image

Object = dict[str, Any]

# What is said of a pod -> what to do about it; NAMESPACE and POD stand for its own. The first that fits counts.
_REMEDIES = {
    "exceeded quota": "raise that quota, or have the pods ask for less",
    "nodes are available": "give the cluster a node that has room and fits, or have the pod ask for less",
    "ImagePull": "correct the image's name, or let the nodes pull it",
    "ErrImage": "correct the image's name, or let the nodes pull it",
    "InvalidImageName": "correct the image's name",
    "CrashLoopBackOff": "look at `kubectl --namespace NAMESPACE logs --previous --all-containers POD`",
    "exit code": "look at `kubectl --namespace NAMESPACE logs --previous --all-containers POD`",
    "probe failed": "look at `kubectl --namespace NAMESPACE logs --all-containers POD`",
    "CreateContainerConfigError": "create what the pod names, or correct the name",
    "FailedMount": "create what the pod mounts, or correct the name",
}


def wait(
    cluster: Cluster, kind: str, namespace: str, name: str, seconds: float, *, limit: float = 0, setting: str = ""
) -> Object:
    """Wait until an object of a kind of `COMPLETE` is rolled out; return it. Raises `CommandError`.

    `limit`: the seconds that it had altogether, where those are more. `setting`: what gives it longer.
    """
    found = cluster.wait_until(f"{kind.lower()}s", name, namespace, COMPLETE[kind], seconds)
    if found:
        return found
    why, pod = command_line.patiently(lambda: _trouble(cluster, kind, namespace, name))
    look = f"look at `kubectl --namespace {namespace} describe {kind.lower()} {name}` and at its pods"
    remedy = next((remedy for text, remedy in _REMEDIES.items() if text in why), look)
    remedy = remedy.replace("NAMESPACE", namespace).replace("POD", pod)
    raise CommandError(
        f"The {kind} {namespace}/{name} is not available after {limit or seconds:.0f} s{_bracketed(why)}: {remedy}"
        f"{f', or raise {setting}' if setting and remedy == look else ''}; then run `pulumi up` again."
    )


def images(workload: Object) -> dict[str, str]:
    """Return the images of a workload's containers, by name."""
    return {container["name"]: container["image"] for container in workload["spec"]["template"]["spec"]["containers"]}


def version_of(image: str) -> str:
    """Return the tag of an image, or its digest where it has none."""
    return Image.parse(image).version


def is_available(deployment: Object) -> bool:
    """Return whether a Deployment's newest generation is rolled out and available."""
    status, expected = _status(deployment), deployment["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    # Pods of before count as available too, as long as there are any.
    old = status.get("replicas", updated) > updated
    return _is_observed(deployment) and not old and min(updated, status.get("availableReplicas", 0)) >= expected


def is_everywhere(daemon_set: Object) -> bool:
    """Return whether a DaemonSet's newest generation is available on every node."""
    status = _status(daemon_set)
    available = status.get("numberAvailable", 0)
    updated = available if _waits_for_deletion(daemon_set) else status.get("updatedNumberScheduled", 0)
    return _is_observed(daemon_set) and min(updated, available) >= nodes_of(daemon_set)


def nodes_of(daemon_set: Object) -> int:
    """Return on how many nodes a DaemonSet is to run."""
    return int(_status(daemon_set).get("desiredNumberScheduled", 0))


def renewed(workload: Object) -> int:
    """Return how many pods of a workload are new and available, at least: those of before are taken for available."""
    status = _status(workload)
    if workload["kind"] == "DaemonSet":
        return int(status.get("updatedNumberScheduled", 0)) + int(status.get("numberAvailable", 0)) - nodes_of(workload)
    counts = [int(status.get(key, 0)) for key in ("updatedReplicas", "availableReplicas", "replicas")]
    return counts[0] + counts[1] - counts[2]


def _is_every_replica(stateful_set: Object) -> bool:
    status, expected = _status(stateful_set), stateful_set["spec"].get("replicas", 1)
    rolling = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    # Those below the partition stay as they are on purpose.
    to_update = 0 if _waits_for_deletion(stateful_set) else expected - rolling.get("partition", 0)
    ready = status.get("availableReplicas", status.get("readyReplicas", 0))
    return _is_observed(stateful_set) and ready >= expected and status.get("updatedReplicas", 0) >= to_update


#: What makes pods that stay -> whether it has made all of them.
COMPLETE: dict[str, Callable[[Object], bool]] = {
    "Deployment": is_available,
    "StatefulSet": _is_every_replica,
    "DaemonSet": is_everywhere,
}


def _status(workload: Object) -> Object:
    return workload.get("status") or {}


def _is_observed(workload: Object) -> bool:
    return bool(_status(workload).get("observedGeneration", 0) >= workload["metadata"].get("generation", 0))


def _waits_for_deletion(workload: Object) -> bool:
    return (workload["spec"].get("updateStrategy") or {}).get("type") == "OnDelete"


def pods(cluster: Cluster, workload: Object) -> list[Object]:
    """Return the pods that a workload selects."""
    labels = workload["spec"]["selector"].get("matchLabels") or workload["spec"]["template"]["metadata"]["labels"]
    return cluster.list("pods", workload["metadata"]["namespace"], labels=label_selector(labels))


def trouble(cluster: Cluster, namespace: str, name: str, kind: str = "Deployment") -> str:
    """Return what keeps a workload from being available, as ` (…)`; empty where nothing is known."""
    return _bracketed(_trouble(cluster, kind, namespace, name)[0])


def _bracketed(why: str) -> str:
    return f" ({why})" if why else ""


def _trouble(cluster: Cluster, kind: str, namespace: str, name: str) -> tuple[str, str]:
    """Return what keeps a workload from being available, and the pod that it is about."""
    workload = cluster.get(f"{kind.lower()}s", name, namespace)
    if not workload:
        return f"there is no such {kind}", ""
    if COMPLETE[kind](workload):
        return "", ""
    own = pods(cluster, workload)
    warnings = _warnings(cluster, workload, own)
    found = [(why, pod["metadata"]["name"]) for pod in own if (why := _pod_trouble(pod, warnings))]
    found += [
        (condition["message"], "")
        for condition in _status(workload).get("conditions") or []
        if (condition["type"], condition["status"]) == ("ReplicaFailure", "True")
    ]
    found += [(_said(event), about) for about, event in warnings.items()]
    why, pod = next(iter(found), ("", ""))
    return " ".join(why.split()).rstrip("."), pod


def _warnings(cluster: Cluster, workload: Object, own: list[Object]) -> dict[str, Object]:
    """Return the newest Warning of a workload, of its ReplicaSets and of each of its pods, by the name that it is about."""
    name = workload["metadata"]["name"]
    names = {name, *(pod["metadata"]["name"] for pod in own)}
    try:
        events = cluster.list("events", workload["metadata"]["namespace"], fields="type=Warning")
    except ClusterError:
        # Who may not read events can still be told of the rest.
        return {}
    newest: dict[str, Object] = {}
    for event in sorted(events, key=_time):
        about = str((event.get("involvedObject") or event.get("regarding") or {}).get("name"))
        if about in names or about.rpartition("-")[0] == name:
            newest[about] = event
    return newest


def _time(event: Object) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or "")


def _said(event: Object) -> str:
    return f"{event.get('reason', '')}: {event.get('message') or event.get('note') or ''}"


def _pod_trouble(pod: Object, warnings: dict[str, Object]) -> str:
    name, event = pod["metadata"]["name"], warnings.get(pod["metadata"]["name"])
    status = _status(pod)
    if why := next(_container_troubles(status), ""):
        message = str((event or {}).get("message") or "")
        return f"pod {name}: {why}{f'; {_said(event)}' if event and message not in why else ''}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name}: {condition.get('reason', '')} {condition.get('message', '')}"
    ready = {condition["type"]: condition["status"] for condition in status.get("conditions") or []}.get("Ready")
    return f"pod {name}: {_said(event)}" if event and ready != "True" else ""


def _container_troubles(status: Object) -> Iterator[str]:
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state, before = container.get("state") or {}, (container.get("lastState") or {}).get("terminated")
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            why = " ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
            yield f"container {container['name']}: {why}{f', after {_end(before)}' if before else ''}"
        elif ended and ended.get("exitCode"):
            yield f"container {container['name']}: {_end(ended)}"


def _end(terminated: Object) -> str:
    return f"{terminated.get('reason', 'its end')} with exit code {terminated.get('exitCode')}"
