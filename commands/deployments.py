"""Waits for Deployments, and tells why one is not available."""

from __future__ import annotations

from typing import Any

from commands import command_line
from commands.command_line import CommandError
from kube import Cluster, label_selector
from workloads import Image


def wait(cluster: Cluster, namespace: str, name: str, seconds: float) -> dict[str, str]:
    """Wait until a Deployment is available; return its containers' images by name. Raises `CommandError`."""
    found = cluster.wait_until("deployments", name, namespace, is_available, seconds)
    if not found:
        why = command_line.patiently(lambda: trouble(cluster, namespace, name))
        raise CommandError(
            f"The Deployment {namespace}/{name} is not available after {seconds:.0f} s{why}: look at "
            f"`kubectl --namespace {namespace} describe deployment {name}` and at its pods."
        )
    return images(found)


def images(deployment: dict[str, Any]) -> dict[str, str]:
    """Return the images of a Deployment's containers, by name."""
    return {container["name"]: container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]}


def version_of(image: str) -> str:
    """Return the tag of an image, or its digest where it has none."""
    return Image.parse(image).version


def is_available(deployment: dict[str, Any]) -> bool:
    """Return whether a Deployment's newest generation is rolled out and available."""
    status, expected = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    rolled_out = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    return bool(rolled_out and min(counts) >= expected)


def pods(cluster: Cluster, deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the pods that a Deployment selects."""
    labels = deployment["spec"]["selector"]["matchLabels"]
    return cluster.list("pods", deployment["metadata"]["namespace"], labels=label_selector(labels))


def trouble(cluster: Cluster, namespace: str, name: str) -> str:
    """Return what keeps a Deployment from being available, as ` (…)`; empty where nothing is known."""
    deployment = cluster.get("deployments", name, namespace)
    if not deployment:
        return " (there is no such Deployment)"
    for pod in pods(cluster, deployment):
        if why := _pod_trouble(pod):
            return f" ({' '.join(why.split())})"
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f" ({condition['message']})"
    return ""


def _pod_trouble(pod: dict[str, Any]) -> str:
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            return f"container {container['name']}: {waiting.get('reason', '')} {waiting.get('message', '')}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {pod['metadata']['name']}: {condition.get('reason', '')} {condition.get('message', '')}"
    return ""
