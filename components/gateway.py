"""The Kong gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi

from cluster.access import Access
from cluster.gateway_ready import NAMESPACE, SERVICE
from components import commands
from components.charts import ChartSource, merged, mirrored, release
from components.objects import KubernetesObject, namespace
from settings import Kong
from versions import KONG_CONTROLLER, KONG_GATEWAY

# The chart names its objects `<release>-kong…`; the Service is then the guide's `kong-istio-kong-proxy`.
RELEASE = "kong-istio"


@dataclass(frozen=True, kw_only=True)
class KongGatewayArgs:
    """`kong`: the settings. `chart`: the chart. `mesh_ready`: what has to be there before an injected pod starts."""

    kong: Kong
    chart: ChartSource
    access: Access
    mesh_ready: pulumi.Resource
    registry: str = ""


class KongGateway(pulumi.ComponentResource):
    """Kong with its Ingress Controller, inside the mesh. Type `kong-istio:index:KongGateway`.

    Creates: Namespace `kong-istio`, labelled for injection; Release `kong-istio` (chart kong); Command `kong-ready`
    (`python -m cluster.gateway_ready`), which waits for Kong and for its address.
    Attributes: `ready`, to depend on where Kong's kinds are needed; `address` (IP or host name), `url`, both empty for
    a ClusterIP; `service`, the proxy Service's name; `kong_version`, `controller_version`, of the running images;
    `version`, of the chart.
    Raises in `up`: the sentence of `kong-ready`, after `kong.readyTimeoutSeconds` or `kong.addressTimeoutSeconds`.
    """

    def __init__(self, name: str, args: KongGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:KongGateway", name, {"serviceType": args.kong.service_type}, opts)
        home = KubernetesObject(NAMESPACE, namespace(NAMESPACE, injected=True), pulumi.ResourceOptions(parent=self))
        values = kong_values(args.kong, args.registry)
        installed = release(
            RELEASE,
            args.chart,
            NAMESPACE,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=[home, args.mesh_ready]),
        )
        self.ready = commands.run(
            "kong-ready",
            "cluster.gateway_ready",
            [*_wait_arguments(args), *commands.digest(args.chart, values)],
            pulumi.ResourceOptions(parent=self, depends_on=[installed]),
        )
        found = self.ready.stdout.apply(json.loads)
        self.service = SERVICE
        self.address: pulumi.Output[str] = found.apply(lambda seen: str(seen["address"]))
        self.url: pulumi.Output[str] = found.apply(lambda seen: str(seen["url"]))
        self.kong_version: pulumi.Output[str] = found.apply(lambda seen: str(seen["kong"]))
        self.controller_version: pulumi.Output[str] = found.apply(lambda seen: str(seen["controller"]))
        self.version = installed.status.version
        self.register_outputs({"address": self.address, "url": self.url, "version": self.version})


def kong_values(kong: Kong, registry: str) -> dict[str, Any]:
    """Return the values of the chart kong."""
    proxy: dict[str, Any] = {"type": kong.service_type}
    if kong.node_port:
        proxy["http"] = {"nodePort": kong.node_port}
    values = {
        # The chart's own tags are 3.9 and 3.5, which move.
        "image": {"tag": KONG_GATEWAY},
        "ingressController": {
            "image": {"tag": KONG_CONTROLLER},
            "admissionWebhook": {"enabled": kong.admission_webhook},
        },
        "env": {"database": "off"},
        "replicaCount": kong.replicas,
        "proxy": proxy,
        "admin": {"enabled": False},
        "manager": {"enabled": False},
        # A controller that asks the API server before its sidecar runs never recovers
        # (kubernetes-ingress-controller#4603).
        "podAnnotations": {"proxy.istio.io/config": '{"holdApplicationUntilProxyStarts": true}'},
    }
    if registry:
        values = merged(
            values,
            {
                "image": {"repository": mirrored("kong", registry)},
                "ingressController": {
                    "image": {"repository": mirrored("kong/kubernetes-ingress-controller", registry)}
                },
            },
        )
    return merged(values, kong.values)


def _wait_arguments(args: KongGatewayArgs) -> list[str]:
    return [
        *args.access.arguments(),
        *("--type", args.kong.service_type),
        *("--timeout", str(args.kong.ready_timeout_seconds)),
        *("--address-timeout", str(args.kong.address_timeout_seconds)),
    ]
