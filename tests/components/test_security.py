"""Security by settings: Pod Security levels, workloads that pass them, who may call whom, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import rendered

from commands import istio_cni_ready, rollouts
from commands.command_line import CommandError
from components.shared import manifests, pod_security, traffic_policies
from components.shared.manifests import ManifestError
from kube import Cluster
from plan import Recording, Resource, record
from sandbox.paths import CHECKOUT
from settings import SettingsError, parse
from versions import KUBERNETES_TESTED

pytestmark = pytest.mark.usefixtures("machine")

Object = dict[str, Any]

ROUTE = {"service": "productpage", "port": 9080}
BOOKINFO = {"name": "bookinfo", "namespace": "bookinfo", "manifests": "manifests/bookinfo.yaml", "route": ROUTE}
CNI = {"cni": True}
BOTH_GATEWAYS = {"ingressGateway": True, "egressGateway": True}
EVERYTHING: Object = {
    "istio": {**CNI, **BOTH_GATEWAYS},
    "security": {"onlyKongCalls": True, "networkPolicies": True, "protectNamespaces": True},
}


# --- Recordings ------------------------------------------------------------------------------------------------------


def recorded(config: Mapping[str, Any]) -> Recording:
    return record({"kubeContext": "somewhere", **config}, ())


@pytest.fixture(scope="module")
def plain() -> Recording:
    """Record the program with its defaults."""
    return recorded({})


@pytest.fixture(scope="module")
def everything() -> Recording:
    """Record the program with every choice of security made."""
    return recorded(EVERYTHING)


def of_kind(recording: Recording, kind: str) -> dict[str, Resource]:
    return {resource.name: resource for resource in recording.resources.values() if resource.kind == kind}


def before(recording: Recording, label: str) -> set[str]:
    """Return the labels of all that is there before a resource."""
    (key,) = (key for key, resource in recording.resources.items() if resource.label == label)
    return {recording.resources[other].label for other in recording.waits_for(key)}


def values(recording: Recording, release: str) -> Object:
    return dict(of_kind(recording, "Release")[release].inputs["values"])


# --- The levels of namespaces ----------------------------------------------------------------------------------------

BY_NODE_AGENT: dict[str, str | None] = {
    "istio-system": "restricted",
    "istio-cni": "privileged",
    "kong-istio": "restricted",
    "bookinfo": "restricted",
}
LEVELS: dict[str, tuple[Object, dict[str, str | None]]] = {
    "sidecars that redirect for themselves": (
        {},
        {"istio-system": "restricted", "kong-istio": "privileged", "bookinfo": "privileged"},
    ),
    "a node agent": ({"istio": CNI}, BY_NODE_AGENT),
    "no sidecars": (
        {"istio": {"injection": False}},
        {"istio-system": "restricted", "kong-istio": "restricted", "bookinfo": "restricted"},
    ),
    "gateways": (
        {"istio": {**CNI, **BOTH_GATEWAYS}},
        {**BY_NODE_AGENT, "istio-ingress": "restricted", "istio-egress": "restricted"},
    ),
    "none": (
        {"istio": CNI, "security": {"podSecurity": False}},
        dict.fromkeys(BY_NODE_AGENT),
    ),
}


@pytest.mark.parametrize("case", LEVELS)
def test_each_namespace_enforces_its_level_and_warns_at_the_strictest(case: str) -> None:
    config, levels = LEVELS[case]
    made = of_kind(recorded(config), "Namespace")
    labels = {name: resource.inputs["metadata"]["labels"] for name, resource in made.items()}
    assert {name: of.get("pod-security.kubernetes.io/enforce") for name, of in labels.items()} == levels
    strictest = None if case == "none" else "restricted"
    for of in labels.values():
        assert {of.get(f"pod-security.kubernetes.io/{mode}") for mode in ("warn", "audit")} == {strictest}


def test_what_is_enforced_stays_when_the_cluster_is_upgraded_and_warnings_follow_it() -> None:
    labels = pod_security.labels("restricted")
    tested = ".".join(map(str, KUBERNETES_TESTED))
    assert {key: value for key, value in labels.items() if key.endswith("-version")} == {
        "pod-security.kubernetes.io/enforce-version": f"v{tested}",
        "pod-security.kubernetes.io/warn-version": "latest",
        "pod-security.kubernetes.io/audit-version": "latest",
    }


def test_namespaces_of_gateways_and_agents_are_left_to_their_own_injection(everything: Recording) -> None:
    # A gateway asks for its proxy by its own label, which a namespace with the label for injection would not heed.
    injected = {
        name
        for name, resource in of_kind(everything, "Namespace").items()
        if "istio-injection" in resource.inputs["metadata"]["labels"]
    }
    assert injected == {"kong-istio", "bookinfo"}


@pytest.mark.parametrize("protect", [True, False])
def test_namespaces_and_nothing_else_are_protected_by_the_setting(protect: bool) -> None:
    recording = recorded({**EVERYTHING, "security": {"protectNamespaces": protect}})
    protected = {resource.label for resource in recording.resources.values() if resource.options.get("protect")}
    namespaces = {resource.label for resource in of_kind(recording, "Namespace").values()}
    assert len(namespaces) == 6
    assert protected == (namespaces if protect else set())


# --- Workloads that pass `restricted` --------------------------------------------------------------------------------

POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def deployment(spec: Object) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"name": "one"}], **spec}}},
    }


def spec_of(workload: Object) -> Object:
    return dict(workload["spec"]["template"]["spec"])


def test_a_workload_that_says_nothing_says_what_restricted_wants() -> None:
    spec = spec_of(pod_security.hardened(deployment({"initContainers": [{"name": "zero"}]})))
    assert spec["securityContext"] == POD
    assert [c["securityContext"] for c in (*spec["containers"], *spec["initContainers"])] == [CONTAINER, CONTAINER]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"runAsUser": 1000}, {**POD, "runAsUser": 1000}),
        ({"runAsNonRoot": False}, {**POD, "runAsNonRoot": False}),
        ({"seccompProfile": {"type": "Localhost", "localhostProfile": "mine"}}, None),
    ],
)
def test_what_a_pod_says_itself_stays(own: Object, said: Object | None) -> None:
    spec = spec_of(pod_security.hardened(deployment({"securityContext": own})))
    assert spec["securityContext"] == (said or {**POD, **own})


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"readOnlyRootFilesystem": True}, {**CONTAINER, "readOnlyRootFilesystem": True}),
        ({"allowPrivilegeEscalation": True}, {**CONTAINER, "allowPrivilegeEscalation": True}),
        (
            {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
            {**CONTAINER, "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}},
        ),
        ({"capabilities": {"drop": ["NET_RAW"]}}, {**CONTAINER, "capabilities": {"drop": ["NET_RAW"]}}),
    ],
)
def test_what_a_container_says_itself_stays(own: Object, said: Object) -> None:
    workload = deployment({"containers": [{"name": "one", "securityContext": own}]})
    asked = deepcopy(workload)
    assert spec_of(pod_security.hardened(workload))["containers"][0]["securityContext"] == said
    assert workload == asked, "the manifest that was given is another one now"


def test_pods_of_every_kind_are_found_and_other_objects_left_alone() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "one"}]}}
    assert pod_security.hardened(pod)["spec"]["securityContext"] == POD
    job = {"spec": {"template": {"spec": {"containers": [{"name": "one"}]}}}}
    nightly = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "n"},
        "spec": {"jobTemplate": job},
    }
    assert pod_security.hardened(nightly)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"] == POD
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    assert pod_security.hardened(service) == service


@pytest.mark.parametrize(("config", "hardened"), [({}, False), ({"istio": CNI}, True)])
def test_workloads_are_made_to_pass_only_where_their_namespace_is_restricted(config: Object, hardened: bool) -> None:
    workloads = of_kind(recorded(config), "Deployment")
    assert workloads
    assert {"securityContext" in spec_of(of.inputs) for of in workloads.values()} == {hardened}


REFUSED: list[tuple[Object, str]] = [
    ({"hostNetwork": True}, "hostNetwork: true"),
    ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "a volume of the kind hostPath"),
    ({"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot: false"),
    ({"securityContext": {"runAsUser": 0}}, "runAsUser: 0"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile.type: Unconfined"),
]
REFUSED_OF_A_CONTAINER: list[tuple[Object, str]] = [
    ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "a hostPort"),
    ({"securityContext": {"privileged": True}}, "privileged: true"),
    ({"securityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation: true"),
    ({"securityContext": {"capabilities": {"add": ["SYS_TIME"]}}}, "the capability SYS_TIME"),
    ({"securityContext": {"capabilities": {"drop": ["all"]}}}, "capabilities.drop without ALL"),
    ({"securityContext": {"runAsUser": 0}}, "runAsUser: 0"),
]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        *REFUSED,
        *(({"containers": [{"name": "one", **own}]}, field) for own, field in REFUSED_OF_A_CONTAINER),
        *(({"initContainers": [{"name": "zero", **own}]}, field) for own, field in REFUSED_OF_A_CONTAINER),
    ],
)
def test_a_workload_that_asks_for_what_restricted_refuses_is_named(spec: Object, field: str) -> None:
    with pytest.raises(ManifestError) as error:
        pod_security.check_pods([deployment(spec)], "applications[3]")
    assert f"applications[3].manifests: Deployment web has {field}," in str(error.value)
    assert "take it out, or set security.podSecurity to false" in str(error.value)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"securityContext": {"runAsUser": 1, "runAsNonRoot": True}},
        {"hostNetwork": False, "volumes": [{"name": "tmp", "emptyDir": {}}]},
        {"containers": [{"name": "one", "securityContext": {"privileged": False}, "ports": [{"containerPort": 80}]}]},
        {"containers": [{"name": "one", "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}]},
    ],
)
def test_a_workload_that_asks_for_nothing_special_is_taken(spec: Object) -> None:
    pod_security.check_pods([deployment(spec)], "applications[0]")


def test_refused_workloads_stop_the_program_only_where_their_namespace_is_restricted(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    file.write_text(yaml.safe_dump_all([service, deployment({"hostNetwork": True})]))
    own = {"name": "own", "namespace": "own", "manifests": str(file), "route": {"service": "web", "port": 80}}
    assert "own-deployment-web" in of_kind(recorded({"applications": [own]}), "Deployment")
    off = {"applications": [own], "istio": CNI, "security": {"podSecurity": False}}
    assert "own-deployment-web" in of_kind(recorded(off), "Deployment")
    with pytest.raises(ManifestError, match="hostNetwork: true"):
        recorded({"applications": [own], "istio": CNI})


# --- The node agent --------------------------------------------------------------------------------------------------


def test_no_injected_pod_starts_before_the_node_agent_runs_everywhere(everything: Recording) -> None:
    assert "Release/istio-cni" in before(everything, "Command/istio-cni-ready")
    injected = {"Release/kong-istio", *(of.label for of in of_kind(everything, "Deployment").values())}
    assert len(injected) == 7
    for label in injected:
        assert "Command/istio-cni-ready" in before(everything, label), label


def test_the_node_agent_and_istiod_are_installed_side_by_side(everything: Recording) -> None:
    assert "Release/istio-cni" not in before(everything, "Release/istiod")
    assert "Release/istiod" not in before(everything, "Release/istio-cni")


def test_only_with_a_node_agent_do_sidecars_count_on_one(plain: Recording, everything: Recording) -> None:
    assert "istio-cni" not in of_kind(plain, "Release")
    assert "cni" not in values(plain, "istiod")
    assert values(everything, "istiod")["cni"] == {"enabled": True}
    assert of_kind(everything, "Release")["istio-cni"].inputs["namespace"] == "istio-cni"


def daemon_set(desired: int, available: int, updated: int, observed: int = 2) -> Object:
    status = {"desiredNumberScheduled": desired, "numberAvailable": available, "updatedNumberScheduled": updated}
    return {"metadata": {"generation": 2}, "spec": {}, "status": {**status, "observedGeneration": observed}}


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (daemon_set(3, 3, 3), True),
        # What Helm calls ready.
        (daemon_set(3, 2, 3), False),
        (daemon_set(3, 3, 2), False),
        (daemon_set(3, 3, 3, observed=1), False),
        ({"metadata": {"generation": 1}, "spec": {}}, False),
    ],
)
def test_the_node_agent_is_ready_when_it_runs_on_every_node(found: Object, ready: bool) -> None:
    assert rollouts.is_everywhere(found) is ready


@pytest.mark.parametrize(
    ("found", "where"),
    [(daemon_set(3, 2, 3), "on 2 of 3 nodes"), (None, "nowhere: there is no such DaemonSet")],
)
def test_a_node_agent_that_does_not_come_is_told_of(
    found: Object | None, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "follow", lambda *_: iter([found]))
    monkeypatch.setattr(rollouts, "trouble", lambda *_: " (image away)")
    with pytest.raises(CommandError) as error:
        istio_cni_ready.wait(Cluster("", "one"), 0)
    assert f"istio-cni/istio-cni-node runs {where} after 0 s{' (image away)' if found else ''}: " in str(error.value)
    assert "raise istio.readyTimeoutSeconds" in str(error.value)


# --- Istio's gateways ------------------------------------------------------------------------------------------------


def test_gateways_wait_for_what_gives_them_their_image(everything: Recording) -> None:
    for direction in ("ingress", "egress"):
        label = f"Release/istio-{direction}gateway"
        assert {"Command/istiod-ready", f"Namespace/istio-{direction}"} <= before(everything, label)
        assert of_kind(everything, "Release")[f"istio-{direction}gateway"].inputs["namespace"] == f"istio-{direction}"


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_each_gateway_has_its_switch(direction: str) -> None:
    recording = recorded({"istio": {f"{direction}Gateway": True}})
    found = {name for name in of_kind(recording, "Release") if name.endswith("gateway")}
    assert found == {f"istio-{direction}gateway"}
    assert {"istio-ingress", "istio-egress"} & of_kind(recording, "Namespace").keys() == {f"istio-{direction}"}


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_the_ingress_gateway_is_reached_as_kong_is_and_the_egress_gateway_from_inside(kind: str) -> None:
    recording = recorded({"istio": BOTH_GATEWAYS, "kong": {"serviceType": kind}})
    types = {name: values(recording, f"istio-{name}gateway")["service"]["type"] for name in ("ingress", "egress")}
    assert types == {"ingress": kind, "egress": "ClusterIP"}


# --- Who may call a routed Service -----------------------------------------------------------------------------------


def test_only_kong_may_call_the_routed_pods(everything: Recording) -> None:
    (policy,) = of_kind(everything, "AuthorizationPolicy").values()
    assert policy.inputs["metadata"]["namespace"] == "bookinfo"
    assert policy.inputs["spec"] == {
        "selector": {"matchLabels": {"app": "productpage"}},
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/kong-istio/sa/kong-istio-kong"]}}]}],
    }


def test_each_application_has_its_own_policy() -> None:
    route = {"service": "reviews", "port": 9080, "path": "/shop"}
    shop = {**BOOKINFO, "name": "shop", "namespace": "shop-home", "route": route}
    recording = recorded({"applications": [BOOKINFO, shop], "security": {"onlyKongCalls": True}})
    found = {
        of.inputs["metadata"]["namespace"]: of.inputs["spec"]["selector"]["matchLabels"]
        for of in of_kind(recording, "AuthorizationPolicy").values()
    }
    assert found == {"bookinfo": {"app": "productpage"}, "shop-home": {"app": "reviews"}}


def test_pods_start_behind_the_policies_that_guard_them(everything: Recording) -> None:
    policies = {f"NetworkPolicy/{name}" for name in of_kind(everything, "NetworkPolicy")}
    for name in of_kind(everything, "Deployment"):
        behind = before(everything, f"Deployment/{name}")
        assert "AuthorizationPolicy/bookinfo-only-kong-calls" in behind
        assert {label for label in policies if label.startswith("NetworkPolicy/bookinfo-")} <= behind
    assert {"NetworkPolicy/kong-istio-default", "NetworkPolicy/kong-istio-kong"} <= before(
        everything, "Release/kong-istio"
    )


def test_istiod_answers_before_it_is_asked_about_the_policy(everything: Recording) -> None:
    assert "Command/istiod-ready" in before(everything, "AuthorizationPolicy/bookinfo-only-kong-calls")


def test_there_is_no_policy_that_nobody_asked_for(plain: Recording) -> None:
    assert not of_kind(plain, "AuthorizationPolicy")
    assert not of_kind(plain, "NetworkPolicy")


@pytest.mark.parametrize("key", ["onlyKongCalls", "networkPolicies"])
def test_a_routed_service_that_names_no_pods_is_refused_where_a_policy_needs_them(tmp_path: Path, key: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}")
    own = {"name": "own", "namespace": "own", "manifests": str(file), "route": {"service": "web", "port": 80}}
    with pytest.raises(ManifestError) as error:
        recorded({"applications": [own], "security": {key: True}})
    assert "applications[0].route.service is web: that Service has no selector" in str(error.value)
    assert f"security.{key}" in str(error.value)


# --- NetworkPolicies: who gets where ---------------------------------------------------------------------------------

# namespace -> its labels; an address outside the cluster is in none.
NAMESPACES: dict[str, dict[str, str]] = {
    name: {"kubernetes.io/metadata.name": name, **({"istio-injection": "enabled"} if injected else {})}
    for name, injected in {
        **{"bookinfo": True, "kong-istio": True, "stranger": False},
        **{"istio-system": False, "istio-cni": False, "istio-ingress": False, "istio-egress": False},
    }.items()
}
PODS: dict[str, tuple[str, dict[str, str]]] = {
    "productpage": ("bookinfo", {"app": "productpage", "version": "v1"}),
    "reviews": ("bookinfo", {"app": "reviews", "version": "v1"}),
    "kong": ("kong-istio", {"app.kubernetes.io/name": "kong", "app.kubernetes.io/instance": "kong-istio"}),
    "istiod": ("istio-system", {"app": "istiod", "istio": "pilot"}),
    "prometheus": ("istio-system", {"app.kubernetes.io/name": "prometheus"}),
    "grafana": ("istio-system", {"app.kubernetes.io/name": "grafana"}),
    "kiali": ("istio-system", {"app.kubernetes.io/name": "kiali"}),
    "agent": ("istio-cni", {"k8s-app": "istio-cni-node"}),
    "ingress": ("istio-ingress", {"istio": "ingressgateway"}),
    "egress": ("istio-egress", {"istio": "egressgateway"}),
    "stranger": ("stranger", {"app": "productpage"}),
}
REACHES = [
    # Applications: Kong the routed Service, the pods each other, Prometheus the sidecars.
    ("kong", "productpage", 9080, True),
    ("kong", "reviews", 9080, False),
    ("kong", "productpage", 15020, False),
    ("productpage", "reviews", 9080, True),
    ("reviews", "productpage", 9080, True),
    ("stranger", "productpage", 9080, False),
    ("stranger", "reviews", 9080, False),
    ("outside", "productpage", 9080, False),
    ("prometheus", "productpage", 15020, True),
    ("prometheus", "reviews", 15090, True),
    ("prometheus", "productpage", 9080, False),
    ("stranger", "reviews", 15020, False),
    # Kong: the world its proxy, the API server its webhook, Prometheus its metrics, nobody the Admin API.
    ("outside", "kong", 8000, True),
    ("outside", "kong", 8443, True),
    ("stranger", "kong", 8000, True),
    ("outside", "kong", 8080, True),
    ("prometheus", "kong", 8100, True),
    ("prometheus", "kong", 10255, True),
    ("prometheus", "kong", 15020, True),
    ("stranger", "kong", 10255, False),
    ("productpage", "kong", 8100, False),
    ("prometheus", "kong", 8444, False),
    # istiod: every proxy its certificates and configuration, the API server its webhooks, nobody the plain text.
    ("kong", "istiod", 15012, True),
    ("productpage", "istiod", 15012, True),
    ("ingress", "istiod", 15012, True),
    ("outside", "istiod", 15012, False),
    ("outside", "istiod", 15017, True),
    ("kiali", "istiod", 15014, True),
    ("prometheus", "istiod", 15014, True),
    ("productpage", "istiod", 15010, False),
    ("stranger", "istiod", 8080, False),
    # The dashboards: each other, and nobody else.
    ("kiali", "prometheus", 9090, True),
    ("grafana", "prometheus", 9090, True),
    ("kiali", "grafana", 3000, True),
    ("prometheus", "kiali", 9090, True),
    ("productpage", "prometheus", 9090, False),
    ("kong", "kiali", 20001, False),
    ("stranger", "kiali", 20001, False),
    ("outside", "grafana", 3000, False),
    # Node agents and gateways.
    ("prometheus", "agent", 15014, True),
    ("stranger", "agent", 15014, False),
    ("outside", "ingress", 80, True),
    ("outside", "ingress", 15021, True),
    ("prometheus", "ingress", 15020, True),
    ("stranger", "ingress", 15020, False),
    ("productpage", "egress", 443, True),
    ("stranger", "egress", 443, False),
    ("outside", "egress", 80, False),
]


def chosen(selector: Object, labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    wanted: dict[str, str] = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "Exists" for each in expressions)
    return wanted.items() <= labels.items() and all(each["key"] in labels for each in expressions)


def is_peer(peer: Object, home: str, caller: tuple[str, dict[str, str]] | None) -> bool:
    """Return whether a caller is one of whom a peer of a policy speaks; `home`: the policy's namespace."""
    assert peer
    assert peer.keys() <= {"namespaceSelector", "podSelector"}
    if caller is None:
        return False
    namespace, labels = caller
    spaces = peer.get("namespaceSelector")
    near = chosen(spaces, NAMESPACES[namespace]) if spaces is not None else namespace == home
    return near and chosen(peer.get("podSelector", {}), labels)


def lets_in(policies: list[Object], caller: str, called: str, port: int) -> bool:
    """Return whether NetworkPolicies let a connection through, as Kubernetes defines it."""
    namespace, labels = PODS[called]
    guarding = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == namespace and chosen(policy["spec"]["podSelector"], labels)
    ]
    return not guarding or any(
        (not rule.get("from") or any(is_peer(peer, namespace, PODS.get(caller)) for peer in rule["from"]))
        and (not rule.get("ports") or port in [entry["port"] for entry in rule["ports"]])
        for spec in guarding
        for rule in spec["ingress"]
    )


@pytest.fixture(scope="module")
def policies(everything: Recording) -> list[Object]:
    """Return the NetworkPolicies of the stack."""
    return [of.inputs for of in of_kind(everything, "NetworkPolicy").values()]


@pytest.mark.parametrize(("caller", "called", "port", "reaches"), REACHES)
def test_a_pod_is_reached_from_where_it_is_needed_and_from_nowhere_else(
    policies: list[Object], caller: str, called: str, port: int, reaches: bool
) -> None:
    assert lets_in(policies, caller, called, port) is reaches


@pytest.mark.parametrize("caller", ["outside", "stranger", "productpage", "prometheus"])
def test_every_namespace_of_the_stack_is_closed_but_for_what_is_said(policies: list[Object], caller: str) -> None:
    homes = {namespace for namespace, _ in PODS.values()} - {"stranger"}
    assert {policy["metadata"]["namespace"] for policy in policies} == homes
    for called, (namespace, _) in PODS.items():
        if namespace != "stranger" and (caller == "outside" or namespace != PODS[caller][0]):
            assert not lets_in(policies, caller, called, 12345), called


def test_nobody_is_kept_from_calling_out(policies: list[Object]) -> None:
    assert {tuple(policy["spec"]["policyTypes"]) for policy in policies} == {("Ingress",)}


def test_without_its_webhook_kong_is_not_reached_there() -> None:
    config = {"security": {"networkPolicies": True}, "kong": {"admissionWebhook": False}}
    found = [of.inputs for of in of_kind(recorded(config), "NetworkPolicy").values()]
    assert not lets_in(found, "outside", "kong", 8080)
    assert lets_in(found, "outside", "kong", 8000)


@pytest.mark.parametrize(("target", "port"), [({"targetPort": 8088}, 8088), ({"targetPort": "web"}, "web"), ({}, 80)])
def test_kong_reaches_the_port_of_the_pod_and_not_of_the_service(tmp_path: Path, target: Object, port: Any) -> None:
    service = {"selector": {"app": "web"}, "ports": [{"port": 443}, {"port": 80, **target}]}
    file = tmp_path / "own.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
    )
    own = {"name": "own", "namespace": "own", "manifests": str(file), "route": {"service": "web", "port": 80}}
    recording = recorded({"applications": [own], "security": {"networkPolicies": True}})
    (rule,) = of_kind(recording, "NetworkPolicy")["own-web-from-kong"].inputs["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]


def test_no_chart_brings_a_policy_that_lets_in_everybody(everything: Recording) -> None:
    assert values(everything, "kiali")["deployment"]["network_policy"] == {"enabled": False}


# --- The chart's names -----------------------------------------------------------------------------------------------


def test_the_policies_mean_the_objects_of_kongs_chart() -> None:
    made = rendered("kong", {}, "kong-istio", "kong-istio")
    (workload,) = (item for item in made if item["kind"] == "Deployment")
    pod = workload["spec"]["template"]
    account = pod["spec"]["serviceAccountName"]
    assert f"cluster.local/ns/{workload['metadata']['namespace']}/sa/{account}" == traffic_policies.KONG_PRINCIPAL
    policy = traffic_policies.kong_policies(webhook=False)[1]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    listening = {port["containerPort"] for of in pod["spec"]["containers"] for port in of.get("ports") or []}
    said = {entry["port"] for rule in policy["spec"]["ingress"] for entry in rule["ports"]}
    assert said - {15020, 15090} <= listening


# --- Settings that cannot go together --------------------------------------------------------------------------------

CONFLICTS: list[tuple[Object, list[str]]] = [
    (
        {"kong": {"routing": "guide"}, "security": {"onlyKongCalls": True}},
        ["security.onlyKongCalls is true while kong.routing is guide", "set kong.routing to mesh"],
    ),
    *(
        (
            {"istio": {"injection": False}, **more},
            [f"{key} is true while istio.injection is false", f"or {key} to false"],
        )
        for key, more in (
            ("istio.cni", {"istio": {"injection": False, "cni": True}}),
            ("istio.ingressGateway", {"istio": {"injection": False, "ingressGateway": True}}),
            ("istio.egressGateway", {"istio": {"injection": False, "egressGateway": True}}),
            ("security.onlyKongCalls", {"security": {"onlyKongCalls": True}}),
        )
    ),
]


@pytest.mark.parametrize(("config", "parts"), CONFLICTS)
def test_what_cannot_go_together_is_refused_in_one_sentence(config: Object, parts: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        parse(config, (), CHECKOUT.root)
    assert [part for part in parts if part not in str(error.value)] == []
    assert "\n" not in str(error.value)


def test_bookinfo_passes_restricted_as_it_is_deployed() -> None:
    objects = manifests.read(CHECKOUT.root / "manifests" / "bookinfo.yaml", "bookinfo")
    pod_security.check_pods([pod_security.hardened(item) for item in objects], "applications[0]")


def test_everything_can_be_chosen_together() -> None:
    assert parse(EVERYTHING, (), CHECKOUT.root).security.only_kong_calls


@pytest.mark.parametrize(
    ("further", "level"),
    [
        ({}, "restricted"),
        ({"alertmanager": {"enabled": True}, "prometheus-pushgateway": {"enabled": True}}, "restricted"),
        ({"prometheus-node-exporter": {"enabled": True}}, "privileged"),
        ({"server": {"hostNetwork": True}}, "privileged"),
        ({"prometheus-node-exporter": {"enabled": False}}, "restricted"),
    ],
)
def test_istios_namespace_admits_what_further_values_add_to_prometheus(further: Object, level: str) -> None:
    recording = recorded({"observability": {"prometheus": {"values": further}}})
    labels = of_kind(recording, "Namespace")["istio-system"].inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == level
    given = values(recording, "prometheus")
    if "alertmanager" in further:
        assert given["alertmanager"]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert given["prometheus-pushgateway"]["containerSecurityContext"]["allowPrivilegeEscalation"] is False


def test_grafana_keeps_its_database_without_a_container_that_runs_as_root() -> None:
    volume = {"values": {"persistence": {"enabled": True}}}
    given = values(recorded({"observability": {"grafana": volume}}), "grafana")
    assert given["initChownData"] == {"enabled": False}
    assert given["deploymentStrategy"] == {"type": "Recreate"}
