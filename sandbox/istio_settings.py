"""What of Istio's settings depends on this machine: where each istiod is called, and charts of the versions asked for.

Where Istio's repository is out of reach there is one version of its charts, that of its source. A copy that calls
itself the version that the settings ask for stands for it then, so that an upgrade can be tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from sandbox import chart_sources
from sandbox.facts import DEFAULT_REVISION, Facts
from sandbox.paths import Paths

_CHARTS = ("base", "istiod", "gateway", "cni")
_CANARYS_CHARTS = ("base", "istiod")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def revisions(istio: Mapping[str, Any]) -> list[str]:
    """Return the revisions of the control planes that there are to be, the stable one first."""
    return [_stable(istio), *([_revision(canary)] if (canary := _canary(istio)) else [])]


def of_machine(facts: Facts, istio: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the API server reaches the webhooks of each istiod, or that there are none; and a canary's charts."""
    if facts.not_shown:
        return {"injection": False, "istiodValues": {"global": {"operatorManageWebhooks": True}}}
    stable = _webhooks(facts, _stable(istio))
    found: dict[str, Any] = {"baseValues": {"base": dict(stable["base"])}, "istiodValues": stable}
    if canary := _canary(istio):
        # Charts that the settings name hold against ours.
        unnamed = [name for name in _CANARYS_CHARTS if name not in (canary.get("charts") or {})]
        found["canary"] = {"istiodValues": _webhooks(facts, _revision(canary))}
        if copies := _copies(facts, canary["version"], unnamed):
            found["canary"]["charts"] = copies
    return found


def address(facts: Facts, istio: Mapping[str, Any]) -> str:
    """Return where the stable istiod answers, as no container of it runs that a port-forward could lead to."""
    return "" if facts.not_shown else f"127.0.0.1:{facts.istiods[_stable(istio)]['grpc']}"


def charts(facts: Facts, istio: Mapping[str, Any]) -> dict[str, str]:
    """Return the charts whose repository is out of reach, Istio's of the version that the stable control plane has."""
    return facts.charts | _copies(facts, istio.get("version"), _CHARTS)


def copy_charts(facts: Facts, istio: Mapping[str, Any], paths: Paths) -> None:
    """Make the copies of Istio's charts that the settings ask for."""
    for version in (istio.get("version"), _canary(istio).get("version")):
        for name, folder in _copies(facts, version, _CHARTS).items():
            if not (paths.root / folder).exists():
                stamp = chart_sources.of_source(str(version))
                chart_sources.stamped_copy(paths.root / facts.charts[name], paths.root / folder, stamp)


def _copies(facts: Facts, version: object, names: Collection[str]) -> dict[str, str]:
    """Return where the copies of a version lie; none where the repository has it, or no version is asked for."""
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        return {}
    return {name: f"{facts.charts[name]}-{version}" for name in names if name in facts.charts}


def _webhooks(facts: Facts, revision: str) -> dict[str, dict[str, str]]:
    """Return the values of the chart istiod that say where the istiod of a revision is called."""
    address = f"https://localhost:{facts.istiods[revision]['webhooks']}"
    return {"istiodRemote": {"injectionURL": f"{address}/inject"}, "base": {"validationURL": f"{address}/validate"}}


def _stable(istio: Mapping[str, Any]) -> str:
    return istio.get("revision") or DEFAULT_REVISION


def _canary(istio: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the canary; empty where there is none, or nothing that the settings will take for one."""
    canary = istio.get("canary")
    return canary if isinstance(canary, Mapping) and canary.get("version") else {}


def _revision(canary: Mapping[str, Any]) -> str:
    return canary.get("revision") or re.sub(r"[^a-z0-9]+", "-", str(canary["version"]).lower())
