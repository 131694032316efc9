"""What there is to check of a stack, by its settings."""

from __future__ import annotations

from checks.target import RoutedApplication, Target
from settings import WINDOWS, Application, Settings

_TOO_MANY_REQUESTS = 429


def describe(chosen: Settings) -> Target:
    """Return the target that the settings describe."""
    shown = chosen.observability
    return Target(
        kubeconfig=chosen.kubeconfig,
        context=chosen.kube_context,
        simulated=chosen.sandbox,
        injection=chosen.istio.injection,
        routing=chosen.kong.routing,
        client_host=chosen.kong.client_host,
        mtls=chosen.istio.mtls,
        service_type=chosen.kong.service_type,
        applications=tuple(_routed(chosen, application) for application in chosen.applications),
        prometheus=shown.prometheus.enabled,
        grafana=shown.grafana.enabled,
        grafana_anonymous=shown.grafana.anonymous,
        kiali=shown.kiali.enabled,
        kiali_auth=shown.kiali.auth,
        load=chosen.checks.load,
        requests=chosen.checks.requests,
        istiod_address=chosen.checks.istiod_address,
    )


def _routed(chosen: Settings, application: Application) -> RoutedApplication:
    limit, route = chosen.limit_of(application), application.route
    return RoutedApplication(
        name=application.name,
        namespace=application.namespace,
        service=route.service,
        port=route.port,
        path=route.path,
        host=route.host,
        limits={window: requests for window in WINDOWS if (requests := getattr(limit, window)) is not None},
        limit_headers_hidden=bool(limit.hide_client_headers),
        error_code=limit.error_code or _TOO_MANY_REQUESTS,
        policy=limit.policy,
    )
