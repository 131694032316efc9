"""Kong Ingress Controller on an Istio mesh: this file only wires the components together."""

from __future__ import annotations

from pathlib import Path

import pulumi

import outputs
from components.application import Application, ApplicationArgs
from components.istio_gateways import IstioGateways, IstioGatewaysArgs
from components.kong_gateway import KongGateway, KongGatewayArgs
from components.leftovers import Leftovers, LeftoversArgs
from components.mesh import IstioMesh, IstioMeshArgs
from components.observability import ObservabilityArgs, ObservabilityStack
from components.precheck import Precheck, PrecheckArgs
from components.route import RateLimitedRoute, RateLimitedRouteArgs
from components.verification import Verification, VerificationArgs
from inputs import StackInputs

stack = StackInputs.read(Path(__file__).resolve().parent)
settings, charts = stack.settings, stack.charts

precheck = Precheck("precheck", PrecheckArgs(access=stack.access, namespaces=stack.namespaces), stack.options())
# Created first, so that it is destroyed last and deletes what the others leave.
leftovers = Leftovers(
    "leftovers", LeftoversArgs(access=stack.access, keep_crds=settings.keep_crds), stack.options(precheck)
)
first = (precheck, leftovers)

mesh = IstioMesh(
    "mesh",
    IstioMeshArgs(
        istio=settings.istio, charts=charts, access=stack.access, images=settings.images, standards=stack.standards
    ),
    stack.options(*first),
)
gateway = KongGateway(
    "gateway",
    KongGatewayArgs(
        kong=settings.kong,
        chart=charts["kong"],
        access=stack.access,
        mesh=mesh.outputs,
        images=settings.images,
        standards=stack.standards,
    ),
    stack.options(*first),
)
created: list[pulumi.Resource] = [*first, mesh, gateway]

if settings.istio.ingress_gateway or settings.istio.egress_gateway:
    gateways = IstioGatewaysArgs(
        istio=settings.istio,
        chart=charts["gateway"],
        # A cluster has load balancers for both gateways, or for neither.
        service_type=settings.kong.service_type,
        mesh=mesh.outputs,
        standards=stack.standards,
        images=settings.images,
    )
    created.append(IstioGateways("istio-gateways", gateways, stack.options(*first)))

for app in settings.applications:
    application = Application(
        app.name,
        ApplicationArgs(
            application=app,
            objects=stack.manifests[app.name],
            through_mesh=settings.kong.routing == "mesh",
            mesh=mesh.outputs,
            crds={"istio.io": mesh.outputs.ready, "konghq.com": gateway.outputs.ready},
            images=settings.images,
            standards=stack.standards,
            only_kong_calls=settings.security.only_kong_calls,
        ),
        stack.options(*first),
    )
    route = RateLimitedRoute(
        f"{app.name}-route",
        RateLimitedRouteArgs(
            route=app.route,
            limit=settings.limit_of(app),
            kong=settings.kong,
            application=application.outputs,
            gateway=gateway.outputs,
            mesh=mesh.outputs,
            access=stack.access,
            named_secrets=stack.named_secrets,
        ),
        stack.options(*first),
    )
    created += [application, route]

observability = ObservabilityStack(
    "observability",
    ObservabilityArgs(
        observability=settings.observability,
        charts=charts,
        mesh=mesh.outputs,
        root=stack.root,
        images=settings.images,
        named_secrets=stack.named_secrets,
    ),
    stack.options(*first),
)

verification: Verification | None = None
if settings.checks.enabled:
    checked = VerificationArgs(settings=settings, charts=charts, manifests=stack.manifests)
    verification = Verification("verification", checked, stack.options(*created, observability))

outputs.export(
    settings,
    stack.access,
    precheck.outputs,
    mesh.outputs,
    gateway.outputs,
    observability.outputs,
    verification.outputs if verification else None,
)
