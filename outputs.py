"""What the stack tells its user: where Kong answers, what runs, and how to look at it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import pulumi

from commands.cluster_access import Access
from components.kong_gateway import GatewayOutputs
from components.mesh import MeshOutputs
from components.observability import ObservabilityOutputs
from components.precheck import PrecheckOutputs
from components.verification import VerificationOutputs
from names import (
    DASHBOARD_PORTS,
    GRAFANA,
    GRAFANA_SECRET,
    ISTIO_NAMESPACE,
    KIALI,
    KONG_NAMESPACE,
    KONG_PROXY_SERVICE,
    PROMETHEUS,
    kiali_graph_path,
)
from settings import Settings


def export(
    settings: Settings,
    precheck: PrecheckOutputs,
    mesh: MeshOutputs,
    gateway: GatewayOutputs,
    observability: ObservabilityOutputs,
    verification: VerificationOutputs | None,
) -> None:
    """Register the stack's outputs: for people, and for other stacks."""
    pulumi.export("proxyAddress", gateway.address)
    pulumi.export("proxyUrl", gateway.url)
    pulumi.export("proxyService", KONG_PROXY_SERVICE)
    pulumi.export("proxyNamespace", KONG_NAMESPACE)
    pulumi.export(
        "versions",
        {
            "kubernetes": precheck.kubernetes_version,
            "istio": mesh.version,
            "kongChart": gateway.chart_version,
            "kong": gateway.kong_version,
            "kongController": gateway.controller_version,
            **observability.versions,
        },
    )
    pulumi.export("commands", commands(settings))
    if settings.observability.kiali.enabled:
        pulumi.export("kialiGraph", kiali_graph(settings))
    if verification:
        pulumi.export("checks", verification.counts)


def commands(settings: Settings) -> dict[str, str]:
    """Return commands that open what the stack keeps inside the cluster, ready to paste."""
    access = Access(kubeconfig=settings.kubeconfig, context=settings.context)
    shown = settings.observability
    switches: Mapping[str, bool] = {
        KIALI: shown.kiali.enabled,
        GRAFANA: shown.grafana.enabled,
        PROMETHEUS: shown.prometheus.enabled,
    }
    kubectl = _pasteable([*access.kubectl(), "--namespace", ISTIO_NAMESPACE])
    lines = {
        name: f"{kubectl} port-forward service/{name} {DASHBOARD_PORTS[name]}" for name, on in switches.items() if on
    }
    if shown.kiali.enabled and shown.kiali.auth == "token":
        lines["kialiToken"] = f"{kubectl} create token {KIALI}"
    if shown.grafana.enabled:
        password = "{.data.admin-password}"  # noqa: S105 -- where the password is, not what it is
        secret = shown.grafana.admin_secret or GRAFANA_SECRET
        lines["grafanaPassword"] = f"{kubectl} get secret {secret} --output jsonpath='{password}' | base64 --decode"
    if settings.kong.service_type == "ClusterIP":
        in_kong = _pasteable([*access.kubectl(), "--namespace", KONG_NAMESPACE])
        lines["proxy"] = f"{in_kong} port-forward service/{KONG_PROXY_SERVICE} 8000:80"
    return lines


def _pasteable(arguments: Sequence[str]) -> str:
    """Return a command line, quoted but for a leading ~/, which the shell has to see."""
    return " ".join(
        f"~/{shlex.quote(argument[2:])}" if argument.startswith("~/") else shlex.quote(argument)
        for argument in arguments
    )


def kiali_graph(settings: Settings) -> str:
    """Return the address of the graph of Kong and the applications, behind the command for Kiali."""
    namespaces = [KONG_NAMESPACE, *(application.namespace for application in settings.applications)]
    return f"http://localhost:{DASHBOARD_PORTS[KIALI]}{kiali_graph_path(namespaces)}"
