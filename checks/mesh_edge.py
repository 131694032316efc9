"""The edge from Kong to an application: what it must be, whichever dashboard shows it."""

from __future__ import annotations

from collections.abc import Sequence

from checks import traffic
from checks.framework import Failed, NotChecked
from checks.target import RoutedApplication, Target
from names import KONG_DEPLOYMENT

#: What a dashboard calls a destination that the mesh does not know, and a source without a sidecar.
BYPASS = "PassthroughCluster"
UNKNOWN = "unknown"

PLAIN = "Kong's sidecar or the application's does not speak mutual TLS with the other"
_BYPASSES = (
    "Kong's traffic bypasses the mesh: Kong calls pods or sends the client's Host, which the mesh does not know, as the "
    "Service's annotation service-upstream or the Ingress's preserve-host is missing"
)
_STRANGER = (
    "something without a sidecar calls the application in plain text: Kong's own pod, or somebody else's, which "
    "istio.mtls STRICT would refuse"
)


def shown(target: Target, dashboard: str, look: traffic.Look) -> str:
    """Return what `prometheus` or `kiali` shows of each application's traffic, as `look` finds it."""
    if not getattr(target, dashboard):
        raise NotChecked(f"{dashboard.title()} is switched off (observability.{dashboard}.enabled)")
    if not target.injection:
        raise NotChecked("there are no sidecars, so nothing is measured (istio.injection)")
    return traffic.shown(target, dashboard, look)


def judge(
    target: Target,
    application: RoutedApplication,
    edges: Sequence[object],
    *,
    bypassing: bool,
    strangers: bool,
    plain: bool,
    cause_of_plain: str,
    look: str,
) -> str:
    """Return the edges, if they are what the stack's routing promises.

    `bypassing`: some are Kong's to what the mesh does not know; `strangers`: some come from no sidecar; `plain`: some of
    Kong's are not in mutual TLS.
    """
    actual = ", ".join(map(str, edges))
    if target.routing == "guide":
        return f"{actual}: bypasses the mesh, as the guide's routing does (kong.routing)" if bypassing else actual
    if bypassing or strangers or plain:
        raise Failed(
            f"{KONG_DEPLOYMENT} → {application.service} with mutual TLS, and nothing that bypasses the mesh",
            actual,
            cause=_BYPASSES if bypassing else _STRANGER if strangers else cause_of_plain,
            look=look,
            certain=True,
        )
    return actual
