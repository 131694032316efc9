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
from pydantic.fields import FieldInfo

from settings.chart_values import redis_outside
from settings.cross_checks import RESERVED_NAMESPACES, cross_check
from settings.kinds import FreeForm, Secret, Section
from settings.secret_parts import SecretPart, marked, plain_settings, secret_parts, without_secrets
from settings.sections import (
    NOBODYS_CRDS,
    WINDOWS,
    Application,
    ApplicationChart,
    ApplicationCheck,
    Canary,
    ChartRepository,
    Checks,
    ClientAddress,
    Grafana,
    Images,
    Istio,
    Kiali,
    Kong,
    KubeconfigFrom,
    Observability,
    Plugin,
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
    "NOBODYS_CRDS",
    "PROJECT",
    "RESERVED_NAMESPACES",
    "WINDOWS",
    "Application",
    "ApplicationChart",
    "ApplicationCheck",
    "Canary",
    "ChartRepository",
    "Checks",
    "ClientAddress",
    "Grafana",
    "Images",
    "Istio",
    "Kiali",
    "Kong",
    "KubeconfigFrom",
    "Observability",
    "Plugin",
    "Prometheus",
    "RateLimit",
    "Redis",
    "Route",
    "Security",
    "Settings",
    "SettingsError",
    "Tls",
    "chart_versions",
    "charts_in_use",
    "load",
    "parse",
    "public",
    "read",
    "redis_outside",
    "restore",
]

PROJECT = "kong-istio"

# The keys that `Pulumi.yaml` declares, and the fields of `Settings` that hold them.
KEYS = {field.alias or name: name for name, field in Settings.model_fields.items()}


def load(root: Path) -> Settings:
    """Read and check the settings of the running stack.

    `root` is the project's folder, which paths in settings are relative to. Raises `SettingsError`.
    """
    texts = stack_config.CONFIG.get()
    return read(texts, [key for key in texts if stack_config.is_config_secret(key)], root)


def read(texts: Mapping[str, str], secrets: Collection[str], root: Path) -> Settings:
    """Return the settings that the engine hands over: full key to text, also of what is not this project's.

    `secrets` names the full keys that the stack keeps encrypted. Raises `SettingsError`.
    """
    prefix = f"{PROJECT}:"
    own = {name.removeprefix(prefix): text for name, text in texts.items() if name.startswith(prefix)}
    hidden = [name.removeprefix(prefix) for name in secrets]
    return parse({key: _decode(key, text) for key, text in own.items()}, hidden, root)


def parse(config: Mapping[str, Any], secrets: Collection[str], root: Path) -> Settings:
    """Return the settings that `config` (key to value, without the project's name) describes.

    `secrets` names the keys that the stack keeps encrypted, wholly or in part. Raises `SettingsError`.
    """
    hidden = {key: marked(config[key], plain_settings(root, f"{PROJECT}:{key}")) for key in secrets if key in config}
    settings = restore({**config, **hidden})
    try:
        cross_check(settings, root)
    except SettingsError as error:
        raise SettingsError(without_secrets(str(error), hidden)) from None
    _check_secrets(settings)
    return settings


def public(settings: Settings) -> dict[str, Any]:
    """Return settings as configuration spells them, without what is secret, or may be, as chart values may.

    A section that cannot be without its secret, such as `kong.tls`, is left out as a whole. `restore` reads it back.
    """
    found = settings.model_dump(mode="json", by_alias=True)
    for location, field, value in _fields(settings):
        if any(isinstance(entry, Secret | FreeForm) for entry in field.metadata) or _is_secret(value):
            *outer, last = location[:-1] if field.is_required() else location
            owner: Any = found
            for step in outer:
                owner = owner[step]
            owner.pop(last, None)
    return found


def restore(config: Mapping[str, Any]) -> Settings:
    """Return the settings that `public` wrote. What goes together was checked before that. Raises `SettingsError`."""
    try:
        return Settings.model_validate(dict(config), by_alias=True, by_name=False)
    except ValidationError as error:
        # Pydantic's error holds the values.
        raise SettingsError(sentence(Settings, error.errors())) from None


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


def chart_versions(settings: Settings) -> dict[str, str]:
    """Return the versions that the settings name in place of the table's, by the table's names of charts."""
    of_istio = dict.fromkeys(("base", "istiod", "gateway", "cni"), settings.istio.version)
    named = {"kong": settings.kong.chart_version, **of_istio}
    return {chart: version for chart, version in named.items() if version}


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


def _check_secrets(settings: Settings) -> None:
    for location, field, value in _fields(settings):
        hidden = isinstance(value, SecretPart)
        if value and any(isinstance(entry, Secret) for entry in field.metadata) and not hidden:
            where = key_name(location)
            raise SettingsError(
                f"{where} is in plain text: take it out of the stack file and store it with "
                f"`pulumi config set --secret --path '{PROJECT}:{where}'`."
            )


def _is_secret(value: Any) -> bool:
    """Return whether a value is secret, or holds something secret that has no field of its own."""
    return isinstance(value, SecretPart) or (isinstance(value, dict) and any(True for _ in secret_parts(value)))


def _fields(value: Any, *location: str | int) -> Iterator[tuple[tuple[str | int, ...], FieldInfo, Any]]:
    """Yield where each field of a section stands, also in the sections within it, the field and its value."""
    if isinstance(value, tuple):
        for index, entry in enumerate(value):
            yield from _fields(entry, *location, index)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _fields(entry, *location, key)
    elif isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            inner, where = getattr(value, name), (*location, field.alias or name)
            yield where, field, inner
            yield from _fields(inner, *where)
