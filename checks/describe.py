"""What there is to check of a stack, by its settings."""

from __future__ import annotations

from checks.target import RoutedApplication, Target
from names import GRAFANA_SECRET, KONG_NAMESPACE
from settings import Application, ApplicationCheck, Route, Settings
from settings.control_planes import control_planes, of_namespace
from versions import GRAFANA_DASHBOARDS

_TOO_MANY_REQUESTS = 429


def describe(settings: Settings) -> Target:
    """Return the target that the settings describe."""
    shown = settings.observability
    return Target(
        kubeconfig=settings.kubeconfig,
        context=settings.context,
        injection=settings.istio.injection,
        revisions=tuple(plane.revision for plane in control_planes(settings.istio)),
        kong_revision=of_namespace(settings.istio, KONG_NAMESPACE).revision,
        routing=settings.kong.routing,
        client_host=settings.kong.client_host,
        mtls=settings.istio.mtls,
        ingress_class=settings.kong.ingress_class,
        kong_crds=settings.kong.crds,
        service_type=settings.kong.service_type,
        applications=tuple(
            _routed(settings, application, route)
            for application in settings.applications
            for route in application.routes
        ),
        further_namespaces=tuple(
            application.namespace for application in settings.applications if not application.routes
        ),
        chart_releases=tuple(
            f"{application.namespace}/{application.chart.release_name or application.name}"
            for application in settings.applications
            if application.chart
        ),
        prometheus=shown.prometheus.enabled,
        grafana=shown.grafana.enabled,
        grafana_anonymous=shown.grafana.anonymous,
        grafana_secret=shown.grafana.admin_secret or GRAFANA_SECRET,
        # A folder has at least one, which the settings see to.
        grafana_dashboards=len(GRAFANA_DASHBOARDS) if shown.grafana.dashboards == "grafana.com" else 1,
        kiali=shown.kiali.enabled,
        kiali_auth=shown.kiali.auth,
        load=settings.checks.load,
        requests=settings.checks.requests,
        proxy_url=f"http://{settings.kong.proxy_address}" if settings.kong.proxy_address else "",
        istiod_address=settings.checks.istiod_address,
    )


def _routed(settings: Settings, application: Application, route: Route) -> RoutedApplication:
    limit, first = settings.limit_on(application, route), route is application.routes[0]
    check = (application.check if first else None) or ApplicationCheck()
    return RoutedApplication(
        name=application.name if first else f"{application.name}/{route.ingress}",
        namespace=application.namespace,
        ingress=route.name,
        service=route.service,
        port=route.port,
        path=route.path,
        host=route.host,
        protocol=route.protocol,
        tls=route.https != "optional",
        guarded=bool(route.plugins),
        narrowed=route.narrowed,
        limits=limit.windows if limit else {},
        limit_headers_hidden=bool(limit and limit.hide_client_headers),
        error_code=(limit and limit.error_code) or _TOO_MANY_REQUESTS,
        policy=limit.policy if limit else "local",
        check_path=check.path or "",
        check_status=check.status,
        check_contains=check.contains,
    )
