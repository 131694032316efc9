"""The stack's settings for this machine: the committed ones and what `up` found out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from components.shared.merging import merged
from names import SANDBOX_FOLDER
from sandbox import SandboxError
from sandbox.facts import DEFAULT_REVISION, Facts
from sandbox.paths import CHECKOUT, Paths

_NOTE = "# Written by `python -m sandbox up` from Pulumi.sandbox.yaml and the facts of this machine.\n"
_KUBECONFIG = "kong-istio:kubeconfig"
_CONTEXT = "kong-istio:kubeContext"
_CHARTS = "kong-istio:charts"
_ISTIO = "kong-istio:istio"
_CHECKS = "kong-istio:checks"
#: What Pulumi adds to a stack file by itself. Without it, secrets in the state could not be read any more.
_KEPT = ("encryptionsalt",)


def committed(paths: Paths = CHECKOUT) -> dict[str, Any]:
    """Read the committed stack file."""
    try:
        settings = yaml.safe_load(paths.committed_stack_file.read_text())
    except FileNotFoundError:
        raise SandboxError(
            f"{paths.committed_stack_file} is missing: it holds the settings of the stack `sandbox`. "
            "Get it back with `git checkout Pulumi.sandbox.yaml`."
        ) from None
    except yaml.YAMLError as problem:
        raise SandboxError(f"{paths.committed_stack_file} is not YAML: {problem}. Fix it and try again.") from None
    return settings or {}


def committed_charts(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return the charts that the committed settings name themselves, with where each is."""
    named = (committed(paths).get("config") or {}).get(_CHARTS) or {}
    return {name: given["location"] if isinstance(given, dict) else given for name, given in named.items()}


def write(facts: Facts, paths: Paths = CHECKOUT) -> None:
    """Write the stack file, leaving it alone if nothing changes."""
    old = paths.stack_file.read_text() if paths.stack_file.exists() else ""
    settings = with_facts(committed(paths), facts, paths)
    settings |= {key: value for key, value in (yaml.safe_load(old) or {}).items() if key in _KEPT}
    # Pulumi writes the file anew when it adds its salt, without our note: compare what it says.
    if not old or yaml.safe_load(old) != settings:
        paths.stack_file.write_text(_NOTE + yaml.safe_dump(settings, sort_keys=False))


def with_facts(settings: Mapping[str, Any], facts: Facts, paths: Paths = CHECKOUT) -> dict[str, Any]:
    """Add to the committed settings what is true of this machine, and of this sandbox among several."""
    config = dict(settings.get("config") or {})
    # Relative to the checkout, which may be moved.
    config |= {_KUBECONFIG: str(paths.kubeconfig.relative_to(paths.root)), _CONTEXT: paths.context}
    if (config.get(_CHECKS) or {}).get("reports") == f"{SANDBOX_FOLDER}/checks":
        config[_CHECKS] = {**config[_CHECKS], "reports": str(paths.report.parent.relative_to(paths.root))}
    if charts := facts.charts | (config.get(_CHARTS) or {}):
        config[_CHARTS] = charts
    istio = config.get(_ISTIO) or {}
    config[_ISTIO] = merged(istio, istio_settings(facts, istio))
    if not facts.not_shown:
        # No container of istiod runs that a port-forward could lead to.
        address = {"istiodAddress": f"127.0.0.1:{facts.istiods[_stable(istio)]['grpc']}"}
        config[_CHECKS] = merged(config.get(_CHECKS) or {}, address)
    return {**settings, "config": config}


def revisions(paths: Paths = CHECKOUT) -> list[str]:
    """Return the revisions of the control planes that the committed settings have."""
    istio = (committed(paths).get("config") or {}).get(_ISTIO) or {}
    return [_stable(istio), *_canary(istio)]


def istio_settings(facts: Facts, istio: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the API server reaches the webhooks of each istiod, or that there are none."""
    if facts.not_shown:
        return {"injection": False, "istiodValues": {"global": {"operatorManageWebhooks": True}}}
    stable = _webhooks(facts, _stable(istio))
    settings: dict[str, Any] = {"baseValues": {"base": dict(stable["base"])}, "istiodValues": stable}
    for revision in _canary(istio):
        settings["canary"] = {"istiodValues": _webhooks(facts, revision)}
    return settings


def _webhooks(facts: Facts, revision: str) -> dict[str, dict[str, str]]:
    """Return the values of the chart istiod that say where the istiod of a revision is called."""
    address = f"https://localhost:{facts.istiods[revision]['webhooks']}"
    return {"istiodRemote": {"injectionURL": f"{address}/inject"}, "base": {"validationURL": f"{address}/validate"}}


def _stable(istio: Mapping[str, Any]) -> str:
    return istio.get("revision") or DEFAULT_REVISION


def _canary(istio: Mapping[str, Any]) -> list[str]:
    """Return the revision of the canary if there is one; by default it is named after its version."""
    canary = istio.get("canary")
    return [canary.get("revision") or str(canary["version"]).replace(".", "-")] if canary else []
