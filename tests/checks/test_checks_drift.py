"""Drift inside Helm releases: what a manifest sets, compared with what is there."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
import yaml

from checks import drift
from kube import Object

Objects = dict[tuple[str, str, str], Object]


class FakeCluster:
    """Has Helm's Secrets and some objects."""

    def __init__(self, secrets: list[Object], there: Objects) -> None:
        self._secrets = secrets
        self._there = there

    def list(self, kind: str, **_: str) -> list[Object]:
        assert kind == "secrets"
        return self._secrets

    def counterpart(self, manifest: Object, namespace: str) -> Object | None:
        metadata = manifest["metadata"]
        return self._there.get((manifest["kind"], metadata.get("namespace") or namespace, metadata["name"]))


def secret(
    name: str,
    version: int,
    *manifests: Object,
    status: str = "deployed",
    crds: str = "",
    namespace: str = "istio-system",
) -> Object:
    """Return what Helm keeps of a release."""
    files = [{"name": "crds/all.yaml", "data": base64.b64encode(crds.encode()).decode()}] if crds else []
    release = {"manifest": yaml.safe_dump_all(manifests), "chart": {"files": files}}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode())))
    labels = {"name": name, "version": str(version), "status": status}
    return {"metadata": {"namespace": namespace, "labels": labels}, "data": {"release": packed.decode()}}


def an(kind: str, **content: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "one", "labels": {"app": "one"}}, **content}


def live(item: Object, **content: Any) -> Object:
    """Return an object as the API server has it: in a namespace, and with fields of its own."""
    metadata = {**item["metadata"], "namespace": "istio-system", "uid": "uid", "resourceVersion": "7"}
    return {**item, "metadata": metadata, "status": {"ready": 1}, **content}


POD = {"containers": [{"name": "one", "image": "one:1", "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}]}
READ = {"containers": [{"name": "one", "image": "one:1", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(an("Service", spec={"ports": [{"port": 80}]}), {"spec": {"ports": [{"port": 80, "nodePort": 3}]}}),
        pytest.param(an("Deployment", spec={"template": POD}), {"spec": {"template": READ}}),
        pytest.param(an("Deployment", spec={"paused": False, "x": [], "y": {}, "z": None}), {"spec": {"z": 3}}),
        pytest.param(an("Secret", stringData={"key": "text"}), {"data": {"key": "dGV4dA=="}}),
        pytest.param(
            an("ValidatingWebhookConfiguration", webhooks=[{"name": "v", "failurePolicy": "Ignore"}]),
            {"webhooks": [{"name": "v", "failurePolicy": "Fail", "clientConfig": {"caBundle": "x"}}]},
        ),
    ],
)
def test_what_the_api_server_or_istiod_makes_of_a_manifest_is_no_drift(wanted: Object, found: Object) -> None:
    assert drift.compared(wanted, live(wanted, **found)) == []


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (an("Service", spec={"type": "NodePort"}), {"spec": {"type": "ClusterIP"}}, "spec.type"),
        (an("Service", spec={"selector": {"a": "b"}}), {"spec": {"selector": {"a": "b", "c": "d"}}}, "spec.selector.c"),
        (an("Deployment", spec={"template": POD}), {"spec": {"template": {"containers": []}}}, "spec.template"),
        (an("Role", rules=[{"verbs": ["get"]}]), {"rules": [{"verbs": ["*"]}]}, "rules[0].verbs[0]"),
        (an("ConfigMap", data={"a": "b"}), {"data": {"a": "b", "more": ""}}, "data.more"),
        (an("Secret", data={"a": "cGFzc3dvcmQ="}), {"data": {"a": "b3RoZXI="}}, "data.a"),
        (
            an("ValidatingWebhookConfiguration", webhooks=[{"clientConfig": {"caBundle": "YQ=="}}]),
            {"webhooks": [{"clientConfig": {"caBundle": "Yg=="}}]},
            "webhooks[0].clientConfig.caBundle",
        ),
        (an("Service"), {"metadata": {"name": "one", "namespace": "istio-system"}}, "metadata.labels.app"),
    ],
)
def test_what_somebody_changed_is_named_by_its_path_alone(wanted: Object, found: Object, expected: str) -> None:
    (text,) = drift.compared(wanted, live(wanted, **found))
    assert text.startswith(f"{wanted['kind']} istio-system/one: {expected}")
    assert "b3RoZXI" not in text


def test_a_crd_of_another_version_is_named_once() -> None:
    def versions(*fields: str) -> dict[str, Any]:
        return {"versions": [{"name": name, "schema": dict.fromkeys(fields, "string")} for name in ("v1", "v2")]}

    wanted = an("CustomResourceDefinition", spec=versions("one", "two", "three"))
    (text,) = drift.compared(wanted, live(wanted, spec=versions("one")))
    assert text.startswith("CustomResourceDefinition ")
    assert text.endswith("one: spec.versions")


def test_the_newest_deployed_release_and_its_crds_are_compared() -> None:
    service, crd = an("Service", spec={"type": "NodePort"}), an("CustomResourceDefinition")
    secrets = [
        secret("istiod", 9, an("Service", spec={"type": "ClusterIP"}), status="superseded"),
        secret("istiod", 10, service, crds=yaml.safe_dump(crd)),
        secret("istiod", 11, an("Gone"), status="failed"),
        secret("kiali", 1, an("Role")),
        # The stack's own, which are compared with its file.
        secret("kong-istio", 1, crds=yaml.safe_dump(crd), namespace="kong-istio"),
        secret("shop", 1, an("Job")),
        secret("somebodys", 1, an("CronJob")),
    ]
    there: Objects = {("Service", "istio-system", "one"): live(service)}
    assert drift.drifted(FakeCluster(secrets, there), ["istio-system/shop"]) == {  # type: ignore[arg-type]
        "istio-system/istiod": ["CustomResourceDefinition one is not there"],
        "istio-system/kiali": ["Role one is not there"],
        "kong-istio/kong-istio": [],
        "istio-system/shop": ["Job one is not there"],
    }
