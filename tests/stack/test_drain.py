"""A node pool that moves, by Pulumi's own engine: every old node is drained, and Kong and the applications answer throughout."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from stack import Object, Stack, said, wait_for
from test_environments import bring_up, in_the_sandbox, pulumi, sandbox_in

from checks import drains
from checks.framework import Failed
from checks.target import RoutedApplication, Target
from kube import Cluster
from preview import pulumi_preview
from sandbox.paths import CONTEXT

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

Place = tuple[str, str]

STACK = "drained"
NATIVE_SINCE = "v1.33.0"
SETTINGS: Mapping[str, Any] = {
    "istio": {"replicas": 2},
    "kong": {"replicas": 2, "serviceType": "NodePort"},
    "rateLimit": {"minute": 30, "policy": "redis", "redis": {"host": "redis.example.com"}},
    "observability": {name: {"enabled": False} for name in ("prometheus", "grafana", "kiali")},
    "checks": {"enabled": False},
    "applications": [
        {"name": "shop", "namespace": "shop", "manifests": "shop.yaml", "route": {"service": "web", "port": 80}}
    ],
}
# Who has two pods and a budget, and who has one: what docs/upgrade.md says of both.
KEPT = (("kong-istio", "kong-istio-kong-proxy"), ("shop", "web"))
SINGLE = ("shop", "single")


def application(name: str, replicas: int) -> list[Object]:
    labels = {"app": name}
    container = {"name": name, "image": f"registry.example.com/{name}:1", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    ]


def budget(name: str, least: int) -> Object:
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": name}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Bring up what is drained, in a sandbox of its own; skip where there is no engine."""
    if missing := pulumi_preview.missing():
        pytest.skip(missing)
    with sandbox_in(tmp_path_factory.mktemp(STACK)) as found:
        if found.facts.not_shown:
            pytest.skip(f"not shown: {found.facts.not_shown}")
        objects = [*application("web", 2), budget("web", 1), *application("single", 1)]
        (found.paths.root / "shop.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
        bring_up(found, STACK, in_the_sandbox(dict(SETTINGS), found))
        yield found


def add_node(stack: Stack, name: str, **info: str) -> None:
    """Create a simulated node like the first one."""
    node = copy.deepcopy(stack.list("nodes")[0])
    node["metadata"] = {**node["metadata"], "name": name, "uid": None, "resourceVersion": None}
    node["metadata"]["labels"]["kubernetes.io/hostname"] = name
    node["spec"] = {}
    node["status"] = {**node["status"], "conditions": [], "nodeInfo": {**node["status"]["nodeInfo"], **info}}
    stack.kubectl("create", "--filename=-", stdin=json.dumps(node))

    def is_ready() -> bool:
        conditions = stack.get("node", name)["status"].get("conditions") or []
        return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

    wait_for(is_ready, f"the node {name}")


def ready(found: Object) -> int:
    """Return how many endpoints of an EndpointSlice are ready."""
    return sum(bool(each["conditions"].get("ready")) for each in found.get("endpoints") or [])


def slice_of(stack: Stack, service: Place) -> Object:
    (found,) = stack.cluster.list("endpointslices", service[0], labels=f"kubernetes.io/service-name={service[1]}")
    return found


@contextmanager
def watched(stack: Stack, *services: Place) -> Iterator[dict[Place, list[int]]]:
    """Count the ready endpoints of Services, at each change that the API server tells of."""
    found: dict[Place, list[int]] = {service: [] for service in services}
    names = {service: slice_of(stack, service)["metadata"]["name"] for service in services}
    ended = threading.Event()

    def watch(service: Place) -> None:
        cluster = Cluster(str(stack.paths.kubeconfig), CONTEXT)
        for state in cluster.follow("endpointslices", names[service], service[0], seconds=120):
            if ended.is_set():
                break
            found[service].append(ready(state) if state else 0)

    threads = [threading.Thread(target=watch, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: all(found.values()), "the first state of each")
        yield found
    finally:
        ended.set()
        for namespace in {namespace for namespace, _ in services}:
            # A last change, for the watches to end at.
            stack.kubectl("annotate", "endpointslices", "--all", f"--namespace={namespace}", "test=ended")
        for thread in threads:
            thread.join()


def nodes_of(stack: Stack, namespace: str, labels: str) -> list[str]:
    pods = stack.cluster.list("pods", namespace, labels=labels)
    return sorted(pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"])


def target(stack: Stack) -> Target:
    shop = RoutedApplication(name="shop", namespace="shop", service="web", port=80, limits={"minute": 30})
    return Target(kubeconfig=str(stack.paths.kubeconfig), context=CONTEXT, applications=(shop,))


def injected(stack: Stack) -> Object:
    """Return a pod of Kong's as it would start now."""
    template = stack.get("deployment", "kong-istio-kong", "kong-istio")["spec"]["template"]
    metadata = {**template["metadata"], "name": "next", "namespace": "kong-istio"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    given = ("create", "--dry-run=server", "--filename=-", "--output=json")
    return dict(json.loads(stack.kubectl(*given, stdin=json.dumps(pod))))


def named(containers: list[Object], name: str) -> Object | None:
    return next((each for each in containers if each["name"] == name), None)


# --- how a pod of Kong's ends ---------------------------------------------------------------------------------


def test_a_native_sidecar_begins_to_drain_with_kong_and_ends_after_it(stack: Stack) -> None:
    pod = injected(stack)
    sidecar = named(pod["spec"]["initContainers"], "istio-proxy")
    assert sidecar
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["lifecycle"]["preStop"]["exec"]["command"][-2:] == ["POST", "drain"]
    proxy = named(pod["spec"]["containers"], "proxy")
    assert proxy
    assert proxy["lifecycle"]["preStop"]["exec"]["command"] == ["kong", "quit", "--wait=15"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30


def test_a_sidecar_beside_kong_drains_longer_than_kong_takes(stack: Stack) -> None:
    add_node(stack, "of-before", kubeletVersion="v1.32.9")
    try:
        # istiod decides by the nodes that it knows of.
        found = wait_for(
            lambda: named(injected(stack)["spec"]["containers"], "istio-proxy"), f"sidecars of before {NATIVE_SINCE}"
        )
    finally:
        stack.kubectl("delete", "node", "of-before")
    (config,) = (each["value"] for each in found["env"] if each["name"] == "PROXY_CONFIG")
    assert json.loads(config)["terminationDrainDuration"] == "28s"
    assert "preStop" not in found["lifecycle"], "it is told to end when Kong is, and drains from then on"


# --- a node pool that moves -----------------------------------------------------------------------------------


def test_a_budget_that_keeps_every_pod_stops_a_drain_and_is_named(stack: Stack) -> None:
    stuck = [*application("stuck", 2), budget("stuck", 2)]
    for item in stuck:
        stack.kubectl("create", "--namespace=shop", "--filename=-", stdin=json.dumps(item))
    try:
        wait_for(lambda: ready(slice_of(stack, ("shop", "stuck"))) == 2, "two pods")
        node = nodes_of(stack, "shop", "app=stuck")[0]
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=stuck", "--timeout=2s")
        answer = stack.try_kubectl("drain", node, *options)
        stack.kubectl("uncordon", node)
        assert answer.returncode
        assert "Cannot evict pod as it would violate the pod's disruption budget" in said(answer)
        with pytest.raises(Failed, match=r"saw shop/stuck of which no pod may go$"):
            drains.look(target(stack))
    finally:
        stack.kubectl("delete", "--namespace=shop", "deployment,service,poddisruptionbudget", "stuck")


def test_kong_and_the_applications_answer_while_every_node_is_drained(stack: Stack) -> None:
    old = [item["metadata"]["name"] for item in stack.list("nodes")]
    assert nodes_of(stack, "kong-istio", "app.kubernetes.io/name=kong") == old
    said_of_it = drains.look(target(stack))
    assert "a drain interrupts what has a single pod: shop/single" in said_of_it
    new = ["new-1", "new-2"]
    for name in new:
        add_node(stack, name)
    stack.kubectl("cordon", *old)
    with watched(stack, *KEPT, SINGLE) as counts:
        for name in old:
            stack.kubectl("drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        wait_for(lambda: [counts[service][-1] for service in (*KEPT, SINGLE)] == [2, 2, 1], "every pod")
    assert {service: min(counts[service]) for service in KEPT} == dict.fromkeys(KEPT, 1)
    assert min(counts[SINGLE]) == 0, "the docs say that a single pod is interrupted"
    assert nodes_of(stack, "kong-istio", "app.kubernetes.io/name=kong") == new
    assert nodes_of(stack, "istio-system", "app=istiod") == new
    stack.kubectl("delete", "node", *old)
    answer = pulumi(stack, STACK, "preview", "--refresh", "--expect-no-changes")
    assert answer.returncode == 0, said(answer)
