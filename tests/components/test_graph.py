"""The program's graph: what it registers, what waits for what, and what the settings change of it."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request

import pulumi
import pytest
import yaml
from charts import STAND_INS

import settings
from components.istio_gateways import gateway_values
from components.kong_gateway import kong_values
from components.mesh import base_values, cni_values, istiod_values
from components.observability import grafana_values, kiali_values, prometheus_values
from components.shared import releases
from kube import Cluster
from names import RELEASES
from plan import Recording, Resource, record
from plan.program import run
from plan.stack_config import ROOT, Project
from settings import WINDOWS, RateLimit, Redis
from settings.sentences import keys
from versions import CHARTS

pytestmark = pytest.mark.usefixtures("machine")

CONTEXT = "somewhere"
PASSWORD = "correct horse battery"
MIRROR = "mirror.example:5000/all"
ROUTE = {"service": "productpage", "port": 9080}
BOOKINFO = {"name": "bookinfo", "namespace": "bookinfo", "manifests": "manifests/bookinfo.yaml", "route": ROUTE}
SHOP = {**BOOKINFO, "name": "shop", "namespace": "shop-home", "route": {**ROUTE, "path": "/shop"}}

TREE = {
    "Precheck/precheck": {"Command/precheck"},
    "Leftovers/leftovers": {"Command/leftovers"},
    "DestroyGuard/destroy-guard": {"Command/destroy-guard"},
    "IstioMesh/mesh": {
        *("GuardedNamespace/istio-system", "Release/istio-base", "Release/istiod", "Command/istiod-ready"),
        *("Command/istiod-unused", "PeerAuthentication/peer-authentication"),
    },
    "GuardedNamespace/istio-system": {"Namespace/istio-system", "Command/istio-system-pods-gone"},
    "GuardedNamespace/kong-istio": {"Namespace/kong-istio", "Command/kong-istio-pods-gone"},
    "GuardedNamespace/bookinfo": {"Namespace/bookinfo"},
    "KongCrds/kong-crds": {"Command/kong-crds-applied"},
    "KongGateway/gateway": {
        *("GuardedNamespace/kong-istio", "Release/kong-istio", "Command/kong-ready"),
        "KongClusterPlugin/kong-metrics",
    },
    "Application/bookinfo": {
        "GuardedNamespace/bookinfo",
        *(f"Service/bookinfo-service-{name}" for name in ("details", "ratings", "reviews", "productpage")),
        *(
            f"ServiceAccount/bookinfo-serviceaccount-bookinfo-{name}"
            for name in ("details", "ratings", "reviews", "productpage")
        ),
        *(
            f"Deployment/bookinfo-deployment-{name}"
            for name in ("details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1")
        ),
        "Command/bookinfo-pods-ready",
    },
    "RateLimitedRoute/bookinfo-route": {
        "EnvoyFilter/bookinfo-route-client-host",
        "KongPlugin/bookinfo-route-rate-limit",
        "Ingress/bookinfo-route-ingress",
        "Command/bookinfo-route-ready",
    },
    "ObservabilityStack/observability": {
        *("Release/prometheus", "Release/grafana", "Release/kiali"),
        *("Command/prometheus-ready", "Command/grafana-ready", "Command/kiali-ready"),
        *("Command/grafana-admin-value", "Secret/grafana-admin"),
        *("Command/kiali-signing-key-value", "Secret/kiali-signing-key"),
    },
    "Sidecars/sidecars": {"Command/sidecars-ready"},
    "Verification/verification": {"Command/checks"},
}
POD_MAKERS = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}

# An application with one of everything that the graph treats in a way of its own.
OWN_KINDS = """
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: runner}}
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: idler}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: page}, data: {page: hello}}
  - {apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {password: hidden-plain}}
  - {apiVersion: v1, kind: Secret, metadata: {name: old-login}, data: {password: aGlkZGVuLWRhdGE=}}
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}
  - apiVersion: batch/v1
    kind: CronJob
    metadata: {name: nightly}
    spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {
      serviceAccountName: runner, containers: [{name: one, image: busybox}],
      initContainers: [{name: two, image: quay.io/some/init, envFrom: [{secretRef: {name: login}}]}]}}}}}
  - apiVersion: v1
    kind: Pod
    metadata: {name: single}
    spec: {containers: [{name: one, image: some/image}], volumes: [{name: page, configMap: {name: page}}]}
  - {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web}, spec: {hosts: [web]}}
  - {apiVersion: configuration.konghq.com/v1, kind: KongConsumer, metadata: {name: someone}, username: someone}
  - {apiVersion: example.com/v1, kind: Thing, metadata: {name: thing}}
  - apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: things.example.com}
    spec: {group: example.com}
"""


# --- Recordings ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a kubeconfig whose current context is not the stack's."""
    file = tmp_path_factory.mktemp("kube") / "config"
    content = {
        "clusters": [{"name": "cluster", "cluster": {"server": "https://192.0.2.1"}}],
        "users": [{"name": "user", "user": {"token": "token"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "cluster", "user": "user"}} for name in (CONTEXT, "current")
        ],
        "current-context": "current",
    }
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH with a kubectl that answers each question with its own arguments, as JSON."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "kubectl"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def recorded(*, secrets: tuple[str, ...] = (), **config: Any) -> Recording:
    return record({"kubeContext": CONTEXT, **config}, secrets)


@pytest.fixture(scope="module")
def plain() -> Recording:
    """Record the program with its defaults."""
    return recorded()


@pytest.fixture(scope="module")
def two() -> Recording:
    """Record the program with two applications, the second of which has a limit of its own."""
    return recorded(applications=[BOOKINFO, {**SHOP, "rateLimit": {"hour": 500}}])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Record the program with an application of many kinds, and a mirror of images."""
    file = tmp_path_factory.mktemp("manifests") / "own.yaml"
    file.write_text(OWN_KINDS)
    application = {"name": "own", "namespace": "own", "manifests": str(file), "route": {"service": "web", "port": 80}}
    return recorded(applications=[application], images={"registry": MIRROR})


@pytest.fixture(scope="module")
def applied(kubeconfig: Path) -> Recording:
    """Record the program in an `up`, with what the commands and charts would say."""
    said: dict[str, dict[str, Any]] = {
        "precheck": {"kubernetes": "v1.35.1"},
        "kong-ready": {"address": "192.0.2.9", "url": "http://192.0.2.9", "kong": "3.9.1", "controller": "3.5.0"},
        "checks": {"passed": 4, "failed": 0, "notChecked": 13, "failedChecks": []},
    }

    def answer(resource: Resource) -> tuple[str, dict[str, Any]]:
        status = {"appVersion": f"{resource.name} runs", "version": f"{resource.name} chart"}
        stdout = json.dumps(said[resource.name]) if resource.name in said else f"said by {resource.name}"
        known: dict[str, dict[str, Any]] = {"Release": {"status": status}, "Command": {"stdout": stdout}}
        return resource.name, {**resource.inputs, **known.get(resource.kind, {})}

    config = Project(ROOT).configure({"kubeContext": CONTEXT})
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with mock.patch.object(Cluster, "raw", return_value={}):
        return run(config, answer, preview=False, environment=environment)


def labels(recording: Recording) -> set[str]:
    return {resource.label for resource in recording.resources.values()}


def key_of(recording: Recording, label: str) -> str:
    (key,) = (key for key, resource in recording.resources.items() if resource.label == label)
    return key


def get(recording: Recording, label: str) -> Resource:
    return recording.resources[key_of(recording, label)]


def inputs(recording: Recording, label: str) -> dict[str, Any]:
    return get(recording, label).inputs


def values(recording: Recording, release: str) -> dict[str, Any]:
    return dict(inputs(recording, f"Release/{release}")["values"])


def before(recording: Recording, label: str) -> set[str]:
    """Return the labels of all that is there before a resource: components count, as their children wait for them."""
    return {recording.resources[key].label for key in recording.waits_for(key_of(recording, label))}


def of_kind(recording: Recording, *kinds: str) -> list[Resource]:
    found = [resource for resource in recording.resources.values() if resource.kind in kinds]
    assert found
    return found


def kubernetes(recording: Recording) -> list[Resource]:
    return [resource for resource in recording.resources.values() if resource.type.startswith("kubernetes:")]


def text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


# --- The shape -------------------------------------------------------------------------------------------------------


def test_every_child_has_its_component_as_parent(plain: Recording) -> None:
    components = {r.label: key for key, r in plain.resources.items() if not r.custom}
    assert {
        label: {plain.resources[child].label for child in plain.children(key)} for label, key in components.items()
    } == TREE


def test_nothing_else_stands_outside_a_component(plain: Recording) -> None:
    outside = {plain.resources[key].label for key in plain.children(None)}
    inner = {"GuardedNamespace/istio-system", "GuardedNamespace/kong-istio", "GuardedNamespace/bookinfo"}
    assert outside == {"Provider/kubernetes", "Provider/command", *TREE} - inner


def test_namespaces_and_policies_are_known_by_their_former_place(policies: Recording) -> None:
    for resource in of_kind(policies, "Namespace") + of_kind(policies, "NetworkPolicy"):
        assert resource.options["aliases"], f"{resource.label} would be replaced in a stack of the last release"


@pytest.fixture(scope="module")
def policies() -> Recording:
    """Record a stack with all namespaces that there can be."""
    gateways = {"cni": True, "ingressGateway": True, "egressGateway": True}
    return recorded(istio=gateways, security={"networkPolicies": True})


def test_the_precheck_looks_for_every_namespace_that_is_created(policies: Recording) -> None:
    created = {resource.inputs["metadata"]["name"] for resource in of_kind(policies, "Namespace")}
    words = shlex.split(inputs(policies, "Command/precheck")["create"])
    assert {word.removeprefix("--namespace=") for word in words if word.startswith("--namespace=")} == created


@pytest.mark.parametrize(
    ("config", "also"),
    [
        ({"kong": {"clientHost": "none"}}, set()),
        ({}, {"networking.istio.io/envoyfilters"}),
        (
            {"istio": {"cni": True}, "security": {"networkPolicies": True, "onlyKongCalls": True}},
            {
                *("apps/daemonsets", "networking.istio.io/envoyfilters", "networking.k8s.io/networkpolicies"),
                "security.istio.io/authorizationpolicies",
            },
        ),
        ({"istio": {"replicas": 2}}, {"networking.istio.io/envoyfilters", "policy/poddisruptionbudgets"}),
    ],
)
def test_the_precheck_asks_for_rights_to_what_the_settings_bring(config: dict[str, Any], also: set[str]) -> None:
    words = shlex.split(inputs(recorded(**config), "Command/precheck")["create"])
    found = {word.removeprefix("--also=") for word in words if word.startswith("--also=")}
    assert found - {"configuration.konghq.com/kongclusterplugins"} == also


def test_components_are_called_after_their_class(plain: Recording) -> None:
    types = {resource.label: resource.type for resource in plain.resources.values() if not resource.custom}
    assert types == {label: f"kong-istio:index:{label.partition('/')[0]}" for label in TREE}


@pytest.mark.parametrize("name", ["plain", "two", "own", "applied"])
def test_all_goes_through_the_one_explicit_provider(name: str, request: pytest.FixtureRequest) -> None:
    recording: Recording = request.getfixturevalue(name)
    providers = {resource.type for resource in recording.resources.values() if resource.is_provider}
    assert providers == {"pulumi:providers:kubernetes", "pulumi:providers:command"}
    for resource in recording.resources.values():
        if resource.custom and not resource.is_provider:
            assert resource.provider is not None, f"{resource.label} would take the default provider"
            assert recording.resources[resource.provider].type == f"pulumi:providers:{resource.type.split(':')[0]}"
            assert recording.resources[resource.provider].name == resource.type.split(":")[0]


def test_the_engine_makes_no_default_provider() -> None:
    assert Project(ROOT).configure({}).values["pulumi:disable-default-providers"] == '["*"]'


def test_releases_are_said_in_full(plain: Recording) -> None:
    releases = {r.name: r for r in of_kind(plain, "Release")}
    of_chart = {"istio-base": "base", "kong-istio": "kong", "kiali": "kiali-server"}
    assert {f"Release/{name}" for name in releases} == {
        label for label in set().union(*TREE.values()) if "Release/" in label
    }
    for name, release in releases.items():
        chart = CHARTS[of_chart.get(name, name)]
        assert release.inputs["name"] == name
        assert release.inputs["namespace"] == ("kong-istio" if name == "kong-istio" else "istio-system")
        assert (release.inputs["chart"], release.inputs["version"]) == (chart.name, chart.version)
        assert release.inputs["repositoryOpts"] == {"repo": chart.repository}
        assert release.options["delete_before_replace"] is True


def test_whoever_has_a_waiting_command_does_not_wait_twice(plain: Recording) -> None:
    for release in of_kind(plain, "Release"):
        assert release.inputs["skipAwait"] is True
        waits = {"istio-base": "istiod-ready", "kong-istio": "kong-ready"}.get(release.name, f"{release.name}-ready")
        assert release.label in before(plain, f"Command/{waits}")


@pytest.mark.parametrize(
    ("name", "namespace", "injected"),
    [
        ("plain", "istio-system", False),
        ("plain", "kong-istio", True),
        ("plain", "bookinfo", True),
        ("two", "bookinfo", True),
        ("two", "shop-home", True),
    ],
)
def test_namespaces_are_labelled_for_injection_when_they_are_made(
    name: str, namespace: str, injected: bool, request: pytest.FixtureRequest
) -> None:
    metadata = inputs(request.getfixturevalue(name), f"Namespace/{namespace}")["metadata"]
    assert metadata["name"] == namespace
    assert metadata["labels"].get("istio-injection") == ("enabled" if injected else None)


@pytest.mark.parametrize("name", ["plain", "two", "own"])
def test_kubernetes_objects_lie_in_the_namespace_of_their_component(name: str, request: pytest.FixtureRequest) -> None:
    recording: Recording = request.getfixturevalue(name)
    for resource in kubernetes(recording):
        if resource.kind in (
            "Namespace",
            "CustomResourceDefinition",
            "KongClusterPlugin",
        ):
            continue
        namespace = resource.inputs.get("namespace") or resource.inputs["metadata"]["namespace"]
        assert f"Namespace/{namespace}" in before(recording, resource.label)


# --- What waits for what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "two", "own"])
def test_the_precheck_comes_first(name: str, request: pytest.FixtureRequest) -> None:
    recording: Recording = request.getfixturevalue(name)
    assert before(recording, "Command/precheck") == {"Precheck/precheck", "Provider/command"}
    for resource in recording.resources.values():
        if not resource.is_provider and resource.name != "precheck":
            assert "Command/precheck" in before(recording, resource.label), resource.label


@pytest.mark.parametrize("name", ["plain", "two", "own"])
def test_what_leaves_something_is_gone_before_the_leftovers_go(name: str, request: pytest.FixtureRequest) -> None:
    recording: Recording = request.getfixturevalue(name)
    for resource in recording.resources.values():
        custom = resource.type.partition("/")[0].endswith((".io", "konghq.com")) and ".k8s.io" not in resource.type
        if custom or resource.kind in ("Release", "Deployment") or resource.name == "kong-crds-applied":
            assert "Command/leftovers" in before(recording, resource.label), resource.label


def test_the_leftovers_go_while_pods_end_and_no_namespace_waits_for_them(plain: Recording) -> None:
    """The engine deletes in steps, each all of what is as deep in the graph, and waits for the whole step."""

    @functools.cache
    def depth(key: str) -> int:
        return 1 + max(map(depth, plain.resources[key].waits_for), default=0)

    at = {resource.label: depth(key) for key, resource in plain.resources.items()}
    waits = {at[f"Command/{name}"] for name in ("istio-system-pods-gone", "kong-istio-pods-gone", "leftovers")}
    assert waits == {at["Namespace/bookinfo"] + 1}
    assert {at[f"Namespace/{name}"] for name in ("istio-system", "kong-istio", "bookinfo")} == {
        at["Namespace/bookinfo"]
    }


@pytest.mark.parametrize("name", ["plain", "two", "own"])
def test_a_destroy_asks_which_cluster_it_is_in_before_anything_goes(name: str, request: pytest.FixtureRequest) -> None:
    recording: Recording = request.getfixturevalue(name)
    everything = {resource.label for resource in recording.resources.values() if not resource.is_provider}
    assert everything - before(recording, "Command/destroy-guard") <= {
        *("Command/destroy-guard", "DestroyGuard/destroy-guard", "Stack/kong-istio-plain")
    }


@pytest.mark.parametrize("name", ["plain", "two", "own"])
def test_no_injected_pod_starts_before_istiod_answers(name: str, request: pytest.FixtureRequest) -> None:
    recording: Recording = request.getfixturevalue(name)
    makers = {resource.label for resource in of_kind(recording, *POD_MAKERS)} | {"Release/kong-istio"}
    late = {
        resource.label
        for resource in kubernetes(recording)
        if "Command/istiod-ready" in before(recording, resource.label)
    }
    assert makers <= late


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Release/istiod", "Release/istio-base"),
        ("Command/istiod-ready", "Release/istiod"),
        ("PeerAuthentication/peer-authentication", "Command/istiod-ready"),
        ("Command/kong-ready", "Release/kong-istio"),
        ("Ingress/bookinfo-route-ingress", "KongPlugin/bookinfo-route-rate-limit"),
        ("Ingress/bookinfo-route-ingress", "Service/bookinfo-service-productpage"),
        ("Command/bookinfo-route-ready", "Ingress/bookinfo-route-ingress"),
        ("Command/bookinfo-route-ready", "Command/kong-ready"),
        ("Command/checks", "Command/bookinfo-route-ready"),
        *((f"Release/{name}", "Release/istiod") for name in ("prometheus", "grafana", "kiali")),
        ("Command/sidecars-ready", "Command/kong-ready"),
        ("Command/sidecars-ready", "Command/bookinfo-pods-ready"),
        ("Command/checks", "Command/sidecars-ready"),
        ("Release/kiali", "Release/istio-base"),
        ("Release/kiali", "Command/prometheus-ready"),
        ("Command/checks", "Command/kiali-ready"),
        ("Command/checks", "Command/bookinfo-pods-ready"),
        ("Release/kiali", "Secret/kiali-signing-key"),
        ("Secret/kiali-signing-key", "Command/kiali-signing-key-value"),
        ("Release/grafana", "Secret/grafana-admin"),
        ("Secret/grafana-admin", "Command/grafana-admin-value"),
    ],
)
def test_waits_for_what_it_needs(plain: Recording, later: str, earlier: str) -> None:
    assert earlier in before(plain, later)


def test_deployments_wait_for_their_own_service_account_and_no_other(plain: Recording) -> None:
    for deployment in of_kind(plain, "Deployment"):
        account = deployment.inputs["spec"]["template"]["spec"]["serviceAccountName"]
        accounts = {label for label in before(plain, deployment.label) if label.startswith("ServiceAccount/")}
        assert accounts == {f"ServiceAccount/bookinfo-serviceaccount-{account}"}


ISTIOD = {"Release/istio-base", "Release/istiod", "Command/istiod-ready"}
KONG = {"Namespace/kong-istio", "Release/kong-istio", "Command/kong-ready"}
APPLICATION = TREE["Application/bookinfo"]
OBSERVABILITY = TREE["ObservabilityStack/observability"] | {"ObservabilityStack/observability"}
DEPLOYMENTS = {label for label in APPLICATION if label.startswith("Deployment/")}
# What pods start by, and what waits for them.
STARTS = ("Deployment/", "Command/")
NEEDLESS = [
    *((label, ISTIOD | KONG) for label in sorted(APPLICATION) if not label.startswith(STARTS)),
    *((label, KONG) for label in sorted(APPLICATION) if label.startswith(STARTS)),
    *((f"Release/{name}", {"Command/istiod-ready"} | KONG | APPLICATION) for name in ("prometheus", "grafana")),
    ("Release/grafana", {"Release/prometheus"}),
    ("Release/kiali", {"Command/istiod-ready"} | KONG | APPLICATION),
    ("Secret/grafana-admin", ISTIOD | KONG),
    ("Release/kong-istio", APPLICATION | {"PeerAuthentication/peer-authentication"}),
    ("Command/kong-ready", APPLICATION),
    ("Namespace/kong-istio", ISTIOD),
    ("Release/istiod", KONG | APPLICATION),
    ("KongPlugin/bookinfo-route-rate-limit", KONG | ISTIOD | DEPLOYMENTS),
    ("KongClusterPlugin/kong-metrics", KONG | ISTIOD),
    ("Ingress/bookinfo-route-ingress", {"Command/kong-ready"} | DEPLOYMENTS),
    ("Command/sidecars-ready", {"Command/bookinfo-route-ready"} | OBSERVABILITY),
    ("Command/bookinfo-route-ready", DEPLOYMENTS),
]


@pytest.mark.parametrize(("label", "needless"), NEEDLESS, ids=[label for label, _ in NEEDLESS])
def test_waits_for_nothing_that_it_does_not_need(plain: Recording, label: str, needless: set[str]) -> None:
    assert needless <= labels(plain), "the test names what is not there"
    assert not before(plain, label) & needless


def test_nothing_but_the_checks_and_the_last_of_all_waits_for_observability(plain: Recording) -> None:
    last = {"Verification/verification", "Command/checks", "DestroyGuard/destroy-guard", "Command/destroy-guard"}
    for label in labels(plain) - OBSERVABILITY - last:
        assert not before(plain, label) & OBSERVABILITY, label


def test_applications_do_not_wait_for_each_other(two: Recording) -> None:
    for one, other in (("bookinfo", "shop"), ("shop", "bookinfo")):
        others = {r.label for r in two.resources.values() if r.name.startswith(other)}
        mine = {r.label for r in two.resources.values() if r.name.startswith(one)}
        assert len(mine) == len(others) == len(APPLICATION) + 7
        assert not any(before(two, label) & others for label in mine)


def test_pods_wait_for_what_they_mount_and_custom_objects_for_their_definition(own: Recording) -> None:
    def of_application(label: str) -> set[str]:
        return {name for name in before(own, label) if "/own-" in name}

    assert of_application("CronJob/own-cronjob-nightly") == {
        "ServiceAccount/own-serviceaccount-runner",
        "Secret/own-secret-login",
    }
    assert of_application("Pod/own-pod-single") == {"ConfigMap/own-configmap-page"}
    assert of_application("Thing/own-thing-thing") == {
        "CustomResourceDefinition/own-customresourcedefinition-things.example.com"
    }
    assert "Command/istiod-ready" in before(own, "VirtualService/own-virtualservice-web")
    assert not before(own, "VirtualService/own-virtualservice-web") & KONG
    assert "Command/kong-ready" in before(own, "KongConsumer/own-kongconsumer-someone")
    # A controller may start pods for it, which without istiod had no sidecar.
    assert "Command/istiod-ready" in before(own, "Thing/own-thing-thing")
    assert not before(own, "Thing/own-thing-thing") & KONG


# --- Kong ------------------------------------------------------------------------------------------------------------

UPSTREAM = ("Service/bookinfo-service-productpage", "ingress.kubernetes.io/service-upstream", "true")
HOST = ("Ingress/bookinfo-route-ingress", "konghq.com/preserve-host", "false")


@pytest.mark.parametrize(("label", "annotation", "value"), [UPSTREAM, HOST])
@pytest.mark.parametrize("routing", ["mesh", "guide"])
def test_routing_sets_both_annotations_or_none(routing: str, label: str, annotation: str, value: str) -> None:
    annotations = inputs(recorded(kong={"routing": routing}), label)["metadata"]["annotations"]
    assert annotations.get(annotation) == (value if routing == "mesh" else None)


HOST_FILTER = "EnvoyFilter/bookinfo-route-client-host"
HOST_ENTRY = "ServiceEntry/bookinfo-route-client-host"


ROUTED = ("KongPlugin/shop-route-rate-limit", "Ingress/shop-route-ingress", "KongClusterPlugin/kong-metrics")


@pytest.mark.parametrize(
    ("config", "judged"),
    [
        ({}, ()),
        ({"kong": {"version": "3.9.2"}}, ROUTED),
        ({"kong": {"values": {"ingressController": {"admissionWebhook": {"failurePolicy": "Fail"}}}}}, ROUTED),
        ({"rateLimit": {"minute": 30, "policy": "redis", "redis": {"host": "redis.example"}}}, ROUTED[:2]),
        ({"rateLimit": {"minute": 30, "limitBy": "header", "headerName": "x-key"}}, ROUTED[:2]),
        ({"route": {"annotations": {"konghq.com/methods": "GET"}}}, ROUTED[1:2]),
        ({"route": {"path": "/~/[a-z]+"}}, ROUTED[1:2]),
        ({"route": {"plugins": [{"name": "bots", "plugin": "bot-detection"}]}}, ROUTED[1:2]),
    ],
)
def test_a_kong_that_is_new_starts_with_what_it_is_certain_to_take(
    config: dict[str, Any], judged: tuple[str, ...]
) -> None:
    route = {**ROUTE, "path": "/shop", **config.get("route", {})}
    others = {key: value for key, value in config.items() if key != "route"}
    found = recorded(applications=[{**SHOP, "route": route}], **others)
    assert {label for label in ROUTED if "Command/kong-ready" in before(found, label)} == set(judged)


def test_a_filter_for_kongs_pods_brings_the_clients_host_before_there_is_a_route(two: Recording) -> None:
    found = inputs(two, HOST_FILTER)
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == (
        "client-host.productpage.bookinfo",
        "kong-istio",
    )
    assert found["spec"]["workloadSelector"]["labels"] == {
        "app.kubernetes.io/name": "kong",
        "app.kubernetes.io/instance": "kong-istio",
    }
    assert HOST_FILTER in before(two, HOST[0])
    assert {"Command/istiod-ready", "Release/kong-istio"} <= before(two, HOST_FILTER)
    assert "Command/kong-ready" not in before(two, HOST_FILTER)
    filters = of_kind(two, "EnvoyFilter")
    assert len({r.inputs["metadata"]["name"] for r in filters}) == 2, "the second application has none of its own"
    assert inputs(two, HOST[0])["metadata"]["annotations"][HOST[1]] == "false"


@pytest.mark.parametrize("kong", [{"routing": "guide"}, {"clientHost": "none"}])
def test_nothing_brings_the_clients_host_where_it_is_not_asked_for(kong: dict[str, Any]) -> None:
    assert not {label for label in labels(recorded(kong=kong)) if label.endswith("client-host")}


def test_a_service_entry_makes_the_mesh_know_the_clients_host() -> None:
    application = {**BOOKINFO, "route": {"service": "productpage", "port": 9080, "host": "books.example"}}
    found = recorded(kong={"clientHost": "serviceEntry"}, applications=[application])
    spec = inputs(found, HOST_ENTRY)["spec"]
    assert spec["hosts"] == ["books.example"]
    assert spec["workloadSelector"] == {"labels": {"app": "productpage"}}
    assert [(port["number"], port["targetPort"]) for port in spec["ports"]] == [(9080, 9080)]
    assert inputs(found, HOST[0])["metadata"]["annotations"][HOST[1]] == "true"
    assert HOST_ENTRY in before(found, HOST[0])
    assert HOST_FILTER not in labels(found)


def test_only_the_routed_service_is_called_by_its_name(plain: Recording) -> None:
    annotated = {r.label for r in of_kind(plain, "Service") if UPSTREAM[1] in r.inputs["metadata"]["annotations"]}
    assert annotated == {UPSTREAM[0]}


def test_the_ingress_has_its_limit_from_the_start(plain: Recording) -> None:
    ingress, plugin = inputs(plain, HOST[0]), inputs(plain, "KongPlugin/bookinfo-route-rate-limit")
    assert ingress["metadata"]["annotations"]["konghq.com/plugins"] == plugin["metadata"]["name"]
    assert ingress["metadata"]["namespace"] == plugin["metadata"]["namespace"] == "bookinfo"
    assert ingress["spec"]["ingressClassName"] == "kong"
    assert plugin["plugin"] == "rate-limiting"
    assert plugin["config"] == {"minute": 30, "policy": "local"}


def test_the_route_says_what_the_settings_say(plain: Recording) -> None:
    route = {**ROUTE, "path": "/books", "pathType": "Prefix", "host": "books.example"}
    (rule,) = inputs(recorded(applications=[{**BOOKINFO, "route": route}]), HOST[0])["spec"]["rules"]
    backend = {"service": {"name": "productpage", "port": {"number": 9080}}}
    path = {"path": "/books", "pathType": "Prefix", "backend": backend}
    assert rule == {"host": "books.example", "http": {"paths": [path]}}
    (default,) = inputs(plain, HOST[0])["spec"]["rules"]
    assert default == {"http": {"paths": [{**path, "path": "/", "pathType": "ImplementationSpecific"}]}}


REDIS = {"minute": 30, "policy": "redis"}


def test_the_plugin_gets_each_field_in_kongs_spelling(plain: Recording) -> None:
    store = {"host": "store", "port": 6380, "username": "kong", "database": 3, "timeout": 500}
    store |= {"ssl": True, "sslVerify": True, "serverName": "store.example"}
    limit = {**dict.fromkeys(WINDOWS, 40), "limitBy": "header", "headerName": "x-who", "path": "/one"}
    limit |= {"policy": "redis", "syncRate": 0.5, "faultTolerant": False, "hideClientHeaders": True}
    limit |= {"errorCode": 503, "errorMessage": "Slow down", "redis": store}
    assert limit.keys() == set(keys(RateLimit))
    assert store.keys() == set(keys(Redis)) - {"password", "passwordSecret"}

    def in_kongs_spelling(fields: dict[str, Any]) -> dict[str, Any]:
        return {re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", key): value for key, value in fields.items()}

    plugin = inputs(recorded(rateLimit=limit), "KongPlugin/bookinfo-route-rate-limit")
    assert "configPatches" not in plugin
    assert plugin["config"] == {**in_kongs_spelling(limit), "redis": in_kongs_spelling(store)}
    # Kong has its own defaults for what nobody says.
    assert inputs(plain, "KongPlugin/bookinfo-route-rate-limit")["config"] == {"minute": 30, "policy": "local"}


def test_an_application_has_a_limit_of_its_own(two: Recording) -> None:
    configs = {r.name: r.inputs["config"] for r in of_kind(two, "KongPlugin")}
    assert configs == {
        "bookinfo-route-rate-limit": {"minute": 30, "policy": "local"},
        "shop-route-rate-limit": {"hour": 500, "policy": "local"},
    }
    rules = {r.name: r.inputs["spec"]["rules"][0]["http"]["paths"][0]["path"] for r in of_kind(two, "Ingress")}
    assert rules == {"bookinfo-route-ingress": "/", "shop-route-ingress": "/shop"}


SECRET_LIMIT = {**REDIS, "redis": {"host": "store", "password": PASSWORD}}


def test_the_password_of_redis_is_in_a_secret_and_nowhere_else() -> None:
    recording = recorded(rateLimit=SECRET_LIMIT, secrets=("rateLimit",))
    secret = get(recording, "Secret/bookinfo-route-rate-limit-redis")
    metadata = secret.inputs["metadata"]
    assert secret.inputs["stringData"] == {"password": json.dumps(PASSWORD)}
    assert "stringData" in secret.secret_inputs
    plugin = inputs(recording, "KongPlugin/bookinfo-route-rate-limit")
    reference = {"secretKeyRef": {"name": metadata["name"], "key": "password"}}
    assert plugin["configPatches"] == [{"path": "/redis/password", "valueFrom": reference}]
    assert metadata["namespace"] == plugin["metadata"]["namespace"]
    assert secret.label in before(recording, "KongPlugin/bookinfo-route-rate-limit")
    others = [resource.inputs for resource in recording.resources.values() if resource is not secret]
    assert PASSWORD not in text([others, recording.outputs])


NAMED_SECRET = {**REDIS, "redis": {"host": "store", "passwordSecret": {"name": "redis-login", "key": "pass"}}}


def test_a_secret_that_exists_is_named_and_none_is_made() -> None:
    recording = recorded(rateLimit=NAMED_SECRET, applications=[BOOKINFO, SHOP])
    reference = {"secretKeyRef": {"name": "redis-login", "key": "pass"}}
    for name in ("bookinfo", "shop"):
        plugin = inputs(recording, f"KongPlugin/{name}-route-rate-limit")
        assert plugin["configPatches"] == [{"path": "/redis/password", "valueFrom": reference}]
        assert "password" not in plugin["config"]["redis"]
        assert f"Secret/{name}-route-rate-limit-redis" not in labels(recording)


def test_an_application_may_have_a_secret_of_its_own_under_the_stacks_key() -> None:
    own = {**SHOP, "rateLimit": {"redis": {"passwordSecret": {"name": "shop-login"}}}}
    recording = recorded(rateLimit=NAMED_SECRET, applications=[BOOKINFO, own])
    (patch,) = inputs(recording, "KongPlugin/shop-route-rate-limit")["configPatches"]
    assert patch["valueFrom"]["secretKeyRef"] == {"name": "shop-login", "key": "pass"}


def test_an_application_that_counts_locally_gets_no_password() -> None:
    local = {**SHOP, "rateLimit": {"policy": "local"}}
    recording = recorded(rateLimit=SECRET_LIMIT, applications=[BOOKINFO, local], secrets=("rateLimit",))
    assert "Secret/bookinfo-route-rate-limit-redis" in labels(recording)
    assert "Secret/shop-route-rate-limit-redis" not in labels(recording)
    plugin = inputs(recording, "KongPlugin/shop-route-rate-limit")
    assert plugin["config"] == {"minute": 30, "policy": "local"}
    assert "configPatches" not in plugin


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_the_service_type_reaches_the_chart_and_the_waiting_command(kind: str) -> None:
    kong = {"serviceType": kind, "readyTimeoutSeconds": 77, "addressTimeoutSeconds": 33}
    recording = recorded(kong=kong)
    assert values(recording, "kong-istio")["proxy"] == {"type": kind}
    arguments = shlex.split(inputs(recording, "Command/kong-ready")["create"])
    options = dict(itertools.pairwise(arguments))
    wanted = {"--context": CONTEXT, "--type": kind, "--timeout": "77", "--address-timeout": "33"}
    assert wanted.items() <= options.items()
    assert ("proxy" in recording.outputs["commands"]) == (kind == "ClusterIP")


def test_a_mapped_address_is_where_the_waits_and_the_checks_look() -> None:
    recording = recorded(kong={"serviceType": "NodePort", "proxyAddress": "localhost:8000"})
    for command in ("Command/kong-ready", "Command/bookinfo-route-ready"):
        options = dict(itertools.pairwise(shlex.split(inputs(recording, command)["create"])))
        assert options["--address"] == "localhost:8000", command
    assert "--address " not in inputs(recorded(), "Command/kong-ready")["create"]


def test_a_proxy_without_address_has_a_command() -> None:
    command = recorded(kong={"serviceType": "ClusterIP"}).outputs["commands"]["proxy"]
    place = ["--namespace", "kong-istio", "port-forward", "service/kong-istio-kong-proxy", "8000:80"]
    assert shlex.split(command) == ["kubectl", "--context", CONTEXT, *place]


def test_charts_get_the_values_that_the_settings_come_to() -> None:
    size = {"requests": {"cpu": 1}}
    config: dict[str, Any] = {
        "kubeContext": CONTEXT,
        "istio": {"cni": True, "ingressGateway": True, "egressGateway": True, "resources": size, "replicas": 2},
        "kong": {
            **{
                "serviceType": "NodePort",
                "nodePort": 30123,
                "admissionWebhook": False,
                "replicas": 2,
                "resources": size,
            },
            "clientAddress": {"source": "forwardedFor", "trustedRanges": ["198.51.100.0/24"]},
            **{"tlsSecret": "front-door", "values": {"terminationGracePeriodSeconds": 4}},
        },
        "rateLimit": NAMED_SECRET,
        "observability": {
            "prometheus": {"retention": "3h", "volume": "9Gi", "values": {"server": {"replicaCount": 2}}},
            "grafana": {"anonymous": True},
            "kiali": {"auth": "anonymous", "viewOnly": False},
            "readyTimeoutSeconds": 99,
        },
        "images": {"registry": MIRROR},
    }
    for part in ("baseValues", "istiodValues", "cniValues", "gatewayValues"):
        config["istio"][part] = {"of": part}
    found = settings.parse(config, (), ROOT)
    istio, shown, images = found.istio, found.observability, found.images
    expected = {
        "istio-base": base_values(istio),
        "istiod": istiod_values(istio, images),
        "istio-cni": cni_values(istio, images),
        "istio-ingressgateway": gateway_values("ingress", "NodePort", images, istio.gateway_values),
        "istio-egressgateway": gateway_values("egress", "NodePort", images, istio.gateway_values),
        "kong-istio": kong_values(found.kong, images),
        "prometheus": prometheus_values(shown, images),
        "grafana": grafana_values(shown, images, ROOT),
        "kiali": kiali_values(shown, images),
    }
    recording = recorded(**config)
    given = {release.name: release.inputs["values"] for release in of_kind(recording, "Release")}
    # What the cluster says of Secrets is added.
    assert given["grafana"].pop("podAnnotations").keys() == {"checksum/login"}
    assert given["kiali"]["deployment"].pop("pod_annotations").keys() == {"checksum/login", "checksum/signing-key"}
    assert given == json.loads(json.dumps(expected))
    for name in ("prometheus", "grafana", "kiali"):
        assert " --timeout 99 " in inputs(recording, f"Command/{name}-ready")["create"]


# --- Istio and observability -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT"])
def test_mutual_tls_holds_for_the_whole_mesh(mode: str) -> None:
    rule = inputs(recorded(istio={"mtls": mode}), "PeerAuthentication/peer-authentication")
    assert (rule["metadata"]["name"], rule["metadata"]["namespace"]) == ("default", "istio-system")
    assert rule["spec"] == {"mtls": {"mode": mode}}


def test_a_destroy_waits_for_nothing_that_a_custom_object_owns(plain: Recording) -> None:
    policy = "pulumi.com/deletionPropagationPolicy"
    told = {r.name: r.inputs["metadata"].get("annotations", {}).get(policy) for r in objects_of(plain)}
    assert {name for name, value in told.items() if value == "background"} == {
        "peer-authentication",
        "bookinfo-route-rate-limit",
        "bookinfo-route-client-host",
        "kong-metrics",
    }


def test_containers_without_requests_get_the_applications(plain: Recording) -> None:
    size = {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}
    app = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]["applications"]["default"][0]
    sized = recorded(applications=[{**app, "resources": size}])
    for recording, wanted in ((plain, None), (sized, size)):
        deployments = [r for r in objects_of(recording) if r.inputs["kind"] == "Deployment"]
        assert len(deployments) == 6
        for deployment in deployments:
            for container in deployment.inputs["spec"]["template"]["spec"]["containers"]:
                assert container.get("resources") == wanted


def objects_of(recording: Recording) -> list[Resource]:
    """Return the Kubernetes objects that are resources of their own."""
    return [r for r in recording.resources.values() if r.type.startswith("kubernetes:") and "kind" in r.inputs]


@pytest.mark.parametrize("injection", [True, False])
def test_without_injection_nobody_waits_for_it(injection: bool) -> None:
    recording = recorded(istio={"injection": injection, "readyTimeoutSeconds": 44})
    arguments = shlex.split(inputs(recording, "Command/istiod-ready")["create"])
    assert ("--no-injection" in arguments) is not injection
    assert arguments[arguments.index("--timeout") + 1] == "44"
    assert values(recording, "istiod")["global"].get("operatorManageWebhooks", False) is not injection


OFF = {"enabled": False}
SWITCHES = {
    "none": ({}, {"prometheus", "grafana", "kiali"}),
    "kiali": ({"kiali": OFF}, {"prometheus", "grafana"}),
    "grafana": ({"grafana": OFF}, {"prometheus", "kiali"}),
    "all": ({"prometheus": OFF, "grafana": OFF, "kiali": OFF}, set()),
}


@pytest.mark.parametrize("switched_off", SWITCHES)
def test_switches_take_releases_away_with_all_that_belongs_to_them(switched_off: str) -> None:
    setting, left = SWITCHES[switched_off]
    recording = recorded(observability=setting)
    releases = {r.name for r in of_kind(recording, "Release")}
    assert releases == {"istio-base", "istiod", "kong-istio", *left}
    keys = {"kiali": "kiali-signing-key", "grafana": "grafana-admin"}
    for name, key in keys.items():
        assert (f"Secret/{key}" in labels(recording)) == (f"Command/{key}-value" in labels(recording)) == (name in left)
    commands = {
        "kiali": {"kiali", "kialiToken"},
        "grafana": {"grafana", "grafanaPassword"},
        "prometheus": {"prometheus"},
    }
    assert recording.outputs["commands"].keys() == set().union(*(commands[name] for name in left))
    assert left == recording.outputs["versions"].keys() & {"prometheus", "grafana", "kiali"}
    assert ("kialiGraph" in recording.outputs) == ("kiali" in left)


def test_kiali_looks_for_grafana_only_where_there_is_one(plain: Recording) -> None:
    without = recorded(observability={"grafana": OFF})
    for recording, enabled in ((plain, True), (without, False)):
        assert values(recording, "kiali")["external_services"]["grafana"]["enabled"] is enabled


@pytest.mark.parametrize("auth", ["token", "anonymous"])
def test_a_token_is_asked_for_only_where_one_is_wanted(auth: str) -> None:
    commands = recorded(observability={"kiali": {"auth": auth}}).outputs["commands"]
    assert ("kialiToken" in commands) == (auth == "token")


@pytest.mark.parametrize("keep", [True, False])
def test_crds_stay_where_the_settings_say_so(keep: bool) -> None:
    command = inputs(recorded(keepCrds=keep), "Command/leftovers")
    assert command.keys() & {"create", "update"} == set()
    assert ("--keep-crds" in shlex.split(command["delete"])) is keep


def test_what_runs_at_a_destroy_needs_nothing_of_the_checkout(policies: Recording) -> None:
    commands = [resource for resource in of_kind(policies, "Command") if "delete" in resource.inputs]
    assert {resource.name for resource in commands} == {"leftovers", "destroy-guard", "istiod-unused"} | {
        f"{namespace}-pods-gone" for namespace in RELEASES.values()
    }
    for resource in commands:
        assert "-m" not in shlex.split(resource.inputs["delete"]), "it names a module of the checkout"
        found = ast.walk(ast.parse(resource.inputs["stdin"]))
        imported = {node.module.partition(".")[0] for node in found if isinstance(node, ast.ImportFrom) and node.module}
        assert imported - sys.stdlib_module_names <= {"kubernetes", "urllib3"}


def test_a_namespace_is_deleted_once_the_pods_of_its_releases_have_ended(plain: Recording) -> None:
    for release in of_kind(plain, "Release"):
        wait = f"Command/{RELEASES[release.name]}-pods-gone"
        assert wait in before(plain, release.label)
        assert f"Namespace/{RELEASES[release.name]}" in before(plain, wait)


# --- Charts and images -----------------------------------------------------------------------------------------------


def test_another_version_of_kong_is_a_setting() -> None:
    recording = recorded(kong={"version": "3.9.9", "controllerVersion": "3.5.99", "chartVersion": "3.4.99"})
    assert inputs(recording, "Release/kong-istio")["version"] == "3.4.99"
    images = values(recording, "kong-istio")
    assert images["image"]["tag"] == "3.9.9"
    assert images["ingressController"]["image"]["tag"] == "3.5.99"


@pytest.fixture
def chart_folder(tmp_path: Path) -> Path:
    shutil.copytree(STAND_INS / "kong", tmp_path / "kong")
    return tmp_path / "kong"


@pytest.mark.parametrize(
    ("source", "chart", "version", "repository"),
    [
        ("https://charts.example/stable", "kong", CHARTS["kong"].version, "https://charts.example/stable"),
        ("oci://registry.example/charts", "oci://registry.example/charts/kong", CHARTS["kong"].version, None),
        ("oci://registry.example/charts/", "oci://registry.example/charts/kong", CHARTS["kong"].version, None),
        ("oci://registry.example/charts/kong", "oci://registry.example/charts/kong", CHARTS["kong"].version, None),
        ("sandbox/charts/kong", "sandbox/charts/kong", None, None),
        ("./sandbox/charts/kong", "./sandbox/charts/kong", None, None),
        (str(ROOT / "sandbox" / "charts" / "kong"), "sandbox/charts/kong", None, None),
    ],
)
def test_a_chart_comes_from_where_the_setting_says(
    source: str, chart: str, version: str | None, repository: str | None
) -> None:
    release = inputs(recorded(charts={"kong": source}), "Release/kong-istio")
    assert (release["chart"], release.get("version")) == (chart, version)
    assert release.get("repositoryOpts") == ({"repo": repository} if repository else None)


def test_a_folder_elsewhere_is_named_from_the_projects_folder(chart_folder: Path) -> None:
    chart = inputs(recorded(charts={"kong": str(chart_folder)}), "Release/kong-istio")["chart"]
    assert not Path(chart).is_absolute()
    assert (ROOT / chart).resolve() == chart_folder.resolve()


def test_an_archive_is_a_chart_too(tmp_path: Path) -> None:
    archive = tmp_path / "kong.tgz"
    archive.touch()
    release = inputs(recorded(charts={"kong": str(archive)}), "Release/kong-istio")
    assert (ROOT / release["chart"]).resolve() == archive.resolve()
    assert not release.keys() & {"version", "repositoryOpts"}


def test_other_charts_stay_where_they_are(plain: Recording) -> None:
    recording = recorded(charts={"kong": "https://charts.example"})
    for release in of_kind(plain, "Release"):
        if release.name != "kong-istio":
            assert inputs(recording, release.label) == release.inputs


def images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "image" and isinstance(inner, str):
                yield inner
            else:
                yield from images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images(inner)


def test_a_mirror_takes_the_place_of_every_registry_in_manifests(plain: Recording, own: Recording) -> None:
    found = [image for resource in of_kind(own, *POD_MAKERS) for image in images(resource.inputs)]
    assert sorted(found) == [f"{MIRROR}/library/busybox", f"{MIRROR}/some/image", f"{MIRROR}/some/init"]
    mirrored = recorded(images={"registry": MIRROR})
    for deployment in of_kind(plain, "Deployment"):
        (before_, after) = (list(images(inputs(r, deployment.label))) for r in (plain, mirrored))
        assert before_
        assert after == [f"{MIRROR}/{image.partition('/')[2]}" for image in before_]


# --- The cluster, and this machine -----------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["", "not-there"])
def test_a_preview_never_follows_the_current_context(
    context: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    provider = inputs(record({"kubeContext": context}), "Provider/kubernetes")
    assert "context" not in provider
    assert yaml.safe_load(provider["kubeconfig"])["clusters"] == []
    assert yaml.safe_load(provider["kubeconfig"])["current-context"] == ""


def test_a_preview_without_a_kubeconfig_looks_for_no_cluster(plain: Recording) -> None:
    provider = inputs(plain, "Provider/kubernetes")
    assert "context" not in provider
    given = yaml.safe_load(provider["kubeconfig"])
    assert given["clusters"] == given["contexts"] == given["users"] == []


def test_the_provider_goes_where_the_settings_say(kubeconfig: Path) -> None:
    assert inputs(recorded(kubeconfig=str(kubeconfig)), "Provider/kubernetes") == {
        "kubeconfig": str(kubeconfig),
        "context": CONTEXT,
        "clusterIdentifier": CONTEXT,
        # Without it an `up` fails at what somebody changed by hand in an object that was updated once.
        "enablePatchForce": "true",
    }


def test_a_kubeconfig_in_the_environment_gives_the_context(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert inputs(recorded(), "Provider/kubernetes")["context"] == CONTEXT


def test_a_kubeconfig_in_the_environment_is_not_kept_in_the_state(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The provider reads a list of files only where it looks for them itself.
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}{os.pathsep}{kubeconfig}")
    assert not inputs(recorded(), "Provider/kubernetes").get("kubeconfig")


def test_commands_run_in_the_virtual_environment_that_the_project_names(plain: Recording) -> None:
    options = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["runtime"]["options"]
    lines = [r.inputs[key] for r in of_kind(plain, "Command") for key in ("create", "update") if key in r.inputs]
    # The update of a random key prints what was printed before.
    lines = [line for line in lines if not line.startswith("printf ")]
    assert lines
    for line in lines:
        assert shlex.split(line)[0] == f"{options['virtualenv']}/bin/python"


def test_commands_of_the_project_name_modules_of_it(plain: Recording) -> None:
    modules = {
        arguments[2]
        for command in of_kind(plain, "Command")
        if (arguments := shlex.split(command.inputs.get("create", "")))[1:2] == ["-m"]
    }
    assert len(modules) == 8
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_only_the_precheck_tells_its_first_run_from_later_ones(plain: Recording) -> None:
    for command in of_kind(plain, "Command"):
        create, update = (shlex.split(command.inputs.get(key, "")) for key in ("create", "update"))
        if command.name == "precheck":
            made = ["--namespace=istio-system", "--namespace=kong-istio", "--namespace=bookinfo"]
            assert create == [*update, "--first"]
            assert update[-3:] == made
        elif update[:1] != ["printf"]:
            assert create == update or not update


SHOWN = {"prometheus-ready", "grafana-ready", "kiali-ready"}
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "values of istiod": (
        {"istio": {"istiodValues": {"pilot": {"env": {}}}}},
        {"istiod-ready", "sidecars-ready", "checks"},
    ),
    "values of Kong": ({"kong": {"values": {"resources": {"limits": {"cpu": 1}}}}}, {"kong-ready", "checks"}),
    "chart of Kong": ({"charts": {"kong": "sandbox/charts/kong"}}, {"kong-ready", "checks"}),
    "mirror": (
        {"images": {"registry": MIRROR}},
        {"istiod-ready", "sidecars-ready", "kong-ready", "bookinfo-pods-ready", *SHOWN, "checks"},
    ),
    "limit": ({"rateLimit": {"minute": 31}}, {"bookinfo-route-ready", "checks"}),
    "limit's message": ({"rateLimit": {"minute": 30, "errorMessage": "no"}}, {"bookinfo-route-ready", "checks"}),
    "route": (
        {"applications": [{**BOOKINFO, "route": {**ROUTE, "path": "/books"}}]},
        {"bookinfo-route-ready", "checks"},
    ),
    "routing": ({"kong": {"routing": "guide"}}, {"bookinfo-route-ready", "checks"}),
    "applications": ({"applications": [BOOKINFO, SHOP]}, {"precheck", "leftovers", "sidecars-ready", "checks"}),
    "observability": ({"observability": {"grafana": {"anonymous": True}}}, {"grafana-ready", "kiali-ready", "checks"}),
    "password": ({"observability": {"grafana": {"passwordVersion": 2}}}, {*SHOWN, "grafana-admin-value", "checks"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_commands_run_again_when_what_they_wait_for_changes_and_only_then(plain: Recording, change: str) -> None:
    config, again = CHANGES[change]
    changed = recorded(**config)
    commands = {command.name: command.inputs for command in of_kind(plain, "Command")}
    assert {name for name, before_ in commands.items() if inputs(changed, f"Command/{name}") != before_} == again


def test_the_route_is_asked_for_as_the_settings_say(plain: Recording, two: Recording) -> None:
    def arguments(recording: Recording, name: str) -> str:
        return str(inputs(recording, f"Command/{name}-route-ready")["create"])

    said = arguments(plain, "bookinfo")
    assert (
        "--namespace bookinfo --ingress productpage --plugin rate-limit --host '' --path / --limit=minute=30 " in said
    )
    assert "--type LoadBalancer --timeout 300" in said
    assert not any(option in said for option in ("--hidden", "--redis", "--proxy-protocol"))
    said = arguments(two, "shop")
    assert (
        "--namespace shop-home --ingress productpage --plugin rate-limit --host '' --path /shop --limit=hour=500"
        in said
    )
    address = {"source": "proxyProtocol", "trustedRanges": ["198.51.100.0/24"]}
    limit = {**REDIS, "second": 5, "redis": {"host": "store", "password": PASSWORD}, "hideClientHeaders": True}
    other = recorded(
        kong={"clientAddress": address, "readyTimeoutSeconds": 77}, rateLimit=limit, secrets=("rateLimit",)
    )
    said = arguments(other, "bookinfo")
    # No stack file says the host in plain text, and the key is secret.
    assert "--limit=second=5 --limit=minute=30 --hidden --redis '[secret]:6379' " in said
    assert "--timeout 77 --proxy-protocol" in said


COPIED = ["Pulumi.yaml", *(file.name for file in ROOT.glob("*.py"))]
COPIED_FOLDERS = ["checks", "commands", "components", "display", "kube", "manifests", "plan", "sandbox", "settings"]
IN_A_COPY = """
import json, sys
from plan import record
resources = record(json.load(sys.stdin)).resources.values()
json.dump({resource.label: resource.inputs for resource in resources}, sys.stdout, default=lambda _: "unknown")
"""


def recorded_in_a_copy(folder: Path, config: dict[str, Any]) -> Any:
    """Copy the project, run all of it from there, and return the inputs by label."""
    for name in COPIED_FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        shutil.copy(ROOT / name, folder / name)
    for name in ("base", "istiod"):
        (folder / "vendored" / name).mkdir(parents=True)
        (folder / "vendored" / name / "Chart.yaml").write_text(f"name: {name}")
    (folder / "dashboards").mkdir()
    (folder / "dashboards" / "one.json").write_text("{}")
    environment = {**os.environ, "KUBECONFIG": str(folder / "none")}
    command = [sys.executable, "-c", IN_A_COPY]
    done = subprocess.run(
        command, cwd=folder, env=environment, input=text(config), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_path_of_this_machine_is_in_any_input(tmp_path: Path) -> None:
    def inputs_at(folder: Path) -> Any:
        folder.mkdir()
        absolute = {name: str(folder / "sandbox" / "charts" / name) for name in ("kong", "prometheus", "grafana")}
        sources = {"kiali-server": "sandbox/charts/kiali-server", "base": "vendored/base", "istiod": "vendored/istiod"}
        config = {
            "kubeContext": CONTEXT,
            "charts": {**absolute, **sources},
            "applications": [{**BOOKINFO, "manifests": str(folder / "manifests")}],
            "observability": {"grafana": {"dashboards": "dashboards"}},
        }
        return recorded_in_a_copy(folder, config)

    here, there = inputs_at(tmp_path / "here"), inputs_at(tmp_path / "there")
    assert here["Release/kong-istio"]["chart"] == "sandbox/charts/kong"
    assert str(tmp_path) not in text(here)
    assert str(Path.home()) + os.sep not in text(here)
    assert here == there


# --- Outputs ---------------------------------------------------------------------------------------------------------


def test_outputs_say_where_kong_answers_and_what_runs(applied: Recording) -> None:
    outputs = applied.outputs
    assert outputs.keys() == {
        *("proxyAddress", "proxyUrl", "proxyService", "proxyNamespace", "versions", "commands", "kialiGraph"),
        "checks",
    }
    assert (outputs["proxyAddress"], outputs["proxyUrl"]) == ("192.0.2.9", "http://192.0.2.9")
    assert (outputs["proxyNamespace"], outputs["proxyService"]) == ("kong-istio", "kong-istio-kong-proxy")
    assert outputs["versions"] == {
        "kubernetes": "v1.35.1",
        "istio": "istiod runs",
        "kongChart": "kong-istio chart",
        "kong": "3.9.1",
        "kongController": "3.5.0",
        **{name: f"{name} runs" for name in ("prometheus", "grafana", "kiali")},
    }


def test_outputs_hold_no_secret(applied: Recording) -> None:
    assert applied.secret_outputs == set()
    assert "said by" not in text(applied.outputs)


def test_commands_of_the_stack_name_the_cluster_whatever_it_is_called() -> None:
    cluster: dict[str, Any] = {"kubeconfig": "my clusters/it's one", "kubeContext": "a b; $(c)"}
    commands = recorded(**cluster).outputs["commands"]
    names = ["kubectl", "--kubeconfig", cluster["kubeconfig"], "--context", cluster["kubeContext"]]
    rest = {
        "kiali": "port-forward service/kiali 20001",
        "kialiToken": "create token kiali",
        "grafana": "port-forward service/grafana 3000",
        "grafanaPassword": "get secret grafana-admin --output jsonpath={.data.admin-password} | base64 --decode",
        "prometheus": "port-forward service/prometheus 9090",
    }
    assert {name: shlex.split(command) for name, command in commands.items()} == {
        name: [*names, "--namespace", "istio-system", *words.split()] for name, words in rest.items()
    }


@pytest.mark.parametrize(
    "kubeconfig",
    [
        "my clusters/config",
        "~/my clusters/config",
    ],
)
def test_commands_can_be_pasted_into_a_shell(kubeconfig: str, kubectl: str, tmp_path: Path) -> None:
    command = recorded(kubeconfig=kubeconfig).outputs["commands"]["kiali"]
    environment = {**os.environ, "PATH": kubectl, "HOME": str(tmp_path)}
    said = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(said)[1] == kubeconfig.replace("~", str(tmp_path))


def test_the_graph_shows_kong_and_every_application(two: Recording) -> None:
    address = urlsplit(two.outputs["kialiGraph"])
    assert (address.netloc, address.path) == ("localhost:20001", "/kiali/console/graph/namespaces")
    assert parse_qs(address.query)["namespaces"] == ["kong-istio,bookinfo,shop-home"]


# --- Secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("grafana-admin", {"admin-user": "admin", "admin-password": "said by grafana-admin-value"}),
        ("kiali-signing-key", {"key": "said by kiali-signing-key-value"}),
    ],
)
def test_made_up_keys_are_secret_all_the_way(applied: Recording, name: str, data: dict[str, str]) -> None:
    command = get(applied, f"Command/{name}-value")
    assert "stdout" in command.options["additional_secret_outputs"]
    assert command.inputs["logging"] == "none"
    secret = get(applied, f"Secret/{name}")
    assert secret.inputs["stringData"] == data
    assert "stringData" in secret.secret_inputs
    others = [resource.inputs for resource in applied.resources.values() if resource is not secret]
    assert f"said by {name}-value" not in text(others)


def test_charts_are_told_the_names_of_the_keys(plain: Recording) -> None:
    assert values(plain, "grafana")["admin"]["existingSecret"] == "grafana-admin"
    assert values(plain, "kiali")["login_token"]["signing_key"] == "secret:kiali-signing-key:key"


def test_a_login_that_exists_takes_the_place_of_the_made_up_one(plain: Recording) -> None:
    recording = recorded(observability={"grafana": {"adminSecret": "login"}})
    assert values(recording, "grafana")["admin"]["existingSecret"] == "login"
    assert labels(plain) - labels(recording) == {"Secret/grafana-admin", "Command/grafana-admin-value"}
    assert "Namespace/istio-system" in before(recording, "Release/grafana")
    command = shlex.split(recording.outputs["commands"]["grafanaPassword"])
    assert command[command.index("secret") + 1] == "login"


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB+certificate/of=\n-----END CERTIFICATE-----\n"
TLS_KEY = "-----BEGIN PRIVATE KEY-----\nMIGH+nobodys/of+tls=\n-----END PRIVATE KEY-----\n"


def served(certificate: str = CERTIFICATE, key: str = TLS_KEY) -> Recording:
    return recorded(kong={"tls": {"certificate": certificate, "key": key}}, secrets=("kong",))


def test_kong_serves_a_certificate_of_the_stack() -> None:
    recording = served()
    secret = get(recording, "Secret/kong-certificate")
    assert secret.inputs["metadata"] == {"name": "kong-certificate", "namespace": "kong-istio"}
    assert secret.inputs["type"] == "kubernetes.io/tls"
    assert secret.inputs["stringData"] == {"tls.crt": CERTIFICATE, "tls.key": TLS_KEY}
    assert "stringData" in secret.secret_inputs
    chart = values(recording, "kong-istio")
    assert chart["secretVolumes"] == ["kong-certificate"]
    assert chart["env"]["ssl_cert"] == "/etc/secrets/kong-certificate/tls.crt"
    assert chart["env"]["ssl_cert_key"] == "/etc/secrets/kong-certificate/tls.key"
    assert secret.label in before(recording, "Release/kong-istio")
    others = [resource.inputs for resource in recording.resources.values() if resource is not secret]
    assert "nobodys" not in text([others, recording.outputs])


def test_further_secrets_are_mounted_beside_the_certificate() -> None:
    certificate = {"tls": {"certificate": CERTIFICATE, "key": TLS_KEY}}
    kong = {**certificate, "values": {"secretVolumes": ["plugins", "kong-certificate"]}}
    assert values(recorded(kong=kong, secrets=("kong",)), "kong-istio")["secretVolumes"] == [
        "kong-certificate",
        "plugins",
    ]


@pytest.mark.parametrize(
    ("host", "where"),
    {
        "redis.example.com": {"hosts": ["redis.example.com"], "resolution": "DNS"},
        "192.0.2.7": {"addresses": ["192.0.2.7/32"], "endpoints": [{"address": "192.0.2.7"}], "resolution": "STATIC"},
    }.items(),
)
def test_a_mesh_that_lets_out_only_what_it_knows_knows_the_redis(host: str, where: dict[str, Any]) -> None:
    limit = {"minute": 5, "policy": "redis", "redis": {"host": host, "port": 6380}}
    only = {"istiodValues": {"meshConfig": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}}
    found = recorded(rateLimit=limit, istio=only)
    (entry,) = of_kind(found, "ServiceEntry")
    assert entry.inputs["metadata"]["namespace"] == "kong-istio"
    assert entry.inputs["spec"].items() >= {**where, "location": "MESH_EXTERNAL", "exportTo": ["."]}.items()
    assert [(port["number"], port["protocol"]) for port in entry.inputs["spec"]["ports"]] == [(6380, "TCP")]
    assert entry.label in before(found, "Release/kong-istio")
    assert "Command/istiod-ready" in before(found, entry.label)
    assert entry.label not in labels(recorded(rateLimit=limit)), "such a mesh lets everything out"
    inside = recorded(rateLimit={**limit, "redis": {"host": "redis.cache.svc"}}, istio=only)
    assert not {label for label in labels(inside) if label.startswith("ServiceEntry/")}, "it knows Services"


def test_a_preview_that_may_not_decrypt_takes_an_encrypted_key() -> None:
    hidden = {"secure": "v1:abc:def"}
    config = Project(ROOT).configure({"kong": {"tls": {"certificate": hidden, "key": hidden}}})
    recording = run(config, lambda resource: (resource.name, resource.inputs), preview=True)
    assert "stringData" in get(recording, "Secret/kong-certificate").secret_inputs


def test_another_certificate_makes_other_pods_and_a_key_leaves_no_trace() -> None:
    one, other = served(), served(key=TLS_KEY.replace("nobodys", "another"))
    assert {r.label: r.inputs for r in one.resources.values() if r.kind != "Secret"} == {
        r.label: r.inputs for r in other.resources.values() if r.kind != "Secret"
    }
    changed = values(served(CERTIFICATE.replace("MIIB", "MIIC")), "kong-istio")["podAnnotations"]
    assert changed != values(one, "kong-istio")["podAnnotations"]
    assert "proxy.istio.io/config" in changed


def test_a_password_of_grafana_takes_the_place_of_the_made_up_one(plain: Recording) -> None:
    recording = recorded(observability={"grafana": {"adminPassword": PASSWORD}}, secrets=("observability",))
    assert labels(plain) - labels(recording) == {"Command/grafana-admin-value"}
    secret = get(recording, "Secret/grafana-admin")
    assert secret.inputs["stringData"] == {"admin-user": "admin", "admin-password": PASSWORD}
    assert "stringData" in secret.secret_inputs
    assert secret.label in before(recording, "Release/grafana")
    others = [resource.inputs for resource in recording.resources.values() if resource is not secret]
    assert PASSWORD not in text([others, recording.outputs])
    another = recorded(observability={"grafana": {"adminPassword": "another"}}, secrets=("observability",))
    assert inputs(another, "Command/checks") == inputs(recording, "Command/checks")


# Settings -> the command that waits, its options, what waits for it, and what of the stack need not be there.
WAITS: dict[str, tuple[dict[str, Any], str, list[str], str, str]] = {
    "certificate": (
        {"kong": {"tlsSecret": "front-door"}},
        "kong-tls-secret-ready",
        ["--namespace", "kong-istio", "--name", "front-door", "--kind", "tls", "--timeout", "300"],
        "Release/kong-istio",
        "Release/istiod",
    ),
    "login": (
        {"observability": {"grafana": {"adminSecret": "login"}}, "security": {"secretTimeoutSeconds": 9}},
        "grafana-secret-ready",
        ["--namespace", "istio-system", "--name", "login", "--kind", "login", "--timeout", "9"],
        "Release/grafana",
        "Release/istiod",
    ),
    "password of redis": (
        {"rateLimit": NAMED_SECRET},
        "bookinfo-route-redis-secret-ready",
        [
            *("--namespace", "bookinfo", "--name", "redis-login", "--kind", "json", "--key", "pass"),
            *("--timeout", "300"),
        ],
        "KongPlugin/bookinfo-route-rate-limit",
        "Command/kong-ready",
    ),
    "registry": (
        {"images": {"pullSecrets": ["mirror"]}},
        "istio-system-pull-mirror",
        ["--namespace", "istio-system", "--name", "mirror", "--kind", "registry", "--timeout", "300"],
        "Release/prometheus",
        "Release/istiod",
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_secret_that_settings_name_is_waited_for_as_soon_as_there_is_its_namespace(name: str) -> None:
    config, command, options, later, needless = WAITS[name]
    recording = recorded(**config)
    arguments = shlex.split(inputs(recording, f"Command/{command}")["create"])
    assert arguments == ["venv/bin/python", "-m", "commands.secret_ready", "--context", CONTEXT, *options]
    namespace = options[1]
    earlier = before(recording, f"Command/{command}")
    assert f"Namespace/{namespace}" in earlier
    assert needless not in earlier
    assert f"Command/{command}" in before(recording, later)


def test_every_pod_waits_for_what_it_pulls_with() -> None:
    istio = {"cni": True, "ingressGateway": True, "egressGateway": True}
    recording = recorded(istio=istio, images={"pullSecrets": ["mirror", "other"]})
    for resource in of_kind(recording, "Release", *POD_MAKERS & {r.kind for r in recording.resources.values()}):
        if resource.name != "istio-base":
            namespace = resource.inputs.get("namespace") or resource.inputs["metadata"]["namespace"]
            waits = {f"Command/{namespace}-pull-{name}" for name in ("mirror", "other")}
            assert waits <= before(recording, resource.label), resource.label


def test_a_stack_that_names_no_secret_waits_for_none(plain: Recording) -> None:
    assert not [
        command.name for command in of_kind(plain, "Command") if "secret_ready" in command.inputs.get("create", "")
    ]


def test_keys_are_long_enough_and_different_each_time(plain: Recording) -> None:
    for name in ("grafana-admin-value", "kiali-signing-key-value"):
        command = inputs(plain, f"Command/{name}")["create"].replace("venv/bin/python", shlex.quote(sys.executable))
        said = {subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout for _ in range(2)}
        assert {len(key.strip()) for key in said} == {32}
        assert len(said) == 2


@pytest.mark.parametrize(("name", "field"), [("login", "stringData"), ("old-login", "data")])
def test_secrets_of_an_application_are_secret(own: Recording, name: str, field: str) -> None:
    assert get(own, f"Secret/own-secret-{name}").secret_inputs == {field}


# --- Bad input -------------------------------------------------------------------------------------------------------

WRONG_ROUTE = {**BOOKINFO, "route": {"service": "nobody", "port": 9080}}
WRONG_PORT = {**BOOKINFO, "route": {"service": "productpage", "port": 80}}
NO_FILE = {**BOOKINFO, "manifests": "manifests/none.yaml"}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"kongg": 1}, "kongg is not a setting"),
    "unknown field": ({"kong": {"replica": 2}}, "did you mean replicas"),
    "wrong value": ({"kong": {"serviceType": "External"}}, "kong.serviceType is"),
    "wrong type of a key": ({"kong": "NodePort"}, "kong"),
    "Service that is not there": ({"applications": [WRONG_ROUTE]}, "applications[0].route.service is nobody"),
    "port that is not there": ({"applications": [SHOP, WRONG_PORT]}, "applications[1].route.port is 80"),
    "manifests that are not there": ({"applications": [NO_FILE]}, "manifests/none.yaml"),
    "one namespace for two": ({"applications": [BOOKINFO, {**SHOP, "namespace": "bookinfo"}]}, "namespace"),
    "unknown chart": ({"charts": {"kongs": "https://charts.example"}}, "charts.kongs"),
    "chart that is not there": ({"charts": {"kong": "nowhere"}}, "charts.kong"),
    "another chart": ({"charts": {"kong": "sandbox/charts/grafana"}}, "charts.kong"),
    "STRICT past the mesh": ({"istio": {"mtls": "STRICT"}, "kong": {"routing": "guide"}}, "STRICT"),
    "range that is none": ({"kong": {"sourceRanges": ["203.0.113.7"]}}, "kong.sourceRanges[0]"),
    "replicas that count for themselves": ({"kong": {"replicas": 2}}, "kong.replicas"),
    "password in plain text": ({"rateLimit": SECRET_LIMIT}, "plain"),
    "sandbox elsewhere": ({"sandbox": True, "kubeconfig": "somewhere/else"}, "sandbox"),
}


def refused(config: dict[str, Any], *, preview: bool = True) -> str:
    """Run the program, which must fail before it has registered anything; return its sentence."""
    made: list[str] = []

    def note(resource: Resource) -> tuple[str, dict[str, Any]]:
        made.append(resource.label)
        return "", resource.inputs

    with pytest.raises(pulumi.RunError) as error:
        run(Project(ROOT).configure({"kubeContext": CONTEXT, **config}), note, preview=preview)
    assert made == []
    return str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_registered(name: str) -> None:
    config, fragment = BAD[name]
    sentence = refused(config)
    assert fragment in sentence
    assert "\n" not in sentence
    assert PASSWORD not in sentence


def test_an_up_without_a_kubeconfig_is_refused() -> None:
    assert "does not exist" in refused({}, preview=False)


@pytest.mark.parametrize("context", ["", "not-there"])
def test_an_up_never_follows_the_current_context(
    context: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert refused({"kubeContext": context}, preview=False).startswith(f"kubeContext is {context or 'empty'}")


def test_a_chart_repository_that_does_not_answer_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(address: Request, **_: Any) -> AbstractContextManager[None]:
        if CHARTS["kiali-server"].repository in address.full_url:
            raise OSError("no route to host")
        return nullcontext()

    monkeypatch.setattr(releases, "urlopen", look)
    assert CHARTS["kiali-server"].repository in refused({})
    recorded(observability={"kiali": OFF})


# --- Keys that nobody gives, and what the dashboards show ------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "section", "key"),
    [
        ("grafana-admin-value", "grafana", "passwordVersion"),
        ("kiali-signing-key-value", "kiali", "signingKeyVersion"),
    ],
)
def test_a_random_key_changes_with_its_version_and_nothing_else(
    command: str, section: str, key: str, plain: Recording
) -> None:
    found = inputs(plain, f"Command/{command}")
    assert "triggers" not in found, "stacks of before would be given another key"
    assert shlex.split(found["update"]) == ["printf", "%s", "$PULUMI_COMMAND_STDOUT"]
    assert inputs(recorded(observability={section: {key: 2}}), f"Command/{command}")["triggers"] == [2]


def test_pods_start_anew_with_what_they_read_at_their_start() -> None:
    named = {"adminSecret": "login", "passwordVersion": 4}
    recording = recorded(observability={"grafana": {**named, "values": {"podAnnotations": {"own": "kept"}}}})
    assert values(recording, "grafana")["podAnnotations"] == {"own": "kept", "checksum/login": "version 4"}
    annotations = values(recording, "kiali")["deployment"]["pod_annotations"]
    assert annotations.keys() == {"checksum/login", "checksum/signing-key"}


def test_kiali_logs_in_to_a_grafana_that_asks_for_one(plain: Recording) -> None:
    def grafana(recording: Recording) -> dict[str, Any]:
        return dict(values(recording, "kiali")["external_services"]["grafana"])

    named = {"username": "secret:grafana-admin:admin-user", "password": "secret:grafana-admin:admin-password"}
    assert grafana(plain)["auth"] == {"type": "basic", **named}
    assert "Secret/grafana-admin" in before(plain, "Release/kiali")
    other = recorded(observability={"grafana": {"adminSecret": "login"}})
    assert grafana(other)["auth"]["password"] == "secret:login:admin-password"
    assert "Command/grafana-secret-ready" in before(other, "Release/kiali")
    assert "auth" not in grafana(recorded(observability={"grafana": {"anonymous": True}}))
    assert "auth" not in grafana(recorded(observability={"grafana": OFF}))


def test_kong_counts_its_requests_for_its_dashboard(plain: Recording, tmp_path: Path) -> None:
    plugin = inputs(plain, "KongClusterPlugin/kong-metrics")
    assert (plugin["plugin"], plugin["metadata"]["labels"]) == ("prometheus", {"global": "true"})
    assert plugin["metadata"]["annotations"]["kubernetes.io/ingress.class"] == "kong"
    assert values(plain, "grafana")["dashboards"]["istio"]["kong-official"]["gnetId"] == 7424
    nobody = recorded(observability=dict.fromkeys(("prometheus", "grafana", "kiali"), OFF))
    assert "KongClusterPlugin/kong-metrics" not in labels(nobody)
    # Kong's controller takes neither of two.
    own = {"apiVersion": "configuration.konghq.com/v1", "kind": "KongClusterPlugin", "plugin": "prometheus"}
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump_all(
            [
                {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}},
                {**own, "metadata": {"name": "metrics", "labels": {"global": "true"}}},
            ]
        )
    )
    application = {
        "name": "own",
        "namespace": "own",
        "manifests": str(tmp_path),
        "route": {"service": "web", "port": 80},
    }
    assert "KongClusterPlugin/kong-metrics" not in labels(recorded(applications=[application]))


def test_dashboards_are_downloaded_verified_and_a_failure_is_one(plain: Recording) -> None:
    options = values(plain, "grafana")["defaultCurlOptions"]
    assert "pipefail" in options
    curl = shlex.split(options.rpartition("curl ")[2])
    assert "-sSf" in curl
    assert not {"-k", "--insecure", "-skf"} & set(curl)
