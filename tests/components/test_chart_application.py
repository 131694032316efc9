"""A Helm chart as an application: what is registered for it, in which order, and what is refused or said beforehand."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from components.shared import releases
from components.shared.manifests import ManifestError
from plan import Recording, Resource, record

pytestmark = pytest.mark.usefixtures("machine")

Object = dict[str, Any]

WEB = {"name": "shop-web", "selector": {"app": "web"}, "targetPort": 8080}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of a chart."""
    made = tmp_path_factory.mktemp("chart")
    (made / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.2.3\n")
    return made


def shop(folder: Path, **chart: Any) -> Object:
    given = {"name": str(folder), "values": {"password": "kept-to-itself"}, **chart}
    return {"name": "shop", "namespace": "shop", "chart": given, "route": {"service": "shop-web", "port": 80}}


def recorded(application: Object, config: Mapping[str, Any] | None = None) -> Recording:
    return record({"kubeContext": "somewhere", "applications": [application], **(config or {})})


def made(recording: Recording, label: str) -> Resource:
    (found,) = (resource for resource in recording.resources.values() if resource.label == label)
    return found


def before(recording: Recording, label: str) -> set[str]:
    (key,) = (key for key, resource in recording.resources.items() if resource.label == label)
    return {recording.resources[other].label for other in recording.waits_for(key)}


def test_a_chart_is_a_release_of_its_own_in_a_namespace_of_the_mesh(folder: Path) -> None:
    recording = recorded(shop(folder, timeoutSeconds=77))
    given = made(recording, "Release/shop").inputs
    assert (given["name"], given["namespace"]) == ("shop", "shop")
    assert given["values"] == {"password": "kept-to-itself"}
    assert given["skipAwait"] is True
    waits = shlex.split(made(recording, "Command/shop-pods-ready").inputs["create"])
    assert waits[waits.index("--namespace") :][:6] == ["--namespace", "shop", "--release", "shop", "--timeout", "77"]
    assert "Command/shop-pods-ready" in before(recording, "Command/shop-services-ready")
    assert not Path(given["chart"]).is_absolute()
    assert made(recording, "Namespace/shop").inputs["metadata"]["labels"]["istio-injection"] == "enabled"


def test_its_pods_start_once_istiod_injects_and_the_crds_are_there(folder: Path) -> None:
    recording = recorded(shop(folder))
    assert {"Namespace/shop", "Command/istiod-ready", "Command/kong-ready"} <= before(recording, "Release/shop")


def test_the_route_waits_until_kong_would_call_the_service_by_its_name(folder: Path) -> None:
    recording = recorded(shop(folder))
    patch = made(recording, "ServicePatch/shop-service-shop-web").inputs["metadata"]
    assert (patch["name"], patch["namespace"]) == ("shop-web", "shop")
    assert patch["annotations"]["ingress.kubernetes.io/service-upstream"] == "true"
    assert {"Release/shop", "Command/shop-services-ready"} <= before(recording, "ServicePatch/shop-service-shop-web")
    assert "ServicePatch/shop-service-shop-web" in before(recording, "Ingress/shop-route-ingress")


def test_past_the_mesh_kong_calls_pods(folder: Path) -> None:
    recording = recorded(shop(folder), {"kong": {"routing": "guide"}})
    assert not [r.label for r in recording.resources.values() if r.kind == "ServicePatch"]
    assert "Command/shop-services-ready" in before(recording, "Ingress/shop-route-ingress")


def test_the_routed_service_is_looked_for_again_when_the_chart_changes(folder: Path) -> None:
    commands = [
        shlex.split(made(recorded(shop(folder, **chart)), "Command/shop-services-ready").inputs["update"])
        for chart in ({}, {}, {"values": {"a": 1}}, {"releaseName": "other"})
    ]
    first, again, *others = commands
    assert first == again
    assert "--service=shop-web=80" in first
    assert all(first != other for other in others)


@pytest.mark.parametrize(
    ("chart", "source"),
    [
        (
            {"name": "podinfo", "repository": "https://charts.example", "version": "6.9.1"},
            {"chart": "podinfo", "version": "6.9.1", "repositoryOpts": {"repo": "https://charts.example"}},
        ),
        (
            {"name": "podinfo", "repository": "oci://registry.example/charts", "version": "6.9.1"},
            {"chart": "oci://registry.example/charts/podinfo", "version": "6.9.1"},
        ),
        (
            {"name": "oci://registry.example/podinfo", "version": "6.9.1"},
            {"chart": "oci://registry.example/podinfo", "version": "6.9.1"},
        ),
    ],
)
def test_a_chart_comes_from(chart: Object, source: Object, folder: Path) -> None:
    given = made(recorded(shop(folder, **chart)), "Release/shop").inputs
    assert {key: given[key] for key in ("chart", "version", "repositoryOpts") if given.get(key)} == source


def test_its_repository_may_want_a_login(folder: Path) -> None:
    login = {"location": "https://charts.example", "username": "me", "password": "hunter2"}
    application = shop(folder, name="podinfo", repository=login, version="1.2.3")
    recording = record({"kubeContext": "somewhere", "applications": [application]}, secrets=["applications"])
    given = made(recording, "Release/shop").inputs["repositoryOpts"]
    assert (given["repo"], given["username"], given["password"]) == ("https://charts.example", "me", "hunter2")
    assert "hunter2" not in json.dumps(made(recording, "Command/checks").inputs["create"])


def test_its_repository_has_to_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(request: Request, **_: Any) -> nullcontext[None]:
        if "charts.example" in request.full_url:
            raise OSError("no route to host")
        return nullcontext()

    monkeypatch.setattr(releases, "urlopen", look)
    with pytest.raises(
        releases.ChartError, match=r"https://charts.example cannot be reached .*applications\[0\].chart.repository"
    ):
        recorded(shop(folder, name="podinfo", repository="https://charts.example", version="1.2.3"))


def test_each_of_several_services_is_looked_for_and_told_how_kong_calls_it(folder: Path) -> None:
    routes = [
        {"service": "shop-web", "port": 80},
        {"service": "shop-web", "port": 81, "name": "admin", "path": "/admin"},
        {"service": "shop-api", "port": 9090, "path": "/api", "protocol": "grpc", "plugins": ["charts-own"]},
    ]
    application = {key: value for key, value in shop(folder).items() if key != "route"} | {"routes": routes}
    recording = recorded(application)
    command = made(recording, "Command/shop-services-ready").inputs["update"]
    assert [word for word in shlex.split(command) if word.startswith("--service")] == [
        *("--service=shop-web=80", "--service=shop-web=81", "--service=shop-api=9090")
    ]
    told = made(recording, "ServicePatch/shop-service-shop-api").inputs["metadata"]["annotations"]
    assert told["konghq.com/protocol"] == "grpc"
    assert (
        "konghq.com/protocol"
        not in made(recording, "ServicePatch/shop-service-shop-web").inputs["metadata"]["annotations"]
    )


def test_a_chart_without_a_route_is_installed_all_the_same(folder: Path) -> None:
    recording = recorded({key: value for key, value in shop(folder).items() if key != "route"})
    assert made(recording, "Release/shop")
    assert not [r for r in recording.resources.values() if "shop-services" in r.name or r.kind == "Ingress"]


def test_a_patch_goes_with_the_release_and_is_not_taken_back(folder: Path) -> None:
    recording = recorded(shop(folder))
    options = made(recording, "ServicePatch/shop-service-shop-web").options
    assert options["deleted_with"].endswith("Release::shop")


# --- policies that have to know pods -------------------------------------------------------------------------------

NEED_PODS: dict[str, Object] = {
    "security.onlyKongCalls": {"security": {"onlyKongCalls": True}},
    "security.networkPolicies": {"security": {"networkPolicies": True}},
    "kong.clientHost serviceEntry": {"kong": {"clientHost": "serviceEntry"}},
}


@pytest.mark.parametrize("key", NEED_PODS)
def test_where_a_setting_needs_its_pods_they_have_to_be_named(key: str, folder: Path) -> None:
    application = shop(folder)
    application["route"] |= {"host": "shop.example"}
    with pytest.raises(ManifestError) as error:
        recorded(application, NEED_PODS[key])
    assert str(error.value).startswith(
        f"applications[0].chart makes the Service shop-web, and {key} has to know its pods"
    )
    assert "applications[0].chart.services" in str(error.value)


def test_pods_that_are_named_are_guarded(folder: Path) -> None:
    application = shop(folder, services=[WEB])
    application["route"] |= {"host": "shop.example"}
    recording = recorded(
        application,
        {"security": {"onlyKongCalls": True, "networkPolicies": True}, "kong": {"clientHost": "serviceEntry"}},
    )
    allowed = made(recording, "AuthorizationPolicy/shop-shop-web-only-kong-calls").inputs["spec"]
    assert allowed["selector"]["matchLabels"] == {"app": "web"}
    network = made(recording, "NetworkPolicy/shop-shop-web-from-kong").inputs["spec"]
    assert network["podSelector"]["matchLabels"] == {"app": "web"}
    assert network["ingress"][0]["ports"] == [{"port": 8080, "protocol": "TCP"}]
    entry = made(recording, "ServiceEntry/shop-route-client-host").inputs["spec"]
    assert entry["ports"][0]["targetPort"] == 8080
    guards = {"AuthorizationPolicy/shop-shop-web-only-kong-calls", "NetworkPolicy/shop-shop-web-from-kong"}
    assert guards <= before(recording, "Release/shop")


# --- what is said --------------------------------------------------------------------------------------------------


def test_settings_that_do_not_reach_into_a_chart_are_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {"images": {"registry": "mirror.example/all", "pullSecrets": ["mirror"]}, "istio": {"cni": True}}
    with caplog.at_level(logging.WARNING):
        recorded(shop(folder), config)
    assert [one for one in caplog.messages if "chart" in one] == [
        "applications[0].chart: images.registry and images.pullSecrets and Pod Security's level restricted do not reach into "
        "a chart: say what its pods need in applications[0].chart.values."
    ]


def test_a_preview_says_what_it_cannot_know(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        recorded(shop(folder))
    assert "that it makes the Service shop-web with the port 80 shows once it is installed" in caplog.text
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING and "chart" in entry.message]


def test_the_checks_look_again_when_the_chart_changes_and_are_told_nothing_of_its_values(folder: Path) -> None:
    commands = [
        made(recorded(shop(folder, values=values)), "Command/checks").inputs["create"]
        for values in ({"a": 1}, {"a": 1}, {"a": 2})
    ]
    assert commands[0] == commands[1] != commands[2]
    assert "kept-to-itself" not in made(recorded(shop(folder)), "Command/checks").inputs["create"]
