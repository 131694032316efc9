"""BookInfo's manifest: the same application as Istio's sample."""

from __future__ import annotations

from typing import Any

import pytest
from charts import by_identity, documents, pick, reference, tidy

from sandbox.paths import CHECKOUT

MANIFEST = CHECKOUT.root / "manifests" / "bookinfo.yaml"
SERVICES = {"details": ["v1"], "ratings": ["v1"], "reviews": ["v1", "v2", "v3"], "productpage": ["v1"]}


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Read the manifest's objects by kind and name."""
    found = by_identity(documents(MANIFEST.read_text()))
    return {(kind, name): item for (kind, _, name), item in found.items()}


def test_is_the_sample_of_istio() -> None:
    sample = by_identity(tidy(documents(reference("manifests/bookinfo.yaml").read_text())))
    assert by_identity(tidy(documents(MANIFEST.read_text()))) == sample


def test_has_the_fourteen_objects(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert set(objects) == {
        *(("Service", service) for service in SERVICES),
        *(("ServiceAccount", f"bookinfo-{service}") for service in SERVICES),
        *(("Deployment", f"{service}-{version}") for service, versions in SERVICES.items() for version in versions),
    }


def test_names_no_namespace(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert [identity for identity, item in objects.items() if "namespace" in item["metadata"]] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_finds_its_pods(service: str, objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    spec = objects["Service", service]["spec"]
    assert spec["ports"] == [{"name": "http", "port": 9080}]
    for version in SERVICES[service]:
        deployment = objects["Deployment", f"{service}-{version}"]
        labels = pick(deployment, "spec", "template", "metadata", "labels")
        assert labels == {"app": service, "version": version} == pick(deployment, "spec", "selector", "matchLabels")
        assert spec["selector"].items() <= labels.items()
        pod = pick(deployment, "spec", "template", "spec")
        assert pod["serviceAccountName"] == f"bookinfo-{service}"
        assert pick(pod, "containers", service, "ports", 0, "containerPort") == 9080


def test_every_image_is_pinned(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    images = {
        name: pick(item, "spec", "template", "spec", "containers", 0, "image")
        for (kind, name), item in objects.items()
        if kind == "Deployment"
    }
    assert images == {name: f"registry.istio.io/release/examples-bookinfo-{name}:1.20.3" for name in images}


def test_says_where_it_comes_from() -> None:
    header = MANIFEST.read_text().partition("---")[0]
    assert "istio/istio" in header
    assert "Apache License, Version 2.0" in header
