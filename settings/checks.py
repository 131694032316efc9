"""Checks of the settings together: what is well-formed key by key and still cannot work."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from settings.model import WINDOWS, Application, RateLimit, Settings
from settings.reader import SettingsError, check_known, show
from versions import CHARTS

_RESERVED_NAMESPACES = (
    "istio-system",
    "kong-istio",
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
)


def check(settings: Settings, root: Path) -> None:
    """Raise `SettingsError` for the first combination that cannot work. Paths are relative to `root`."""
    _check_mesh(settings)
    _check_node_port(settings)
    _check_observability(settings, root)
    _check_charts(settings, root)
    _check_applications(settings, root)
    for application in settings.applications:
        limit = settings.limit_of(application)
        _check_rate_limit(limit, f"application {application.name}", settings.kong.replicas)


def _check_rate_limit(limit: RateLimit, where: str, replicas: int) -> None:
    """Raise `SettingsError` where Kong would refuse the limit, or would keep another one than it says."""
    if limit.policy == "cluster":
        raise SettingsError(
            f"rateLimit.policy of {where} is cluster: that policy counts in Kong's database, and this Kong has none; "
            "set it to local, or to redis with rateLimit.redis.host."
        )
    if limit.policy == "local" and replicas > 1:
        raise SettingsError(
            f"rateLimit.policy of {where} is local while kong.replicas is {replicas}: each replica would count for "
            "itself and let the limit through; set the policy to redis, or kong.replicas to 1."
        )
    if limit.policy == "redis" and not (limit.redis and limit.redis.host):
        raise SettingsError(f"rateLimit.policy of {where} is redis without a host: set rateLimit.redis.host.")
    _check_sync_rate(limit, where)
    _check_windows(limit, where)
    _check_identity(limit, where)


def _check_sync_rate(limit: RateLimit, where: str) -> None:
    rate = limit.sync_rate
    if rate is None or rate == -1:
        return
    if limit.policy != "redis":
        raise SettingsError(f"rateLimit.syncRate of {where} goes with the policy redis: leave it out, or set that.")
    if rate < 0.02:
        raise SettingsError(
            f"rateLimit.syncRate of {where} is {rate}: Kong takes -1 (count in redis at once) or 0.02 s and more."
        )


# Kong refuses a longer window with a smaller limit than a shorter one's.
def _check_windows(limit: RateLimit, where: str) -> None:
    windows = [(name, getattr(limit, name)) for name in WINDOWS if getattr(limit, name) is not None]
    if not windows:
        raise SettingsError(
            f"The rate limit of {where} names no window: set one of rateLimit.{', rateLimit.'.join(WINDOWS)}."
        )
    for (short, few), (long, many) in itertools.pairwise(windows):
        if many < few:
            raise SettingsError(
                f"The rate limit of {where} allows {few} per {short} and {many} per {long}: "
                f"set rateLimit.{long} to {few} or more, or rateLimit.{short} to {many} or less."
            )


def _check_identity(limit: RateLimit, where: str) -> None:
    if limit.limit_by == "header" and not limit.header_name:
        raise SettingsError(f"rateLimit.limitBy of {where} is header without a name: set rateLimit.headerName.")
    if limit.limit_by == "path" and not limit.path:
        raise SettingsError(f"rateLimit.limitBy of {where} is path without a path: set rateLimit.path.")


def _check_mesh(settings: Settings) -> None:
    if settings.istio.mtls == "STRICT" and settings.kong.routing == "guide":
        raise SettingsError(
            "istio.mtls is STRICT while kong.routing is guide: that routing leaves the mesh in plain text, which STRICT "
            "refuses; set kong.routing to mesh, or istio.mtls to PERMISSIVE."
        )
    if settings.istio.mtls == "STRICT" and not settings.istio.injection:
        raise SettingsError(
            "istio.mtls is STRICT while istio.injection is false: without sidecars nothing speaks mutual TLS; "
            "set istio.injection to true, or istio.mtls to PERMISSIVE."
        )


def _check_node_port(settings: Settings) -> None:
    port, kind = settings.kong.node_port, settings.kong.service_type
    if port and kind != "NodePort":
        raise SettingsError(
            f"kong.nodePort is {port} while kong.serviceType is {kind}: set the type to NodePort, or the port to 0."
        )
    if port and not 30000 <= port <= 32767:
        raise SettingsError(
            f"kong.nodePort is {port}: Kubernetes gives node ports from 30000 to 32767; choose one there, or 0."
        )


def _check_observability(settings: Settings, root: Path) -> None:
    observability = settings.observability
    if not observability.prometheus.enabled:
        for name, enabled in (
            ("grafana", observability.grafana.enabled),
            ("kiali", observability.kiali.enabled),
        ):
            if enabled:
                raise SettingsError(
                    f"observability.{name}.enabled is true while observability.prometheus.enabled is false: {name} "
                    "shows what Prometheus holds; switch both on, or both off."
                )
    dashboards = observability.grafana.dashboards
    if observability.grafana.enabled and dashboards != "grafana.com" and not list((root / dashboards).glob("*.json")):
        raise SettingsError(
            f"observability.grafana.dashboards is {show(dashboards)}: there is no folder of that name with JSON files "
            "in it; set it to such a folder, or to grafana.com."
        )


def _check_charts(settings: Settings, root: Path) -> None:
    check_known(settings.charts, CHARTS, "charts")
    for name, source in settings.charts.items():
        scheme = _scheme(source)
        if scheme is None:
            raise SettingsError(f"charts.{name} is {show(source)}: it must be a repository URL, oci://… or a folder.")
        if scheme not in ("http", "https", "oci"):
            _check_chart_folder(name, root / Path(source).expanduser(), source)


def _scheme(source: Any) -> str | None:
    """Return the scheme of a URL, empty for a path; None for what is neither."""
    if not isinstance(source, str) or not source:
        return None
    try:
        return urlsplit(source).scheme
    except ValueError:
        return None


def _check_chart_folder(name: str, path: Path, source: str) -> None:
    if path.is_file() and path.suffix == ".tgz":
        return
    try:
        described = yaml.safe_load((path / "Chart.yaml").read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        raise SettingsError(
            f"charts.{name} is {show(source)}: there is no readable chart (a folder with a Chart.yaml, or a .tgz file); "
            f"put the chart {CHARTS[name].name} {CHARTS[name].version} there, or leave the key out."
        ) from None
    if described != CHARTS[name].name:
        raise SettingsError(
            f"charts.{name} is {show(source)}: the chart there is {described}; give the folder of {CHARTS[name].name}."
        )


def _check_applications(settings: Settings, root: Path) -> None:
    applications = settings.applications
    for index, application in enumerate(applications):
        where = f"applications[{index}]"
        if application.namespace in _RESERVED_NAMESPACES:
            raise SettingsError(
                f"{where}.namespace is {application.namespace}: that one is not the application's; give it its own."
            )
        if not (root / Path(application.manifests).expanduser()).exists():
            raise SettingsError(
                f"{where}.manifests is {show(application.manifests)}: there is no such file or folder; "
                "give the path of the application's YAML, from the project's folder."
            )
    for (first, one), (second, other) in itertools.combinations(enumerate(applications), 2):
        for key, left, right in _shared(one, other):
            if left == right:
                raise SettingsError(
                    f"applications[{first}].{key} and applications[{second}].{key} are both {show(left)}: "
                    "give each application its own."
                )


def _shared(one: Application, other: Application) -> Iterator[tuple[str, Any, Any]]:
    yield "name", one.name, other.name
    yield "namespace", one.namespace, other.namespace
    if one.route.host == other.route.host:
        yield "route.path", one.route.path, other.route.path
