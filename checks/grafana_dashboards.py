"""Grafana's dashboards: that those of the settings are there, and that something is on each."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from checks import endpoints
from checks.framework import Check, Failed, NotChecked, at_once, eventually
from checks.target import Target
from commands import http_client
from commands.http_client import NoAnswer
from kube import ClusterError
from names import GRAFANA, GRAFANA_FOLDER, ISTIO_NAMESPACE

_SECONDS = 60


def look(target: Target) -> str:
    """Return what was seen of the dashboards."""
    if not target.grafana:
        raise NotChecked("Grafana is switched off")
    return eventually(lambda: _look_once(target), _SECONDS, pause=2)


def _look_once(target: Target) -> str:
    login = {} if target.grafana_anonymous else _login(target)
    with endpoints.dashboard(target, GRAFANA) as url:
        listed = _get(target, f"{url}/api/search?type=dash-db&limit=5000", login)
        mine = [one for one in listed if one.get("folderTitle") == GRAFANA_FOLDER]
        titles = ", ".join(sorted(str(one.get("title")) for one in mine))
        if len(mine) < target.grafana_dashboards:
            raise _lacking(target, f"{len(mine)}: {titles or 'none'}")
        filled = at_once(lambda one: _shows_something(target, url, one["uid"], login), mine)
    empty = [one["title"] for one, shows in zip(mine, filled, strict=True) if not shows]
    if empty:
        raise _lacking(target, f"nothing on {', '.join(sorted(empty))}")
    return f"{len(mine)} dashboards, with panels on each: {titles}"


def _shows_something(target: Target, url: str, uid: str, login: Mapping[str, str]) -> bool:
    found = _get(target, f"{url}/api/dashboards/uid/{uid}", login)
    dashboard = found.get("dashboard") or {}
    # Rows that are folded hold their panels; the oldest form has rows instead of panels.
    return bool(dashboard.get("panels") or dashboard.get("rows"))


def _login(target: Target) -> dict[str, str]:
    """Return the header that logs in the administrator of the Secret that Grafana has."""
    name = target.grafana_secret
    try:
        secret = target.cluster.get("secrets", name, ISTIO_NAMESPACE)
    except ClusterError as error:
        raise NotChecked(f"the Secret {ISTIO_NAMESPACE}/{name} could not be read: {str(error).rstrip('.')}") from None
    data = (secret or {}).get("data") or {}
    user, password = (b64decode(data.get(key, "")).decode() for key in ("admin-user", "admin-password"))
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


def _get(target: Target, url: str, login: Mapping[str, str]) -> Any:
    try:
        answer = http_client.get(url, login)
        if answer.status == 401:
            raise _login_refused(target)
        if answer.status != 200:
            raise NoAnswer(f"{answer.status}: {answer.excerpt}")
        return answer.json()
    except NoAnswer as reason:
        raise Failed(
            "an answer of Grafana",
            str(reason),
            cause="Grafana is still starting, or something else answers at its address",
            look=target.logs(ISTIO_NAMESPACE, GRAFANA),
        ) from None


def _login_refused(target: Target) -> Failed:
    return Failed(
        f"a login with the Secret {ISTIO_NAMESPACE}/{target.grafana_secret}",
        "401",
        cause="Grafana started before the Secret changed, or its volume keeps the password of its first start",
        look=target.command("--namespace", ISTIO_NAMESPACE, "rollout", "restart", f"deployment/{GRAFANA}"),
    )


def _lacking(target: Target, actual: str) -> Failed:
    return Failed(
        f"{target.grafana_dashboards} dashboards or more in the folder {GRAFANA_FOLDER}, with something on each",
        actual,
        cause="a download failed, or a file is no dashboard",
        look=target.logs(ISTIO_NAMESPACE, GRAFANA, "--all-containers"),
    )


CHECKS = (
    Check(
        number="15d",
        name="dashboards filled",
        statement="Grafana has the dashboards of the settings, with panels on each.",
        how="its API, /api/search and /api/dashboards/uid/…, logged in with its Secret unless visitors are allowed",
        look=look,
        seconds=_SECONDS,
        data_path=True,
    ),
)
