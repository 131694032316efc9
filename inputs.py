"""What the stack is made of, read and checked before anything is created."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pulumi
import pulumi_command
import pulumi_kubernetes

import settings as configuration
from commands import cluster_access
from commands.cluster_access import Access, AccessError
from commands.cluster_identity import Identity, LastUp
from components import collisions, kong_crds
from components.mesh import chart_of
from components.shared import images, tested_versions
from components.shared.application_manifests import read_applications
from components.shared.last_up import Question
from components.shared.manifests import Manifest
from components.shared.releases import ChartSource, application_source, chart_source, check_reachable
from components.shared.standards import Standards
from components.shared.tested_versions import Asked, VersionError
from names import (
    EGRESS_GATEWAY_NAMESPACE,
    INGRESS_GATEWAY_NAMESPACE,
    ISTIO_CNI_NAMESPACE,
    ISTIO_NAMESPACE,
    ISTIOD,
    KONG_NAMESPACE,
    is_kubeconfig,
    of_revision,
)
from settings import KubeconfigFrom, Settings
from settings.control_planes import canary, control_planes
from settings.sentences import show
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY


@dataclass(frozen=True, kw_only=True)
class StackInputs:
    """The settings and what they name. `providers`: of every resource; none is found by the engine itself."""

    root: Path
    settings: Settings
    charts: Mapping[str, ChartSource]
    application_charts: Mapping[str, ChartSource]
    manifests: Mapping[str, Sequence[Manifest]]
    kong_crds: Sequence[Manifest]
    standards: Standards
    providers: Sequence[pulumi.ProviderResource]

    @classmethod
    def read(cls, root: Path, question: Question) -> StackInputs:
        """Read everything that the project at `root` and the running stack say.

        Raises one sentence (`SettingsError`, `ManifestError`, `ChartError`, `AccessError`) for what cannot be used.
        """
        with question as last:
            return cls._checked(configuration.load(root), root, last)

    @classmethod
    def _checked(cls, settings: Settings, root: Path, last: Callable[[], LastUp]) -> StackInputs:
        charts = _charts(settings)
        kubeconfig = settings.kubeconfig or _of_another_stack(settings.kubeconfig_from)
        access = Access(kubeconfig=kubeconfig, context=settings.context, sandbox=settings.sandbox)
        standards = Standards.of(settings, access)
        manifests = read_applications(settings, root, standards)
        second = canary(settings.istio)
        images.check_references(
            settings.images,
            itertools.chain(*manifests.values()),
            settings.kong,
            canary=second.version if second else "",
        )
        collisions.check(settings, manifests, namespaces_of(settings))
        own = {app.name: application_source(app.chart) for app in settings.applications if app.chart}
        used = {f"charts.{name}": charts[name] for name in configuration.charts_in_use(settings)}
        if second:
            used["istio.canary.charts.istiod"] = charts[of_revision(ISTIOD, second.revision)]
        used |= {
            f"applications[{index}].chart.repository": own[app.name]
            for index, app in enumerate(settings.applications)
            if app.chart
        }
        check_reachable(used, preview=pulumi.runtime.is_dry_run())
        crds = kong_crds.read(root, settings.kong.crds)
        access, providers = _reach(access, root, last())
        _name_untested(settings, charts, access, root)
        return cls(
            root=root,
            settings=settings,
            charts=charts,
            application_charts=own,
            manifests=manifests,
            kong_crds=crds,
            standards=Standards.of(settings, access),
            providers=providers,
        )

    @property
    def namespaces(self) -> list[str]:
        """The namespaces that the stack creates."""
        return namespaces_of(self.settings)

    @property
    def revisions(self) -> dict[str, str]:
        """The revisions of Istio's control planes, each with its version; empty where a folder alone knows it."""
        planes = control_planes(self.settings.istio)
        return {plane.label: chart_of(plane, self.charts).version or "" for plane in planes}

    @property
    def measures_kong(self) -> bool:
        """Whether Kong is to count all its requests: its controller takes neither of two plugins that would."""
        others = itertools.chain(*self.manifests.values())
        own = any(item["kind"] == "KongClusterPlugin" and item.get("plugin") == "prometheus" for item in others)
        return self.settings.observability.prometheus.enabled and not own

    @property
    def rare_resources(self) -> list[str]:
        """What the stack creates because of its settings, as `group/resource`."""
        istio, kong = self.settings.istio, self.settings.kong
        switches = {
            "apps/daemonsets": istio.cni,
            "configuration.konghq.com/kongclusterplugins": self.measures_kong,
            "networking.istio.io/envoyfilters": kong.client_host == "envoyFilter",
            "networking.istio.io/serviceentries": kong.client_host == "serviceEntry",
            "networking.k8s.io/networkpolicies": self.settings.security.network_policies,
            "policy/poddisruptionbudgets": max(istio.replicas, kong.replicas) > 1,
            "security.istio.io/authorizationpolicies": self.settings.security.only_kong_calls,
        }
        return [resource for resource, on in switches.items() if on]

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


def _charts(settings: Settings) -> dict[str, ChartSource]:
    """Return where each chart comes from; a canary's istiod has the name of its release.

    The CRDs of base go ahead of every control plane (https://istio.io/latest/docs/setup/upgrade/helm/).
    """
    versions = configuration.chart_versions(settings)
    charts = {name: chart_source(name, settings.charts, versions.get(name, "")) for name in CHARTS}
    if second := canary(settings.istio):
        sources = {**settings.charts, **second.charts}
        charts["base"] = chart_source("base", sources, second.version)
        charts[of_revision(ISTIOD, second.revision)] = chart_source("istiod", sources, second.version)
    return charts


def _of_another_stack(source: KubeconfigFrom) -> str:
    """Return the kubeconfig that another stack has for an output, empty where none is named.

    A preview does without, an `up` raises `AccessError`.
    """
    if not source.stack:
        return ""
    try:
        # What a StackReference asks, but known at once: all that is registered rests on it.
        answer = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": source.stack}).value
    except Exception:
        answer = None
    found = ((answer or {}).get("outputs") or {}).get(source.output)
    text = json.dumps(found) if isinstance(found, dict) else found
    if isinstance(text, str) and is_kubeconfig(text):
        return text
    missing = (
        f"kubeconfigFrom names the output {show(source.output)} of the stack {source.stack}: there is none that holds the content of a "
        "kubeconfig; bring that stack up first, or name another one."
    )
    if not pulumi.runtime.is_dry_run():
        raise AccessError(missing)
    pulumi.log.warn(missing)
    return cluster_access.NO_CLUSTER


def _for_the_provider(access: Access) -> pulumi.Input[str]:
    given = access.given()
    return pulumi.Output.secret(given) if given else access.kubeconfig


def _name_untested(settings: Settings, charts: Mapping[str, ChartSource], access: Access, root: Path) -> None:
    """Warn of versions that nobody tested together. Raises `VersionError` in an `up` on a Kubernetes that Istio does not take."""
    if settings.sandbox:
        # No container runs there, so none can break on another version.
        return
    second = canary(settings.istio)
    versions = {name: tested_versions.version_of(charts[name], root) for name in configuration.charts_in_use(settings)}
    asked = Asked(
        istio=[versions["istiod"] or CHARTS["istiod"].version, *([second.version] if second else [])],
        kong=settings.kong.version or KONG_GATEWAY,
        controller=settings.kong.controller_version or KONG_CONTROLLER,
        charts=versions,
        kubernetes=access.identity.version,
    )
    refused = tested_versions.refusal(asked)
    if refused and not pulumi.runtime.is_dry_run():
        raise VersionError(refused)
    for sentence in [refused] if refused else tested_versions.untested(asked):
        pulumi.log.warn(sentence)


def _reach(access: Access, root: Path, last: LastUp) -> tuple[Access, list[pulumi.ProviderResource]]:
    """Return the access with the identity of its cluster, and the providers. Raises `AccessError`."""
    preview = pulumi.runtime.is_dry_run()
    missing = cluster_access.check_access(access, root, preview=preview)
    if missing:
        warning: str | None = missing
        access = replace(access, identity=Identity(uid=last.uid, last=last))
    else:
        access, warning = cluster_access.identified(access, last, preview=preview)
    if warning:
        pulumi.log.warn(warning)
    kubernetes = pulumi_kubernetes.Provider(
        "kubernetes",
        # Given None, the SDK would put $KUBECONFIG there, a path of this machine; empty, the provider looks itself.
        kubeconfig=cluster_access.NO_CLUSTER if missing else _for_the_provider(access),
        context=None if missing else access.context,
        cluster_identifier=cluster_access.provider_identifier(access),
        # What somebody changed by hand is put back: an `up`, and even a preview with a refresh, would fail at it.
        enable_patch_force=True,
        # A stack that is up does not change for a preview that finds no cluster.
        opts=pulumi.ResourceOptions(ignore_changes=["kubeconfig", "context"] if missing and last.provider else None),
    )
    return access, [kubernetes, pulumi_command.Provider("command")]
