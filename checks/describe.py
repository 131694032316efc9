"""What there is to check of a stack, by its settings."""

from __future__ import annotations

from checks.target import RoutedApplication, Target
from settings import Application, Settings

_TOO_MANY_REQUESTS = 429


def describe(settings: Settings) -> Target:
    """Return the target that the settings describe."""
    shown = settings.observability
    return Target(
        kubeconfig=settings.kubeconfig,
        context=settings.kube_context,
        simulated=settings.sandbox,
        injection=settings.istio.injection,
        routing=settings.kong.routing,
        client_host=settings.kong.client_host,
        mtls=settings.istio.mtls,
        service_type=settings.kong.service_type,
        applications=tuple(_routed(settings, application) for application in settings.applications),
        prometheus=shown.prometheus.enabled,
        grafana=shown.grafana.enabled,
        grafana_anonymous=shown.grafana.anonymous,
        kiali=shown.kiali.enabled,
        kiali_auth=shown.kiali.auth,
        load=settings.checks.load,
        requests=settings.checks.requests,
        istiod_address=settings.checks.istiod_address,
    )


def _routed(settings: Settings, application: Application) -> RoutedApplication:
    limit, route = settings.limit_of(application), application.route
    return RoutedApplication(
        name=application.name,
        namespace=application.namespace,
        service=route.service,
        port=route.port,
        path=route.path,
        host=route.host,
        limits=limit.windows,
        limit_headers_hidden=bool(limit.hide_client_headers),
        error_code=limit.error_code or _TOO_MANY_REQUESTS,
        policy=limit.policy,
    )
