"""The stand-in charts: what they render is what the real charts render, and their values have the real effects."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import STAND_INS, by_identity, documents, pick, published, reference, tidy

from sandbox import tools
from versions import CHARTS

Objects = dict[tuple[str, str], dict[str, Any]]
Render = Callable[..., Objects]

INGRESS_CLASS_API = "networking.k8s.io/v1/IngressClass"


@dataclass(frozen=True, kw_only=True)
class Release:
    """How a chart is installed here: release, namespace, and the values without which a stand-in refuses."""

    name: str
    namespace: str
    values: dict[str, Any] = field(default_factory=dict)


RELEASES = {
    "kong": Release(
        name="kong-istio",
        namespace="kong-istio",
        values={"manager": {"enabled": False}, "ingressController": {"admissionWebhook": {"enabled": False}}},
    ),
    "prometheus": Release(
        name="prometheus",
        namespace="istio-system",
        values={
            "alertmanager": {"enabled": False},
            "kube-state-metrics": {"enabled": False},
            "prometheus-node-exporter": {"enabled": False},
            "prometheus-pushgateway": {"enabled": False},
            "server": {
                "fullnameOverride": "prometheus",
                "persistentVolume": {"enabled": False},
                "service": {"servicePort": 9090},
            },
        },
    ),
    "grafana": Release(
        name="grafana",
        namespace="istio-system",
        values={"testFramework": {"enabled": False}, "adminPassword": "example"},
    ),
    "kiali-server": Release(
        name="kiali",
        namespace="istio-system",
        values={"auth": {"strategy": "token"}, "login_token": {"signing_key": "0123456789abcdef"}},
    ),
}


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay values over values, as Helm does."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        both[key] = merged(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return both


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm in the pinned version, had as the sandbox has it."""
    return tools.ensure(["helm"])["helm"]


@pytest.fixture(scope="session")
def template(helm: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `helm template` on a stand-in with values laid over those of its release."""

    def run(
        chart: str, values: dict[str, Any] | None = None, *arguments: str, apis: tuple[str, ...] = (INGRESS_CLASS_API,)
    ) -> subprocess.CompletedProcess[str]:
        release = RELEASES[chart]
        options = [f"--api-versions={api}" for api in apis]
        place = (release.name, str(STAND_INS / chart), "--namespace", release.namespace)
        return asked((*place, *options, *arguments), json.dumps(merged(release.values, values or {})))

    @cache
    def asked(arguments: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
        command = [str(helm), "template", *arguments, "--kube-version", "1.35.0", "--values", "-"]
        return subprocess.run(command, input=values, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Render a stand-in into its objects by kind and name."""

    def run(
        chart: str, values: dict[str, Any] | None = None, *arguments: str, apis: tuple[str, ...] = (INGRESS_CLASS_API,)
    ) -> Objects:
        answer = template(chart, values, *arguments, apis=apis)
        assert answer.returncode == 0, answer.stderr
        found = by_identity(documents(answer.stdout))
        return {(kind, name): item for (kind, _, name), item in found.items()}

    return run


# --- Against the real charts -----------------------------------------------------------------------------------------


def comparable(item: dict[str, Any]) -> Any:
    """Take away from an object what the stand-in and the real chart may differ in."""
    item = without(tidy(item), lambda key: key == "helm.sh/chart" or key.startswith("checksum/"))
    if item["kind"] == "CustomResourceDefinition":
        return comparable_definition(item)
    if item["kind"] == "ClusterRole":
        # Compared by what they grant, in a test of its own.
        return {key: value for key, value in item.items() if key != "rules"}
    if "config.yaml" in item.get("data", {}):
        item["data"]["config.yaml"] = comparable_kiali(yaml.safe_load(item["data"]["config.yaml"]))
    if "prometheus.yml" in item.get("data", {}):
        item["data"]["prometheus.yml"] = comparable_prometheus(yaml.safe_load(item["data"]["prometheus.yml"]))
    return item


def without(value: Any, unwanted: Callable[[str], bool]) -> Any:
    """Drop keys at every depth."""
    if isinstance(value, dict):
        return {key: without(item, unwanted) for key, item in value.items() if not unwanted(key)}
    if isinstance(value, list):
        return [without(item, unwanted) for item in value]
    return value


def comparable_definition(item: dict[str, Any]) -> Any:
    """Leave KongPlugin whole but for descriptions; of the others, only what clients see without a schema."""
    if item["spec"]["names"]["kind"] != "KongPlugin":
        kept = ("name", "served", "storage", "deprecated")
        versions = [{key: version.get(key) for key in kept} for version in item["spec"]["versions"]]
        return {**item, "spec": {**item["spec"], "versions": versions}}
    # `description` is no field of a KongPlugin, so every key of that name is prose.
    return without(item, lambda key: key == "description")


def comparable_kiali(config: dict[str, Any]) -> Any:
    """Drop the settings that the stand-in has no use for."""
    unused = ("additional_pod_containers_yaml", "additional_pod_init_containers_yaml", "dns", "host_aliases")
    deployment = {key: value for key, value in config["deployment"].items() if key not in unused}
    return {**config, "deployment": deployment, "chat_ai": None}


def comparable_prometheus(config: dict[str, Any]) -> Any:
    """Reduce each scrape job to its name."""
    return {**config, "scrape_configs": [job["job_name"] for job in config["scrape_configs"]]}


def grants(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Spell a role out: every API group, resource and verb."""
    return {
        (group, resource, verb)
        for rule in role["rules"] or []
        for group in rule.get("apiGroups", ["(URL)"])
        for resource in rule.get("resources", rule.get("nonResourceURLs"))
        for verb in rule["verbs"]
    }


def rendered_by_the_real(chart: str) -> Objects:
    text = reference(f"charts/{chart}/rendered.yaml").read_text()
    return {(kind, name): item for (kind, _, name), item in by_identity(documents(text)).items()}


@pytest.mark.parametrize("chart", RELEASES)
def test_renders_what_the_real_chart_renders(chart: str, render: Render) -> None:
    real = rendered_by_the_real(chart)
    ours = render(chart, None, "--include-crds")
    assert set(ours) == set(real)
    for identity, item in real.items():
        assert comparable(ours[identity]) == comparable(item), identity


def test_the_kinds_of_kong_have_the_real_subresources(render: Render) -> None:
    ours = render("kong", None, "--include-crds")
    for identity, item in rendered_by_the_real("kong").items():
        # An empty mapping means something here: `status: {}` gives a kind its status.
        for version, real in zip(
            pick(ours[identity], "spec", "versions") or [], pick(item, "spec", "versions") or [], strict=True
        ):
            assert version.get("subresources") == real.get("subresources"), identity


@pytest.mark.parametrize("chart", RELEASES)
def test_no_role_grants_more_than_the_real_one(chart: str, render: Render) -> None:
    unused = ("gateway.networking.k8s.io", "openshift.io")
    ours = render(chart)
    for (kind, name), role in rendered_by_the_real(chart).items():
        if kind in ("Role", "ClusterRole"):
            mine = grants(ours[kind, name])
            assert mine <= grants(role)
            assert [grant for grant in grants(role) - mine if not grant[0].endswith(unused)] == []


def leaves(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Walk the values of a file that are no mapping, or an empty one: their path and their line."""
    if isinstance(node, yaml.MappingNode) and node.value:
        for key, value in node.value:
            yield from leaves(value, (*path, key.value))
    elif node:
        yield path, node.start_mark.line


@pytest.mark.parametrize("chart", RELEASES)
def test_values_are_the_real_ones_with_the_real_defaults(chart: str) -> None:
    real = yaml.safe_load(published(chart).values.read_text())
    text = (STAND_INS / chart / "values.yaml").read_text()
    ours, lines = yaml.safe_load(text), text.splitlines()
    shortened = {("grafana.ini", "server", "domain")}  # in the real chart a template that comes to the same
    for path, line in leaves(yaml.compose(text)):
        if path in shortened or path[0] == "scrapeConfigs":
            continue
        parent = pick(real, *path[:-1])
        if isinstance(parent, dict) and path[-1] in parent:
            assert pick(ours, *path) == parent[path[-1]], path
        else:
            assert "template only" in lines[line], f"{'.'.join(path)} is not in the real values.yaml"


def test_scrape_jobs_are_the_real_ones() -> None:
    real = yaml.safe_load(published("prometheus").values.read_text())["scrapeConfigs"]
    ours = yaml.safe_load((STAND_INS / "prometheus" / "values.yaml").read_text())["scrapeConfigs"]
    assert {name: job["enabled"] for name, job in ours.items()} == {name: job["enabled"] for name, job in real.items()}


# --- On their own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chart", RELEASES)
def test_names_the_chart_it_stands_in_for(chart: str) -> None:
    metadata = yaml.safe_load((STAND_INS / chart / "Chart.yaml").read_text())
    assert metadata["name"] == CHARTS[chart].name
    assert metadata["version"] == f"{CHARTS[chart].version}-standin"


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(STAND_INS)) for path in STAND_INS.rglob("*") if path.is_file())
)
def test_every_file_says_what_it_leaves_out(name: str) -> None:
    first, second = (STAND_INS / name).read_text().splitlines()[:2]
    assert first.startswith(("# ", "{{- /* "))
    assert "Leaves out" in second


@pytest.mark.parametrize("chart", RELEASES)
def test_renders_the_same_twice(chart: str, render: Render) -> None:
    assert render(chart) == render(chart)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Values laid over those of the release, an object, a way into it, and what is found there."""

    chart: str
    values: dict[str, Any]
    identity: tuple[str, str]
    path: tuple[str | int, ...] = ()
    expected: Any

    def __str__(self) -> str:
        return f"{self.chart}-{'.'.join(self._keys(self.values))}"

    def _keys(self, values: Any) -> Iterator[str]:
        if isinstance(values, dict) and values:
            key, value = next(iter(values.items()))
            yield str(key)
            yield from self._keys(value)


def kong(values: dict[str, Any], *path: str | int, expected: Any, kind: str = "Deployment") -> Effect:
    name = {"Service": "kong-istio-kong-proxy"}.get(kind, "kong-istio-kong")
    return Effect(chart="kong", values=values, identity=(kind, name), path=path, expected=expected)


def prometheus(values: dict[str, Any], *path: str | int, expected: Any, kind: str = "Deployment") -> Effect:
    return Effect(chart="prometheus", values=values, identity=(kind, "prometheus"), path=path, expected=expected)


def grafana(values: dict[str, Any], *path: str | int, expected: Any, kind: str = "Deployment") -> Effect:
    return Effect(chart="grafana", values=values, identity=(kind, "grafana"), path=path, expected=expected)


def kiali(values: dict[str, Any], *path: str | int, expected: Any, kind: str = "Deployment") -> Effect:
    return Effect(chart="kiali-server", values=values, identity=(kind, "kiali"), path=path, expected=expected)


POD = ("spec", "template", "spec")
POD_LABELS = ("spec", "template", "metadata", "labels")
POD_ANNOTATIONS = ("spec", "template", "metadata", "annotations")
PROXY = (*POD, "containers", "proxy")
CONTROLLER = (*POD, "containers", "ingress-controller")
SERVER = (*POD, "containers", "prometheus-server")
GRAFANA = (*POD, "containers", "grafana")
KIALI = (*POD, "containers", "kiali")
UNINJECTED = {"sidecar.istio.io/inject": "false"}
FEW = {"requests": {"cpu": "10m"}}
INBOUND = "traffic.sidecar.istio.io/includeInboundPorts"
DASHBOARDS = {
    "dashboardProviders": {
        "dashboardproviders.yaml": {
            "providers": [{"name": "istio", "options": {"path": "/var/lib/grafana/dashboards/istio"}}]
        }
    },
    "dashboards": {
        "istio": {"mesh": {"gnetId": 7639, "revision": 2, "datasource": "Prometheus"}, "own": {"json": "{}"}}
    },
}

EFFECTS = [
    kong({"image": {"tag": "3.9.1"}}, *PROXY, "image", expected="kong:3.9.1"),
    kong({"image": {"tag": "3.9.1"}}, *POD_LABELS, "version", expected="3.9"),
    kong({"image": {"repository": "mirror/kong"}}, *POD, "initContainers", 0, "image", expected="mirror/kong:3.9"),
    kong({"image": {"pullPolicy": "Always"}}, *CONTROLLER, "imagePullPolicy", expected="Always"),
    kong({"image": {"pullSecrets": ["pull"]}}, *POD, "imagePullSecrets", expected=[{"name": "pull"}]),
    kong(
        {"ingressController": {"image": {"tag": "3.5.13"}}},
        *(*CONTROLLER, "image"),
        expected="kong/kubernetes-ingress-controller:3.5.13",
    ),
    kong({"ingressController": {"resources": FEW}}, *CONTROLLER, "resources", expected=FEW),
    kong(
        {"ingressController": {"env": {"log_level": "debug"}}},
        *(*CONTROLLER, "env", "CONTROLLER_LOG_LEVEL", "value"),
        expected="debug",
    ),
    kong({"ingressController": {"enabled": False}}, *CONTROLLER, expected=None),
    kong({"env": {"log_level": "warn"}}, *PROXY, "env", "KONG_LOG_LEVEL", "value", expected="warn"),
    kong({}, *PROXY, "env", "KONG_ADMIN_LISTEN", "value", expected="127.0.0.1:8444 http2 ssl, [::1]:8444 http2 ssl"),
    kong(
        {"admin": {"enabled": True}},
        *(*PROXY, "env", "KONG_ADMIN_LISTEN", "value"),
        expected="0.0.0.0:8444 http2 ssl, [::]:8444 http2 ssl",
    ),
    kong({"resources": FEW}, *PROXY, "resources", expected=FEW),
    kong({"replicaCount": 3}, "spec", "replicas", expected=3),
    kong({"autoscaling": {"enabled": True}}, "spec", "replicas", expected=None),
    kong({"autoscaling": {"enabled": True}}, "spec", "maxReplicas", expected=5, kind="HorizontalPodAutoscaler"),
    kong({}, *POD_ANNOTATIONS, INBOUND, expected=""),
    kong({"podAnnotations": {INBOUND: "*"}}, *POD_ANNOTATIONS, INBOUND, expected="*"),
    kong({"podLabels": UNINJECTED}, *POD_LABELS, "sidecar.istio.io/inject", expected="false"),
    kong(
        {"topologySpreadConstraints": [{"maxSkew": 1}]},
        *(*POD, "topologySpreadConstraints"),
        expected=[{"maxSkew": 1}],
    ),
    kong(
        {"replicaCount": 2, "podDisruptionBudget": {"enabled": True, "minAvailable": 1}},
        *("spec", "minAvailable"),
        expected=1,
        kind="PodDisruptionBudget",
    ),
    kong(
        {"deployment": {"prefixDir": {"sizeLimit": "1Gi"}}}, *POD, "volumes", 0, "emptyDir", "sizeLimit", expected="1Gi"
    ),
    kong({"proxy": {"type": "NodePort"}}, "spec", "type", expected="NodePort", kind="Service"),
    kong(
        {"proxy": {"type": "NodePort", "http": {"nodePort": 32080}}},
        *("spec", "ports", "kong-proxy", "nodePort"),
        expected=32080,
        kind="Service",
    ),
    kong({"proxy": {"tls": {"enabled": False}}}, "spec", "ports", "kong-proxy-tls", expected=None, kind="Service"),
    kong({"proxy": {"annotations": {"a": "b"}}}, "metadata", "annotations", expected={"a": "b"}, kind="Service"),
    kong({"proxy": {"labels": {"a": "b"}}}, "metadata", "labels", "a", expected="b", kind="Service"),
    kong(
        {"proxy": {"externalTrafficPolicy": "Local"}},
        *("spec", "externalTrafficPolicy"),
        expected="Local",
        kind="Service",
    ),
    kong(
        {"proxy": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}},
        *("spec", "loadBalancerSourceRanges"),
        expected=["192.0.2.0/24"],
        kind="Service",
    ),
    Effect(
        chart="kong",
        values={"manager": {"enabled": True}},
        identity=("Service", "kong-istio-kong-manager"),
        path=("spec", "ports", "kong-manager", "port"),
        expected=8002,
    ),
    Effect(
        chart="kong",
        values={"ingressController": {"ingressClassAnnotations": {"a": "b"}}},
        identity=("IngressClass", "kong"),
        path=("metadata", "annotations"),
        expected={"a": "b"},
    ),
    prometheus({"server": {"podLabels": UNINJECTED}}, *POD_LABELS, "sidecar.istio.io/inject", expected="false"),
    prometheus({"server": {"retention": "6h"}}, *SERVER, "args", 0, expected="--storage.tsdb.retention.time=6h"),
    prometheus({"server": {"resources": FEW}}, *SERVER, "resources", expected=FEW),
    prometheus({"server": {"image": {"tag": "v3"}}}, *SERVER, "image", expected="quay.io/prometheus/prometheus:v3"),
    prometheus({"server": {"securityContext": None}}, *POD, "securityContext", expected=None),
    prometheus({"server": {"replicaCount": 2}}, "spec", "replicas", expected=2),
    prometheus({"imagePullSecrets": [{"name": "pull"}]}, *POD, "imagePullSecrets", expected=[{"name": "pull"}]),
    prometheus(
        {"server": {"service": {"type": "LoadBalancer"}}}, "spec", "type", expected="LoadBalancer", kind="Service"
    ),
    prometheus(
        {"server": {"persistentVolume": {"enabled": True, "size": "1Gi"}}},
        *("spec", "resources", "requests", "storage"),
        expected="1Gi",
        kind="PersistentVolumeClaim",
    ),
    prometheus(
        {"server": {"persistentVolume": {"enabled": True, "storageClass": "fast"}}},
        *("spec", "storageClassName"),
        expected="fast",
        kind="PersistentVolumeClaim",
    ),
    prometheus(
        {"server": {"persistentVolume": {"enabled": True}}},
        *(*POD, "volumes", "storage-volume", "persistentVolumeClaim"),
        expected={"claimName": "prometheus"},
    ),
    prometheus(
        {"configmapReload": {"prometheus": {"image": {"repository": "mirror/reloader"}}}},
        *(*POD, "containers", "prometheus-server-configmap-reload", "image"),
        expected="mirror/reloader:v0.93.1",
    ),
    grafana({"podLabels": UNINJECTED}, *POD_LABELS, "sidecar.istio.io/inject", expected="false"),
    grafana({"service": {"port": 3000}}, "spec", "ports", "service", "port", expected=3000, kind="Service"),
    grafana({"service": {"type": "NodePort"}}, "spec", "type", expected="NodePort", kind="Service"),
    grafana({"adminPassword": "s3cret"}, "data", "admin-password", expected="czNjcmV0", kind="Secret"),
    grafana({"adminUser": "root"}, "data", "admin-user", expected="cm9vdA==", kind="Secret"),
    grafana(
        {"admin": {"existingSecret": "mine", "passwordKey": "pw"}},
        *(*GRAFANA, "env", "GF_SECURITY_ADMIN_PASSWORD", "valueFrom", "secretKeyRef"),
        expected={"name": "mine", "key": "pw"},
    ),
    grafana({"env": {"GF_A": "b"}}, *GRAFANA, "env", "GF_A", "value", expected="b"),
    grafana({"resources": FEW}, *GRAFANA, "resources", expected=FEW),
    grafana(
        {"resources": {"limits": {"memory": "1Gi"}}},
        *(*GRAFANA, "env", "GOMEMLIMIT", "valueFrom", "resourceFieldRef", "resource"),
        expected="limits.memory",
    ),
    grafana({"image": {"tag": "12.0.1"}}, *GRAFANA, "image", expected="docker.io/grafana/grafana:12.0.1"),
    grafana({"image": {"pullSecrets": ["pull"]}}, *POD, "imagePullSecrets", expected=[{"name": "pull"}]),
    grafana(
        {"datasources": {"datasources.yaml": {"apiVersion": 1}}},
        *("data", "datasources.yaml"),
        expected="apiVersion: 1\n",
        kind="ConfigMap",
    ),
    grafana(
        {"datasources": {"datasources.yaml": {}}},
        *(*GRAFANA, "volumeMounts", "/etc/grafana/provisioning/datasources/datasources.yaml", "subPath"),
        expected="datasources.yaml",
    ),
    grafana(
        {"persistence": {"enabled": True, "size": "1Gi"}},
        *("spec", "resources", "requests", "storage"),
        expected="1Gi",
        kind="PersistentVolumeClaim",
    ),
    grafana(
        {"dashboardsConfigMaps": {"istio": "istio-dashboards"}},
        *(*POD, "volumes", "dashboards-istio", "configMap"),
        expected={"name": "istio-dashboards"},
    ),
    grafana(
        {**DASHBOARDS, "downloadDashboardsImage": {"tag": "1"}},
        *(*POD, "initContainers", "download-dashboards", "image"),
        expected="docker.io/curlimages/curl:1",
    ),
    grafana(
        DASHBOARDS,
        *(*GRAFANA, "volumeMounts", "/var/lib/grafana/dashboards/istio/own.json", "name"),
        expected="dashboards-istio",
    ),
    Effect(
        chart="grafana",
        values=DASHBOARDS,
        identity=("ConfigMap", "grafana-dashboards-istio"),
        path=("data",),
        expected={"own.json": "{}"},
    ),
    Effect(
        chart="grafana",
        values={"fullnameOverride": "charts"},
        identity=("Service", "charts"),
        path=("kind",),
        expected="Service",
    ),
    kiali({"deployment": {"pod_labels": UNINJECTED}}, *POD_LABELS, "sidecar.istio.io/inject", expected="false"),
    kiali({"deployment": {"image_version": "v2.26"}}, *KIALI, "image", expected="quay.io/kiali/kiali:v2.26"),
    kiali(
        {"deployment": {"image_digest": "sha256", "image_version": "abc"}},
        *(*KIALI, "image"),
        expected="quay.io/kiali/kiali@sha256:abc",
    ),
    kiali({"deployment": {"image_pull_secrets": ["pull"]}}, *POD, "imagePullSecrets", expected=[{"name": "pull"}]),
    kiali({"deployment": {"resources": None}}, *KIALI, "resources", expected=None),
    kiali({"deployment": {"replicas": 2}}, "spec", "replicas", expected=2),
    kiali({"server": {"web_root": "/"}}, *KIALI, "readinessProbe", "httpGet", "path", expected="/healthz"),
    kiali({"server": {"port": 8080}}, "spec", "ports", "http", "port", expected=8080, kind="Service"),
    kiali({"auth": {"strategy": "anonymous"}}, "roleRef", "name", expected="kiali", kind="ClusterRoleBinding"),
    Effect(
        chart="kiali-server",
        values={"auth": {"strategy": "anonymous"}, "deployment": {"view_only_mode": True}},
        identity=("ClusterRoleBinding", "kiali-viewer"),
        path=("roleRef", "name"),
        expected="kiali-viewer",
    ),
    Effect(
        chart="kiali-server",
        values={"deployment": {"cluster_wide_access": False}},
        identity=("Role", "kiali-viewer"),
        path=("metadata", "namespace"),
        expected="istio-system",
    ),
]


@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_a_value_has_its_effect(effect: Effect, render: Render) -> None:
    objects = render(effect.chart, effect.values)
    assert effect.identity in objects
    assert pick(objects[effect.identity], *effect.path) == effect.expected


@pytest.mark.parametrize(
    ("chart", "values", "identity"),
    [
        ("kong", {"manager": {"enabled": False}}, ("Service", "kong-istio-kong-manager")),
        ("kong", {"ingressController": {"enabled": False}}, ("ClusterRole", "kong-istio-kong")),
        ("kong", {"ingressController": {"enabled": False}}, ("IngressClass", "kong")),
        ("kong", {"ingressController": {"createIngressClass": False}}, ("IngressClass", "kong")),
        ("kong", {"serviceMonitor": {"enabled": True}}, ("ServiceMonitor", "kong-istio-kong")),
        ("grafana", {"admin": {"existingSecret": "mine"}}, ("Secret", "grafana")),
        ("grafana", {"rbac": {"create": False}}, ("ClusterRole", "grafana-clusterrole")),
        ("grafana", {"serviceAccount": {"create": False}}, ("ServiceAccount", "grafana")),
        ("kiali-server", {"deployment": {"network_policy": {"enabled": False}}}, ("NetworkPolicy", "kiali")),
        ("kiali-server", {"deployment": {"cluster_wide_access": False}}, ("ClusterRole", "kiali-viewer")),
    ],
)
def test_a_value_takes_an_object_away(
    chart: str, values: dict[str, Any], identity: tuple[str, str], render: Render
) -> None:
    assert identity not in render(chart, values)


@pytest.mark.parametrize(
    ("chart", "values", "sentence"),
    [
        (
            "kong",
            {"ingressController": {"admissionWebhook": {"enabled": True}}},
            "the stand-in has no admission webhook; set kong.admissionWebhook to false",
        ),
        ("kong", {"env": {"database": "postgres"}}, "the stand-in has no database"),
        ("kong", {"postgresql": {"enabled": True}}, "the stand-in has no database"),
        ("kong", {"podDisruptionBudget": {"enabled": True}}, "with one replica prevents pod restarts"),
        ("prometheus", {"alertmanager": {"enabled": True}}, "the stand-in has no sub-chart alertmanager"),
        ("grafana", {"testFramework": {"enabled": True}}, "the stand-in has no test pod"),
        ("grafana", {"sidecar": {"dashboards": {"enabled": True}}}, "the stand-in has no sidecars"),
        ("grafana", {"grafana.ini": {"security": {"admin_password": "x"}}}, "Sensitive key 'security.admin_password'"),
        ("kiali-server", {"deployment": {"ingress": {"enabled": True}}}, "the stand-in has no Ingress"),
    ],
)
def test_refuses_what_it_cannot_stand_in_for(
    chart: str, values: dict[str, Any], sentence: str, template: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    answer = template(chart, values)
    assert answer.returncode != 0
    assert sentence in answer.stderr


def test_kong_makes_no_ingress_class_where_the_cluster_serves_none(render: Render) -> None:
    assert ("IngressClass", "kong") not in render("kong", apis=())


def test_kong_watches_only_the_namespaces_it_is_told(render: Render) -> None:
    objects = render("kong", {"ingressController": {"watchNamespaces": ["bookinfo"]}})
    assert ("", "secrets", "list") not in grants(objects["ClusterRole", "kong-istio-kong"])
    role = objects["Role", "kong-istio-kong-bookinfo"]
    assert role["metadata"]["namespace"] == "bookinfo"
    assert ("", "secrets", "list") in grants(role)


def test_grafana_downloads_the_revision_it_is_told(render: Render) -> None:
    script = render("grafana", DASHBOARDS)["ConfigMap", "grafana"]["data"]["download_dashboards.sh"]
    assert "https://grafana.com/api/dashboards/7639/revisions/2/download" in script
    assert '> "/var/lib/grafana/dashboards/istio/mesh.json"' in script
    assert "own.json" not in script


def test_grafana_ini_is_written_as_sections(render: Render) -> None:
    ini = {"app_mode": "production", "auth.anonymous": {"enabled": True, "org_role": "Viewer"}}
    lines = render("grafana", {"grafana.ini": ini})["ConfigMap", "grafana"]["data"]["grafana.ini"].splitlines()
    assert lines[0] == "app_mode = production"
    start = lines.index("[auth.anonymous]")
    assert lines[start + 1 : start + 3] == ["enabled = true", "org_role = Viewer"]


def test_prometheus_scrapes_as_it_is_told(render: Render) -> None:
    values = {
        "server": {"global": {"scrape_interval": "15s"}},
        "scrapeConfigs": {"kubernetes-nodes": {"enabled": False}},
        "extraScrapeConfigs": "- job_name: more\n",
    }
    config = yaml.safe_load(render("prometheus", values)["ConfigMap", "prometheus"]["data"]["prometheus.yml"])
    jobs = [job["job_name"] for job in config["scrape_configs"]]
    assert config["global"]["scrape_interval"] == "15s"
    assert "kubernetes-nodes" not in jobs
    assert jobs[-1] == "more"


def test_kiali_mounts_the_secrets_it_is_pointed_to(render: Render) -> None:
    values = {
        "login_token": {"signing_key": "secret:kiali-signing-key:key"},
        "external_services": {"grafana": {"enabled": True, "auth": {"password": "secret:grafana:admin-password"}}},
    }
    objects = render("kiali-server", values)
    pod = pick(objects["Deployment", "kiali"], *POD)
    for volume, secret, key in (
        ("login-token-signing-key", "kiali-signing-key", "key"),
        ("grafana-password", "grafana", "admin-password"),
    ):
        mount = pick(pod, "containers", "kiali", "volumeMounts", volume)
        assert mount == {"name": volume, "mountPath": f"/kiali-override-secrets/{volume}", "readOnly": True}
        items = [{"key": key, "path": "value.txt"}]
        assert pick(pod, "volumes", volume, "secret") == {"secretName": secret, "items": items}


def test_kiali_is_configured_by_its_values(render: Render) -> None:
    values = {
        "auth": {"strategy": "anonymous"},
        "external_services": {"prometheus": {"url": "http://prometheus:9090"}, "tracing": {"enabled": False}},
        "kiali_feature_flags": {"disabled_features": ["logs-tab"]},
    }
    objects = render("kiali-server", values)
    config = yaml.safe_load(objects["ConfigMap", "kiali"]["data"]["config.yaml"])
    assert config["auth"]["strategy"] == "anonymous"
    assert config["external_services"]["prometheus"] == {"enabled": True, "url": "http://prometheus:9090"}
    assert config["external_services"]["istio"]["root_namespace"] == "istio-system"
    assert config["server"]["web_root"] == "/kiali"
    role = grants(objects["ClusterRole", "kiali"])
    assert ("", "pods/log", "get") not in role
    assert ("networking.istio.io", "*", "delete") in role


def test_kong_brings_its_twelve_kinds(render: Render) -> None:
    crds = [item for (kind, _), item in render("kong", None, "--include-crds").items() if kind.startswith("Custom")]
    scopes = {item["spec"]["names"]["kind"]: item["spec"]["scope"] for item in crds}
    cluster = {"KongClusterPlugin", "KongLicense", "KongVault"}
    assert len(scopes) == 12
    assert {kind for kind, scope in scopes.items() if scope == "Cluster"} == cluster
    assert {item["spec"]["group"] for item in crds} == {"configuration.konghq.com"}


def test_a_kong_plugin_is_checked_as_the_real_one_is(render: Render) -> None:
    definition = render("kong", None, "--include-crds")[
        "CustomResourceDefinition", "kongplugins.configuration.konghq.com"
    ]
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    assert (version["name"], version["subresources"]) == ("v1", {"status": {}})
    assert schema["required"] == ["plugin"]
    assert schema["properties"]["config"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert {rule["rule"]: rule["message"] for rule in schema["x-kubernetes-validations"]} == {
        "!(has(self.config) && has(self.configFrom))": "Using both config and configFrom fields is not allowed.",
        "!(has(self.configFrom) && has(self.configPatches))": (
            "Using both configFrom and configPatches fields is not allowed."
        ),
        "self.plugin == oldSelf.plugin": "The plugin field is immutable",
    }
    (condition,) = pick(schema, "properties", "status", "properties", "conditions", "default")
    assert (condition["type"], condition["status"]) == ("Programmed", "Unknown")
