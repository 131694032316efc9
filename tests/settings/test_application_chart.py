"""A Helm chart as an application, and what the checks expect of one: what is taken, and what is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

import settings
from settings import ApplicationChart, SettingsError
from settings.sections import ApplicationCheck, ChartService
from settings.sentences import keys

ROUTE = {"service": "web", "port": 80}
REMOTE: dict[str, Any] = {"name": "podinfo", "repository": "https://charts.example", "version": "6.9.1"}
FULL: dict[str, Any] = {
    **REMOTE,
    "repository": {"location": "https://charts.example", "username": "me", "password": "hunter2", "caFile": ""},
    "releaseName": "pod",
    "values": {"password": "hunter2"},
    "timeoutSeconds": 30,
    "services": [{"name": "web", "selector": {"app.kubernetes.io/name": "podinfo"}, "targetPort": 9898}],
}
CHECK = {"path": "/login", "status": 302, "contains": "Sign in"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project's folder with a chart, and with something that is none."""
    (tmp_path / "chart").mkdir()
    (tmp_path / "chart/Chart.yaml").write_text("name: web\nversion: 1.0.0\n")
    (tmp_path / "chart.tgz").write_text("")
    (tmp_path / "manifests").mkdir()
    return tmp_path


def parsed(root: Path, secrets: Collection[str] = (), **application: Any) -> settings.Application:
    given = {"name": "shop", "namespace": "shop", "route": ROUTE, **application}
    return settings.parse({"applications": [given]}, secrets, root).applications[0]


def test_every_field_is_taken(root: Path) -> None:
    assert set(keys(ApplicationChart)) == FULL.keys()
    assert set(keys(ChartService)) == FULL["services"][0].keys()
    assert set(keys(ApplicationCheck)) == CHECK.keys()
    found = parsed(root, ("applications",), chart=FULL, check=CHECK).model_dump(mode="json", by_alias=True)
    assert (found["chart"], found["check"]) == (FULL, CHECK)


@pytest.mark.parametrize(
    "chart",
    [
        {"name": "chart"},
        {"name": "chart.tgz"},
        {"name": "oci://registry.example/charts/podinfo", "version": "v6.9.1-rc.1+build"},
        {"name": "podinfo", "repository": "oci://registry.example/charts", "version": "1.2.3"},
        REMOTE,
    ],
)
def test_a_chart_may_come_from(chart: dict[str, Any], root: Path) -> None:
    assert parsed(root, chart=chart).chart


@pytest.mark.parametrize(
    ("application", "text"),
    [
        ({}, "applications[0] has none of manifests and chart: give one of them."),
        (
            {"manifests": "manifests", "chart": FULL},
            "applications[0] has both of manifests and chart: keep one of them.",
        ),
        ({"chart": {"name": "nowhere"}}, 'applications[0].chart.name is "nowhere": there is no readable chart'),
        ({"chart": {"name": "manifests"}}, 'applications[0].chart.name is "manifests": there is no readable chart'),
        ({"chart": {"name": "chart", "version": "1.0.0"}}, 'chart.version is "1.0.0" beside a folder'),
        *(
            ({"chart": {**REMOTE, "version": version}}, "it must be one version such as 1.2.3")
            for version in ("", "latest", "^1.2.0", "1.x", ">=1.0.0", "1.2")
        ),
        ({"chart": {"name": "oci://registry.example/podinfo"}}, 'applications[0].chart.version is ""'),
        ({"chart": {**REMOTE, "repository": "charts"}}, "a folder or a .tgz file goes into applications[0].chart.name"),
        (
            {"chart": {**REMOTE, "repository": {"location": "https://a.example", "username": "me"}}},
            "applications[0].chart.repository.password is missing",
        ),
        ({"chart": {**REMOTE, "name": "oci://a.example/b"}}, "leave applications[0].chart.repository out"),
        ({"chart": {**REMOTE, "releaseName": "a" * 54}}, "Helm takes names of at most 53"),
        ({"chart": REMOTE, "name": "a" * 54}, "set applications[0].chart.releaseName to a shorter one"),
        ({"chart": REMOTE, "resources": {"limits": {"cpu": "1"}}}, "size them by applications[0].chart.values"),
        (
            {"chart": {**REMOTE, "services": [{"name": "web", "selector": {}}]}},
            "selector is an object: it must be an object with at least one label",
        ),
        ({"chart": {**REMOTE, "values": 1}}, "applications[0].chart.values is 1: it must be an object"),
        ({"manifests": "manifests", "check": {"status": 99}}, "applications[0].check.status is 99"),
        ({"manifests": "manifests", "check": {"path": "login"}}, "a path that starts with /"),
        (
            {"manifests": "manifests", "check": {"path": "/login"}, "route": {**ROUTE, "path": "/shop"}},
            'applications[0].check.path is "/login", and the application\'s first route leads /shop there',
        ),
        (
            {"manifests": "manifests", "check": {"status": 200}, "route": None},
            "applications[0].check is set for an application without a route",
        ),
    ],
)
def test_what_cannot_be_is_refused(application: dict[str, Any], text: str, root: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(root, **application)
    assert text in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_password_in_plain_text_is_refused(root: Path) -> None:
    given = {"name": "shop", "namespace": "shop", "route": ROUTE, "chart": FULL}
    with pytest.raises(SettingsError, match=r"applications\[0\].chart.repository.password is in plain text") as caught:
        settings.parse({"applications": [given]}, (), root)
    assert "hunter2" not in str(caught.value)


def test_values_are_not_public(root: Path) -> None:
    given = {"name": "shop", "namespace": "shop", "route": ROUTE, "chart": FULL}
    public = settings.public(settings.parse({"applications": [given]}, ("applications",), root))
    assert "hunter2" not in str(public)
    assert public["applications"][0]["chart"]["version"] == "6.9.1"
