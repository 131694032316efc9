"""The manifests of the applications, read and held against the settings before anything is created."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pulumi

from components.shared import client_host, manifests, own_routes, pod_security, traffic_policies
from components.shared.manifests import Manifest
from components.shared.standards import Standards
from settings import Settings


def read_applications(settings: Settings, root: Path, standards: Standards) -> dict[str, list[Manifest]]:
    """Return each application's objects by its name, once they are known to fit the settings. Raises `ManifestError`.

    `root` is the folder that paths start from.
    """
    found = {}
    for index, application in enumerate(settings.applications):
        where, route = f"applications[{index}]", application.route
        objects = manifests.read(root / Path(application.manifests).expanduser(), application.namespace)
        check_route(objects, route.service, route.port, where)
        traffic_policies.check_selector(traffic_policies.routed(objects, route.service), where, settings.security)
        if (settings.kong.routing, settings.kong.client_host) == ("mesh", "serviceEntry"):
            client_host.check_service(traffic_policies.routed(objects, route.service), route, where)
        _check_home(objects, application.namespace, standards, where)
        if standards.harden:
            pod_security.check_pods(objects, where)
        for sentence in own_routes.without_limit(objects, settings.kong, application.namespace, where):
            pulumi.log.warn(sentence)
        found[application.name] = objects
    return found


def _check_home(objects: Sequence[Manifest], namespace: str, standards: Standards, where: str) -> None:
    """Raise `ManifestError` for a label of the application's Namespace that the stack sets otherwise."""
    own = standards.namespace_labels()
    for key, value in manifests.home_metadata(objects, namespace, "labels").items():
        if own.get(key, value) != value:
            raise manifests.ManifestError(
                f"{where}.manifests label the Namespace {namespace} {key}: {value}, and the stack labels it {key}: "
                f"{own[key]}: take that label out."
            )


def check_route(objects: Sequence[Manifest], service: str, port: int, where: str) -> None:
    """Raise `ManifestError` where the manifests have no such Service, or the Service no such port."""
    services = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Service"}
    if service not in services:
        raise manifests.ManifestError(
            f"{where}.route.service is {service}: the manifests have no such Service "
            f"(there are: {', '.join(sorted(services)) or 'none'})."
        )
    ports = [entry["port"] for entry in (services[service].get("spec") or {}).get("ports") or []]
    if port not in ports:
        raise manifests.ManifestError(
            f"{where}.route.port is {port}: the Service {service} has no such port "
            f"(there are: {', '.join(str(number) for number in ports) or 'none'})."
        )
