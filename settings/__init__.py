"""The stack's settings: read once, checked together, frozen.

`load` is the only place of the project that reads Pulumi configuration; components get plain arguments.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pulumi.runtime import config as stack_config
from pydantic import ValidationError

from settings.cross_checks import check
from settings.kinds import Secret, Section
from settings.sections import (
    WINDOWS,
    Application,
    Checks,
    ClientAddress,
    Grafana,
    Images,
    Istio,
    Kiali,
    Kong,
    Observability,
    Prometheus,
    RateLimit,
    Redis,
    Route,
    Security,
    Settings,
    Tls,
)
from settings.sentences import SettingsError, key_name, sentence, unknown

__all__ = [
    "KEYS",
    "PROJECT",
    "WINDOWS",
    "Application",
    "Checks",
    "ClientAddress",
    "Grafana",
    "Images",
    "Istio",
    "Kiali",
    "Kong",
    "Observability",
    "Prometheus",
    "RateLimit",
    "Redis",
    "Route",
    "Security",
    "Settings",
    "SettingsError",
    "Tls",
    "charts_in_use",
    "load",
    "parse",
]

PROJECT = "kong-istio"

# The keys that `Pulumi.yaml` declares, and the fields of `Settings` that hold them.
KEYS = {field.alias or name: name for name, field in Settings.model_fields.items()}


def load(root: Path) -> Settings:
    """Read and check the settings of the running stack.

    `root` is the project's folder, which paths in settings are relative to. Raises `SettingsError`.
    """
    prefix = f"{PROJECT}:"
    texts = {
        name.removeprefix(prefix): text for name, text in stack_config.CONFIG.get().items() if name.startswith(prefix)
    }
    secrets = {key for key in texts if stack_config.is_config_secret(prefix + key)}
    return parse({key: _decode(key, text) for key, text in texts.items()}, secrets, root)


def parse(config: Mapping[str, Any], secrets: Collection[str], root: Path) -> Settings:
    """Return the settings that `config` (key to value, without the project's name) describes.

    `secrets` names the keys that the stack keeps encrypted. Raises `SettingsError`.
    """
    try:
        settings = Settings.model_validate(dict(config), by_alias=True, by_name=False)
    except ValidationError as error:
        # Pydantic's error holds the values.
        raise SettingsError(sentence(Settings, error.errors())) from None
    check(settings, root)
    _check_secrets(settings, secrets)
    return settings


def charts_in_use(settings: Settings) -> list[str]:
    """Return the charts that the stack installs, by their names in the table of versions."""
    shown = settings.observability
    switched = {
        "cni": settings.istio.cni,
        "gateway": settings.istio.ingress_gateway or settings.istio.egress_gateway,
        "prometheus": shown.prometheus.enabled,
        "grafana": shown.grafana.enabled,
        "kiali-server": shown.kiali.enabled,
    }
    return ["base", "istiod", "kong", *(name for name, enabled in switched.items() if enabled)]


def _decode(key: str, text: str) -> Any:
    """Return the value behind what the engine hands over: text as it is, all else as JSON."""
    if key not in KEYS:
        raise SettingsError(unknown(key, KEYS))
    kind = Settings.model_fields[KEYS[key]].annotation
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        if kind is bool:
            return text
        # The text is not shown: a password may be in it.
        raise SettingsError(
            f"{key} is plain text: write it as YAML in the stack file, or set its fields one by one with "
            f"`pulumi config set --path '{PROJECT}:{key}…'`."
        ) from None


def _check_secrets(settings: Settings, secrets: Collection[str]) -> None:
    for location in _passwords(settings):
        if location[0] not in secrets:
            where = key_name(location)
            raise SettingsError(
                f"{where} is in plain text: take it out of the stack file and store it with "
                f"`pulumi config set --secret --path '{PROJECT}:{where}'`."
            )


def _passwords(value: Any, *location: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield where something stands that has to be encrypted."""
    if isinstance(value, tuple):
        for index, entry in enumerate(value):
            yield from _passwords(entry, *location, index)
    elif isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            inner, where = getattr(value, name), (*location, field.alias or name)
            if inner and any(isinstance(entry, Secret) for entry in field.metadata):
                yield where
            yield from _passwords(inner, *where)
