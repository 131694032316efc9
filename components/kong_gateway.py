"""The Kong gateway."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from commands import kong_ready
from components.kong_crds import KongCrdsOutputs
from components.mesh import MeshOutputs
from components.namespace import GuardedNamespace, GuardedNamespaceArgs, NamespaceOutputs
from components.shared import project_command, service_entries, traffic_policies
from components.shared.images import kong_images
from components.shared.kubernetes_object import KubernetesObject, Secret
from components.shared.merging import merged
from components.shared.releases import ChartSource, release
from components.shared.scheduling import spread
from components.shared.standards import Standards
from names import INGRESS_CLASS, KONG, KONG_CERTIFICATE, KONG_NAMESPACE, KONG_POD_LABELS
from settings import ClientAddress, Images, Kong, Redis
from versions import KONG_CONTROLLER, KONG_GATEWAY

# Readiness is asked from the start and every second: with the chart's 5 s and 10 s Kong stays out of its Service for up
# to 10 s after it could serve. It is taken out as late as by the chart, after 30 s; liveness is the chart's.
#
# The controller's own waits, CONTROLLER_INIT_CACHE_SYNC_DURATION (5 s) and CONTROLLER_PROXY_SYNC_SECONDS (3 s), stay.
# It is Ready after its first push (internal/dataplane/synchronizer.go), and nothing looks whether all objects are in
# that one: the two waits alone let its reconcilers, which start at the same moment, read them. Even an empty
# configuration is pushed with a stub that makes the proxy Ready (internal/dataplane/deckgen/generate.go). With less, a
# restarted Kong could be Ready without some of its routes and answer 404; and below 3 s between pushes the controller
# warns of an inconsistent proxy. Who knows that the cluster is small may set `ingressController.env` in kong.values.
_READINESS = {"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 30}

# The chart's own, from which Kubernetes ends a pod's containers by force; the sidecar ends so long before that.
_GRACE_SECONDS = 30
_LAST_SECONDS = 2

# What makes each cloud's load balancer an internal one; each reads its own. AWS has two controllers: the one in its cloud
# provider, and aws-load-balancer-controller, to which the scheme goes before the other.
_INTERNAL = {
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "networking.gke.io/load-balancer-type": "Internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
}


@dataclass(frozen=True, kw_only=True)
class KongGatewayArgs:
    """`kong`: the settings. `chart`: the chart. `mesh`: what Kong's pods are part of. `crds`: Kong's.

    `redis`: each that Kong counts in and whose host the mesh has to be told of, to let Kong reach it.
    `metrics`: Kong counts requests, by which its dashboard is drawn.
    """

    kong: Kong
    chart: ChartSource
    mesh: MeshOutputs
    crds: KongCrdsOutputs
    standards: Standards
    redis: Sequence[Redis] = ()
    metrics: bool = False


@dataclass(frozen=True, kw_only=True)
class GatewayOutputs:
    """`ready`: to depend on where Kong's kinds are needed. `address`: IP or host name, and `url`; empty for a ClusterIP.

    `certain`: to depend on in place of `ready` for objects that Kong is certain to take. `installed`: where its release is.
    `kong_version`, `controller_version`: of the images that run. These are today's, at each `up`. `chart_version`: of the
    chart.
    """

    ready: pulumi.Resource
    certain: Sequence[pulumi.Resource]
    installed: pulumi.Resource
    address: pulumi.Output[str]
    url: pulumi.Output[str]
    kong_version: pulumi.Output[str]
    controller_version: pulumi.Output[str]
    chart_version: pulumi.Output[str]


class KongGateway(pulumi.ComponentResource):
    """Kong with its Ingress Controller, inside the mesh. Type `kong-istio:index:KongGateway`.

    Creates: Namespace `kong-istio`, labelled for injection; Release `kong-istio` (chart kong); Command `kong-ready`
    (`python -m commands.kong_ready`), which waits for Kong and for its address. With `kong.tls` also Secret `kong-certificate`; with `redis` a ServiceEntry for each; with `metrics` KongClusterPlugin `kong-istio-prometheus`; with `kong.tlsSecret` Command `kong-tls-secret-ready`, which waits for that Secret.
    Outputs: `GatewayOutputs`.
    Raises in `up`: the sentence of `kong-ready`, after `kong.readyTimeoutSeconds` or `kong.addressTimeoutSeconds`.
    """

    def __init__(self, name: str, args: KongGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:KongGateway", name, {"serviceType": args.kong.service_type}, opts)
        policies = traffic_policies.kong_policies(webhook=args.kong.admission_webhook)
        namespace = GuardedNamespace(
            KONG_NAMESPACE,
            GuardedNamespaceArgs(standards=args.standards, injects=args.mesh.ready, policies=policies, releases=True),
            pulumi.ResourceOptions(parent=self),
        ).outputs
        values = kong_values(args.kong, args.standards.images)
        needed = [
            *namespace.ready,
            *self._certificate(args, namespace),
            args.mesh.ready,
            *args.crds.ready,
            *self._let_out(args, namespace),
        ]
        installed = release(
            KONG,
            args.chart,
            KONG_NAMESPACE,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=needed),
            access=args.standards.access,
            skip_crds=True,
        )
        ready = project_command.run(
            "kong-ready",
            "commands.kong_ready",
            args.standards.access,
            [*_wait_arguments(args), *project_command.digest(args.chart, values)],
            pulumi.ResourceOptions(parent=self, depends_on=[installed]),
        )
        certain = args.crds.ready if self._starts_with_objects(name, args) else [ready]
        if args.metrics:
            KubernetesObject(
                "kong-metrics", metrics_plugin(args.kong), pulumi.ResourceOptions(parent=self, depends_on=certain)
            )
        kind, outside = args.kong.service_type, args.kong.proxy_address
        report = project_command.report_of_today(
            ready, name, args.standards.access, lambda cluster: kong_ready.report(cluster, kind, outside)
        )
        self.outputs = GatewayOutputs(
            ready=ready,
            certain=certain,
            installed=installed,
            address=report.apply(lambda said: said["address"]),
            url=report.apply(lambda said: said["url"]),
            kong_version=report.apply(lambda said: said["kong"]),
            controller_version=report.apply(lambda said: said["controller"]),
            chart_version=installed.chart_version,
        )
        self.register_outputs(
            {
                "address": self.outputs.address,
                "url": self.outputs.url,
                "kong": self.outputs.kong_version,
                "controller": self.outputs.controller_version,
            }
        )

    def _starts_with_objects(self, name: str, args: KongGatewayArgs) -> bool:
        """Return whether Kong, when it starts, may find objects of its kinds, so that it is Ready with them.

        Nobody judges them before it runs, and one that it does not take keeps it from ever being Ready. So it has to be the
        first Kong of the stack, and the one that the stack was made for; an upgraded one judges them by its webhook.
        """
        kong = args.kong
        own = not (kong.version or kong.controller_version or kong.chart_version or kong.values)
        return own and args.standards.access.identity.is_new(name)

    def _let_out(self, args: KongGatewayArgs, namespace: NamespaceOutputs) -> list[pulumi.Resource]:
        """Return what tells the mesh of each redis outside it."""
        opts = pulumi.ResourceOptions(parent=self, depends_on=[namespace.namespace, args.mesh.ready])
        entries = [service_entries.outside(redis) for redis in args.redis]
        return [KubernetesObject(entry["metadata"]["name"], entry, opts) for entry in entries]

    def _certificate(self, args: KongGatewayArgs, namespace: NamespaceOutputs) -> list[pulumi.Resource]:
        """Return what Kong's pods mount a given certificate from, if there is one: a Secret, or the wait for it."""
        opts = pulumi.ResourceOptions(parent=self, depends_on=[namespace.namespace])
        if tls := args.kong.tls:
            certificate = Secret(
                KONG_CERTIFICATE,
                {"name": KONG_CERTIFICATE, "namespace": KONG_NAMESPACE},
                {"tls.crt": tls.certificate, "tls.key": tls.key},
                opts,
                type="kubernetes.io/tls",
            )
            return [certificate]
        if name := args.kong.tls_secret:
            return [args.standards.named_secrets.wait("kong-tls-secret-ready", "tls", KONG_NAMESPACE, name, opts)]
        return []


def metrics_plugin(kong: Kong) -> dict[str, Any]:
    """Return the plugin by which Kong counts all its requests; without it, its metrics are those of its process."""
    return {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongClusterPlugin",
        "metadata": {
            "name": f"{KONG}-prometheus",
            "labels": {"global": "true"},
            "annotations": {"kubernetes.io/ingress.class": kong.ingress_class},
        },
        "plugin": "prometheus",
        "config": {
            "status_code_metrics": True,
            "latency_metrics": True,
            "bandwidth_metrics": True,
            "upstream_health_metrics": True,
        },
    }


def kong_values(kong: Kong, images: Images) -> dict[str, Any]:
    """Return the values of the chart kong."""
    values: dict[str, Any] = {
        # The chart's own tags are 3.9 and 3.5, which move.
        "image": {"tag": kong.version or KONG_GATEWAY},
        "ingressController": {
            "image": {"tag": kong.controller_version or KONG_CONTROLLER},
            "admissionWebhook": {"enabled": kong.admission_webhook},
            "readinessProbe": _READINESS,
        },
        "readinessProbe": _READINESS,
        # A pod is Ready only with its first configuration, and limits with it; of four and more, one would be away by default.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        # By Kong's own order, SRV goes first. That names every port of a Service, and Kong would call them in turn
        # (Kong/kong, kong/runloop/balancer/balancers.lua: a record's port goes before the target's).
        "env": {"database": "off", "dns_order": "LAST,A,SRV,CNAME"},
        "proxy": {"type": kong.service_type},
        "admin": {"enabled": False},
        "manager": {"enabled": False},
        "podAnnotations": {"proxy.istio.io/config": json.dumps(_sidecar(kong))},
    }
    parts = (
        _size(kong),
        _exposure(kong),
        _ingress_class(kong),
        _certificate(kong),
        _client_address(kong.client_address),
    )
    for further in (*parts, kong_images(images)):
        values = merged(values, further)
    result = merged(values, kong.values)
    if further_secrets := kong.values.get("secretVolumes"):
        # A list would be replaced, and the certificate's volume be gone.
        result["secretVolumes"] = list(dict.fromkeys([*values.get("secretVolumes", []), *further_secrets]))
    return result


def _sidecar(kong: Kong) -> dict[str, Any]:
    """Return how Kong's sidecar starts before Kong and its controller, and ends after them.

    A controller that asks the API server before its sidecar runs never recovers (kubernetes-ingress-controller#4603).

    A pod that is to end is taken from its Service while Kong still takes requests for 15 s, and then finishes those that it has
    within 10 s (the chart's `kong quit --wait=15`). Kubernetes ends a native sidecar after that, which then ends at once: it
    began to drain by its own hook (Istio's pkg/envoy/agent.go). Where sidecars are not native, before Kubernetes 1.33, both are
    told to end in the same moment, and the sidecar would be gone after 5 s.
    """
    grace = kong.values.get("terminationGracePeriodSeconds")
    seconds = grace if isinstance(grace, int) else _GRACE_SECONDS
    return {
        "holdApplicationUntilProxyStarts": True,
        "terminationDrainDuration": f"{max(1, seconds - _LAST_SECONDS)}s",
    }


def _size(kong: Kong) -> dict[str, Any]:
    """Return how many pods there are, where they run, and what each may take."""
    values: dict[str, Any] = {"replicaCount": kong.replicas}
    if kong.resources:
        values["resources"] = kong.resources
    if kong.controller_resources:
        values["ingressController"] = {"resources": kong.controller_resources}
    if kong.replicas > 1:
        values["topologySpreadConstraints"] = spread(KONG_POD_LABELS)
        # Of a single pod the chart refuses a budget: it could never be moved.
        values["podDisruptionBudget"] = {"enabled": True, "minAvailable": 1}
    return values


def _exposure(kong: Kong) -> dict[str, Any]:
    """Return from where the proxy's Service is reached."""
    proxy: dict[str, Any] = {}
    if kong.node_port:
        proxy["http"] = {"nodePort": kong.node_port}
    if kong.source_ranges:
        proxy["loadBalancerSourceRanges"] = list(kong.source_ranges)
    if kong.client_address.source == "localTraffic":
        proxy["externalTrafficPolicy"] = "Local"
    if annotations := {**(_INTERNAL if kong.internal else {}), **kong.annotations}:
        proxy["annotations"] = annotations
    return {"proxy": proxy} if proxy else {}


def _ingress_class(kong: Kong) -> dict[str, Any]:
    return {} if kong.ingress_class == INGRESS_CLASS else {"ingressController": {"ingressClass": kong.ingress_class}}


def _certificate(kong: Kong) -> dict[str, Any]:
    """Return what makes the proxy serve a given certificate in place of one that it signs itself."""
    name = KONG_CERTIFICATE if kong.tls else kong.tls_secret
    if not name:
        return {}
    # Where the chart mounts its `secretVolumes`.
    folder = f"/etc/secrets/{name}"
    values: dict[str, Any] = {
        "secretVolumes": [name],
        "env": {"ssl_cert": f"{folder}/tls.crt", "ssl_cert_key": f"{folder}/tls.key"},
    }
    if kong.tls:
        # Kong reads it when it starts: another certificate, which is no secret, makes other pods.
        digest = hashlib.sha256(kong.tls.certificate.encode()).hexdigest()
        values["podAnnotations"] = {"checksum/certificate": digest}
    return values


def _client_address(address: ClientAddress) -> dict[str, Any]:
    """Return what makes Kong believe a load balancer about who calls, in Kong's and nginx's own terms.

    Neither reads anything of a request's address from whoever is not in the trusted ranges.
    """
    trusted = {"trusted_ips": ",".join(address.trusted_ranges)}
    match address.source:
        case "proxyProtocol":
            # Lists are replaced as a whole: http2 is the chart's own.
            listeners = {"http": {"parameters": ["proxy_protocol"]}, "tls": {"parameters": ["http2", "proxy_protocol"]}}
            return {"proxy": listeners, "env": {**trusted, "real_ip_header": "proxy_protocol"}}
        case "forwardedFor":
            # Recursive: the client is the last address that is not a trusted one, whatever the client itself put first.
            return {"env": {**trusted, "real_ip_header": "X-Forwarded-For", "real_ip_recursive": "on"}}
        case _:
            return {}


def _wait_arguments(args: KongGatewayArgs) -> list[str]:
    return [
        *("--type", args.kong.service_type),
        *(["--address", args.kong.proxy_address] if args.kong.proxy_address else []),
        *("--timeout", str(args.kong.ready_timeout_seconds)),
        *("--address-timeout", str(args.kong.address_timeout_seconds)),
    ]
