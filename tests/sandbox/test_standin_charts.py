"""The stand-in charts: what they render is what the real charts render, and their values have the real effects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from charts import STAND_INS, by_identity, documents, pick, published, rendered, tidy

from components.shared.merging import merged
from plan.helm import HelmError, template
from sandbox import tools
from versions import CHARTS

Objects = dict[tuple[str, str], dict[str, Any]]
Render = Callable[..., Objects]


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


@pytest.fixture(scope="session")
def render() -> Render:
    """Render a stand-in, with values laid over those of its release, into its objects by kind and name."""
    program = tools.ensure(["helm"])["helm"]

    def run(chart: str, values: dict[str, Any] | None = None, **options: Any) -> Objects:
        release = RELEASES[chart]
        said = template(
            program,
            STAND_INS,
            name=release.name,
            chart=f"./{chart}",
            namespace=release.namespace,
            values=merged(release.values, values or {}),
            **options,
        )
        return {(kind, name): item for (kind, _, name), item in by_identity(documents(said)).items()}

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


def subresources(item: dict[str, Any]) -> list[Any]:
    return [version.get("subresources") for version in pick(item, "spec", "versions") or []]


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
    release = RELEASES[chart]
    objects = rendered(chart, release.values, release.name, release.namespace)
    return {(kind, name): item for (kind, _, name), item in by_identity(objects).items()}


@pytest.mark.parametrize("chart", RELEASES)
def test_renders_what_the_real_chart_renders(chart: str, render: Render) -> None:
    real = rendered_by_the_real(chart)
    ours = render(chart, include_crds=True)
    assert set(ours) == set(real)
    for identity, item in real.items():
        assert comparable(ours[identity]) == comparable(item), identity
        # An empty mapping means something here: `status: {}` gives a kind its status.
        assert subresources(ours[identity]) == subresources(item), identity


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


KONG = "Deployment kong-istio-kong spec"
PROXY = f"{KONG} template spec containers proxy"
CONTROLLER = f"{KONG} template spec containers ingress-controller"
KONG_SERVICE = "Service kong-istio-kong-proxy"
SERVER = "Deployment prometheus spec template spec containers prometheus-server"
GRAFANA = "Deployment grafana spec template spec"
KIALI = "Deployment kiali spec template spec"
INBOUND = "traffic.sidecar.istio.io/includeInboundPorts"
INJECT = "sidecar.istio.io/inject"
FEW = {"requests": {"cpu": "10m"}}
PULL = [{"name": "pull"}]
ISTIO_DASHBOARDS = "/var/lib/grafana/dashboards/istio"
PROVIDERS = {"providers": [{"name": "istio", "options": {"path": ISTIO_DASHBOARDS}}]}
DASHBOARDS = {
    "dashboardProviders": {"dashboardproviders.yaml": PROVIDERS},
    "dashboards": {
        "istio": {"mesh": {"gnetId": 7639, "revision": 2, "datasource": "Prometheus"}, "own": {"json": "{}"}}
    },
}

#: Chart, values laid over those of its release, and what is found where: kind, name, and the path in the object.
EFFECTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "kong",
        {},
        {
            f"{PROXY} env KONG_ADMIN_LISTEN value": "127.0.0.1:8444 http2 ssl, [::1]:8444 http2 ssl",
            f"{KONG} template metadata annotations {INBOUND}": "",
            "Service kong-istio-kong-manager": None,
        },
    ),
    (
        "kong",
        {
            "image": {"repository": "mirror/kong", "tag": "3.9.1", "pullPolicy": "Always", "pullSecrets": ["pull"]},
            "ingressController": {
                "image": {"tag": "3.5.13"},
                "resources": FEW,
                "env": {"log_level": "debug"},
                "ingressClassAnnotations": {"a": "b"},
            },
            "env": {"log_level": "warn"},
            "admin": {"enabled": True},
            "resources": FEW,
            "replicaCount": 3,
            "podAnnotations": {INBOUND: "*"},
            "podLabels": {INJECT: "false"},
            "topologySpreadConstraints": [{"maxSkew": 1}],
            "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
            "deployment": {"prefixDir": {"sizeLimit": "1Gi"}},
            "manager": {"enabled": True},
            "proxy": {
                "type": "NodePort",
                "http": {"nodePort": 32080},
                "tls": {"enabled": False},
                "annotations": {"a": "b"},
                "labels": {"c": "d"},
                "externalTrafficPolicy": "Local",
                "loadBalancerSourceRanges": ["192.0.2.0/24"],
            },
            "serviceMonitor": {"enabled": True},
        },
        {
            f"{PROXY} image": "mirror/kong:3.9.1",
            f"{KONG} template spec initContainers 0 image": "mirror/kong:3.9.1",
            f"{KONG} template metadata labels version": "3.9",
            f"{CONTROLLER} imagePullPolicy": "Always",
            f"{KONG} template spec imagePullSecrets": PULL,
            f"{CONTROLLER} image": "kong/kubernetes-ingress-controller:3.5.13",
            f"{CONTROLLER} resources": FEW,
            f"{CONTROLLER} env CONTROLLER_LOG_LEVEL value": "debug",
            "IngressClass kong metadata annotations": {"a": "b"},
            f"{PROXY} env KONG_LOG_LEVEL value": "warn",
            f"{PROXY} env KONG_ADMIN_LISTEN value": "0.0.0.0:8444 http2 ssl, [::]:8444 http2 ssl",
            f"{PROXY} resources": FEW,
            f"{KONG} replicas": 3,
            f"{KONG} template metadata annotations {INBOUND}": "*",
            f"{KONG} template metadata labels {INJECT}": "false",
            f"{KONG} template spec topologySpreadConstraints": [{"maxSkew": 1}],
            "PodDisruptionBudget kong-istio-kong spec minAvailable": 1,
            f"{KONG} template spec volumes 0 emptyDir sizeLimit": "1Gi",
            "Service kong-istio-kong-manager spec ports kong-manager port": 8002,
            f"{KONG_SERVICE} spec type": "NodePort",
            f"{KONG_SERVICE} spec ports kong-proxy nodePort": 32080,
            f"{KONG_SERVICE} spec ports kong-proxy-tls": None,
            f"{KONG_SERVICE} metadata annotations": {"a": "b"},
            f"{KONG_SERVICE} metadata labels c": "d",
            f"{KONG_SERVICE} spec externalTrafficPolicy": "Local",
            "ServiceMonitor kong-istio-kong": None,
        },
    ),
    (
        "kong",
        {"autoscaling": {"enabled": True}, "proxy": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}},
        {
            f"{KONG} replicas": None,
            "HorizontalPodAutoscaler kong-istio-kong spec maxReplicas": 5,
            f"{KONG_SERVICE} spec loadBalancerSourceRanges": ["192.0.2.0/24"],
        },
    ),
    (
        "kong",
        {"ingressController": {"enabled": False}},
        {CONTROLLER: None, "ClusterRole kong-istio-kong": None, "IngressClass kong": None},
    ),
    ("kong", {"ingressController": {"createIngressClass": False}}, {"IngressClass kong": None}),
    (
        "prometheus",
        {
            "imagePullSecrets": [{"name": "pull"}],
            "server": {
                "podLabels": {INJECT: "false"},
                "retention": "6h",
                "resources": FEW,
                "image": {"tag": "v3"},
                "securityContext": None,
                "replicaCount": 2,
                "service": {"type": "LoadBalancer"},
                "persistentVolume": {"enabled": True, "size": "1Gi", "storageClass": "fast"},
            },
            "configmapReload": {"prometheus": {"image": {"repository": "mirror/reloader"}}},
        },
        {
            f"Deployment prometheus spec template metadata labels {INJECT}": "false",
            f"{SERVER} args 0": "--storage.tsdb.retention.time=6h",
            f"{SERVER} resources": FEW,
            f"{SERVER} image": "quay.io/prometheus/prometheus:v3",
            "Deployment prometheus spec template spec securityContext": None,
            "Deployment prometheus spec replicas": 2,
            "Deployment prometheus spec template spec imagePullSecrets": PULL,
            "Service prometheus spec type": "LoadBalancer",
            "PersistentVolumeClaim prometheus spec resources requests storage": "1Gi",
            "PersistentVolumeClaim prometheus spec storageClassName": "fast",
            "Deployment prometheus spec template spec volumes storage-volume persistentVolumeClaim": {
                "claimName": "prometheus"
            },
            "Deployment prometheus spec template spec containers prometheus-server-configmap-reload image": (
                "mirror/reloader:v0.93.1"
            ),
        },
    ),
    (
        "grafana",
        {
            "podLabels": {INJECT: "false"},
            "service": {"port": 3000, "type": "NodePort"},
            "adminUser": "root",
            "adminPassword": "s3cret",
            "env": {"GF_A": "b"},
            "resources": {"limits": {"memory": "1Gi"}},
            "image": {"tag": "12.0.1", "pullSecrets": ["pull"]},
            "datasources": {"datasources.yaml": {"apiVersion": 1}},
            "persistence": {"enabled": True, "size": "1Gi"},
            "downloadDashboardsImage": {"tag": "1"},
            **DASHBOARDS,
        },
        {
            f"Deployment grafana spec template metadata labels {INJECT}": "false",
            "Service grafana spec ports service port": 3000,
            "Service grafana spec type": "NodePort",
            "Secret grafana data admin-password": "czNjcmV0",
            "Secret grafana data admin-user": "cm9vdA==",
            f"{GRAFANA} containers grafana env GF_A value": "b",
            f"{GRAFANA} containers grafana resources": {"limits": {"memory": "1Gi"}},
            f"{GRAFANA} containers grafana env GOMEMLIMIT valueFrom resourceFieldRef resource": "limits.memory",
            f"{GRAFANA} containers grafana image": "docker.io/grafana/grafana:12.0.1",
            f"{GRAFANA} imagePullSecrets": PULL,
            "ConfigMap grafana data datasources.yaml": "apiVersion: 1\n",
            f"{GRAFANA} containers grafana volumeMounts /etc/grafana/provisioning/datasources/datasources.yaml subPath": (
                "datasources.yaml"
            ),
            "PersistentVolumeClaim grafana spec resources requests storage": "1Gi",
            f"{GRAFANA} initContainers download-dashboards image": "docker.io/curlimages/curl:1",
            f"{GRAFANA} containers grafana volumeMounts {ISTIO_DASHBOARDS}/own.json name": "dashboards-istio",
            "ConfigMap grafana-dashboards-istio data": {"own.json": "{}"},
        },
    ),
    (
        "grafana",
        {
            "admin": {"existingSecret": "mine", "passwordKey": "pw"},
            "dashboardsConfigMaps": {"istio": "istio-dashboards"},
            "rbac": {"create": False},
            "serviceAccount": {"create": False},
        },
        {
            f"{GRAFANA} containers grafana env GF_SECURITY_ADMIN_PASSWORD valueFrom secretKeyRef": {
                "name": "mine",
                "key": "pw",
            },
            "Secret grafana": None,
            f"{GRAFANA} volumes dashboards-istio configMap": {"name": "istio-dashboards"},
            "ClusterRole grafana-clusterrole": None,
            "ServiceAccount grafana": None,
        },
    ),
    ("grafana", {"fullnameOverride": "charts"}, {"Service charts kind": "Service"}),
    (
        "kiali-server",
        {
            "auth": {"strategy": "anonymous"},
            "server": {"web_root": "/", "port": 8080},
            "deployment": {
                "pod_labels": {INJECT: "false"},
                "image_version": "v2.26",
                "image_pull_secrets": ["pull"],
                "resources": None,
                "replicas": 2,
                "network_policy": {"enabled": False},
            },
        },
        {
            f"Deployment kiali spec template metadata labels {INJECT}": "false",
            f"{KIALI} containers kiali image": "quay.io/kiali/kiali:v2.26",
            f"{KIALI} imagePullSecrets": PULL,
            f"{KIALI} containers kiali resources": None,
            "Deployment kiali spec replicas": 2,
            f"{KIALI} containers kiali readinessProbe httpGet path": "/healthz",
            "Service kiali spec ports http port": 8080,
            "ClusterRoleBinding kiali roleRef name": "kiali",
            "NetworkPolicy kiali": None,
        },
    ),
    (
        "kiali-server",
        {
            "auth": {"strategy": "anonymous"},
            "deployment": {"view_only_mode": True, "image_digest": "sha256", "image_version": "abc"},
        },
        {
            "ClusterRoleBinding kiali-viewer roleRef name": "kiali-viewer",
            f"{KIALI} containers kiali image": "quay.io/kiali/kiali@sha256:abc",
        },
    ),
    (
        "kiali-server",
        {"deployment": {"cluster_wide_access": False}},
        {"Role kiali-viewer metadata namespace": "istio-system", "ClusterRole kiali-viewer": None},
    ),
]


@pytest.mark.parametrize(("chart", "values", "effects"), EFFECTS)
def test_values_have_their_effects(chart: str, values: dict[str, Any], effects: dict[str, Any], render: Render) -> None:
    objects = render(chart, values)
    for where, expected in effects.items():
        kind, name, *path = where.split()
        actual = pick(objects.get((kind, name)), *(int(step) if step.isdigit() else step for step in path))
        assert actual == expected, where


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
def test_refuses_what_it_cannot_stand_in_for(chart: str, values: dict[str, Any], sentence: str, render: Render) -> None:
    with pytest.raises(HelmError, match=re.escape(sentence)):
        render(chart, values)


def test_kong_makes_no_ingress_class_where_the_cluster_serves_none(render: Render) -> None:
    assert ("IngressClass", "kong") not in render("kong", kinds=())


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
    pod = pick(objects["Deployment", "kiali"], "spec", "template", "spec")
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
