"""Istio's versions and revisions in the graph: what each step of an upgrade registers, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest
from charts import documents, template

from components.shared import revision_tags
from plan import Recording, record
from settings.control_planes import ControlPlane
from versions import CHARTS

pytestmark = pytest.mark.usefixtures("machine")

NOW = CHARTS["istiod"].version
CANARY: dict[str, Any] = {"version": "1.31.0"}


def recorded(**istio: Any) -> Recording:
    return record({"kubeContext": "somewhere", "istio": istio})


def found(recording: Recording, label: str) -> dict[str, Any]:
    (inputs,) = (one.inputs for one in recording.resources.values() if one.label == label)
    return inputs


def waits_for(recording: Recording, label: str) -> set[str]:
    (key,) = (key for key, one in recording.resources.items() if one.label == label)
    return {recording.resources[each].label for each in recording.waits_for(key)}


def labels(recording: Recording) -> set[str]:
    return {resource.label for resource in recording.resources.values()}


def namespace_labels(recording: Recording, name: str) -> dict[str, str]:
    return {
        key: value
        for key, value in found(recording, f"Namespace/{name}")["metadata"]["labels"].items()
        if key.startswith("istio")
    }


@pytest.fixture(scope="module")
def plain() -> Recording:
    return recorded()


@pytest.fixture(scope="module")
def beside() -> Recording:
    """Record a canary that bookinfo is on."""
    return recorded(canary={**CANARY, "namespaces": ["bookinfo"], "istiodValues": {"env": {"A": "b"}}})


def test_a_version_is_that_of_every_chart_of_istios() -> None:
    recording = recorded(version="1.30.9", cni=True, ingressGateway=True)
    for name in ("istio-base", "istiod", "istio-cni", "istio-ingressgateway"):
        assert found(recording, f"Release/{name}")["version"] == "1.30.9", name
    assert found(recording, "Release/kong-istio")["version"] == CHARTS["kong"].version


def test_a_canary_comes_beside_a_control_plane_that_stays_as_it_is(plain: Recording, beside: Recording) -> None:
    assert found(beside, "Release/istiod") == found(plain, "Release/istiod")
    second = found(beside, "Release/istiod-1-31-0")
    assert (second["version"], second["values"]["revision"]) == ("1.31.0", "1-31-0")
    assert second["values"]["env"] == {"A": "b"}


def test_the_crds_are_the_newer_ones_and_validated_by_the_stable_control_plane(beside: Recording) -> None:
    base = found(beside, "Release/istio-base")
    assert (base["version"], base["values"]["defaultRevision"]) == ("1.31.0", "default")


def test_a_namespace_that_is_moved_has_the_label_of_its_revision_alone(plain: Recording, beside: Recording) -> None:
    assert namespace_labels(beside, "bookinfo") == {"istio.io/rev": "1-31-0"}
    assert (
        namespace_labels(beside, "kong-istio") == namespace_labels(plain, "bookinfo") == {"istio-injection": "enabled"}
    )


def test_a_namespace_is_moved_once_its_control_plane_injects(plain: Recording, beside: Recording) -> None:
    assert "Command/istiod-ready" in waits_for(beside, "Namespace/bookinfo")
    assert "Command/istiod-ready" not in waits_for(plain, "Namespace/bookinfo"), "a first up would take longer"


def test_pods_wait_for_every_control_plane(beside: Recording) -> None:
    line = found(beside, "Command/istiod-ready")["create"]
    assert "--revision= " in line
    assert "--revision=1-31-0" in line
    assert {"Release/istiod", "Release/istiod-1-31-0"} <= waits_for(beside, "Command/istiod-ready")


def test_a_canary_that_becomes_the_stable_one_stays_the_same_release(beside: Recording) -> None:
    promoted = recorded(version="1.31.0", revision="1-31-0", istiodValues={"env": {"A": "b"}})
    assert found(promoted, "Release/istiod-1-31-0") == found(beside, "Release/istiod-1-31-0")
    assert "Release/istiod" not in labels(promoted)
    assert found(promoted, "Release/istio-base")["values"]["defaultRevision"] == "1-31-0"
    for name in ("bookinfo", "kong-istio"):
        assert namespace_labels(promoted, name) == {"istio.io/rev": "1-31-0"}


def test_istios_gateways_ask_for_the_revision_that_they_are_on() -> None:
    beside = recorded(ingressGateway=True, egressGateway=True, canary={**CANARY, "namespaces": ["istio-ingress"]})
    assert found(beside, "Release/istio-ingressgateway")["values"]["revision"] == "1-31-0"
    assert "revision" not in found(beside, "Release/istio-egressgateway")["values"]
    assert found(beside, "Release/istio-ingressgateway")["version"] == NOW


def test_sidecars_follow_once_all_that_has_some_is_there(beside: Recording) -> None:
    command = found(beside, "Command/sidecars-ready")
    assert "--namespace=bookinfo=1-31-0 --namespace=kong-istio= " in command["create"]
    waits = waits_for(beside, "Command/sidecars-ready")
    assert {"Release/kong-istio", "Command/bookinfo-pods-ready", "Command/istiod-ready", "Namespace/bookinfo"} <= waits
    assert "Release/grafana" not in waits


@pytest.mark.parametrize(
    "istio", [{"version": "1.30.9"}, {"canary": CANARY}, {"canary": {**CANARY, "namespaces": ["bookinfo"]}}]
)
def test_sidecars_are_looked_at_again_when_a_control_plane_or_a_namespace_moves(istio: dict[str, Any]) -> None:
    again = found(recorded(**istio), "Command/sidecars-ready")
    assert again["create"] != found(recorded(), "Command/sidecars-ready")["create"]


def test_without_injection_there_are_no_sidecars_to_look_at() -> None:
    assert not {"Sidecars/sidecars", "Command/sidecars-ready"} & labels(recorded(injection=False))


def test_nothing_stands_between_the_pods_and_the_deletion_of_their_control_plane(beside: Recording) -> None:
    for release in ("istiod", "istiod-1-31-0"):
        guard = found(beside, f"Command/{release}-unused")
        assert "create" not in guard
        revision = release.removeprefix("istiod-") if "-" in release else "default"
        assert f"--revision {revision}" in guard["delete"]
        assert f"Release/{release}" in waits_for(beside, f"Command/{release}-unused")


# --- revision tags -----------------------------------------------------------------------------------------------------


def test_a_tag_is_moved_by_a_word(plain: Recording) -> None:
    tagged = [recorded(canary=CANARY, tags={"prod": stands_for}) for stands_for in ("stable", "canary")]
    services = []
    for recording, revision in zip(tagged, ("default", "1-31-0"), strict=True):
        made = found(recording, "MutatingWebhookConfiguration/istio-revision-tag-prod")
        assert made["metadata"]["labels"]["istio.io/rev"] == revision
        services.append({webhook["clientConfig"]["service"]["name"] for webhook in made["webhooks"]})
    assert services == [{"istiod"}, {"istiod-1-31-0"}]
    assert not {label for label in labels(plain) if label.startswith("MutatingWebhookConfiguration")}


def test_a_stable_revision_goes_on_serving_namespaces_without_one() -> None:
    made = found(
        recorded(version="1.31.0", revision="1-31-0"), "MutatingWebhookConfiguration/istio-revision-tag-default"
    )
    assert [webhook["name"].partition(".sidecar")[0] for webhook in made["webhooks"]] == [
        *("rev.namespace", "rev.object", "namespace", "object")
    ]


@pytest.mark.parametrize("url", ["", "https://localhost:1/inject"])
@pytest.mark.parametrize("revision", ["", "1-31-0"])
@pytest.mark.parametrize("tag", ["prod", "default"])
def test_the_webhooks_of_a_tag_are_those_of_the_chart(tag: str, revision: str, url: str) -> None:
    values = {"revision": revision, "revisionTags": [tag], "istiodRemote": {"injectionURL": url}}
    rendered = documents(template("istiod", values, "istiod", "istio-system"))
    (theirs,) = (item for item in rendered if item["metadata"]["name"] == f"istio-revision-tag-{tag}")
    plane = ControlPlane(revision=revision, version="1.31.0")
    ours = revision_tags.webhooks_of(tag, plane, url)
    assert ours["webhooks"] == theirs["webhooks"]
    for label in ("istio.io/tag", "istio.io/rev", "app"):
        assert ours["metadata"]["labels"][label] == theirs["metadata"]["labels"][label]
