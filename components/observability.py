"""Prometheus, Grafana and Kiali."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

from components.mesh import MeshOutputs
from components.shared import pod_security, project_command, workloads_ready
from components.shared.images import grafana_images, kiali_images, prometheus_images
from components.shared.kubernetes_object import Secret
from components.shared.merging import merged
from components.shared.pod_security import CONTAINER, POD
from components.shared.releases import ChartSource, Release, release
from components.shared.standards import Standards
from names import (
    DASHBOARD_PORTS,
    GRAFANA,
    GRAFANA_FOLDER,
    GRAFANA_SECRET,
    ISTIO_NAMESPACE,
    KIALI,
    KIALI_SECRET,
    KONG,
    KONG_NAMESPACE,
    PROMETHEUS,
)
from settings import Grafana, Images, Observability, Prometheus
from settings.secret_parts import SecretText
from versions import GRAFANA_DASHBOARDS

PROMETHEUS_URL = f"http://{PROMETHEUS}.{ISTIO_NAMESPACE}:{DASHBOARD_PORTS[PROMETHEUS]}"
GRAFANA_URL = f"http://{GRAFANA}.{ISTIO_NAMESPACE}:{DASHBOARD_PORTS[GRAFANA]}"

# The dashboards' charts of Prometheus metrics name a data source by this.
_DATASOURCE = "Prometheus"
_NOT_INJECTED = {"sidecar.istio.io/inject": "false"}
# What the chart's script puts after `curl`. By default it is -skf, whoever answers, into a pipe whose end nobody looks at:
# a download that failed left an empty dashboard behind, and Grafana healthy. Now its pod starts only with all of them.
_DOWNLOAD = "--version > /dev/null; set -o pipefail; curl -sSf --retry 5 --retry-all-errors"
# Kong's ports for metrics, its controller's among them, are none that its sidecar redirects: they are asked directly.
_SCRAPE_KONG = {
    "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [KONG_NAMESPACE]}}],
    "relabel_configs": [
        {
            "source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"],
            "action": "keep",
            "regex": KONG,
        },
        {
            "source_labels": ["__meta_kubernetes_pod_container_port_name"],
            "action": "keep",
            "regex": "status|cmetrics",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """`observability`: the settings. `charts`: the sources of prometheus, grafana and kiali-server.

    `mesh`: what is observed, and in whose namespace. `root`: the project's folder.
    """

    observability: Observability
    charts: Mapping[str, ChartSource]
    mesh: MeshOutputs
    root: Path
    standards: Standards


@dataclass(frozen=True, kw_only=True)
class ObservabilityOutputs:
    """`versions`: release -> version of the application that its chart says is installed."""

    versions: Mapping[str, pulumi.Output[str]]


class ObservabilityStack(pulumi.ComponentResource):
    """Metrics, dashboards and the graph of the mesh. Type `kong-istio:index:ObservabilityStack`.

    Creates, each with its switch: Release `prometheus`; Release `grafana` with its administrator's Secret, or with Command
    `grafana-secret-ready`, which waits for the one that the settings name; Release `kiali` with the Secret of its signing
    key. All in istio-system, as Services of type ClusterIP, without sidecars; for each a Command such as `prometheus-ready`
    (`python -m commands.workloads_ready`), which waits for its pods. They wait for the NetworkPolicies there.
    Keys that nobody gives are random, secrets of the stack, and stay until their version in the settings changes. Pods start
    anew when the stack changes what they read at their start.
    Outputs: `ObservabilityOutputs`.
    Raises in `up`: the sentence of such a Command, after `observability.readyTimeoutSeconds`.
    """

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:ObservabilityStack", name, {}, opts)
        self._args = args
        self._namespace = args.mesh.namespace
        settings, images = args.observability, args.standards.images
        releases: dict[str, Release] = {}
        ready: dict[str, pulumi.Resource] = {}
        if settings.prometheus.enabled:
            values = prometheus_values(settings, images)
            releases[PROMETHEUS], ready[PROMETHEUS] = self._release(PROMETHEUS, "prometheus", values)
        login = self._login() if settings.grafana.enabled else []
        if settings.grafana.enabled:
            values = grafana_values(settings, images, args.root)
            values["podAnnotations"] = {**(values.get("podAnnotations") or {}), **self._read_at_start("login", login)}
            releases[GRAFANA], ready[GRAFANA] = self._release(GRAFANA, "grafana", values, *login)
        if settings.kiali.enabled:
            key = self._random_key(KIALI_SECRET, {}, "key", settings.kiali.signing_key_version)
            values = kiali_values(settings, images)
            read = {**self._read_at_start("signing-key", [key]), **self._read_at_start("login", login)}
            values["deployment"]["pod_annotations"] = {**(values["deployment"].get("pod_annotations") or {}), **read}
            # Kiali looks once, when it starts, whether Istio's kinds are there and Prometheus answers.
            needed = (key, *login, args.mesh.crds, ready[PROMETHEUS])
            releases[KIALI], ready[KIALI] = self._release(KIALI, "kiali-server", values, *needed)
        self.outputs = ObservabilityOutputs(
            versions={name: installed.app_version for name, installed in releases.items()}
        )
        self.register_outputs({"versions": self.outputs.versions})

    def _release(
        self, name: str, chart: str, values: dict[str, Any], *needed: pulumi.Resource
    ) -> tuple[Release, pulumi.Resource]:
        """Install a chart; return its release, and what waits until its pods are ready."""
        access = self._args.standards.access
        installed = release(
            name,
            self._args.charts[chart],
            ISTIO_NAMESPACE,
            values,
            # Nothing that carries traffic needs them: Istio goes first, and while istiod starts there is time.
            pulumi.ResourceOptions(
                parent=self, depends_on=[*self._namespace.ready, *self._args.mesh.installed, *needed]
            ),
            access=access,
        )
        ready = workloads_ready.of_release(
            f"{name}-ready",
            installed,
            ISTIO_NAMESPACE,
            pulumi.ResourceOptions(parent=self),
            access=access,
            release=name,
            seconds=self._args.observability.ready_timeout_seconds,
            setting="observability.readyTimeoutSeconds",
            looked_at=[self._args.charts[chart], _known(values), self._rotated()],
        )
        return installed, ready

    def _rotated(self) -> list[Any]:
        """Return what changes when pods are started anew by `_read_at_start`."""
        grafana, kiali = self._args.observability.grafana, self._args.observability.kiali
        password = [SecretText(grafana.admin_password)] if grafana.admin_password else []
        return [grafana.password_version, kiali.signing_key_version, *password]

    def _login(self) -> list[pulumi.Resource]:
        """Return what Grafana waits for: the Secret of its administrator, created or awaited."""
        grafana = self._args.observability.grafana
        if grafana.admin_secret:
            waits = self._args.standards.named_secrets.wait(
                "grafana-secret-ready", "login", ISTIO_NAMESPACE, grafana.admin_secret, self._in_the_namespace()
            )
            return [waits]
        user = {"admin-user": "admin"}
        if grafana.admin_password:
            return [self._secret(GRAFANA_SECRET, {**user, "admin-password": grafana.admin_password})]
        return [self._random_key(GRAFANA_SECRET, user, "admin-password", grafana.password_version)]

    def _read_at_start(self, name: str, read: Sequence[pulumi.Resource]) -> dict[str, pulumi.Input[str]]:
        """Return annotations that change with what pods read when they start, and so start them anew.

        Of a Secret of the stack that is its version in the cluster: a digest would tell of the password.
        """
        found: dict[str, pulumi.Input[str]] = {}
        for resource in read:
            if isinstance(resource, Secret):
                found[f"checksum/{name}"] = resource.resource_version
            else:
                found[f"checksum/{name}"] = f"version {self._args.observability.grafana.password_version}"
        return found

    def _in_the_namespace(self, **further: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=[self._namespace.namespace], **further)

    def _secret(self, name: str, values: pulumi.Input[Mapping[str, str]]) -> Secret:
        return Secret(name, {"name": name, "namespace": ISTIO_NAMESPACE}, values, self._in_the_namespace())

    def _random_key(self, name: str, plain: Mapping[str, str], field: str, version: int) -> Secret:
        """Create a Secret with a random key of 32 characters, which stays what it is until its version changes."""
        created = local.Command(
            f"{name}-value",
            create=project_command.RANDOM_KEY,
            # Whatever else changes of the command, what it printed stays.
            update=project_command.PRINTED_BEFORE,
            # None for the first: stacks that were made without this keep theirs.
            triggers=[version] if version > 1 else None,
            logging=local.Logging.NONE,
            opts=self._in_the_namespace(additional_secret_outputs=["stdout"]),
        )
        return self._secret(name, created.stdout.apply(lambda key: {**plain, field: key}))


def prometheus_values(observability: Observability, images: Images) -> dict[str, Any]:
    """Return the values of the chart prometheus: the server alone, under the name that Kiali and Grafana look for."""
    resources, further = observability.prometheus.resources, observability.prometheus.values
    values: dict[str, Any] = {
        "alertmanager": {"enabled": False},
        "kube-state-metrics": {"enabled": False},
        "prometheus-node-exporter": {"enabled": False},
        "prometheus-pushgateway": {"enabled": False},
        "server": {
            "fullnameOverride": "prometheus",
            "podLabels": _NOT_INJECTED,
            "persistentVolume": _volume(observability.prometheus),
            "service": {"servicePort": 9090},
            "retention": observability.prometheus.retention,
            # A rate needs two scrapes: with the chart's minute between them a graph would stay empty for long.
            "global": {"scrape_interval": "15s"},
            "readinessProbeInitialDelay": 0,
            "readinessProbePeriodSeconds": 2,
            "readinessProbeFailureThreshold": 8,
            # The chart says what user it runs as; these are what it lacks for Pod Security's level `restricted`.
            "securityContext": POD,
            "containerSecurityContext": CONTAINER,
            **({"resources": resources} if resources else {}),
        },
        # Asked at once it does not listen yet, and the chart asks again after 10 s.
        "configmapReload": {
            "prometheus": {
                "containerSecurityContext": CONTAINER,
                "readinessProbe": {"periodSeconds": 2, "failureThreshold": 15},
            }
        },
        "scrapeConfigs": {"kong": _SCRAPE_KONG},
    }
    for part in (prometheus_images(images), pod_security.hardened_values(further), further):
        values = merged(values, part)
    return values


def _known(value: Any) -> Any:
    """Return values without what only the cluster tells."""
    if isinstance(value, Mapping):
        return {key: _known(inner) for key, inner in value.items() if not isinstance(inner, pulumi.Output)}
    return value


def _volume(prometheus: Prometheus) -> dict[str, Any]:
    if not prometheus.volume:
        return {"enabled": False}
    # Without a class the cluster's default is taken.
    return {"enabled": True, "size": prometheus.volume, "storageClass": prometheus.storage_class}


def grafana_values(observability: Observability, images: Images, root: Path) -> dict[str, Any]:
    """Return the values of the chart grafana, with Istio's dashboards."""
    grafana = observability.grafana
    provider = {
        "name": "istio",
        "orgId": 1,
        "folder": GRAFANA_FOLDER,
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
        "readinessProbe": {"periodSeconds": 2, "failureThreshold": 15},
        # A volume belongs to Grafana's group by the pod's fsGroup; the container that would change its owner runs as root.
        "initChownData": {"enabled": False},
        # With a volume, the new pod could not have it before the old one ends.
        **({"deploymentStrategy": {"type": "Recreate"}} if _keeps_its_database(grafana) else {}),
        # The dashboards come with the chart's values: nothing has to be read from the cluster.
        "rbac": {"create": False},
        "admin": {"existingSecret": grafana.admin_secret or GRAFANA_SECRET},
        "grafana.ini": {"auth.anonymous": {"enabled": grafana.anonymous, "org_role": "Viewer"}},
        "datasources": {"datasources.yaml": {"apiVersion": 1, "datasources": [source]}},
        "dashboardProviders": {"dashboardproviders.yaml": {"apiVersion": 1, "providers": [provider]}},
        "dashboards": {"istio": _dashboards(grafana.dashboards, root)},
        "defaultCurlOptions": _DOWNLOAD,
    }
    return merged(merged(values, grafana_images(images)), grafana.values)


def kiali_values(observability: Observability, images: Images) -> dict[str, Any]:
    """Return the values of the chart kiali-server."""
    kiali = observability.kiali
    grafana: dict[str, Any] = {"enabled": observability.grafana.enabled, "internal_url": GRAFANA_URL}
    if observability.grafana.enabled and not observability.grafana.anonymous:
        # By name, as for the key below.
        login = f"secret:{observability.grafana.admin_secret or GRAFANA_SECRET}"
        named = {"username": f"{login}:admin-user", "password": f"{login}:admin-password"}
        grafana["auth"] = {"type": "basic", **named}
    values: dict[str, Any] = {
        "auth": {"strategy": kiali.auth},
        "deployment": {
            "view_only_mode": kiali.view_only,
            "pod_labels": _NOT_INJECTED,
            # The chart first asks after 30 s. It may take as long as with the chart's probes: 90 s.
            "probes": {
                "startup": {"initial_delay_seconds": 0, "period_seconds": 1, "failure_threshold": 90},
                "readiness": {"initial_delay_seconds": 0, "period_seconds": 5},
            },
            # The chart's own lets in everybody, and so would undo the stack's.
            "network_policy": {"enabled": False},
        },
        # By name: the key itself would stand in a ConfigMap.
        "login_token": {"signing_key": f"secret:{KIALI_SECRET}:key"},
        "external_services": {"prometheus": {"url": PROMETHEUS_URL}, "grafana": grafana},
    }
    return merged(merged(values, kiali_images(images)), kiali.values)


def _keeps_its_database(grafana: Grafana) -> bool:
    persistence = grafana.values.get("persistence")
    return isinstance(persistence, Mapping) and bool(persistence.get("enabled"))


def _dashboards(source: str, root: Path) -> dict[str, Any]:
    if source != "grafana.com":
        files = sorted((root / source).glob("*.json"))
        # Compact, as a Helm release must stay below a Secret's 1 MiB.
        return {file.stem: {"json": json.dumps(json.loads(file.read_text(encoding="utf-8")))} for file in files}
    return {
        name: {"gnetId": number, "revision": revision, "datasource": _DATASOURCE}
        for name, (number, revision) in GRAFANA_DASHBOARDS.items()
    }
