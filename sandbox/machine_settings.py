"""The stack's settings for this machine: the committed ones and what `up` found out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from components.shared.merging import merged
from names import SANDBOX_FOLDER
from sandbox import SandboxError, istio_settings
from sandbox.facts import KIND, Facts
from sandbox.paths import CHECKOUT, Paths

_NOTE = "# Written by `python -m sandbox up` from Pulumi.sandbox.yaml and the facts of this machine.\n"
_KUBECONFIG = "kong-istio:kubeconfig"
_CONTEXT = "kong-istio:kubeContext"
_CHARTS = "kong-istio:charts"
_ISTIO = "kong-istio:istio"
_KONG = "kong-istio:kong"
_SECURITY = "kong-istio:security"
_APPLICATIONS = "kong-istio:applications"
_CHECKS = "kong-istio:checks"
#: Kong's port on a kind cluster's node, which is mapped to one of this machine's.
NODE_PORT = 30080
#: What Pulumi adds to a stack file by itself. Without it, secrets in the state could not be read any more.
SALT = "encryptionsalt"


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


def istio(paths: Paths = CHECKOUT) -> dict[str, Any]:
    """Return what the committed settings say of Istio."""
    return dict((committed(paths).get("config") or {}).get(_ISTIO) or {})


def write(facts: Facts, paths: Paths = CHECKOUT) -> None:
    """Write the stack file, leaving it alone if nothing changes."""
    old = paths.stack_file.read_text() if paths.stack_file.exists() else ""
    settings = with_facts(committed(paths), facts, paths)
    settings |= {key: value for key, value in (yaml.safe_load(old) or {}).items() if key == SALT}
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
    if facts.kind == KIND:
        return {**settings, "config": config | kind_settings(config, facts)}
    istio = config.get(_ISTIO) or {}
    if charts := istio_settings.charts(facts, istio) | (config.get(_CHARTS) or {}):
        config[_CHARTS] = charts
    config[_ISTIO] = merged(istio, istio_settings.of_machine(facts, istio))
    if address := istio_settings.address(facts, istio):
        config[_CHECKS] = merged(config.get(_CHECKS) or {}, {"istiodAddress": address})
    return {**settings, "config": config}


def kind_settings(config: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Return how Kong is reached on a node whose port is mapped to this machine's, and what gives every check something to see.

    What the committed settings say themselves stays, but for what rests on simulated nodes.
    """
    address = f"localhost:{facts.ports['kong']}"
    reached = {"serviceType": "NodePort", "nodePort": NODE_PORT, "proxyAddress": address, "admissionWebhook": True}
    return {
        _KONG: {**(config.get(_KONG) or {}), **reached},
        _ISTIO: {"mtls": "STRICT", **(config.get(_ISTIO) or {})},
        _SECURITY: {"onlyKongCalls": True, **(config.get(_SECURITY) or {})},
        _APPLICATIONS: config.get(_APPLICATIONS) or [_bookinfo("localhost")],
    }


def _bookinfo(host: str) -> dict[str, Any]:
    """Return the settings' own application with a host, so that there are requests for which Kong has no route."""
    # Only in kind; a simulated sandbox does not wait for the import.
    from settings.sections import BOOKINFO

    described = BOOKINFO.model_dump(by_alias=True, exclude_unset=True)
    return {**described, "route": {**described["route"], "host": host}}
