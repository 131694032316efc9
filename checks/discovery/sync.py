"""Proxies in sync: every sidecar of the mesh has accepted the newest configuration that istiod sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checks import endpoints, portforward
from checks.framework import Check, Failed, NotChecked, eventually
from checks.target import Target
from commands import http_client
from names import ISTIO_NAMESPACE

Object = dict[str, Any]

# istiod's debug API stands on its monitoring port; a port-forward comes from the pod's own loopback, and is let in.
_PORT = 15014
_KINDS = ("cluster", "listener", "route", "endpoint")
_SECONDS = 60


def look(target: Target) -> str:
    """Return what istiod says of the mesh's proxies."""
    if not target.injection:
        raise NotChecked("not shown: sidecar injection is switched off for this stack (istio.injection)")
    return eventually(lambda: _look_once(target), _SECONDS)


def _look_once(target: Target) -> str:
    # Each istiod knows only the proxies that are connected to itself.
    statuses = [status for pod in _istiods(target) for status in _asked(target, pod)]
    return judge(statuses, _proxies(target), target)


def _istiods(target: Target) -> list[str]:
    return [pod["metadata"]["name"] for pod in _running(target, ISTIO_NAMESPACE, "app=istiod")]


def _proxies(target: Target) -> list[str]:
    """Return the running pods of the mesh, as istiod names their proxies."""
    namespaces = target.namespaces
    return [f"{pod['metadata']['name']}.{home}" for home in namespaces for pod in _running(target, home)]


def _running(target: Target, namespace: str, labels: str = "") -> list[Object]:
    fields = "status.phase=Running"
    found = endpoints.ask(target, lambda cluster: cluster.list("pods", namespace, labels=labels, fields=fields))
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def _asked(target: Target, pod: str) -> list[Object]:
    with portforward.open_port(target, ISTIO_NAMESPACE, f"pod/{pod}", _PORT) as url:
        return read(url, target)


def read(url: str, target: Target) -> list[Object]:
    """Return what the istiod whose debug API is at a URL says of its proxies."""
    try:
        answer = http_client.get(f"{url.rstrip('/')}/debug/syncz")
        found = answer.json() if answer.status == 200 else None
    except http_client.NoAnswer as reason:
        raise _unanswered(target, str(reason)) from None
    if not isinstance(found, list) or not all(isinstance(status, dict) for status in found):
        raise _unanswered(target, f"{answer.status} {answer.excerpt}")
    return found


def judge(statuses: Iterable[Object], proxies: Iterable[str], target: Target) -> str:
    """Return how many proxies are in sync, if all of them are."""
    known: dict[str, list[Object]] = {}
    for status in statuses:
        known.setdefault(str(status.get("proxy", "")), []).append(status)
    expected = sorted(proxies)
    behind = {name: _behind(known[name]) if name in known else "is not connected" for name in expected}
    lagging = [f"{name} {why}" for name, why in behind.items() if why]
    if lagging or not expected:
        raise Failed(
            "every proxy of the mesh connected to istiod, with what was sent accepted",
            "; ".join(lagging) or "no pod that runs",
            cause="a sidecar that does not run, cannot reach istiod, or refuses what it is sent",
            look=target.logs(ISTIO_NAMESPACE, target.istiod),
        )
    return f"{len(expected)} proxies are in sync with istiod"


def _behind(statuses: list[Object]) -> str:
    """Return what a proxy has not accepted on any of its connections; empty where it is in sync on one."""
    lags = [[kind for kind in _KINDS if _lags(status, kind)] for status in statuses]
    least = min(lags, key=len)
    return f"has not accepted its newest {', '.join(f'{kind}s' for kind in least)}" if least else ""


def _lags(status: Object, kind: str) -> bool:
    sent = status.get(f"{kind}_sent", "")
    # A proxy without any outbound HTTP has no routes to ask for; every one has clusters and listeners.
    return bool(status.get(f"{kind}_acked", "") != sent or (not sent and kind in ("cluster", "listener")))


def _unanswered(target: Target, actual: str) -> Failed:
    return Failed(
        "istiod's list of its proxies (/debug/syncz) as JSON",
        actual,
        cause="istiod does not run, or its debug API is switched off (ENABLE_DEBUG_ON_HTTP)",
        look=target.logs(ISTIO_NAMESPACE, target.istiod),
    )


CHECKS = (
    Check(
        number="3",
        name="proxies in sync",
        statement="Every sidecar of the mesh has accepted the newest configuration from istiod.",
        how="istiod's debug API /debug/syncz, against the pods that run",
        look=look,
        seconds=_SECONDS,
        data_path=True,
    ),
)
