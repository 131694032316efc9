"""Istio's own gateways, which the guide's mesh has beside Kong and does not use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pulumi

from components.mesh import MeshOutputs
from components.namespace import GuardedNamespace, GuardedNamespaceArgs
from components.shared import traffic_policies, workloads_ready
from components.shared.images import gateway_images
from components.shared.merging import merged
from components.shared.pod_security import POD
from components.shared.releases import ChartSource, release
from components.shared.standards import Standards
from names import EGRESS_GATEWAY, EGRESS_GATEWAY_NAMESPACE, INGRESS_GATEWAY, INGRESS_GATEWAY_NAMESPACE
from settings import Images, Istio

Direction = Literal["ingress", "egress"]

# Ports as istioctl's demo profile has them. This chart's gateway listens on the ports of its Service.
_PORTS: Mapping[Direction, Mapping[str, int]] = {
    "ingress": {"status-port": 15021, "http2": 80, "https": 443, "tcp": 31400, "tls": 15443},
    "egress": {"http2": 80, "https": 443},
}
_STATUS = "status-port"


_NAMESPACES: Mapping[Direction, str] = {"ingress": INGRESS_GATEWAY_NAMESPACE, "egress": EGRESS_GATEWAY_NAMESPACE}
_RELEASES: Mapping[Direction, str] = {"ingress": INGRESS_GATEWAY, "egress": EGRESS_GATEWAY}


@dataclass(frozen=True, kw_only=True)
class IstioGatewaysArgs:
    """`istio`: the settings. `chart`: the chart gateway. `service_type`: of the ingress gateway's Service.

    `mesh`: the chart names no image, istiod's webhook does, and a pod that starts before it pulls `auto` for ever.
    """

    istio: Istio
    chart: ChartSource
    service_type: str
    mesh: MeshOutputs
    standards: Standards


class IstioGateways(pulumi.ComponentResource):
    """Istio's ingress and egress gateways, each with its switch. Type `kong-istio:index:IstioGateways`.

    Creates: Namespace `istio-ingress` with Release `istio-ingressgateway`; Namespace `istio-egress` with Release
    `istio-egressgateway`. istioctl puts both into istio-system; here each has a namespace of its own, as a gateway may
    read all Secrets of the one that it is in, and in istio-system those are the mesh's signing key and passwords.
    For each a Command such as `istio-ingressgateway-ready` (`python -m commands.workloads_ready`) waits for it.
    Outputs: `namespaces`, of the gateways that there are.
    Raises in `up`: the sentence of that Command, after `istio.readyTimeoutSeconds`. An ingress gateway of type
    LoadBalancer is not until it has an address beside Kong's.
    """

    def __init__(self, name: str, args: IstioGatewaysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:IstioGateways", name, {}, opts)
        switches: Mapping[Direction, bool] = {
            "ingress": args.istio.ingress_gateway,
            "egress": args.istio.egress_gateway,
        }
        self.namespaces = [self._gateway(direction, args) for direction, enabled in switches.items() if enabled]
        self.register_outputs({"namespaces": self.namespaces})

    def _gateway(self, direction: Direction, args: IstioGatewaysArgs) -> str:
        ports = [port for name, port in _PORTS[direction].items() if name != _STATUS]
        policies = traffic_policies.gateway_policies(_NAMESPACES[direction], ports, mesh_only=direction == "egress")
        namespace = GuardedNamespace(
            _NAMESPACES[direction],
            GuardedNamespaceArgs(standards=args.standards, level="restricted", policies=policies, releases=True),
            pulumi.ResourceOptions(parent=self),
        ).outputs
        values = gateway_values(
            direction,
            args.service_type,
            args.standards.images,
            args.istio.gateway_values,
            revision=args.standards.revisions.get(_NAMESPACES[direction], ""),
        )
        installed = release(
            _RELEASES[direction],
            args.chart,
            namespace.name,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=[*namespace.ready, args.mesh.ready]),
            access=args.standards.access,
        )
        workloads_ready.of_release(
            f"{_RELEASES[direction]}-ready",
            installed,
            _NAMESPACES[direction],
            pulumi.ResourceOptions(parent=self),
            access=args.standards.access,
            release=_RELEASES[direction],
            seconds=args.istio.ready_timeout_seconds,
            setting="istio.readyTimeoutSeconds",
            looked_at=[args.chart, values],
        )
        return namespace.name


def gateway_values(
    direction: Direction,
    service_type: str,
    images: Images,
    further: Mapping[str, Any] | None = None,
    *,
    revision: str = "",
) -> dict[str, Any]:
    """Return the values of the chart gateway; `further` ones, the same for both gateways, are laid over the stack's.

    `revision`: of the istiod that makes its pods gateways, which are asked for by their labels, not their namespace's.
    """
    ports = [
        {"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in _PORTS[direction].items()
    ]
    values: dict[str, Any] = {
        "service": {"type": service_type if direction == "ingress" else "ClusterIP", "ports": ports},
        "autoscaling": {"enabled": False},
        "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}},
        # Whatever is said here takes the place of the chart's own, which lets a user other than root have port 80.
        "securityContext": {**POD, "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
    }
    if revision:
        values["revision"] = revision
    return merged(merged(values, gateway_images(images)), further or {})
