"""The checks as the last node of the graph: what they wait for, what they are told, and when they run again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from checks.describe import describe
from checks.registry import AFTER_TRAFFIC, CHECKS, PARTS
from checks.target import RoutedApplication, Target, from_json, to_json
from components.verification import LIMIT_SECONDS
from kube import Cluster
from plan import Recording, Resource, record
from plan.program import run
from plan.stack_config import ROOT, Project
from sandbox import machine_settings
from sandbox.facts import DEFAULT_REVISION, Facts
from settings import parse, restore

pytestmark = pytest.mark.usefixtures("machine")

CONTEXT = "somewhere"
PASSWORD = "correct horse battery"
ROUTE = {"service": "productpage", "port": 9080}
BOOKINFO = {"name": "bookinfo", "namespace": "bookinfo", "manifests": "manifests/bookinfo.yaml", "route": ROUTE}
WEB = {"selector": {"app": "web"}, "ports": [{"port": 80}]}


def recorded(*, secrets: tuple[str, ...] = (), **config: Any) -> Recording:
    return record({"kubeContext": CONTEXT, **config}, secrets)


@pytest.fixture(scope="module")
def plain() -> Recording:
    """Record the program with its defaults."""
    return recorded()


def command(recording: Recording) -> Resource:
    (found,) = (one for one in recording.resources.values() if one.label == "Command/checks")
    return found


def arguments(recording: Recording) -> list[str]:
    return shlex.split(command(recording).inputs["create"])


def target(recording: Recording) -> Target:
    words = arguments(recording)
    return describe(restore(json.loads(words[words.index("--settings") + 1])))


def digest(recording: Recording) -> str:
    return arguments(recording)[-1]


# --- The node ---------------------------------------------------------------------------------------------------------


# A destroy asks first in which cluster it is, so this comes after everything.
GUARD = {"Command/destroy-guard", "DestroyGuard/destroy-guard"}


def test_the_checks_come_after_everything(plain: Recording) -> None:
    (key,) = (key for key, one in plain.resources.items() if one.label == "Command/checks")
    earlier = {plain.resources[other].label for other in plain.waits_for(key)}
    others = {one.label for one in plain.resources.values() if not one.label.startswith("Stack/")}
    assert others - earlier == {"Command/checks", *GUARD}


def test_nothing_but_the_guard_waits_for_the_checks(plain: Recording) -> None:
    own = {key for key, one in plain.resources.items() if one.label in ("Command/checks", "Verification/verification")}
    others = [key for key, one in plain.resources.items() if key not in own and one.label not in GUARD]
    assert len(own) == 2
    assert not any(set(plain.waits_for(key)) & own for key in others)


def test_switched_off_there_are_none() -> None:
    labels = {one.label for one in recorded(checks={"enabled": False}).resources.values()}
    assert not [label for label in labels if "Verification" in label or label == "Command/checks"]
    assert "Release/kong-istio" in labels


def test_the_command_is_given_time_for_all_checks(plain: Recording) -> None:
    # Those that only look do so at once; in the worst case all of them are in each other's way.
    assert sum(check.seconds for check in CHECKS) < LIMIT_SECONDS
    assert command(plain).options["custom_timeouts"] == {"create": f"{LIMIT_SECONDS}s", "update": f"{LIMIT_SECONDS}s"}


def test_creating_and_updating_look_at_the_same(plain: Recording) -> None:
    inputs = command(plain).inputs
    assert inputs["create"] == inputs["update"]
    assert shlex.split(inputs["create"])[:4] == ["venv/bin/python", "-m", "checks", "run"]


@pytest.mark.parametrize(
    ("checks", "there"),
    [
        ({}, {"--warn": True, "--reports": False}),
        ({"failUp": True}, {"--warn": False, "--reports": False}),
        ({"reports": "reports"}, {"--warn": True, "--reports": True}),
    ],
)
def test_settings_of_the_checks_reach_the_command(checks: dict[str, Any], there: dict[str, bool]) -> None:
    words = arguments(recorded(checks=checks))
    assert {option: option in words for option in there} == there


def test_the_target_is_the_stack_that_the_settings_describe() -> None:
    settings: dict[str, Any] = {
        "kubeconfig": "~/clusters/one",
        "istio": {"mtls": "STRICT"},
        "kong": {"serviceType": "NodePort"},
        "rateLimit": {"minute": 40, "hour": 400, "hideClientHeaders": True, "errorCode": 503},
        "applications": [{**BOOKINFO, "route": {**ROUTE, "path": "/books", "host": "books.example"}}],
        "observability": {"grafana": {"anonymous": True}, "kiali": {"enabled": False}},
        "checks": {"load": True, "requests": 7, "istiodAddress": "127.0.0.1:15010"},
    }
    assert target(recorded(**settings)) == Target(
        kubeconfig="~/clusters/one",
        context=CONTEXT,
        mtls="STRICT",
        client_host="envoyFilter",
        service_type="NodePort",
        kong_crds="",
        applications=(
            RoutedApplication(
                name="bookinfo",
                namespace="bookinfo",
                service="productpage",
                port=9080,
                path="/books",
                host="books.example",
                limits={"minute": 40, "hour": 400},
                limit_headers_hidden=True,
                error_code=503,
            ),
        ),
        grafana_anonymous=True,
        grafana_dashboards=7,
        kiali=False,
        load=True,
        requests=7,
        istiod_address="127.0.0.1:15010",
    )


def test_load_is_off_unless_the_stack_says_otherwise(plain: Recording) -> None:
    assert not target(plain).load
    for name in ("sandbox", "dev"):
        assert yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"]["kong-istio:checks"]["load"] is True


@pytest.mark.parametrize("file", sorted(ROOT.glob("Pulumi.*.yaml")), ids=lambda file: str(file.stem))
def test_no_shipped_stack_loses_an_up_to_a_check(file: Path) -> None:
    shipped = yaml.safe_load(file.read_text())["config"].get("kong-istio:checks", {})
    assert "--warn" in arguments(recorded(checks=shipped))


def test_a_sandbox_is_not_taken_for_simulated_before_its_nodes_are_seen() -> None:
    assert not describe(parse({"sandbox": True}, (), ROOT)).simulated


def test_kong_is_asked_at_the_address_that_the_settings_give() -> None:
    assert describe(parse({"kong": {"proxyAddress": "localhost:8000"}}, (), ROOT)).proxy_url == "http://localhost:8000"
    assert describe(parse({}, (), ROOT)).proxy_url == ""


# --- When they run again ----------------------------------------------------------------------------------------------


CHANGES: dict[str, dict[str, Any]] = {
    "limit": {"rateLimit": {"minute": 31}},
    "policy of the limit": {"rateLimit": {"minute": 30, "limitBy": "service"}},
    "route": {"applications": [{**BOOKINFO, "route": {**ROUTE, "path": "/books"}}]},
    "mutual TLS": {"istio": {"mtls": "STRICT"}},
    "routing": {"kong": {"routing": "guide"}},
    "values of istiod": {"istio": {"istiodValues": {"pilot": {"env": {}}}}},
    "values of Prometheus": {"observability": {"prometheus": {"values": {"server": {"replicaCount": 2}}}}},
    "a chart from elsewhere": {"charts": {"kong": "sandbox/charts/kong"}},
    "images from elsewhere": {"images": {"registry": "mirror.example:5000/all"}},
    "requests": {"checks": {"requests": 26}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_they_run_again_when_what_they_look_at_changes(plain: Recording, change: str) -> None:
    assert command(recorded(**CHANGES[change])).inputs != command(plain).inputs


def test_they_run_again_when_the_manifests_change(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    application = {"name": "own", "namespace": "own", "manifests": str(file), "route": {"service": "web", "port": 80}}

    def with_port(port: int) -> str:
        ports = [{"port": 80, "targetPort": port}]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": ports},
        }
        file.write_text(yaml.safe_dump(service))
        return digest(recorded(applications=[application]))

    assert with_port(8080) == with_port(8080) != with_port(8081)


SAME: dict[str, dict[str, Any]] = {
    "nothing": {},
    "what a destroy leaves": {"keepCrds": True},
    "a default, said": {"rateLimit": {"minute": 30, "policy": "local"}},
    "the file of the manifests": {
        "applications": [{**BOOKINFO, "manifests": str(ROOT / "manifests" / "bookinfo.yaml")}]
    },
}


@pytest.mark.parametrize("change", SAME)
def test_they_do_not_run_again_without_a_reason(plain: Recording, change: str) -> None:
    assert command(recorded(**SAME[change])).inputs == command(plain).inputs


def test_no_password_is_in_the_command_nor_in_its_digest() -> None:
    first, second = (
        recorded(
            secrets=("rateLimit",),
            rateLimit={"minute": 30, "policy": "redis", "redis": {"host": "redis.example", "password": word}},
        )
        for word in (PASSWORD, "another")
    )
    assert PASSWORD not in json.dumps(command(first).inputs, default=str)
    assert command(first).inputs == command(second).inputs


def test_no_secret_of_an_application_is_in_the_digest(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    application = {"name": "own", "namespace": "own", "manifests": str(file), "route": {"service": "web", "port": 80}}

    def with_login(login: str) -> str:
        items = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": login}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": WEB},
        ]
        file.write_text(yaml.safe_dump_all(items))
        return digest(recorded(applications=[application]))

    assert with_login("one") == with_login("two")


# --- What the stack says of them --------------------------------------------------------------------------------------


def applied(counts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recording, list[str]]:
    """Record an `up` whose checks come to these counts; return it with the program's warnings."""
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, *_, **__: warnings.append(message))
    said = {
        "precheck": {"kubernetes": "v1.35.1"},
        "kong-ready": {"address": "", "url": "", "kong": "3.9.1", "controller": "3.5.0"},
        "checks": counts,
    }

    def answer(resource: Resource) -> tuple[str, dict[str, Any]]:
        known: dict[str, dict[str, Any]] = {
            "Release": {"status": {"appVersion": "1", "version": "1"}},
            "Command": {"stdout": json.dumps(said.get(resource.name, "said"))},
        }
        return resource.name, {**resource.inputs, **known.get(resource.kind, {})}

    monkeypatch.setattr(Cluster, "raw", lambda *_: {})
    kubeconfig = tmp_path / "config"
    context = {"name": CONTEXT, "context": {"cluster": "one", "user": "one"}}
    cluster = {"name": "one", "cluster": {"server": "https://192.0.2.1"}}
    users = [{"name": "one", "user": {"token": "token"}}]
    kubeconfig.write_text(yaml.safe_dump({"clusters": [cluster], "users": users, "contexts": [context]}))
    config = Project(ROOT).configure({"kubeContext": CONTEXT})
    return run(config, answer, preview=False, environment={"KUBECONFIG": str(kubeconfig)}), warnings


def test_the_outputs_are_the_counts_and_nothing_for_the_checks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"passed": 5, "failed": 0, "notChecked": 2, "failedChecks": []}
    recording, warnings = applied(counts, tmp_path, monkeypatch)
    assert recording.outputs["checks"] == counts
    assert not [name for name, value in recording.outputs.items() if isinstance(value, str) and value.startswith("{")]
    assert not [text for text in warnings if "checks" in text]


def test_a_failure_that_does_not_fail_the_up_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"passed": 5, "failed": 2, "notChecked": 0, "failedChecks": ["page", "no route"]}
    recording, warnings = applied(counts, tmp_path, monkeypatch)
    (said,) = [text for text in warnings if text.startswith("2 of the checks failed")]
    assert "(page, no route)" in said
    assert recording.outputs["checks"] == counts


def test_a_stack_without_checks_has_no_counts() -> None:
    assert "checks" not in recorded(checks={"enabled": False}).outputs


# --- The sandbox ------------------------------------------------------------------------------------------------------


def facts(not_shown: str = "") -> Facts:
    found = Facts(ports={}, charts={}, origins={}, istiod="", not_shown=not_shown)
    return found.with_istiods([DEFAULT_REVISION])


def test_the_sandbox_says_where_istiod_answers() -> None:
    found = facts()
    config = machine_settings.with_facts(machine_settings.committed(), found)["config"]["kong-istio:checks"]
    assert config["istiodAddress"] == f"127.0.0.1:{found.istiods[DEFAULT_REVISION]['grpc']}"
    assert config["load"] is True


def test_without_istiod_there_is_no_address_of_it() -> None:
    config = machine_settings.with_facts(machine_settings.committed(), facts("there is no Go"))["config"][
        "kong-istio:checks"
    ]
    assert "istiodAddress" not in config


# --- The registry -----------------------------------------------------------------------------------------------------


def test_the_table_is_in_order_and_without_doubles() -> None:
    assert len({check.name for check in CHECKS}) == len({check.number for check in CHECKS}) == len(CHECKS)
    rows = [int("".join(filter(str.isdigit, check.number))) for check in CHECKS]
    assert rows == sorted(rows)
    assert set(range(1, 16)) == set(rows)


def test_every_check_shows_a_part_of_the_stack() -> None:
    assert PARTS.keys() == {check.name for check in CHECKS}
    assert PARTS.keys() >= AFTER_TRAFFIC


def test_a_target_travels_as_json() -> None:
    applications = (RoutedApplication(name="a", namespace="b", service="c", port=1),)
    one = Target(context="x", applications=applications, further_namespaces=("d",), chart_releases=("e/f",))
    assert from_json(to_json(one)) == one


def test_a_target_that_an_earlier_version_stored_still_loads() -> None:
    stored = json.loads(
        to_json(
            Target(
                applications=(
                    RoutedApplication(name="shop", namespace="shop", service="front", port=80, policy="redis"),
                )
            )
        )
    )
    assert stored["applications"][0].pop("policy") == "redis"
    assert from_json(json.dumps(stored)).applications[0].policy == "local"


def test_the_target_knows_where_kong_counts() -> None:
    redis = {"host": "redis.example.com"}
    limit = {"minute": 30, "policy": "redis", "redis": redis}
    found = describe(parse({"applications": [BOOKINFO], "rateLimit": limit}, (), ROOT))
    assert {application.policy for application in found.applications} == {"redis"}
