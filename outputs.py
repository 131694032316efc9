"""What the stack tells its user: where Kong answers, what runs, and how to look at it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

import pulumi

from checks.describe import describe
from checks.forwards import kiali_graph_path
from checks.target import to_json
from commands import kong_ready as kong
from commands.cluster_access import Access
from components.kong_gateway import KongGateway
from components.mesh import NAMESPACE, IstioMesh
from components.observability import GRAFANA_KEY, ObservabilityStack
from components.precheck import Precheck
from components.verification import Verification
from settings import Settings


def export(
    chosen: Settings,
    access: Access,
    precheck: Precheck,
    mesh: IstioMesh,
    gateway: KongGateway,
    observability: ObservabilityStack,
    verification: Verification | None,
) -> None:
    """Register the stack's outputs."""
    pulumi.export("proxyAddress", gateway.address)
    pulumi.export("proxyUrl", gateway.url)
    pulumi.export("proxyService", gateway.service)
    pulumi.export("proxyNamespace", kong.NAMESPACE)
    pulumi.export(
        "versions",
        {
            "kubernetes": precheck.report.apply(lambda report: json.loads(report)["kubernetes"]),
            "istio": mesh.version,
            "kongChart": gateway.version,
            "kong": gateway.kong_version,
            "kongController": gateway.controller_version,
            **observability.versions,
        },
    )
    pulumi.export("commands", commands(chosen, access))
    if chosen.observability.kiali.enabled:
        pulumi.export("kialiGraph", kiali_graph(chosen))
    pulumi.export("checksTarget", to_json(describe(chosen)))
    if verification:
        pulumi.export("checks", verification.counts)


def commands(chosen: Settings, access: Access) -> dict[str, str]:
    """Return commands that open what the stack keeps inside the cluster, ready to paste."""
    shown = chosen.observability
    ports: Mapping[str, tuple[bool, int]] = {
        "kiali": (shown.kiali.enabled, 20001),
        "grafana": (shown.grafana.enabled, 3000),
        "prometheus": (shown.prometheus.enabled, 9090),
    }
    kubectl = _pasteable(["kubectl", *access.arguments(), "--namespace", NAMESPACE])
    found = {name: f"{kubectl} port-forward service/{name} {port}" for name, (on, port) in ports.items() if on}
    if shown.kiali.enabled and shown.kiali.auth == "token":
        found["kialiToken"] = f"{kubectl} create token kiali"
    if shown.grafana.enabled:
        password = "{.data.admin-password}"  # noqa: S105 -- where the password is, not what it is
        found["grafanaPassword"] = (
            f"{kubectl} get secret {shown.grafana.admin_secret or GRAFANA_KEY} --output jsonpath='{password}' | base64 --decode"
        )
    if chosen.kong.service_type == "ClusterIP":
        there = _pasteable(["kubectl", *access.arguments(), "--namespace", kong.NAMESPACE])
        found["proxy"] = f"{there} port-forward service/{kong.SERVICE} 8000:80"
    return found


def _pasteable(arguments: Sequence[str]) -> str:
    """Return a command line, quoted but for a leading ~/, which the shell has to see."""
    return " ".join(
        f"~/{shlex.quote(argument[2:])}" if argument.startswith("~/") else shlex.quote(argument)
        for argument in arguments
    )


def kiali_graph(chosen: Settings) -> str:
    """Return the address of the graph of Kong and the applications, behind the command for Kiali."""
    return f"http://localhost:20001{kiali_graph_path(describe(chosen).namespaces)}"
