"""What the stack is made of, read and checked before anything is created."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_command
import pulumi_kubernetes

import settings as configuration
from commands import cluster_access
from commands.cluster_access import Access
from components import collisions
from components.shared import images
from components.shared.application_manifests import read_applications
from components.shared.manifests import Manifest
from components.shared.releases import ChartSource, chart_source, check_reachable
from components.shared.standards import Standards
from names import (
    EGRESS_GATEWAY_NAMESPACE,
    INGRESS_GATEWAY_NAMESPACE,
    ISTIO_CNI_NAMESPACE,
    ISTIO_NAMESPACE,
    KONG_NAMESPACE,
)
from settings import Settings
from versions import CHARTS


@dataclass(frozen=True, kw_only=True)
class StackInputs:
    """The settings and what they name. `providers`: of every resource; none is found by the engine itself."""

    root: Path
    settings: Settings
    charts: Mapping[str, ChartSource]
    manifests: Mapping[str, Sequence[Manifest]]
    standards: Standards
    providers: Sequence[pulumi.ProviderResource]

    @classmethod
    def read(cls, root: Path) -> StackInputs:
        """Read everything that the project at `root` and the running stack say.

        Raises one sentence (`SettingsError`, `ManifestError`, `ChartError`, `AccessError`) for what cannot be used.
        """
        _end_quietly_when_interrupted()
        settings = configuration.load(root)
        charts = {name: chart_source(name, settings.charts) for name in CHARTS}
        standards = Standards.of(settings)
        manifests = read_applications(settings, root, standards)
        images.check_references(settings.images, itertools.chain(*manifests.values()))
        collisions.check(settings, manifests, namespaces_of(settings))
        check_reachable(charts[name] for name in configuration.charts_in_use(settings))
        return cls(
            root=root,
            settings=settings,
            charts=charts,
            manifests=manifests,
            standards=standards,
            providers=_providers(standards.access, root),
        )

    @property
    def namespaces(self) -> list[str]:
        """The namespaces that the stack creates."""
        return namespaces_of(self.settings)

    def options(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Return options for a component: the explicit providers, and what it waits for as a whole."""
        return pulumi.ResourceOptions(providers=list(self.providers), depends_on=list(depends_on))


def namespaces_of(settings: Settings) -> list[str]:
    """Return the namespaces that a stack creates."""
    switches = {
        ISTIO_CNI_NAMESPACE: settings.istio.cni,
        INGRESS_GATEWAY_NAMESPACE: settings.istio.ingress_gateway,
        EGRESS_GATEWAY_NAMESPACE: settings.istio.egress_gateway,
    }
    own = [name for name, on in switches.items() if on]
    return [ISTIO_NAMESPACE, *own, KONG_NAMESPACE, *(app.namespace for app in settings.applications)]


def _end_quietly_when_interrupted() -> None:
    # The engine interrupts the program once a resource has failed; the default answer, a traceback, would bury the reason.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _providers(access: Access, root: Path) -> list[pulumi.ProviderResource]:
    warning = cluster_access.check_access(access, root, preview=pulumi.runtime.is_dry_run())
    if warning:
        pulumi.log.warn(warning)
    return [
        pulumi_kubernetes.Provider(
            "kubernetes",
            # Given None, the SDK would put $KUBECONFIG there, a path of this machine; empty, the provider looks itself.
            kubeconfig=cluster_access.NO_CLUSTER if warning else access.kubeconfig,
            context=None if warning else access.context,
            # The provider, and with it everything, is replaced when this changes, and only then.
            cluster_identifier=access.context or "none",
        ),
        pulumi_command.Provider("command"),
    ]
