"""What is known of an application that is a Helm chart before it is installed: its Services, and what does not reach it."""

from __future__ import annotations

from typing import Any

import pulumi

from components.shared.manifests import Manifest, ManifestError
from components.shared.standards import Standards
from settings import Application, ApplicationChart, Settings


def services(application: Application, chart: ApplicationChart) -> list[Manifest]:
    """Return the Services of a chart that are routed to, as far as they are known: as if they were in manifests."""
    known = {one.name: one for one in chart.services}
    found: dict[str, Manifest] = {}
    for route in application.routes:
        told = known.get(route.service)
        metadata = {"name": route.service, "namespace": application.namespace}
        spec: dict[str, Any] = {"ports": [], **({"selector": dict(told.selector)} if told else {})}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        found.setdefault(route.service, service)["spec"]["ports"].append(
            {"port": route.port, "targetPort": (told and told.target_port) or route.port}
        )
    return list(found.values())


def check_services(found: list[Manifest], where: str, settings: Settings) -> None:
    """Raise `ManifestError` for a routed Service whose pods a setting needs and nobody names."""
    needed = {
        "security.onlyKongCalls": settings.security.only_kong_calls,
        "security.networkPolicies": settings.security.network_policies,
        "kong.clientHost serviceEntry": (settings.kong.routing, settings.kong.client_host) == ("mesh", "serviceEntry"),
    }
    for item in (item for item in found if not item["spec"].get("selector")):
        for key, on in needed.items():
            if on:
                raise ManifestError(
                    f"{where}.chart makes the Service {item['metadata']['name']}, and {key} has to know its pods before that: "
                    f"give their labels in {where}.chart.services (name, selector, targetPort), or change that setting."
                )


def tell(application: Application, where: str, settings: Settings, standards: Standards) -> None:
    """Warn of settings that do not reach into a chart, and tell what a preview does not know."""
    images = settings.images
    switches = {
        "images.registry": images.registry,
        "images.pullSecrets": images.pull_secrets,
        "Pod Security's level restricted": standards.harden,
    }
    if unreached := [key for key, on in switches.items() if on]:
        pulumi.log.warn(
            f"{where}.chart: {' and '.join(unreached)} do not reach into a chart: say what its pods need in {where}.chart.values."
        )
    if pulumi.runtime.is_dry_run() and application.routes:
        routed = ", ".join(f"{route.service} with the port {route.port}" for route in application.routes)
        pulumi.log.info(f"{where}.chart: that it makes the Service {routed} shows once it is installed.")
