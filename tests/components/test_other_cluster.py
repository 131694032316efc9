"""What a stack that is up registers when it comes into another cluster, and where there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import kong_ready
from commands.cluster_identity import CLUSTER_UID, LastUp
from kube import Cluster, ClusterError
from plan import Recording, Resource
from plan.program import run
from plan.stack_config import ROOT, Project

WHEN_DELETED = {"leftovers", "destroy-guard", "istio-system-pods-gone", "kong-istio-pods-gone", "istiod-unused"}
READY = {"istiod-ready", "kong-ready", "prometheus-ready", "grafana-ready", "kiali-ready"}
READY |= {"bookinfo-pods-ready", "bookinfo-route-ready", "sidecars-ready"}
ON_THE_CLUSTER = {"precheck", "kong-crds-applied", "checks"} | READY | WHEN_DELETED
FIRST = {"address": "192.0.2.1", "url": "http://192.0.2.1", "kong": "3.9", "controller": "3.5"}
LAST = {"address": "192.0.2.2", "url": "http://192.0.2.2", "kong": "3.9.2", "controller": "3.5.2"}
TODAY = {"address": "192.0.2.3", "url": "http://192.0.2.3", "kong": "3.9.3", "controller": "3.5.3"}
SAID = {
    "precheck": {"kubernetes": "v1.35.1"},
    "kong-ready": FIRST,
    "checks": {"passed": 1, "failed": 0, "notChecked": 0, "failedChecks": []},
}


def last_up(uid: str, context: str = "here", objects: int = 40) -> LastUp:
    return LastUp(
        uids=dict.fromkeys(ON_THE_CLUSTER, uid) if uid else {},
        provider={"kubeconfig": "", "context": context, "clusterIdentifier": context},
        objects=objects,
        reports={"gateway": LAST, "precheck": {"kubernetes": "v1.36.0"}},
    )


def answer(resource: Resource) -> tuple[str, dict[str, Any]]:
    """Return what stands in the state: what the commands printed when they last ran."""
    known: dict[str, dict[str, Any]] = {
        "Release": {"status": {"appVersion": "1", "version": "1"}},
        "Command": {"stdout": json.dumps(SAID.get(resource.name, ""))},
    }
    return resource.name, {**resource.inputs, **known.get(resource.kind, {})}


class World:
    """The cluster of the context `here`, and what the state says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._kubeconfig = folder / "config"
        config = {
            "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        }
        self._kubeconfig.write_text(yaml.safe_dump(config))

    def comes(self, last: LastUp, *, preview: bool = False, cluster: bool = True, context: str = "here") -> Recording:
        """Run the program."""
        self._patch.setattr("components.shared.last_up.last_up", lambda: last)
        answers = {
            "/version": {"gitVersion": "v1.37.0"},
            "/api/v1/namespaces/kube-system": {"metadata": {"uid": "uid-here"}},
        }
        self._patch.setattr(Cluster, "raw", lambda _, path: answers[path])
        # One that is not there any more is in nobody's kubeconfig.
        kubeconfig = self._kubeconfig if cluster else self._kubeconfig.with_name("none")
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        config = Project(ROOT).configure({"kubeContext": context})
        return run(config, answer, preview=preview, environment=environment)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(kong_ready, "report", lambda *_: TODAY)
    monkeypatch.setattr("inputs.check_reachable", lambda *_, **__: None)
    return World(tmp_path, monkeypatch)


def commands(recording: Recording) -> dict[str, Resource]:
    return {one.name: one for one in recording.resources.values() if one.kind == "Command"}


def replaced(recording: Recording) -> set[str]:
    """Return the Commands that are made anew when what they belong to is another cluster."""
    found = commands(recording)
    return {
        name for name, one in found.items() if f"environment.{CLUSTER_UID}" in one.options.get("replace_on_changes", [])
    }


def uids(recording: Recording) -> dict[str, str]:
    given = {name: one.inputs.get("environment") or {} for name, one in commands(recording).items()}
    return {name: environment[CLUSTER_UID] for name, environment in given.items() if CLUSTER_UID in environment}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(LastUp(), set(), id="never up"),
        pytest.param(last_up(""), set(), id="from before UIDs"),
        pytest.param(last_up("uid-here"), ON_THE_CLUSTER, id="the same"),
        # There is nothing to clear, and nobody knows where.
        pytest.param(last_up("uid-there", objects=0), ON_THE_CLUSTER - WHEN_DELETED, id="another, refreshed"),
    ],
)
def test_every_command_on_the_cluster_is_made_anew_in_another_one(
    world: World, last: LastUp, expected: set[str]
) -> None:
    recording = world.comes(last)
    assert uids(recording) == dict.fromkeys(ON_THE_CLUSTER, "uid-here")
    assert replaced(recording) == expected


def test_a_key_that_is_made_once_stays_in_another_cluster(world: World) -> None:
    random = commands(world.comes(last_up("uid-there", objects=0))).keys() - ON_THE_CLUSTER
    assert random, "no Command makes a random key"


@pytest.mark.parametrize(("uid", "expected"), [("uid-here", True), ("uid-there", None)])
def test_a_release_in_the_cluster_before_stays_until_the_new_one_is_there(
    world: World, uid: str, expected: bool | None
) -> None:
    recording = world.comes(last_up(uid, objects=0))
    releases = [one for one in recording.resources.values() if one.kind == "Release"]
    assert {one.options.get("delete_before_replace") for one in releases} == {expected}


def test_a_preview_without_a_cluster_changes_nothing(world: World) -> None:
    recording = world.comes(last_up("uid-there"), preview=True, cluster=False)
    assert uids(recording) == dict.fromkeys(ON_THE_CLUSTER, "uid-there")
    provider = recording.resources["kubernetes"]
    assert provider.options["ignore_changes"] == ["kubeconfig", "context"]
    assert provider.inputs["clusterIdentifier"] == "here"


def told(recording: Recording) -> tuple[Any, ...]:
    versions = recording.outputs["versions"]
    outputs = recording.outputs["proxyAddress"], recording.outputs["proxyUrl"]
    return (*outputs, versions["kong"], versions["kongController"], versions["kubernetes"])


@pytest.mark.parametrize("preview", [True, False])
def test_the_outputs_are_todays(world: World, preview: bool) -> None:
    assert told(world.comes(last_up("uid-here"), preview=preview)) == (*TODAY.values(), "v1.37.0")


def test_a_preview_without_a_cluster_tells_what_the_last_up_told(world: World) -> None:
    assert told(world.comes(last_up("uid-here"), preview=True, cluster=False)) == (*LAST.values(), "v1.36.0")


@pytest.mark.parametrize("found", [{}, ClusterError("no rights", code=403)])
def test_what_cannot_be_looked_at_is_what_the_command_printed(
    world: World, monkeypatch: pytest.MonkeyPatch, found: dict[str, str] | ClusterError
) -> None:
    def report(*_: object) -> dict[str, str]:
        if isinstance(found, ClusterError):
            raise found
        return found

    monkeypatch.setattr(kong_ready, "report", report)
    assert told(world.comes(last_up("uid-here"))) == (*FIRST.values(), "v1.37.0")


@pytest.mark.parametrize(
    ("last", "judged"),
    [
        pytest.param(LastUp(), False, id="never up"),
        pytest.param(last_up("uid-here"), True, id="the same"),
        pytest.param(last_up(""), True, id="from before UIDs"),
        pytest.param(last_up("uid-there", objects=0), False, id="another"),
    ],
)
def test_a_kong_that_has_run_here_judges_what_it_is_given(last: LastUp, judged: bool, world: World) -> None:
    recording = world.comes(last)
    keys = {resource.label: key for key, resource in recording.resources.items()}
    for label in ("KongPlugin/bookinfo-route-rate-limit", "Ingress/bookinfo-route-ingress"):
        before = {recording.resources[key].label for key in recording.waits_for(keys[label])}
        assert ("Command/kong-ready" in before) is judged, label
    before = {recording.resources[key].label for key in recording.waits_for(keys["Command/sidecars-ready"])}
    assert ("Command/bookinfo-route-ready" in before) is judged, "what starts anew disturbs who asks for the route"
