"""Security in the sandbox: what its admission lets in and refuses, and what its istiod makes of the policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import yaml
from stack import Object, Stack, make_project, said, wait_for

from checks.discovery import ads
from components.shared.traffic_policies import KONG_PRINCIPAL
from sandbox.facts import DEFAULT_REVISION, Facts

pytestmark = pytest.mark.sandbox

CHOICES: Object = {
    "kong-istio:istio": {"cni": True, "ingressGateway": True, "egressGateway": True},
    "kong-istio:security": {"onlyKongCalls": True, "networkPolicies": True},
    # Other tests look at what they see; here they would only take their time.
    "kong-istio:checks": {"enabled": False},
}
LEVEL = "pod-security.kubernetes.io/enforce"
STRICTER = {"privileged": "baseline", "baseline": "restricted"}
# As a certificate says it, which is what a sidecar compares.
_KONG = f"spiffe://{KONG_PRINCIPAL}".encode()
SYSTEM = {"default", "kube-system", "kube-public", "kube-node-lease"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Bring up a stack with every choice of security, in a sandbox of its own."""
    project = make_project(tmp_path_factory.mktemp("guarded").resolve())
    file = project.paths.committed_stack_file
    settings = yaml.safe_load(file.read_text())
    settings["config"] |= CHOICES
    file.write_text(yaml.safe_dump(settings))
    found = Stack(project, checks=False)
    try:
        answer = project.python("-m", "sandbox", "up")
        assert answer.returncode == 0, said(answer)
        facts = Facts.load(project.paths.facts)
        if facts and facts.not_shown:
            pytest.skip(f"nothing injects sidecars here: {facts.not_shown}")
        found.up()
        yield found
    finally:
        found.down()


@pytest.fixture(params=["stack", "guarded"])
def either(request: pytest.FixtureRequest) -> Stack:
    """Return the stack with its defaults, then the one with every choice of security."""
    found: Stack = request.getfixturevalue(request.param)
    found.up_unless_it_is()
    return found


# --- Pod Security ----------------------------------------------------------------------------------------------------


def levels(stack: Stack) -> dict[str, str]:
    """Return what the namespaces of the stack enforce."""
    found = {
        item["metadata"]["name"]: item["metadata"]["labels"].get(LEVEL, "none") for item in stack.list("namespaces")
    }
    return {name: level for name, level in found.items() if name not in SYSTEM}


def expected(stack: Stack) -> dict[str, str]:
    sidecars = "restricted" if stack.facts.not_shown else "privileged"
    return {"istio-system": "restricted", "kong-istio": sidecars, "bookinfo": sidecars}


def test_the_default_stack_enforces_what_its_pods_pass(stack: Stack) -> None:
    stack.up_unless_it_is()
    assert levels(stack) == expected(stack)


def test_with_a_node_agent_only_that_needs_privileges(guarded: Stack) -> None:
    restricted = ("istio-system", "kong-istio", "bookinfo", "istio-ingress", "istio-egress")
    assert levels(guarded) == {"istio-cni": "privileged", **dict.fromkeys(restricted, "restricted")}


def test_every_pod_is_there_and_none_was_refused(either: Stack) -> None:
    for namespace in levels(either):
        for kind in ("deployments", "daemonsets"):
            for item in either.list(kind, namespace):
                status = item["status"]
                expected = item["spec"].get("replicas", status.get("desiredNumberScheduled"))
                ready = status.get("readyReplicas", status.get("numberReady", 0))
                assert ready == expected > 0, f"{namespace}/{item['metadata']['name']} has {ready} of {expected} pods"
        assert either.list("pods", namespace), f"{namespace} has no pods"


@contextmanager
def trial_namespaces(stack: Stack) -> Iterator[dict[str, str]]:
    """Make a namespace for each level, which enforces it and injects nothing; give their names by level."""
    names = {level: f"trial-{level}" for level in ("privileged", "baseline", "restricted")}
    for level, name in names.items():
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LEVEL: level}}}
        stack.kubectl("create", "--filename=-", stdin=json.dumps(namespace))
    try:
        for name in names.values():
            wait_for(partial(_has_account, stack, name), f"the default ServiceAccount of {name}")
        yield names
    finally:
        stack.kubectl("delete", "namespace", *names.values())


def _has_account(stack: Stack, namespace: str) -> bool:
    return stack.try_kubectl("get", "serviceaccount", "default", f"--namespace={namespace}").returncode == 0


def refusal(stack: Stack, pod: Object, namespace: str) -> str:
    """Return why the API server would not take a copy of a pod in a namespace; empty where it would."""
    own = ("nodeName", "serviceAccount", "serviceAccountName")
    spec = {key: value for key, value in pod["spec"].items() if key not in own}
    copy = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod["metadata"]["name"], "namespace": namespace},
        "spec": {**spec, "automountServiceAccountToken": False},
    }
    answer = stack.try_kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(copy))
    return "" if answer.returncode == 0 else " ".join(answer.stderr.split())


def test_each_level_is_the_strictest_that_the_pods_pass(either: Stack) -> None:
    print(f"\n{'namespace':<14} {'admitted with':<14} refused one step stricter")
    with trial_namespaces(either) as trials:
        enforced = {name: level for name, level in levels(either).items() if name not in trials.values()}
        for namespace, level in enforced.items():
            pods = either.list("pods", namespace)
            assert {refusal(either, pod, trials[level]) for pod in pods} == {""}
            stricter = STRICTER.get(level)
            reasons = [why for pod in pods if stricter and (why := refusal(either, pod, trials[stricter]))]
            assert stricter is None or reasons, f"{namespace} enforces {level}, and its pods pass {stricter}"
            assert all(f'violates PodSecurity "{stricter}:latest"' in why for why in reasons)
            shown = reasons[0].partition("violates PodSecurity ")[2] if reasons else "there is none"
            print(f"{namespace:<14} {level:<14} {shown}")


def test_a_pod_that_asks_for_more_does_not_get_into_an_application(guarded: Stack) -> None:
    pod = {
        "metadata": {"name": "greedy"},
        "spec": {"containers": [{"name": "one", "image": "busybox", "securityContext": {"privileged": True}}]},
    }
    why = refusal(guarded, pod, "bookinfo")
    assert 'violates PodSecurity "restricted:' in why
    assert "privileged" in why


def test_pods_of_the_mesh_start_without_privileges(guarded: Stack) -> None:
    for pod in [*guarded.list("pods", "kong-istio"), *guarded.list("pods", "bookinfo")]:
        containers = {item["name"]: item for item in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])}
        assert "istio-proxy" in containers
        assert "istio-init" not in containers, "istiod does not know of the node agent"
        assert not any(
            (of.get("securityContext") or {}).get("capabilities", {}).get("add") for of in containers.values()
        )


def test_gateways_get_their_image_from_istiod(guarded: Stack) -> None:
    for namespace in ("istio-ingress", "istio-egress"):
        (pod,) = guarded.list("pods", namespace)
        assert [item["image"].partition(":")[0] for item in pod["spec"]["containers"]] == [
            "registry.istio.io/release/proxyv2"
        ]


# --- Policies --------------------------------------------------------------------------------------------------------


def listeners(stack: Stack, app: str) -> bytes:
    """Return what istiod has the sidecar of an application's pod listen to."""
    (pod,) = (pod for pod in stack.list("pods", "bookinfo") if pod["metadata"]["labels"]["app"] == app)
    configuration = ads.fetch(f"127.0.0.1:{stack.facts.istiods[DEFAULT_REVISION]['grpc']}", ads.sidecar_of(pod))
    found: list[Any] = list(configuration.listeners)
    assert found
    return b"".join(listener.SerializeToString() for listener in found)


def test_istiod_has_the_routed_pods_take_requests_of_kong_alone(guarded: Stack) -> None:
    assert _KONG in listeners(guarded, "productpage")
    # Pods go on calling each other.
    assert _KONG not in listeners(guarded, "details")


def test_without_the_setting_istiod_restricts_nobody(stack: Stack) -> None:
    if stack.facts.not_shown:
        pytest.skip(stack.facts.not_shown)
    stack.up_unless_it_is()
    assert _KONG not in listeners(stack, "productpage")


def test_network_policies_are_stored_as_they_were_meant(guarded: Stack) -> None:
    found = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in guarded.list("networkpolicies")}
    assert found == {
        *((namespace, "default") for namespace in levels(guarded)),
        *(("bookinfo", "productpage-from-kong"), ("kong-istio", "kong"), ("istio-system", "istiod")),
    }
