"""Prometheus, Grafana and Kiali."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

from components import commands
from components.charts import ChartSource, merged, mirrored, release
from components.mesh import NAMESPACE
from components.objects import KubernetesObject
from settings import Observability
from versions import GRAFANA_DASHBOARDS

PROMETHEUS_URL = f"http://prometheus.{NAMESPACE}:9090"
GRAFANA_URL = f"http://grafana.{NAMESPACE}:3000"

# The dashboards' charts of Prometheus metrics name a data source by this.
_DATASOURCE = "Prometheus"
_KIALI_KEY = "kiali-signing-key"
_GRAFANA_KEY = "grafana-admin"
_NOT_INJECTED = {"sidecar.istio.io/inject": "false"}


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """`observability`: the settings. `charts`: the sources of prometheus, grafana and kiali-server.

    `namespace`: istio-system, to depend on. `definitions`: what defines Istio's kinds. `root`: the project's folder.
    """

    observability: Observability
    charts: Mapping[str, ChartSource]
    namespace: pulumi.Resource
    definitions: pulumi.Resource
    root: Path
    registry: str = ""


class ObservabilityStack(pulumi.ComponentResource):
    """Metrics, dashboards and the graph of the mesh. Type `kong-istio:index:ObservabilityStack`.

    Creates, each with its switch: Release `prometheus`; Release `grafana` with its administrator's Secret; Release
    `kiali` with the Secret of its signing key. All in istio-system, as Services of type ClusterIP, without sidecars.
    Their keys are random, made once, and secrets of the stack.
    Attributes: `versions`, name -> version of the application that each chart says is installed.
    Raises in `up`: Helm's error, when one is not ready within `observability.readyTimeoutSeconds`.
    """

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:ObservabilityStack", name, {}, opts)
        self._args = args
        self.versions: dict[str, pulumi.Output[str]] = {}
        self._releases: dict[str, pulumi.Resource] = {}
        chosen = args.observability
        if chosen.prometheus.enabled:
            self._release("prometheus", "prometheus", prometheus_values(chosen, args.registry), [args.namespace])
        if chosen.grafana.enabled:
            key = self._random_key(_GRAFANA_KEY, {"admin-user": "admin"}, "admin-password")
            self._release("grafana", "grafana", grafana_values(chosen, args.registry, args.root), [key])
        if chosen.kiali.enabled:
            key = self._random_key(_KIALI_KEY, {}, "key")
            # Kiali looks once, when it starts, whether Istio's kinds are there and Prometheus answers.
            needs = [key, args.definitions, self._releases["prometheus"]]
            self._release("kiali", "kiali-server", kiali_values(chosen, args.registry), needs)
        self.register_outputs({"versions": self.versions})

    def _release(self, name: str, chart: str, values: dict[str, Any], needs: list[pulumi.Resource]) -> None:
        installed = release(
            name,
            self._args.charts[chart],
            NAMESPACE,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=needs),
            wait_seconds=self._args.observability.ready_timeout_seconds,
        )
        self._releases[name] = installed
        self.versions[name] = installed.status.app_version

    def _random_key(self, name: str, plain: Mapping[str, str], field: str) -> KubernetesObject:
        """Make a Secret with a random key of 32 characters, which stays what it is until the stack is destroyed."""
        made = local.Command(
            f"{name}-value",
            create=commands.RANDOM_KEY,
            logging=local.Logging.NONE,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[self._args.namespace], additional_secret_outputs=["stdout"]
            ),
        )
        values: pulumi.Output[dict[str, str]] = made.stdout.apply(lambda key: {**plain, field: key})
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "stringData": values,
        }
        opts = pulumi.ResourceOptions(parent=self, depends_on=[self._args.namespace])
        return KubernetesObject(name, manifest, opts)


def prometheus_values(observability: Observability, registry: str) -> dict[str, Any]:
    """Return the values of the chart prometheus: the server alone, under the name that Kiali and Grafana look for."""
    values: dict[str, Any] = {
        "alertmanager": {"enabled": False},
        "kube-state-metrics": {"enabled": False},
        "prometheus-node-exporter": {"enabled": False},
        "prometheus-pushgateway": {"enabled": False},
        "server": {
            "fullnameOverride": "prometheus",
            "podLabels": _NOT_INJECTED,
            "persistentVolume": {"enabled": False},
            "service": {"servicePort": 9090},
            "retention": observability.prometheus.retention,
            # A rate needs two scrapes: with the chart's minute between them a graph would stay empty for long.
            "global": {"scrape_interval": "15s"},
            "readinessProbeInitialDelay": 0,
        },
    }
    if registry:
        server = {"image": {"repository": mirrored("quay.io/prometheus/prometheus", registry)}}
        reloader = {"repository": mirrored("quay.io/prometheus-operator/prometheus-config-reloader", registry)}
        values = merged(values, {"server": server, "configmapReload": {"prometheus": {"image": reloader}}})
    return merged(values, observability.prometheus.values)


def grafana_values(observability: Observability, registry: str, root: Path) -> dict[str, Any]:
    """Return the values of the chart grafana, with Istio's dashboards."""
    grafana = observability.grafana
    provider = {
        "name": "istio",
        "orgId": 1,
        "folder": "istio",
        "type": "file",
        "disableDeletion": False,
        "options": {"path": "/var/lib/grafana/dashboards/istio"},
    }
    source = {"name": _DATASOURCE, "type": "prometheus", "url": PROMETHEUS_URL, "access": "proxy", "isDefault": True}
    values: dict[str, Any] = {
        "fullnameOverride": "grafana",
        "testFramework": {"enabled": False},
        "podLabels": _NOT_INJECTED,
        "service": {"port": 3000},
        # The dashboards come with the chart's values: nothing has to be read from the cluster.
        "rbac": {"create": False},
        "admin": {"existingSecret": _GRAFANA_KEY},
        "grafana.ini": {"auth.anonymous": {"enabled": grafana.anonymous, "org_role": "Viewer"}},
        "datasources": {"datasources.yaml": {"apiVersion": 1, "datasources": [source]}},
        "dashboardProviders": {"dashboardproviders.yaml": {"apiVersion": 1, "providers": [provider]}},
        "dashboards": {"istio": _dashboards(grafana.dashboards, root)},
    }
    if registry:
        values = merged(values, {"global": {"imageRegistry": registry}})
    return merged(values, grafana.values)


def kiali_values(observability: Observability, registry: str) -> dict[str, Any]:
    """Return the values of the chart kiali-server."""
    kiali = observability.kiali
    grafana = {"enabled": observability.grafana.enabled, "internal_url": GRAFANA_URL}
    values: dict[str, Any] = {
        "auth": {"strategy": kiali.auth},
        "deployment": {"view_only_mode": kiali.view_only, "pod_labels": _NOT_INJECTED},
        # By name: the key itself would stand in a ConfigMap.
        "login_token": {"signing_key": f"secret:{_KIALI_KEY}:key"},
        "external_services": {"prometheus": {"url": PROMETHEUS_URL}, "grafana": grafana},
    }
    if registry:
        values = merged(values, {"deployment": {"image_name": mirrored("quay.io/kiali/kiali", registry)}})
    return merged(values, kiali.values)


def _dashboards(source: str, root: Path) -> dict[str, Any]:
    if source != "grafana.com":
        files = sorted((root / source).glob("*.json"))
        # Compact, as a Helm release must stay below a Secret's 1 MiB.
        return {file.stem: {"json": json.dumps(json.loads(file.read_text(encoding="utf-8")))} for file in files}
    return {
        name: {"gnetId": number, "revision": revision, "datasource": _DATASOURCE}
        for name, (number, revision) in GRAFANA_DASHBOARDS.items()
    }
