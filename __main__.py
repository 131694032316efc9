"""Kong Ingress Controller on an Istio mesh: this file only wires the components together."""

from __future__ import annotations

from pathlib import Path

import pulumi

import process

# The engine says what it knows of the last `up` while the rest is imported.
last_up = process.begin()

import outputs
from components.application import Application, ApplicationArgs
from components.chart_application import ChartApplication, ChartApplicationArgs
from components.destroy_guard import DestroyGuard, DestroyGuardArgs
from components.istio_gateways import IstioGateways, IstioGatewaysArgs
from components.kong_crds import KongCrds, KongCrdsArgs
from components.kong_gateway import KongGateway, KongGatewayArgs
from components.leftovers import Leftovers, LeftoversArgs
from components.mesh import IstioMesh, IstioMeshArgs
from components.observability import ObservabilityArgs, ObservabilityStack
from components.precheck import Precheck, PrecheckArgs
from components.route import RateLimitedRoute, RateLimitedRouteArgs
from components.shared.pod_security import observed_level
from components.sidecars import Sidecars, SidecarsArgs
from components.verification import Verification, VerificationArgs
from inputs import StackInputs
from settings import redis_outside
from settings.control_planes import injected_namespaces

process.all_is_imported()
stack = StackInputs.read(Path(__file__).resolve().parent, last_up)
settings, charts, standards = stack.settings, stack.charts, stack.standards

looked_at = PrecheckArgs(
    access=standards.access,
    namespaces=stack.namespaces,
    ingress_class=settings.kong.ingress_class,
    revisions=stack.revisions,
    also=stack.rare_resources,
    kong_crds=stack.kong_crds,
)
precheck = Precheck("precheck", looked_at, stack.options())


def leftovers(namespace: pulumi.Resource) -> Leftovers:
    """Return what deletes, at a destroy, what others leave: these wait for it, and are gone before."""
    remains = LeftoversArgs(
        access=standards.access, keep_crds=settings.keep_crds, namespaces=stack.namespaces, namespace=namespace
    )
    return Leftovers("leftovers", remains, stack.options(precheck))


mesh = IstioMesh(
    "mesh",
    IstioMeshArgs(
        istio=settings.istio,
        charts=charts,
        standards=standards,
        level=observed_level(settings.observability),
        leftovers=leftovers,
    ),
    stack.options(precheck),
)
kinds = KongCrds(
    "kong-crds",
    KongCrdsArgs(crds=stack.kong_crds, access=standards.access),
    stack.options(precheck, *mesh.outputs.namespace.ready),
)
gateway = KongGateway(
    "gateway",
    KongGatewayArgs(
        kong=settings.kong,
        chart=charts["kong"],
        mesh=mesh.outputs,
        crds=kinds.outputs,
        standards=standards,
        redis=redis_outside(settings),
        metrics=stack.measures_kong,
    ),
    stack.options(precheck),
)
created: list[pulumi.Resource] = [precheck, mesh, kinds, gateway]

if settings.istio.ingress_gateway or settings.istio.egress_gateway:
    gateways = IstioGatewaysArgs(
        istio=settings.istio,
        chart=charts["gateway"],
        # A cluster has load balancers for both gateways, or for neither.
        service_type=settings.kong.service_type,
        mesh=mesh.outputs,
        standards=standards,
    )
    created.append(IstioGateways("istio-gateways", gateways, stack.options(precheck)))

routes: list[pulumi.Resource] = []
for app in settings.applications:
    application: Application | ChartApplication
    if app.chart:
        chart_application = ChartApplicationArgs(
            application=app,
            chart=app.chart,
            source=stack.application_charts[app.name],
            services=stack.manifests[app.name],
            through_mesh=settings.kong.routing == "mesh",
            mesh=mesh.outputs,
            crds=[mesh.outputs.ready, gateway.outputs.ready],
            standards=standards,
            only_kong_calls=settings.security.only_kong_calls,
        )
        application = ChartApplication(app.name, chart_application, stack.options(precheck))
    else:
        plain_application = ApplicationArgs(
            application=app,
            objects=stack.manifests[app.name],
            through_mesh=settings.kong.routing == "mesh",
            mesh=mesh.outputs,
            crds={"istio.io": mesh.outputs.ready, "konghq.com": gateway.outputs.ready},
            standards=standards,
            only_kong_calls=settings.security.only_kong_calls,
        )
        application = Application(app.name, plain_application, stack.options(precheck))
    created.append(application)
    if app.routes:
        routed = RateLimitedRouteArgs(
            application=app,
            limits={route.ingress: settings.limit_on(app, route) for route in app.routes},
            kong=settings.kong,
            deployed=application.outputs,
            gateway=gateway.outputs,
            mesh=mesh.outputs,
            standards=standards,
        )
        routes.append(RateLimitedRoute(f"{app.name}-route", routed, stack.options(precheck)))

if settings.istio.injection:
    injected = SidecarsArgs(namespaces=injected_namespaces(settings), mesh=mesh.outputs, standards=standards)
    # What it starts anew would disturb those who ask Kong for the routes; on a first `up` that is nothing.
    quiet = [] if standards.access.identity.has_nothing else routes
    created.append(Sidecars("sidecars", injected, stack.options(*created, *quiet)))
created += routes

dashboards = ObservabilityArgs(
    observability=settings.observability, charts=charts, mesh=mesh.outputs, root=stack.root, standards=standards
)
observability = ObservabilityStack("observability", dashboards, stack.options(precheck))
created.append(observability)

verification: Verification | None = None
if settings.checks.enabled:
    checked = VerificationArgs(access=standards.access, settings=settings, charts=charts, manifests=stack.manifests)
    verification = Verification("verification", checked, stack.options(*created))
    created.append(verification)

# Created last, so that it is deleted first.
DestroyGuard("destroy-guard", DestroyGuardArgs(access=standards.access), stack.options(*created))

outputs.export(
    settings,
    precheck.outputs,
    mesh.outputs,
    gateway.outputs,
    observability.outputs,
    verification.outputs if verification else None,
)
