"""Istio's versions and revisions in the graph: what each step of an upgrade registers, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest

from plan import Recording, record
from versions import CHARTS

pytestmark = pytest.mark.usefixtures("machine")

NOW = CHARTS["istiod"].version
CANARY: dict[str, Any] = {"version": "1.31.0"}


def recorded(**istio: Any) -> Recording:
    return record({"kubeContext": "somewhere", "istio": istio})


def found(recording: Recording, label: str) -> dict[str, Any]:
    (inputs,) = (one.inputs for one in recording.resources.values() if one.label == label)
    return inputs


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


def test_pods_wait_for_every_control_plane(beside: Recording) -> None:
    line = found(beside, "Command/istiod-ready")["create"]
    assert "--revision= " in line
    assert "--revision=1-31-0" in line
    waits = {
        beside.resources[key].label
        for label, key in ((one.label, key) for key, one in beside.resources.items())
        if label == "Command/istiod-ready"
        for key in beside.waits_for(key)
    }
    assert {"Release/istiod", "Release/istiod-1-31-0"} <= waits


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
