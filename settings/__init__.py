"""The stack's settings: read once, checked together, frozen.

`load` is the only place of the project that reads Pulumi configuration; components get plain arguments.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pulumi.runtime import config as stack_config

from settings.checks import check
from settings.model import (
    Application,
    Checks,
    ClientAddress,
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
from settings.reader import SettingsError, camel, check_known, read

__all__ = [
    "KEYS",
    "PROJECT",
    "Application",
    "Checks",
    "ClientAddress",
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
KEYS = {camel(field.name): field.name for field in dataclasses.fields(Settings)}


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
    settings = read(Settings, config, "")
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
    check_known([key], KEYS, "")
    kind = typing.get_type_hints(Settings)[KEYS[key]]
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
    redis, tls = settings.rate_limit.redis, settings.kong.tls
    places = [
        ("kong", "kong.tls.key", tls and tls.key),
        ("rateLimit", "rateLimit.redis.password", redis and redis.password),
        ("observability", "observability.grafana.adminPassword", settings.observability.grafana.admin_password),
    ]
    for index, application in enumerate(settings.applications):
        if "password" in (application.rate_limit.get("redis") or {}):
            own = settings.limit_of(application).redis
            places.append(("applications", f"applications[{index}].rateLimit.redis.password", own and own.password))
    for key, where, secret in places:
        if secret and key not in secrets:
            raise SettingsError(
                f"{where} is in plain text: take it out of the stack file and store it with "
                f"`pulumi config set --secret --path '{PROJECT}:{where}'`."
            )
