"""Dashboards ask who looks, and nobody unknown may change anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser, Error
from typing import Any

import yaml

from policy.objects import Object, containers, items, mapping, pick
from policy.rule import Option, Options, Rule, Violation

_TOKEN = "set observability.kiali.auth to token"  # noqa: S105 -- advice, no token
_LOGIN = "set observability.grafana.anonymous to false"
_GRAFANA_ENABLED = "GF_AUTH_ANONYMOUS_ENABLED"
_GRAFANA_ROLE = "GF_AUTH_ANONYMOUS_ORG_ROLE"


def anonymous_access(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look at the values of the releases, and at the files and variables that charts render from them."""
    for item in objects:
        for settings in _kiali(item):
            yield from _judge_kiali(item, settings, options)
        for enabled, role in _grafana(item):
            yield from _judge_grafana(item, enabled, role, options)


def _judge_kiali(item: Object, settings: Mapping[str, Any], options: Options) -> Iterator[Violation]:
    if pick(settings, "auth", "strategy") != "anonymous":
        return
    if not options["anonymous"]:
        yield Violation(item, "everyone may look at Kiali: its strategy is anonymous", _TOKEN)
    if pick(settings, "deployment", "view_only_mode") is not True:
        yield Violation(
            item,
            "everyone may change the mesh by Kiali: it is anonymous, and not for viewing only",
            "set observability.kiali.viewOnly to true",
        )


def _judge_grafana(item: Object, enabled: Any, role: Any, options: Options) -> Iterator[Violation]:
    if not _true(enabled):
        return
    if not options["anonymous"]:
        yield Violation(item, "everyone may look at Grafana without a login", _LOGIN)
    if role not in (None, "", "Viewer"):
        yield Violation(item, f"everyone is {role} of Grafana without a login", "set the role to Viewer")


def _kiali(item: Object) -> Iterator[Mapping[str, Any]]:
    """Yield Kiali's settings: the values of its release, or its file as the chart renders it."""
    if item.kind == "Release":
        yield mapping(pick(item.body, "spec", "values"))
    elif item.kind == "ConfigMap" and "kiali" in item.name:
        yield _file(pick(item.body, "data", "config.yaml"))
    elif item.kind == "Kiali":
        yield mapping(item.body.get("spec"))


def _file(text: Any) -> Mapping[str, Any]:
    try:
        return mapping(yaml.safe_load(text) if isinstance(text, str) else None)
    except yaml.YAMLError:
        # Kiali would not start with it either.
        return {}


def _grafana(item: Object) -> Iterator[tuple[Any, Any]]:
    """Yield whether Grafana lets in everyone, and as what."""
    if item.kind == "Release":
        said = mapping(pick(item.body, "spec", "values", "grafana.ini", "auth.anonymous"))
        yield said.get("enabled"), said.get("org_role")
        environment = mapping(pick(item.body, "spec", "values", "env"))
        yield environment.get(_GRAFANA_ENABLED), environment.get(_GRAFANA_ROLE)
    elif item.kind == "ConfigMap":
        section = _section(pick(item.body, "data", "grafana.ini"), "auth.anonymous")
        yield section.get("enabled"), section.get("org_role")
    for container in containers(item):
        variables = {str(entry.get("name")): entry.get("value") for entry in items(container.get("env"))}
        yield variables.get(_GRAFANA_ENABLED), variables.get(_GRAFANA_ROLE)


def _section(text: Any, name: str) -> Mapping[str, str]:
    if not isinstance(text, str):
        return {}
    parser = ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        # What stands above the first section is Grafana's default one.
        parser.read_string(f"[DEFAULT]\n{text}")
    except Error:
        return {}
    return dict(parser[name]) if parser.has_section(name) else {}


def _true(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes", "on")


RULE = Rule(
    name="dashboards-ask-who-looks",
    description="Kiali and Grafana ask for a login or token; where they need not, nobody unknown may change anything.",
    find=anonymous_access,
    options={"anonymous": Option(False, "Everyone may look, and change nothing.")},
)
