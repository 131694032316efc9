"""The manifests of the applications, read and held against the settings before anything is created."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pulumi

from commands.kind_discovery import KindDiscovery
from components.shared import (
    application_charts,
    client_host,
    manifests,
    own_routes,
    pod_security,
    route_plugins,
    routed_service,
    traffic_policies,
)
from components.shared.manifests import Manifest
from components.shared.standards import Standards
from settings import Route, Settings


def read_applications(settings: Settings, root: Path, standards: Standards) -> dict[str, list[Manifest]]:
    """Return each application's objects by its name, once they are known to fit the settings. Raises `ManifestError`.

    Of a chart these are the routed Services alone. `root` is the folder that paths start from.
    """
    discovery = KindDiscovery(standards.access, root)
    found = {}
    for index, application in enumerate(settings.applications):
        where = f"applications[{index}]"
        if application.chart:
            found[application.name] = application_charts.services(application, application.chart)
            application_charts.check_services(found[application.name], where, settings)
            application_charts.tell(application, where, settings, standards)
            continue
        objects = manifests.read(
            root / Path(application.manifests).expanduser(),
            application.namespace,
            override_namespace=application.override_namespace,
            discovery=discovery.is_namespaced,
        )
        for key, route in application.route_keys:
            _check_route(objects, route, f"{where}.{key}", settings)
        route_plugins.check(objects, application, where)
        _check_home(objects, application.namespace, standards, where)
        if standards.harden:
            pod_security.check_pods(objects, where)
        for sentence in own_routes.without_limit(objects, settings.kong, application, where):
            pulumi.log.warn(sentence)
        found[application.name] = objects
    return found


def _check_home(objects: Sequence[Manifest], namespace: str, standards: Standards, where: str) -> None:
    """Raise `ManifestError` for a label of the application's Namespace that the stack sets otherwise."""
    own = standards.namespace_labels(namespace)
    for key, value in manifests.home_metadata(objects, namespace, "labels").items():
        if own.get(key, value) != value:
            raise manifests.ManifestError(
                f"{where}.manifests label the Namespace {namespace} {key}: {value}, and the stack labels it {key}: "
                f"{own[key]}: take that label out."
            )


def _check_route(objects: Sequence[Manifest], route: Route, where: str, settings: Settings) -> None:
    through_mesh = settings.kong.routing == "mesh"
    service = routed_service.check(objects, route, where, through_mesh=through_mesh)
    traffic_policies.check_selector(service, where, settings.security)
    if through_mesh and settings.kong.client_host == "serviceEntry" and not route.speaks_tls:
        client_host.check_service(service, route, where)
