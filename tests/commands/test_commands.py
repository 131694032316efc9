"""The commands that the stack runs against the cluster: what they wait for, and why they give up."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from fakes.api_server import ApiServer
from fakes.cluster import has_labels

from commands import (
    command_line,
    istio_cni_ready,
    istiod_ready,
    kong_ready,
    precheck,
    rollouts,
    secret_ready,
    workloads_ready,
)
from commands.command_line import CommandError
from kube import Cluster, ClusterError
from versions import KUBERNETES_MINIMUM, KUBERNETES_TESTED

Object = dict[str, Any]
Objects = list[Object]


class FakeCluster(Cluster):
    """A cluster that is a list of objects, whose time passes only where somebody waits.

    `refuses_pods`: for so many seconds, and why.
    `later`: (seconds, object): what is there from then on, in place of an object of its kind and name.
    """

    def __init__(self, *objects: Object) -> None:
        super().__init__("", "one")
        self.objects = list(objects)
        self.later: list[tuple[float, Object]] = []
        self.version = {"major": "1", "minor": str(KUBERNETES_TESTED[1]), "gitVersion": "v1.35.1"}
        self.may_not: set[str] = set()
        self.refuses_pods = (0.0, "")
        self.unknown: set[str] = set()
        self.seconds = 0.0

    def raw(self, path: str) -> Any:
        assert path == "/version"
        return self.version

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        if manifest["kind"] == "Pod":
            assert dry_run, "nothing is created"
            if self.seconds < self.refuses_pods[0]:
                self.seconds += 10  # what a call of a webhook may take
                raise ClusterError(self.refuses_pods[1], code=500)
            return manifest
        assert manifest["kind"] == "SelfSubjectAccessReview"
        assert not dry_run
        asked = manifest["spec"]["resourceAttributes"]
        all_of_it = asked["resource"] == "*" and self.may_not
        allowed = not all_of_it and not {asked["resource"], f"{asked['verb']} {asked['resource']}"} & self.may_not
        return {**manifest, "status": {"allowed": allowed}}

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return next((item for item in self.list(kind, namespace) if item["metadata"]["name"] == name), None)

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Objects:
        assert not fields or (kind, fields) == ("events", "type=Warning")
        found = [item for item in self._now() if _selected(item, kind, namespace, labels) and kind not in self.unknown]
        return [item for item in found if not fields or item["type"] == "Warning"]

    def follow(self, kind: str, name: str, namespace: str, seconds: float) -> Iterator[Object | None]:
        end = self.seconds + seconds
        for since in [self.seconds, *(since for since, _ in self.later if self.seconds < since <= end)]:
            self.seconds = since
            yield self.get(kind, name, namespace)
        self.seconds = end

    def monotonic(self) -> float:
        """Be the clock of the commands."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Have time pass."""
        self.seconds += seconds

    def _now(self) -> Objects:
        current = {(item["kind"], item["metadata"]["name"]): item for item in self.objects}
        for since, item in self.later:
            if self.seconds >= since:
                current[item["kind"], item["metadata"]["name"]] = item
        return [*current.values()]


def _selected(item: Object, kind: str, namespace: str | None, selector: str) -> bool:
    if kind not in {f"{item['kind'].lower()}{end}" for end in ("", "s", "es")}:
        return False
    if namespace is not None and item["metadata"].get("namespace", "") != namespace:
        return False
    return has_labels(item, selector)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Make a cluster of nothing that the commands work on."""
    created = FakeCluster()
    monkeypatch.setattr(command_line, "connect", lambda _: created)
    monkeypatch.setattr(istiod_ready, "time", created)
    monkeypatch.setattr(workloads_ready, "time", created)
    monkeypatch.setattr(command_line, "time", created)
    return created


Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and return what it prints, as JSON."""

    def execute(module: ModuleType, *arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", [module.__name__, "--context", "one", *arguments])
        command_line.run(module.main)
        return json.loads(capsys.readouterr().out)

    return execute


def failure(run: Run, module: ModuleType, *arguments: str) -> str:
    """Return the sentence that a command ends with."""
    with pytest.raises(SystemExit) as caught:
        run(module, *arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert not re.search(r"\.\.|None", text), text
    return text


def helm(kind: str, name: str, release: str = "", namespace: str = "", **fields: Any) -> Object:
    """Return an object as the Helm release of that name and namespace made it, or nobody."""
    annotations = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    metadata = {"name": name, **({"annotations": annotations} if release else {}), **fields.pop("metadata", {})}
    return {"kind": kind, "metadata": metadata, **fields}


# --- precheck: the version -------------------------------------------------------------------------------------------


def test_the_precheck_of_an_empty_cluster_prints_its_version(cluster: FakeCluster, run: Run) -> None:
    assert run(precheck, "--first", "--digest", "abc") == {"kubernetes": "v1.35.1"}
    assert cluster.seconds == 0


@pytest.mark.parametrize("version", [("1", "31"), ("1", "31+"), ("1", "9"), ("0", "99")])
def test_an_old_kubernetes_is_refused(version: tuple[str, str], cluster: FakeCluster, run: Run) -> None:
    cluster.version |= {"major": version[0], "minor": version[1]}
    shown = ".".join(version).rstrip("+")
    assert failure(run, precheck) == (
        f"The cluster runs Kubernetes {shown}: this Istio needs 1.32 or newer; upgrade the cluster, or choose another one."
    )


@pytest.mark.parametrize("minor", ["32", "32+", "33-gke.1", "35", "35+", "36", "100"])
def test_a_kubernetes_that_is_not_too_old_is_fine(minor: str) -> None:
    assert (KUBERNETES_MINIMUM, KUBERNETES_TESTED) == ((1, 32), (1, 35))
    precheck.check_version("1", minor)


# --- precheck: permissions -------------------------------------------------------------------------------------------


ALL = "get, list, watch, create, update, patch, delete"


@pytest.mark.parametrize(
    ("may_not", "missing"),
    [
        ({"namespaces", "customresourcedefinitions"}, f"{ALL} namespaces, customresourcedefinitions"),
        ({"create services", "create clusterroles"}, "create services, clusterroles"),
        ({"delete namespaces", "patch secrets"}, "delete namespaces; patch secrets"),
        ({"escalate clusterroles", "bind clusterroles", "bind roles"}, "escalate, bind clusterroles; bind roles"),
        ({"watch pods"}, "watch pods"),
        ({"create kongplugins"}, "create kongplugins"),
    ],
)
def test_missing_permissions_are_listed(may_not: set[str], missing: str, cluster: FakeCluster, run: Run) -> None:
    cluster.may_not = may_not
    assert failure(run, precheck) == (
        f"This user may not {missing}: ask for those permissions (cluster-admin has them), or name another context."
    )


def test_what_not_every_stack_creates_is_asked_for_where_it_does(cluster: FakeCluster, run: Run) -> None:
    cluster.may_not = {"create daemonsets", "delete networkpolicies"}
    assert run(precheck)
    also = ["--also=apps/daemonsets", "--also=networking.k8s.io/networkpolicies"]
    assert "may not create daemonsets; delete networkpolicies:" in failure(run, precheck, *also)


# --- precheck: strangers ---------------------------------------------------------------------------------------------

SIDECARS = [{"name": "rev.namespace.sidecar-injector.istio.io", "clientConfig": {}}]
HOW = "uninstall that one first (istioctl uninstall --purge, or helm uninstall)."
PART = {"labels": {"app.kubernetes.io/part-of": "istio"}}


def in_namespace(namespace: str, **labels: str) -> Object:
    return {"namespace": namespace, "labels": labels}


STRANGERS = {
    "webhook of istioctl": (
        helm("MutatingWebhookConfiguration", "istio-sidecar-injector", webhooks=SIDECARS),
        "The webhook configuration istio-sidecar-injector belongs to another Istio: two meshes would inject the same "
        f"pods; {HOW}",
    ),
    "webhook of another namespace": (
        helm("MutatingWebhookConfiguration", "istio-sidecar-injector-two", "istiod", "mesh-two", webhooks=SIDECARS),
        "The webhook configuration istio-sidecar-injector-two belongs to another Istio: two meshes would inject the same "
        f"pods; {HOW}",
    ),
    "validating webhook": (
        helm("ValidatingWebhookConfiguration", "istio-validator", webhooks=[{"name": "rev.validation.istio.io"}]),
        f"The webhook configuration istio-validator belongs to another Istio: two meshes would inject the same pods; {HOW}",
    ),
    "ingress class": (
        helm("IngressClass", "kong"),
        "The IngressClass kong is there already and is not this stack's: two controllers would serve one class; uninstall "
        "the other Kong first, or set kong.ingressClass to another name.",
    ),
    "ingress class of another release": (
        helm("IngressClass", "kong", "kong", "kong"),
        "The IngressClass kong is there already and is not this stack's: two controllers would serve one class; uninstall "
        "the other Kong first, or set kong.ingressClass to another name.",
    ),
    "istiod": (
        helm("Deployment", "istiod-1-20", metadata=in_namespace("mesh", app="istiod")),
        f"The Deployment mesh/istiod-1-20 is the control plane of another Istio: {HOW}",
    ),
    "istiod of another release": (
        helm("Deployment", "istiod", "istiod", "mesh", metadata=in_namespace("mesh", app="istiod")),
        f"The Deployment mesh/istiod is the control plane of another Istio: {HOW}",
    ),
    "istio-cni in kube-system": (
        helm("DaemonSet", "istio-cni-node", "istio-cni", "kube-system", metadata=in_namespace("kube-system")),
        "The DaemonSet kube-system/istio-cni-node is another Istio's: it would redirect the traffic of the stack's pods as "
        f"well; {HOW}",
    ),
    "istio-cni of istioctl in our namespace": (
        helm("DaemonSet", "istio-cni-node", metadata=in_namespace("istio-cni")),
        "The DaemonSet istio-cni/istio-cni-node is another Istio's: it would redirect the traffic of the stack's pods as "
        f"well; {HOW}",
    ),
    "CRD of an older Istio": (
        helm("CustomResourceDefinition", "gateways.networking.istio.io", metadata={"labels": {"release": "istio"}}),
        "The CRD gateways.networking.istio.io is there already and is not the release istio-base's: Helm would "
        "refuse it; uninstall the other Istio and delete its CRDs (kubectl delete crd --selector release=istio).",
    ),
    "CRD without labels": (
        helm("CustomResourceDefinition", "telemetries.telemetry.istio.io"),
        "The CRD telemetries.telemetry.istio.io is there already and is not the release istio-base's: Helm would "
        "refuse it; uninstall the other Istio and delete its CRDs (kubectl delete crd telemetries.telemetry.istio.io).",
    ),
    "CRD": (
        helm("CustomResourceDefinition", "gateways.networking.istio.io", metadata=dict(PART)),
        "The CRD gateways.networking.istio.io is there already and is not the release istio-base's: Helm would "
        "refuse it; uninstall the other Istio and delete its CRDs (kubectl delete crd --selector "
        "app.kubernetes.io/part-of=istio).",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("first", [True, False])
def test_what_a_stranger_made_is_refused(name: str, first: bool, cluster: FakeCluster, run: Run) -> None:
    item, text = STRANGERS[name]
    cluster.objects = [item]
    assert failure(run, precheck, *(["--first"] if first else [])) == text


OURS = [
    helm("MutatingWebhookConfiguration", "istio-sidecar-injector", "istiod", "istio-system", webhooks=SIDECARS),
    helm(
        "ValidatingWebhookConfiguration", "v", "istio-base", "istio-system", webhooks=[{"name": "validation.istio.io"}]
    ),
    helm("IngressClass", "kong", "kong-istio", "kong-istio"),
    helm("Deployment", "istiod", "istiod", "istio-system", metadata=in_namespace("istio-system", app="istiod")),
    helm("DaemonSet", "istio-cni-node", "istio-cni", "istio-cni", metadata=in_namespace("istio-cni")),
    helm("CustomResourceDefinition", "sidecars.networking.istio.io", "istio-base", "istio-system", metadata=dict(PART)),
]
UNCONCERNED = [
    helm("MutatingWebhookConfiguration", "cert-manager", webhooks=[{"name": "webhook.cert-manager.io"}]),
    helm("ValidatingWebhookConfiguration", "empty"),
    helm("IngressClass", "nginx"),
    helm("Deployment", "shop", metadata=in_namespace("istio-system", app="shop")),
    helm("CustomResourceDefinition", "gateways.gateway.networking.k8s.io"),
    helm("DaemonSet", "kube-proxy", metadata=in_namespace("kube-system")),
]


@pytest.mark.parametrize("arguments", [["--first"], []])
def test_what_the_stack_made_and_what_is_no_mesh_is_fine(arguments: list[str], cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [*OURS, *UNCONCERNED]
    assert run(precheck, *arguments) == {"kubernetes": "v1.35.1"}


def test_kinds_that_the_cluster_does_not_know_are_no_reason_to_stop(cluster: FakeCluster, run: Run) -> None:
    cluster.unknown = {"customresourcedefinitions"}
    assert run(precheck)


KONG_PLUGINS = "kongplugins.configuration.konghq.com"
BROUGHT = ("--kong-crds", json.dumps({KONG_PLUGINS: {"of": "v1.5.2", "versions": ["v1"]}}))
OTHER_KONG = helm(
    "Deployment",
    "kong",
    metadata={"namespace": "kong-two"},
    spec={"template": {"spec": {"containers": [{"image": "kong/kubernetes-ingress-controller:3.6"}]}}},
)


def kongs_crd(of: str = "v1.5.2", *fields: str, stored: tuple[str, ...] = ("v1",), ours: bool = False) -> Object:
    schema = {"openAPIV3Schema": {"properties": {field: {"type": "object"} for field in fields}}}
    return helm(
        "CustomResourceDefinition",
        KONG_PLUGINS,
        metadata={
            "annotations": {"kubernetes-configuration.konghq.com/version": of} if of else {},
            "labels": {"kong-istio/release": "kong-istio"} if ours else {},
        },
        spec={"group": "configuration.konghq.com", "versions": [{"name": "v1", "schema": schema}]},
        status={"storedVersions": list(stored)},
    )


#: What is there of Kong's -> why the stack's CRDs cannot take its place.
OTHER_CRDS: dict[str, tuple[list[Object], tuple[str, ...], str]] = {
    "a newer one that the stack did not make": (
        [kongs_crd("v1.10.0")],
        BROUGHT,
        f"The CRD {KONG_PLUGINS} is of v1.10.0, newer than the stack's v1.5.2, and this stack did not make it: an older one "
        "could lose fields of its objects; set kong.crds to the newer CRDs, or to none to leave them as they are.",
    ),
    "a newer one that another Kong uses": (
        [kongs_crd("v2.0.0", ours=True), OTHER_KONG],
        BROUGHT,
        f"The CRD {KONG_PLUGINS} is of v2.0.0, newer than the stack's v1.5.2, and kong-two/kong uses it: an older one could "
        "lose fields of its objects; set kong.crds to the newer CRDs, or to none to leave them as they are.",
    ),
    "objects in a version that goes": (
        [kongs_crd(stored=("v1beta1", "v1"), ours=True)],
        BROUGHT,
        f"The CRD {KONG_PLUGINS} has objects stored as v1beta1, and the stack's new CRD has v1 alone: write them anew "
        f"(kubectl get {KONG_PLUGINS} --all-namespaces --output yaml | kubectl replace --filename -), take v1beta1 out of "
        f"the CRD's status.storedVersions (kubectl edit crd {KONG_PLUGINS} --subresource status), and try again.",
    ),
    "none, where somebody else brings them": (
        [],
        ("--kong-crds", "{}"),
        f"kong.crds is none, and the cluster has no CRD {KONG_PLUGINS}: have whoever installs Kong's CRDs bring them up to "
        "date, or leave kong.crds out.",
    ),
    "an old one, where somebody else brings them": (
        [kongs_crd("", "config", "configFrom")],
        ("--kong-crds", "{}"),
        f"kong.crds is none, and the cluster has an older Kong's CRD {KONG_PLUGINS}, without configPatches: have whoever "
        "installs Kong's CRDs bring them up to date, or leave kong.crds out.",
    ),
}


@pytest.mark.parametrize("case", OTHER_CRDS)
def test_crds_of_kong_that_are_not_to_be_changed_are_named(case: str, cluster: FakeCluster, run: Run) -> None:
    cluster.objects, arguments, text = OTHER_CRDS[case]
    assert failure(run, precheck, *arguments) == text


@pytest.mark.parametrize(
    ("objects", "arguments"),
    [
        ([], BROUGHT),
        # What Helm, or a former version of the stack, installed.
        ([kongs_crd()], BROUGHT),
        ([kongs_crd("")], BROUGHT),
        # The stack's own, which go back with its setting.
        ([kongs_crd("v1.6.0", ours=True)], BROUGHT),
        ([kongs_crd("v1.9.0", "configPatches")], ("--kong-crds", "{}")),
    ],
)
def test_other_crds_of_kong_are_taken_over(
    objects: list[Object], arguments: tuple[str, ...], cluster: FakeCluster, run: Run
) -> None:
    cluster.objects = objects
    assert run(precheck, *arguments)


def test_another_kong_whose_crds_are_raised_is_named(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.objects = [kongs_crd("v1.4.0"), OTHER_KONG]
    monkeypatch.setattr(sys, "argv", ["precheck", "--context", "one", *BROUGHT])
    command_line.run(precheck.main)
    assert capsys.readouterr().err == (
        f"warning: The CRD {KONG_PLUGINS} is brought from v1.4.0 to v1.5.2, and kong-two/kong uses it.\n"
    )


def release(name: str, namespace: str) -> Object:
    labels = {"owner": "helm", "name": name, "version": "1"}
    return helm("Secret", f"sh.helm.release.v1.{name}.v1", metadata=in_namespace(namespace, **labels))


RELEASES = {
    "istio-base": "istio-system",
    "istiod": "istio-system",
    "kong-istio": "kong-istio",
    "prometheus": "istio-system",
    "grafana": "istio-system",
    "kiali": "istio-system",
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_of_our_name_is_refused_at_first_only(name: str, cluster: FakeCluster, run: Run) -> None:
    namespace = RELEASES[name]
    cluster.objects = [release(name, namespace)]
    assert run(precheck)
    assert failure(run, precheck, "--first") == (
        f"The Helm release {name} is in {namespace} already and not in this stack's state: if it is the rest of an `up` that "
        "was killed, `make recover` goes on with that one; if it is another installation, remove it with "
        f"`helm uninstall {name} --namespace {namespace}`."
    )


@pytest.mark.parametrize(("name", "namespace"), [("grafana", "monitoring"), ("nginx", "istio-system")])
def test_other_releases_are_fine(name: str, namespace: str, cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [release(name, namespace)]
    assert run(precheck, "--first")


def test_a_namespace_that_the_stack_makes_is_refused_at_first(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [{"kind": "Namespace", "metadata": {"name": "shop"}}]
    assert run(precheck, "--first", "--namespace", "other")
    assert failure(run, precheck, "--first", "--namespace", "shop") == (
        "The namespace shop is there already and not in this stack's state: the stack creates its namespaces, and a destroy "
        "would delete it with all that is in it; delete it, or give the application another one."
    )


def test_a_namespace_that_the_stack_newly_makes_is_refused_later_too(
    cluster: FakeCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(precheck, "--first", "--namespace", "shop")
    assert before == {"kubernetes": "v1.35.1", "namespaces": ["shop"]}
    # The engine passes on what the last run printed.
    monkeypatch.setenv("PULUMI_COMMAND_STDOUT", json.dumps(before))
    cluster.objects = [{"kind": "Namespace", "metadata": {"name": name}} for name in ("shop", "istio-ingress")]
    assert run(precheck, "--namespace", "shop")
    newly = ["--namespace", "shop", "--namespace", "istio-ingress"]
    assert failure(run, precheck, *newly).startswith("The namespace istio-ingress is there already")
    cluster.objects = [release("istio-ingressgateway", "istio-ingress"), release("kong-istio", "kong-istio")]
    assert failure(run, precheck, *newly).startswith(
        "The Helm release istio-ingressgateway is in istio-ingress already"
    )
    # A stack of a former version does not say which it had.
    monkeypatch.setenv("PULUMI_COMMAND_STDOUT", '{"kubernetes": "v1.35.1"}')
    assert run(precheck, *newly)["namespaces"] == ["shop", "istio-ingress"]


def test_what_is_there_is_adopted_on_request(cluster: FakeCluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.objects = [{"kind": "Namespace", "metadata": {"name": "shop"}}, release("istiod", "istio-system")]
    monkeypatch.setenv("PULUMI_K8S_UPSERT_EXISTING_OBJECTS", "true")
    assert run(precheck, "--first", "--namespace", "shop")
    # Not another mesh.
    cluster.objects.append(STRANGERS["istiod"][0])
    assert failure(run, precheck, "--first", "--namespace", "shop") == STRANGERS["istiod"][1]


# --- polling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "lasting"), [(1, False), (3, False), (9, True)])
def test_only_a_failure_of_the_api_server_that_lasts_ends_a_wait(
    failures: int, lasting: bool, cluster: FakeCluster
) -> None:
    left = [failures]

    def look() -> str:
        if left[0]:
            left[0] -= 1
            cluster.seconds += 10  # what one request may take
            raise ClusterError("net/http: TLS handshake timeout", passing=True)
        return "found"

    if lasting:
        with pytest.raises(ClusterError, match="handshake"):
            command_line.poll(look, 300)
        assert cluster.seconds < 75
    else:
        assert command_line.poll(look, 300) == "found"


@pytest.mark.parametrize(("module", "arguments"), [(precheck, ["--first"]), (kong_ready, ["--type", "NodePort"])])
def test_an_api_server_that_is_away_for_a_moment_ends_no_command(
    module: ModuleType, arguments: list[str], cluster: FakeCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.objects = [KONG, service(), node("a", InternalIP="10.0.0.1")]
    listed, left = cluster.list, [2]

    def away(kind: str, *where: Any, **which: str) -> Objects:
        if kind in ("nodes", "customresourcedefinitions") and left[0]:
            left[0] -= 1
            cluster.seconds += 10
            raise ClusterError("etcdserver: leader changed", code=500)
        return listed(kind, *where, **which)

    monkeypatch.setattr(cluster, "list", away)
    assert run(module, *arguments)
    assert left == [0]


# --- deployments -----------------------------------------------------------------------------------------------------

IMAGES = {"proxy": "kong:3.9.1", "ingress-controller": "docker.io/kong/kubernetes-ingress-controller:3.5.13"}


def deployment(
    name: str = "istiod",
    namespace: str = "istio-system",
    *,
    ready: bool = True,
    images: dict[str, str] | None = None,
    status: Object | None = None,
) -> Object:
    images = {"discovery": "docker.io/istio/pilot:1.30.3"} if images is None else images
    count = 1 if ready else 0
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "generation": 2},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"name": key, "image": image} for key, image in images.items()]}},
        },
        "status": {
            "observedGeneration": 2,
            "updatedReplicas": count,
            "availableReplicas": count,
            **(status or {}),
        },
    }


def pod(status: Object, app: str = "istiod", namespace: str = "istio-system") -> Object:
    return {
        "kind": "Pod",
        "metadata": {"name": f"{app}-1", "namespace": namespace, "labels": {"app": app}},
        "status": status,
    }


def waiting(reason: str, message: str = "", *, container: str = "discovery", init: bool = False) -> Object:
    state = {"reason": reason, **({"message": message} if message else {})}
    return {
        "initContainerStatuses" if init else "containerStatuses": [{"name": container, "state": {"waiting": state}}]
    }


@pytest.mark.parametrize(
    ("status", "available"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"updatedReplicas": 0}, False),
        ({"availableReplicas": 0}, False),
        ({"availableReplicas": 3}, True),
        ({"replicas": 1}, True),
        # The one that is available is one of before.
        ({"replicas": 2}, False),
    ],
)
def test_a_deployment_is_available_when_its_newest_generation_is(status: Object, available: bool) -> None:
    assert rollouts.is_available(deployment(status=status)) is available


def test_a_deployment_that_nobody_looked_at_is_not_available() -> None:
    fresh = deployment()
    del fresh["status"]
    assert not rollouts.is_available(fresh)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("kong:3.9.1", "3.9.1"),
        ("mirror.example:5000/library/kong:3.9.1", "3.9.1"),
        ("mirror.example:5000/library/kong", "latest"),
        ("kong@sha256:abc", "sha256:abc"),
        ("kong:3.9@sha256:abc", "3.9"),
    ],
)
def test_the_version_of_an_image(image: str, version: str) -> None:
    assert rollouts.version_of(image) == version


LOOK = "look at `kubectl --namespace istio-system describe deployment istiod` and at its pods"
LOGS = "look at `kubectl --namespace istio-system logs --previous --all-containers istiod-1`"
IMAGE = "correct the image's name, or let the nodes pull it"
ROOM = "give the cluster a node that has room and fits, or have the pod ask for less"
QUOTA = "raise that quota, or have the pods ask for less"


def event(about: str, reason: str, message: str, minute: int = 1, **fields: Any) -> Object:
    return {
        "kind": "Event",
        "type": "Warning",
        "metadata": {"name": f"{about}.{reason}.{minute}", "namespace": "istio-system"},
        "involvedObject": {"name": about},
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-01-01T00:{minute:02}:00Z",
        **fields,
    }


def unschedulable(message: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"conditions": [condition]}


OLD = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}
RUNS = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [{"name": "discovery", "state": {}}]}
CRASH = waiting("CrashLoopBackOff", "back-off 10s")
CRASH["containerStatuses"][0]["lastState"] = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
NO_ROOM = "0/1 nodes are available: 1 Insufficient memory."
FORBIDDEN = 'pods "istiod-1" is forbidden: exceeded quota: none, requested: pods=1'


@pytest.mark.parametrize(
    ("objects", "why", "remedy"),
    [
        ([], " (there is no such Deployment)", LOOK),
        ([deployment(ready=False)], "", LOOK),
        ([deployment(status=OLD)], "", LOOK),
        (
            [deployment(ready=False), pod(waiting("ImagePullBackOff", "Back-off pulling image\n  x"))],
            " (pod istiod-1: container discovery: ImagePullBackOff Back-off pulling image x)",
            IMAGE,
        ),
        (
            [
                deployment(ready=False),
                pod(waiting("ErrImagePull")),
                event("istiod-1", "Failed", "Failed to pull image x: not found", 5),
                event("istiod-1", "Failed", "an older one", 3),
                event("istiod-1", "Pulled", "what goes well", 7, type="Normal"),
                event("other-1", "Failed", "of somebody else", 9),
            ],
            " (pod istiod-1: container discovery: ErrImagePull; Failed: Failed to pull image x: not found)",
            IMAGE,
        ),
        (
            [deployment(ready=False), pod(waiting("CrashLoopBackOff", container="init", init=True))],
            " (pod istiod-1: container init: CrashLoopBackOff)",
            LOGS,
        ),
        (
            [deployment(ready=False), pod(CRASH)],
            " (pod istiod-1: container discovery: CrashLoopBackOff back-off 10s, after OOMKilled with exit code 137)",
            LOGS,
        ),
        (
            [deployment(ready=False), pod(RUNS), event("istiod-1", "Unhealthy", "Readiness probe failed: 503")],
            " (pod istiod-1: Unhealthy: Readiness probe failed: 503)",
            LOGS.replace("--previous ", ""),
        ),
        ([deployment(ready=False), pod(waiting("ContainerCreating"))], "", LOOK),
        (
            [
                deployment(ready=False),
                pod(waiting("ContainerCreating")),
                event("istiod-1", "FailedMount", 'MountVolume.SetUp failed: secret "login" not found'),
            ],
            ' (pod istiod-1: FailedMount: MountVolume.SetUp failed: secret "login" not found)',
            "create what the pod mounts, or correct the name",
        ),
        ([deployment(ready=False), pod(waiting("PodInitializing"))], "", LOOK),
        ([deployment(ready=False), pod(waiting("ImagePullBackOff"), app="other")], "", LOOK),
        ([deployment(ready=False), pod(waiting("ImagePullBackOff"), namespace="other")], "", LOOK),
        (
            [deployment(ready=False), pod(unschedulable(NO_ROOM)), event("istiod-1", "FailedScheduling", NO_ROOM)],
            " (pod istiod-1: Unschedulable 0/1 nodes are available: 1 Insufficient memory)",
            ROOM,
        ),
        (
            [
                deployment(
                    ready=False,
                    status={
                        "conditions": [
                            {"type": "Progressing", "status": "True", "message": "going"},
                            {"type": "ReplicaFailure", "status": "True", "message": FORBIDDEN},
                        ]
                    },
                )
            ],
            f" ({FORBIDDEN})",
            QUOTA,
        ),
        # The Deployment knows nothing yet; its ReplicaSet has said so.
        (
            [deployment(ready=False), event("istiod-5f7", "FailedCreate", f"Error creating: {FORBIDDEN}")],
            f" (FailedCreate: Error creating: {FORBIDDEN})",
            QUOTA,
        ),
    ],
)
def test_a_deployment_that_does_not_become_available_says_why(
    objects: list[Object], why: str, remedy: str, cluster: FakeCluster
) -> None:
    cluster.objects = objects
    with pytest.raises(CommandError) as caught:
        rollouts.wait(cluster, "Deployment", "istio-system", "istiod", 60)
    assert str(caught.value) == (
        f"The Deployment istio-system/istiod is not available after 60 s{why}: {remedy}; then run `pulumi up` again."
    )
    assert cluster.seconds == pytest.approx(60, abs=1)


def test_who_may_not_read_events_is_told_the_rest(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.objects = [deployment(ready=False), pod(unschedulable(NO_ROOM))]
    listed = cluster.list

    def forbidden(kind: str, *where: Any, **which: str) -> Objects:
        if kind == "events":
            raise ClusterError("events is forbidden", code=403)
        return listed(kind, *where, **which)

    monkeypatch.setattr(cluster, "list", forbidden)
    assert "Insufficient memory" in rollouts.trouble(cluster, "istio-system", "istiod")


def test_a_deployment_is_waited_for(cluster: FakeCluster) -> None:
    cluster.objects = [deployment(ready=False)]
    cluster.later = [(30, deployment())]
    found = rollouts.wait(cluster, "Deployment", "istio-system", "istiod", 60)
    assert rollouts.images(found) == {"discovery": "docker.io/istio/pilot:1.30.3"}
    assert cluster.seconds == pytest.approx(30, abs=1)


# --- workloads_ready -------------------------------------------------------------------------------------------------


def stateful_set(ready: int, updated: int = 2, replicas: int = 2, **strategy: Any) -> Object:
    return {
        **helm("StatefulSet", "db", "shop", "shop"),
        "metadata": {**helm("StatefulSet", "db", "shop", "shop")["metadata"], "namespace": "shop", "generation": 2},
        "spec": {
            "replicas": replicas,
            "updateStrategy": strategy,
            "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
            "template": {"metadata": {"labels": {"app": "db"}}},
        },
        "status": {"observedGeneration": 2, "readyReplicas": ready, "updatedReplicas": updated},
    }


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (stateful_set(2), True),
        (stateful_set(1), False),
        (stateful_set(2, updated=1), False),
        (stateful_set(2, updated=1, type="RollingUpdate", rollingUpdate={"partition": 1}), True),
        (stateful_set(2, updated=0, type="OnDelete"), True),
        (stateful_set(0, updated=0, replicas=0), True),
        ({**stateful_set(2), "status": {}}, False),
    ],
)
def test_a_stateful_set_is_complete_when_it_has_all_that_it_is_to_update(found: Object, complete: bool) -> None:
    assert rollouts.COMPLETE["StatefulSet"](found) is complete


def released(item: Object, release: str = "shop") -> Object:
    marks = helm(item["kind"], "any", release, "shop")["metadata"]["annotations"]
    return {**item, "metadata": {**item["metadata"], "annotations": marks, "namespace": "shop"}}


def balanced(*addresses: str) -> Object:
    status = {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}
    return released(
        {"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}, "status": status}
    )


RELEASE = ("--namespace", "shop", "--release", "shop", "--timeout", "60", "--setting", "chart.timeoutSeconds")


def test_all_that_a_release_made_is_waited_for(cluster: FakeCluster, run: Run) -> None:
    others = [released(deployment("other", ready=False), "other"), deployment("nobodys", "shop", ready=False)]
    cluster.objects = [released(deployment("web", ready=False)), stateful_set(1), balanced(), *others]
    cluster.later = [(20, released(deployment("web"))), (30, stateful_set(2)), (40, balanced("192.0.2.1"))]
    assert run(workloads_ready, *RELEASE) == {"ready": ["Deployment/web", "Service/web", "StatefulSet/db"]}
    assert cluster.seconds == pytest.approx(40, abs=1)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (
            [stateful_set(1), {**pod(waiting("ErrImagePull", container="db"), "db", "shop")}],
            "The StatefulSet shop/db is not available after 60 s (pod db-1: container db: ErrImagePull): correct the image's "
            "name, or let the nodes pull it; then run `pulumi up` again.",
        ),
        (
            [released(deployment("web", ready=False)), stateful_set(2)],
            "The Deployment shop/web is not available after 60 s: look at `kubectl --namespace shop describe deployment web` "
            "and at its pods, or raise chart.timeoutSeconds; then run `pulumi up` again.",
        ),
        (
            [balanced()],
            "The Service shop/web has no load balancer address after 60 s: have the cluster give it one (quota, MetalLB, "
            "cloud-provider-kind), or change its type, or raise chart.timeoutSeconds; then run `pulumi up` again.",
        ),
    ],
)
def test_a_release_that_does_not_get_ready_says_what_of_it(
    objects: Objects, said: str, cluster: FakeCluster, run: Run
) -> None:
    cluster.objects = objects
    assert failure(run, workloads_ready, *RELEASE) == said
    assert cluster.seconds == pytest.approx(60, abs=1)


def test_each_workload_has_its_own_time_from_the_start(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment("slow", "shop", ready=False), deployment("quick", "shop", ready=False)]
    cluster.later = [(50, deployment("slow", "shop"))]
    named = ("--namespace", "shop", "--workload=Deployment/slow=60", "--workload=Deployment/quick=20")
    assert failure(run, workloads_ready, *named).startswith("The Deployment shop/quick is not available after 20 s")
    assert cluster.seconds == pytest.approx(20, abs=1)
    cluster.objects[1] = deployment("quick", "shop")
    assert run(workloads_ready, *named) == {"ready": ["Deployment/quick", "Deployment/slow"]}
    assert cluster.seconds == pytest.approx(50, abs=1)


# --- mesh_ready ------------------------------------------------------------------------------------------------------


def webhook(*bundles: str) -> Object:
    return {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector"},
        "webhooks": [
            {"name": f"{index}.istio.io", "clientConfig": {"caBundle": bundle} if bundle else {}}
            for index, bundle in enumerate(bundles)
        ],
    }


def test_the_mesh_is_ready_once_every_webhook_has_its_ca(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment(), webhook("", "")]
    cluster.later = [(5, webhook("Q0E=", "")), (20, webhook("Q0E=", "Q0E="))]
    assert run(istiod_ready, "--timeout", "60") == {"istiod": "1.30.3"}
    assert cluster.seconds == pytest.approx(20, abs=1)


def test_the_mesh_is_not_ready_before_its_deployment(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment(ready=False), webhook("Q0E=")]
    assert failure(run, istiod_ready, "--timeout", "60").startswith(
        "The Deployment istio-system/istiod is not available after 60 s"
    )


UNANSWERED = (
    'Internal error occurred: failed calling webhook "object.sidecar-injector.istio.io": failed to call webhook: Post '
    '"https://istiod.istio-system.svc:443/inject?timeout=10s": context deadline exceeded'
)


def test_the_mesh_is_ready_once_the_api_server_gets_an_answer_of_its_webhook(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment(), webhook("Q0E=")]
    cluster.refuses_pods = (25, UNANSWERED)
    assert run(istiod_ready, "--timeout", "60") == {"istiod": "1.30.3"}
    assert 25 <= cluster.seconds < 45


def test_a_webhook_that_the_api_server_does_not_reach_is_told_with_the_port(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment(), webhook("Q0E=")]
    cluster.refuses_pods = (1000, UNANSWERED)
    assert failure(run, istiod_ready, "--timeout", "60") == (
        f"The API server does not get an answer of istiod's webhook ({UNANSWERED}), so no pod of the mesh could start: let it "
        "reach port 15017 of istiod's pod (on private clusters that takes a rule of the firewall), then run `pulumi up` again."
    )
    assert cluster.seconds < 90


@pytest.mark.parametrize("why", ['admission webhook "validate.kyverno.svc" denied the request', "pods is forbidden"])
def test_a_pod_that_others_refuse_says_nothing_of_the_webhook(why: str, cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment(), webhook("Q0E=")]
    cluster.refuses_pods = (1000, why)
    assert run(istiod_ready, "--timeout", "60")
    assert cluster.seconds <= 10


WITHOUT_CA = (
    "no pod of the mesh could start; look at `kubectl --namespace istio-system logs deployment/istiod`, or raise "
    "istio.readyTimeoutSeconds."
)


@pytest.mark.parametrize("hook", [[webhook("")], [webhook()], [], [webhook("Q0E=", "")]])
def test_a_mesh_that_gets_no_ca_is_given_up_at_the_limit(hook: list[Object], cluster: FakeCluster, run: Run) -> None:
    stuck = pod(waiting("ImagePullBackOff", "Back-off pulling image istio/pilot"))
    cluster.objects = [deployment(ready=False), stuck, *hook]
    assert failure(run, istiod_ready, "--timeout", "45") == (
        "istiod has not put its CA into the webhook istio-sidecar-injector within 45 s (pod istiod-1: container "
        f"discovery: ImagePullBackOff Back-off pulling image istio/pilot): {WITHOUT_CA}"
    )
    assert cluster.seconds == pytest.approx(45, abs=1)


@pytest.mark.usefixtures("cluster")
def test_a_mesh_whose_istiod_is_missing_says_so(run: Run) -> None:
    assert failure(run, istiod_ready, "--timeout", "1") == (
        "istiod has not put its CA into the webhook istio-sidecar-injector within 1 s (there is no such Deployment): "
        f"{WITHOUT_CA}"
    )


def test_without_injection_there_is_no_webhook_to_wait_for(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [deployment()]
    assert run(istiod_ready, "--no-injection") == {"istiod": "1.30.3"}
    assert cluster.seconds == 0


# --- gateway_ready ---------------------------------------------------------------------------------------------------

KONG = deployment("kong-istio-kong", "kong-istio", images=IMAGES)
VERSIONS = {"kong": "3.9.1", "controller": "3.5.13"}


def service(*ingress: Object, port: int = 80) -> Object:
    return {
        "kind": "Service",
        "metadata": {"name": "kong-istio-kong-proxy", "namespace": "kong-istio"},
        "spec": {
            "ports": [
                {"name": "kong-proxy-tls", "port": 443, "nodePort": 30443},
                {"name": "kong-proxy", "port": port, "nodePort": 30080},
            ]
        },
        "status": {"loadBalancer": {"ingress": list(ingress)}} if ingress else {"loadBalancer": {}},
    }


@pytest.mark.parametrize(
    ("entry", "port", "address", "url"),
    [
        ({"ip": "192.0.2.1"}, 80, "192.0.2.1", "http://192.0.2.1"),
        ({"hostname": "lb.example"}, 80, "lb.example", "http://lb.example"),
        ({"ip": "192.0.2.1", "hostname": "lb.example"}, 80, "192.0.2.1", "http://192.0.2.1"),
        ({"ip": "2001:db8::1"}, 80, "2001:db8::1", "http://[2001:db8::1]"),
        ({"ip": "2001:db8::1"}, 8000, "2001:db8::1", "http://[2001:db8::1]:8000"),
        ({"ip": "192.0.2.1"}, 8000, "192.0.2.1", "http://192.0.2.1:8000"),
    ],
)
def test_the_address_of_a_load_balancer(
    entry: Object, port: int, address: str, url: str, cluster: FakeCluster, run: Run
) -> None:
    cluster.objects = [KONG, service(entry, port=port)]
    assert run(kong_ready, "--type", "LoadBalancer") == {"address": address, "url": url, **VERSIONS}


def test_a_service_whose_type_the_charts_values_changed_is_not_waited_for(cluster: FakeCluster, run: Run) -> None:
    found = service()
    found["spec"]["type"] = "ClusterIP"
    cluster.objects = [KONG, found]
    assert failure(run, kong_ready, "--type", "LoadBalancer") == (
        "The Service kong-istio/kong-istio-kong-proxy is of type ClusterIP while kong.serviceType is LoadBalancer: "
        "kong.values says otherwise; set the type by kong.serviceType alone."
    )


def test_a_load_balancer_is_waited_for(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [KONG, service()]
    cluster.later = [(50, service({"ip": "192.0.2.1"}))]
    assert run(kong_ready, "--type", "LoadBalancer", "--address-timeout", "60")["address"] == "192.0.2.1"
    assert cluster.seconds == pytest.approx(50, abs=1)


@pytest.mark.parametrize("objects", [[KONG], [KONG, service()], [KONG, service({})]])
def test_a_cluster_that_gives_no_address_is_told_with_the_ways_out(
    objects: list[Object], cluster: FakeCluster, run: Run
) -> None:
    cluster.objects = objects
    assert failure(run, kong_ready, "--type", "LoadBalancer", "--address-timeout", "7") == (
        "The Service kong-istio/kong-istio-kong-proxy has no load balancer address after 7 s, so this cluster seems to "
        "have nothing that gives one: install one (MetalLB, cloud-provider-kind, `minikube tunnel`), set kong.serviceType "
        "to NodePort or ClusterIP, or raise kong.addressTimeoutSeconds."
    )
    assert cluster.seconds == pytest.approx(7, abs=1)


def node(name: str, **addresses: str) -> Object:
    listed = [{"type": kind, "address": address} for kind, address in addresses.items()]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"addresses": listed}}


@pytest.mark.parametrize(
    ("nodes", "address", "url"),
    [
        ([node("a", InternalIP="10.0.0.1", Hostname="a")], "10.0.0.1", "http://10.0.0.1:30080"),
        (
            [node("a", InternalIP="10.0.0.1"), node("b", InternalIP="10.0.0.2", ExternalIP="192.0.2.2")],
            "192.0.2.2",
            "http://192.0.2.2:30080",
        ),
        ([node("a", InternalIP="fd00::1")], "fd00::1", "http://[fd00::1]:30080"),
        ([node("a", Hostname="a.example")], "a.example", "http://a.example:30080"),
        ([node("a")], "", ""),
        ([], "", ""),
    ],
)
def test_the_address_of_a_node_port(
    nodes: list[Object], address: str, url: str, cluster: FakeCluster, run: Run
) -> None:
    cluster.objects = [KONG, service(), *nodes]
    assert run(kong_ready, "--type", "NodePort") == {"address": address, "url": url, **VERSIONS}
    assert cluster.seconds == 0


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_an_address_that_the_settings_give_goes_before_the_services(kind: str, cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [KONG, service({"ip": "192.0.2.1"}), node("a", ExternalIP="192.0.2.2")]
    said = {"address": "localhost", "url": "http://localhost:8000", **VERSIONS}
    assert run(kong_ready, "--type", kind, "--address", "localhost:8000") == said
    assert kong_ready.report(cluster, kind, "localhost:8000") == said


def test_a_cluster_ip_has_no_address(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [KONG, service({"ip": "192.0.2.1"}), node("a", ExternalIP="192.0.2.2")]
    assert run(kong_ready, "--type", "ClusterIP") == {"address": "", "url": "", **VERSIONS}


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_a_kong_that_does_not_start_is_told(kind: str, cluster: FakeCluster, run: Run) -> None:
    stuck = pod(waiting("CrashLoopBackOff", container="proxy"), "kong-istio-kong", "kong-istio")
    cluster.objects = [deployment("kong-istio-kong", "kong-istio", ready=False), stuck, service({"ip": "192.0.2.1"})]
    assert failure(run, kong_ready, "--type", kind, "--timeout", "9") == (
        "The Deployment kong-istio/kong-istio-kong is not available after 9 s (pod kong-istio-kong-1: container proxy: "
        "CrashLoopBackOff): look at `kubectl --namespace kong-istio logs --previous --all-containers kong-istio-kong-1`; "
        "then run `pulumi up` again."
    )


# --- secrets that others make ----------------------------------------------------------------------------------------


def secret(name: str, namespace: str, **data: str) -> Object:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": encoded}


# Kind -> what names it, a Secret of it that will do, its keys, and the command that makes it.
WAITS: dict[str, tuple[list[str], Object, str, str]] = {
    "tls": (
        ["--namespace", "kong-istio", "--name", "front-door"],
        secret("front-door", "kong-istio", tls_crt="one", tls_key="two"),
        "tls.crt and tls.key",
        "kubectl create secret tls front-door --namespace kong-istio --context one --cert=tls.crt --key=tls.key",
    ),
    "login": (
        ["--namespace", "istio-system", "--name", "login"],
        secret("login", "istio-system", **{"admin-user": "admin", "admin-password": "two"}),
        "admin-user and admin-password",
        "kubectl create secret generic login --namespace istio-system --context one --from-literal=admin-user=admin "
        "--from-file=admin-password=password-of-grafana",
    ),
    "json": (
        ["--namespace", "shop", "--name", "store", "--key", "pass"],
        secret("store", "shop", **{"pass": '"two"'}),
        "pass",
        """printf '"%s"' "$(cat password-of-redis)" | kubectl create secret generic store --namespace shop --context """
        "one --from-file=pass=/dev/stdin",
    ),
}


@pytest.mark.parametrize("kind", WAITS)
def test_a_secret_is_waited_for_and_the_command_that_makes_it_is_said_once(
    kind: str, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names, made, _, line = WAITS[kind]
    cluster.later = [(10, made)]
    monkeypatch.setattr(sys, "argv", ["secret_ready", "--context", "one", "--kind", kind, *names])
    command_line.run(secret_ready.main)
    assert 10 <= cluster.seconds < 12
    said = capsys.readouterr()
    place = f"{names[1]}/{names[3]}"
    assert said.err.splitlines() == [
        f"The Secret {place} is not there; waiting for it, up to 300 s. To create it:",
        line,
    ]
    assert json.loads(said.out) == {"secret": place}


@pytest.mark.parametrize("kind", WAITS)
def test_a_secret_that_is_there_is_not_waited_for(
    kind: str, cluster: FakeCluster, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    names, made, *_ = WAITS[kind]
    cluster.objects = [made]
    run(secret_ready, "--kind", kind, *names)
    assert cluster.seconds == 0
    assert capsys.readouterr().err == ""


def test_a_secret_for_pulling_only_has_to_be_there(cluster: FakeCluster, run: Run) -> None:
    cluster.later = [(5, secret("mirror", "shop", **{".dockercfg": "{}"}))]
    assert run(secret_ready, "--kind", "registry", "--namespace", "shop", "--name", "mirror") == {
        "secret": "shop/mirror"
    }
    assert cluster.seconds >= 5


@pytest.mark.parametrize(
    ("kind", "data", "problem"),
    [
        ("tls", {"tls_crt": "hunter2"}, "has no tls.key"),
        ("tls", {"tls_crt": "hunter2", "tls_key": ""}, "has no tls.key"),
        ("tls", {}, "has no tls.crt and tls.key"),
        ("login", {"password": "hunter2"}, "has no admin-user and admin-password"),
        ("json", {"password": '"hunter2"'}, "has no pass"),
        *(
            (
                "json",
                {"pass": text},
                "holds no JSON text in pass (Kong's controller wants double quotes around the password)",
            )
            for text in ("hunter2", "4711", '"hunter2', '["hunter2"]', '"hun"ter2"')
        ),
    ],
)
def test_a_secret_that_will_not_do_is_said_without_what_is_in_it(
    kind: str, data: dict[str, str], problem: str, cluster: FakeCluster, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    names, right, keys, line = WAITS[kind]
    cluster.objects = [secret(names[3], names[1], **data)]
    said = failure(run, secret_ready, "--kind", kind, *names, "--timeout", "5")
    assert said == (
        f"The Secret {names[1]}/{names[3]} {problem} after 5 s: delete it and create it with {keys} by `{line}` and run "
        "`pulumi up` again, or raise security.secretTimeoutSeconds."
    )
    assert "hunter2" not in capsys.readouterr().err
    cluster.seconds, cluster.later = 0, [(3, right)]
    assert run(secret_ready, "--kind", kind, *names) == {"secret": f"{names[1]}/{names[3]}"}


def test_the_command_that_makes_redis_password_quotes_it(tmp_path: Path, cluster: FakeCluster, run: Run) -> None:
    kubectl_that_keeps = tmp_path / "kubectl"
    kubectl_that_keeps.write_text(f"#!/bin/sh\ncat > {tmp_path}/made\n")
    kubectl_that_keeps.chmod(0o755)
    (tmp_path / "password-of-redis").write_text("hunter2\n")
    said = failure(run, secret_ready, "--kind", "json", *WAITS["json"][0], "--timeout", "1")
    line = said.split("`")[1]
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, check=True)
    assert json.loads((tmp_path / "made").read_text()) == "hunter2"
    assert cluster.seconds >= 1


@pytest.mark.parametrize("kind", WAITS)
def test_a_secret_that_does_not_come_is_one_sentence(kind: str, cluster: FakeCluster, run: Run) -> None:
    names, _, keys, line = WAITS[kind]
    assert failure(run, secret_ready, "--kind", kind, *names, "--timeout", "20") == (
        f"The Secret {names[1]}/{names[3]} is not there after 20 s: create it with {keys} by `{line}` and run `pulumi up` "
        "again, or raise security.secretTimeoutSeconds."
    )
    assert cluster.seconds >= 20


# --- access to the cluster -------------------------------------------------------------------------------------------


def kubeconfig(path: Path, server: str) -> Path:
    content = {
        "clusters": [{"name": "one", "cluster": {"server": server}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "users": [{"name": "one", "user": {"token": "abc"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_options_of_a_command_lead_to_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    with ApiServer().running() as url:
        monkeypatch.setenv("KUBECONFIG", os.fspath(kubeconfig(tmp_path / "config", url)))
        for arguments in ([], ["--kubeconfig", "~/config"], ["--kubeconfig", os.fspath(tmp_path / "config")]):
            assert run(precheck, "--first", *arguments) == {"kubernetes": "v1.37.2"}


def test_a_command_does_not_guess_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.parser("What it does.").parse_args([])
    assert "the following arguments are required: --context" in capsys.readouterr().err


@pytest.mark.parametrize("module", [precheck, istiod_ready, kong_ready, istio_cni_ready, workloads_ready])
def test_what_the_api_server_says_is_the_sentence_of_a_command(module: ModuleType, tmp_path: Path, run: Run) -> None:
    needed = {kong_ready: ["--type", "LoadBalancer"], workloads_ready: ["--namespace", "shop", "--release", "shop"]}
    arguments = needed.get(module, [])
    server = ApiServer()
    server.token = "another"
    with server.running() as url:
        path = kubeconfig(tmp_path / "config", url)
        assert failure(run, module, "--kubeconfig", os.fspath(path), *arguments) == (
            "The API server of context one refuses the credentials."
        )


def test_a_missing_kubeconfig_is_the_sentence_of_a_command(run: Run, tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "none")
    assert failure(run, istiod_ready, "--kubeconfig", path) == f"The kubeconfig {path} does not exist."
