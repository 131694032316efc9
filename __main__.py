"""Kong Ingress Controller on an Istio mesh: this file only wires the components together."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pulumi
import pulumi_command
import pulumi_kubernetes

import outputs
import settings
from checks.describe import describe
from commands import cluster_access, istiod_ready, kong_ready
from components.application import Application, ApplicationArgs, read_applications
from components.istio_gateways import IstioGateways, IstioGatewaysArgs
from components.kong_gateway import KongGateway, KongGatewayArgs
from components.leftovers import Leftovers, LeftoversArgs
from components.mesh import IstioMesh, IstioMeshArgs
from components.namespace import Namespaces
from components.observability import ObservabilityArgs, ObservabilityStack
from components.precheck import Precheck, PrecheckArgs
from components.route import RateLimitedRoute, RateLimitedRouteArgs
from components.shared import images, traffic_policies
from components.shared.named_secrets import NamedSecrets
from components.shared.releases import chart_source, check_reachable
from components.verification import Verification, VerificationArgs, rests_on
from versions import CHARTS

# The engine interrupts the program once a resource has failed; the default answer, a traceback, would bury the reason.
signal.signal(signal.SIGINT, signal.SIG_DFL)

root = Path(__file__).resolve().parent
chosen = settings.load(root)
charts = {name: chart_source(name, chosen.charts) for name in CHARTS}
through_mesh = chosen.kong.routing == "mesh"
cluster = cluster_access.Access(kubeconfig=chosen.kubeconfig, context=chosen.kube_context, sandbox=chosen.sandbox)
named_secrets = NamedSecrets(access=cluster, timeout_seconds=chosen.security.secret_timeout_seconds)
namespaces = Namespaces.of(chosen, named_secrets)
objects = read_applications(chosen, root, harden=namespaces.harden)
images.check(chosen.images, itertools.chain(*objects.values()))

check_reachable(charts[name] for name in settings.charts_in_use(chosen))

warning = cluster_access.check(cluster, root, preview=pulumi.runtime.is_dry_run())
if warning:
    pulumi.log.warn(warning)

providers = [
    pulumi_kubernetes.Provider(
        "kubernetes",
        # Given None, the SDK would put $KUBECONFIG there, a path of this machine; empty, the provider looks for itself.
        kubeconfig=cluster_access.NO_CLUSTER if warning else chosen.kubeconfig,
        context=None if warning else chosen.kube_context,
        # The provider, and with it everything, is replaced when this changes, and only then.
        cluster_identifier=chosen.kube_context or "none",
    ),
    pulumi_command.Provider("command"),
]


def below(*needed: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return options for a component: the explicit providers, and what it waits for as a whole."""
    return pulumi.ResourceOptions(providers=providers, depends_on=list(needed))


made = [istiod_ready.NAMESPACE, kong_ready.NAMESPACE, *(app.namespace for app in chosen.applications)]
precheck = Precheck("precheck", PrecheckArgs(access=cluster, namespaces=made), below())
# Made first, so that it is destroyed last and clears away what the others leave.
leftovers = Leftovers("leftovers", LeftoversArgs(access=cluster, keep=chosen.keep_crds), below(precheck))
mesh = IstioMesh(
    "mesh",
    IstioMeshArgs(
        istio=chosen.istio,
        base=charts["base"],
        istiod=charts["istiod"],
        cni=charts["cni"],
        access=cluster,
        images=chosen.images,
        namespaces=namespaces,
    ),
    below(precheck, leftovers),
)
gateway = KongGateway(
    "gateway",
    KongGatewayArgs(
        kong=chosen.kong,
        chart=charts["kong"],
        access=cluster,
        mesh_ready=mesh.ready,
        images=chosen.images,
        namespaces=namespaces,
    ),
    below(precheck, leftovers),
)
everything: list[pulumi.Resource] = [precheck, leftovers, mesh, gateway]
if chosen.istio.ingress_gateway or chosen.istio.egress_gateway:
    gateways = IstioGatewaysArgs(
        istio=chosen.istio,
        chart=charts["gateway"],
        # A cluster has load balancers for both gateways, or for neither.
        service_type=chosen.kong.service_type,
        mesh_ready=mesh.ready,
        namespaces=namespaces,
        images=chosen.images,
    )
    everything.append(IstioGateways("istio-gateways", gateways, below(precheck, leftovers)))
for app in chosen.applications:
    application = Application(
        app.name,
        ApplicationArgs(
            namespace=app.namespace,
            objects=objects[app.name],
            route=app.route,
            through_mesh=through_mesh,
            mesh_ready=mesh.ready,
            definitions={"istio.io": mesh.ready, "konghq.com": gateway.ready},
            images=chosen.images,
            namespaces=namespaces,
            resources=app.resources,
            only_kong_calls=chosen.security.only_kong_calls,
        ),
        below(precheck, leftovers),
    )
    route = RateLimitedRoute(
        f"{app.name}-route",
        RateLimitedRouteArgs(
            namespace=app.namespace,
            route=app.route,
            limit=chosen.limit_of(app),
            through_mesh=through_mesh,
            access=cluster,
            kong=chosen.kong,
            gateway_ready=gateway.ready,
            mesh_ready=mesh.ready,
            service=application.service,
            manifest=traffic_policies.routed(objects[app.name], app.route.service),
            named_secrets=named_secrets,
        ),
        below(precheck, leftovers),
    )
    everything += [application, route]
observability = ObservabilityStack(
    "observability",
    ObservabilityArgs(
        observability=chosen.observability,
        charts=charts,
        home=mesh.home,
        definitions=mesh.definitions,
        root=root,
        images=chosen.images,
        named_secrets=named_secrets,
    ),
    below(precheck, leftovers),
)

verification: Verification | None = None
if chosen.checks.enabled:
    verification = Verification(
        "verification",
        VerificationArgs(checks=chosen.checks, target=describe(chosen), rests_on=rests_on(chosen, charts, objects)),
        below(*everything, observability),
    )

outputs.export(chosen, cluster, precheck, mesh, gateway, observability, verification)
