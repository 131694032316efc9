"""The copy of a stack file that is previewed: with random values for secrets, and no way to a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

#: Whose secrets they are; the copy's are a throw-away passphrase's.
_ENCRYPTION = ("encryptionsalt", "encryptedkey", "secretsprovider")
_KUBECONFIG = "kong-istio:kubeconfig"
_SANDBOX = "kong-istio:sandbox"
_CHARTS = "kong-istio:charts"

#: Where a value stands: `kong-istio:rateLimit`, then keys and positions.
Place = tuple[str | int, ...]


def copied(file: Path, charts: Mapping[str, str]) -> tuple[dict[str, Any], list[Place]]:
    """Return a stack file's content without its secrets, and where they were; `charts` replace the stack's own."""
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    content = {key: value for key, value in content.items() if key not in _ENCRYPTION}
    config = content.get("config") or {}
    secrets = list(_secrets(config))
    kept = _with_charts(without_secrets(config), charts)
    # The sandbox takes no kubeconfig but its own, which the copy of the project does not have.
    if not kept.get(_SANDBOX):
        kept.pop(_KUBECONFIG, None)
    return {**content, "config": kept}, secrets


def for_rehearsal(file: Path, charts: Mapping[str, str]) -> dict[str, Any]:
    """Return a stack file's content as it is, secrets too, which a rehearsal never opens."""
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    config = content.get("config") or {}
    return {**content, "config": _with_charts(config, charts)}


def _with_charts(config: dict[str, Any], charts: Mapping[str, str]) -> dict[str, Any]:
    return {**config, _CHARTS: {**(config.get(_CHARTS) or {}), **charts}} if charts else config


def charts_of(file: Path) -> dict[str, str]:
    """Return the setting `charts` of another stack file."""
    return dict(((yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("config") or {}).get(_CHARTS) or {})


def without_secrets(value: Any) -> Any:
    """Return settings without what is encrypted in them."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if not _is_secret(item)}
    # Positions in a list count: something has to stay there until the secret is set.
    return ["" if _is_secret(item) else without_secrets(item) for item in value] if isinstance(value, list) else value


def _secrets(value: Any, place: Place = ()) -> Iterator[Place]:
    if _is_secret(value):
        yield place
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _secrets(item, (*place, key))


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"secure"}


def written(place: Place) -> str:
    """Return a place as `pulumi config set --path` takes it."""
    first, *rest = place
    steps = [f"[{step}]" if isinstance(step, int) else f'["{_quoted(step)}"]' for step in rest]
    return "".join([str(first), *steps])


def _quoted(key: str) -> str:
    return key.replace("\\", "\\\\").replace('"', '\\"')
