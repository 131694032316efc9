"""Istio's control planes as the settings describe them: the stable one, and during an upgrade a canary beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from names import EGRESS_GATEWAY_NAMESPACE, INGRESS_GATEWAY_NAMESPACE, KONG_NAMESPACE
from settings.sections import ChartRepository, Istio, Settings
from versions import CHARTS

#: What Istio calls the revision of a control plane without one, in labels and annotations.
DEFAULT_REVISION = "default"


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """`revision`: empty for Istio's default one. `version`: of its charts. `values`: further ones, over those of both.

    `charts`: where the canary's come from, where that is another place than the stack's.
    """

    revision: str
    version: str
    values: Mapping[str, Any] = field(default_factory=dict)
    charts: Mapping[str, ChartRepository] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The revision as labels and annotations of Istio's have it."""
        return self.revision or DEFAULT_REVISION


def stable(istio: Istio) -> ControlPlane:
    """Return the control plane that everything is on which no setting moves."""
    return ControlPlane(revision=istio.revision, version=istio.version or CHARTS["istiod"].version)


def canary(istio: Istio) -> ControlPlane | None:
    """Return the control plane beside the stable one, if there is one."""
    given = istio.canary
    if given is None:
        return None
    revision = given.revision or re.sub(r"[^a-z0-9]+", "-", given.version.lower())
    return ControlPlane(revision=revision, version=given.version, values=given.istiod_values, charts=given.charts)


def control_planes(istio: Istio) -> list[ControlPlane]:
    """Return all of them, the stable one first."""
    second = canary(istio)
    return [stable(istio), *([second] if second else [])]


def of_namespace(istio: Istio, namespace: str) -> ControlPlane:
    """Return the control plane that injects the sidecars of one of the stack's namespaces."""
    second = canary(istio)
    moved = istio.canary.namespaces if istio.canary else ()
    return second if second and namespace in moved else stable(istio)


def of_tag(istio: Istio, tag: str) -> ControlPlane:
    """Return the control plane that a revision tag stands for."""
    second = canary(istio)
    return second if second and tags(istio)[tag] == "canary" else stable(istio)


def tags(istio: Istio) -> dict[str, str]:
    """Return the revision tags, with what each stands for: `stable` or `canary`.

    Only a control plane without a revision serves namespaces labelled `istio-injection: enabled`, and `istio.io/rev: default`, by
    itself; beside one with a revision the tag `default` does (chart istiod, templates/mutatingwebhook.yaml).
    """
    return {**({DEFAULT_REVISION: "stable"} if istio.revision else {}), **istio.tags}


def injected_namespaces(settings: Settings) -> list[str]:
    """Return those namespaces of the stack whose pods a control plane injects, in the order in which they are restarted."""
    istio = settings.istio
    gateways = {INGRESS_GATEWAY_NAMESPACE: istio.ingress_gateway, EGRESS_GATEWAY_NAMESPACE: istio.egress_gateway}
    own = [application.namespace for application in settings.applications]
    return [*own, *(name for name, there in gateways.items() if there), KONG_NAMESPACE]
