"""When a request through Kong can be answered, and whether every pod has its sidecar.

No container runs on a simulated node, so nothing answers. What is looked for instead is what an answer with its limit takes:
a pod of Kong's that is Ready, which it is only with a configuration; in each application's namespace an Ingress with
KongPlugins that exist; and Ready pods, all of them, behind the Service that it leads to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from commands import sidecars
from kube import Cluster, ClusterError
from names import KONG_NAMESPACE, KONG_POD_LABELS
from sandbox import SandboxError

Object = dict[str, Any]

_TICK = 0.5
_PLUGINS = "konghq.com/plugins"
_INJECT = "sidecar.istio.io/inject"


@dataclass
class PodTimes:
    """When a pod was first seen, with its containers running, and Ready, in seconds from the start."""

    seen: float
    running: float | None = None
    ready: float | None = None


def lacking(cluster: Cluster, namespaces: Collection[str], pods: Iterable[Object] | None = None) -> str:
    """Say what is not there yet for an answer from each application; empty where nothing lacks."""
    found = list(cluster.list("pods") if pods is None else pods)
    if not any(_is_ready(pod) for pod in _selected(found, KONG_NAMESPACE, KONG_POD_LABELS)):
        return "no pod of Kong's is Ready"
    for namespace in namespaces:
        if problem := _lacking_in(cluster, namespace, found):
            return problem
    return ""


def _lacking_in(cluster: Cluster, namespace: str, pods: Iterable[Object]) -> str:
    plugins = {plugin["metadata"]["name"] for plugin in cluster.list("kongplugins.configuration.konghq.com", namespace)}
    ingresses = cluster.list("ingresses", namespace)
    if not ingresses:
        return f"there is no Ingress in {namespace}"
    selectors = {item["metadata"]["name"]: item["spec"].get("selector") for item in cluster.list("services", namespace)}
    for ingress in ingresses:
        name, named = f"{namespace}/{ingress['metadata']['name']}", _plugins(ingress)
        if not named:
            return f"the Ingress {name} names no KongPlugin"
        if missing := sorted(named - plugins):
            return f"the Ingress {name} has no KongPlugin {', '.join(missing)}"
        for service in _backends(ingress):
            behind = _selected(pods, namespace, selectors.get(service) or {"": ""})
            if not behind or not all(_is_ready(pod) for pod in behind):
                return f"not all pods of the Service {namespace}/{service} are Ready"
    return ""


def _plugins(ingress: Object) -> set[str]:
    named = (ingress["metadata"].get("annotations") or {}).get(_PLUGINS) or ""
    return set(filter(None, map(str.strip, named.split(","))))


def _backends(ingress: Object) -> set[str]:
    paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    return {path["backend"]["service"]["name"] for path in paths}


def _selected(pods: Iterable[Object], namespace: str, labels: Mapping[str, str]) -> list[Object]:
    there = [pod for pod in pods if pod["metadata"]["namespace"] == namespace and sidecars.stays(pod)]
    return [pod for pod in there if labels.items() <= (pod["metadata"].get("labels") or {}).items()]


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def without_sidecar(pods: Iterable[Object], injected: Collection[str]) -> set[str]:
    """Return the pods of namespaces with injection that have no sidecar, and have not asked to have none."""
    return {
        _name(pod)
        for pod in pods
        if pod["metadata"]["namespace"] in injected
        and sidecars.stays(pod)
        and not sidecars.sidecar_of(pod)
        and (pod["metadata"].get("labels") or {}).get(_INJECT) != "false"
        and not pod["spec"].get("hostNetwork")
    }


def _injected(cluster: Cluster) -> set[str]:
    named = [(item["metadata"]["name"], item["metadata"].get("labels") or {}) for item in cluster.list("namespaces")]
    return {name for name, labels in named if labels.get("istio-injection") == "enabled" or "istio.io/rev" in labels}


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


class Observer(threading.Thread):
    """Looks twice a second, from its start on; more often would take what two cores have from what is measured. `first_answer`: seconds until `lacking` said nothing any more.

    `injection`: pods without a sidecar are to be noted, however briefly they were there.
    """

    def __init__(self, cluster: Cluster, namespaces: Collection[str], *, injection: bool) -> None:
        super().__init__(daemon=True)
        self.first_answer: float | None = None
        self.without_sidecar: set[str] = set()
        self.pods: dict[str, PodTimes] = {}
        self._cluster, self._namespaces, self._injection = cluster, namespaces, injection
        self._ended = threading.Event()
        self._begun = time.monotonic()

    def run(self) -> None:
        """Look until `end`."""
        while not self._ended.wait(_TICK):
            try:
                self._look()
            except ClusterError:
                # It is looked at again, and at the end by whoever started this.
                continue

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()

    def await_answer(self, seconds: float) -> float:
        """Return the second of the first answer, which may yet have to come. Raises `SandboxError`."""
        deadline = time.monotonic() + seconds
        while self.first_answer is None:
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"no request through Kong can be answered, {seconds:.0f} s after the script's end: "
                    f"{lacking(self._cluster, self._namespaces)}."
                )
            time.sleep(_TICK / 4)
        return self.first_answer

    def verify(self) -> None:
        """Raise `SandboxError` unless a request can be answered now."""
        if problem := lacking(self._cluster, self._namespaces):
            raise SandboxError(f"the `up` came to its end before a request through Kong could be answered: {problem}.")
        # A pod may have come since the last look.
        self._look()

    def _look(self) -> None:
        pods = self._cluster.list("pods")
        second = time.monotonic() - self._begun
        for pod in pods:
            times = self.pods.setdefault(_name(pod), PodTimes(second))
            if times.running is None and (pod.get("status") or {}).get("phase") == "Running":
                times.running = second
            if times.ready is None and _is_ready(pod):
                times.ready = second
        if self._injection:
            self.without_sidecar |= without_sidecar(pods, _injected(self._cluster))
        if self.first_answer is None and not lacking(self._cluster, self._namespaces, pods):
            self.first_answer = second
