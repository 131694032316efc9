"""Kong's CRDs: the stack brings them, and what needs them comes later."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from charts import documents, published
from test_graph import before, inputs, recorded

from components.kong_crds import read
from components.shared.manifests import ManifestError
from components.shared.releases import REPAIR
from plan import Recording
from sandbox.paths import CHECKOUT
from versions import KONG_CRDS

pytestmark = pytest.mark.usefixtures("machine")

ROOT = CHECKOUT.root
OWN = (ROOT / "manifests" / "kong" / "crds.yaml").read_text(encoding="utf-8")
PLUGINS = "kongplugins.configuration.konghq.com"
VERSION = "kubernetes-configuration.konghq.com/version"


APPLIED = "Command/kong-crds-applied"


def of_stack(recording: Recording) -> list[Any]:
    found = json.loads(inputs(recording, APPLIED)["stdin"]) if APPLIED in labels(recording) else []
    return list(found)


def labels(recording: Recording) -> set[str]:
    return {resource.label for resource in recording.resources.values()}


@pytest.fixture(scope="module")
def plain() -> Recording:
    return recorded()


def test_the_file_is_of_the_release_in_the_table() -> None:
    found = documents(OWN)
    assert len(found) == 12
    assert {item["metadata"]["annotations"][VERSION] for item in found} == {f"v{KONG_CRDS}"}
    assert f"?ref=v{KONG_CRDS}'" in OWN, "the comment names another release"


def test_the_chart_of_the_table_brings_the_same() -> None:
    folder = published("kong").values.parent
    files = [*folder.glob("crds/*.yaml"), *folder.glob("rendered.yaml")]
    brought = [item for file in files for item in documents(file.read_text(encoding="utf-8"))]
    assert [item for item in brought if item["kind"] == "CustomResourceDefinition"] == documents(OWN)


def test_they_are_the_stacks_and_stay_when_their_resource_goes(plain: Recording) -> None:
    assert len(of_stack(plain)) == 12
    for crd in of_stack(plain):
        assert crd["metadata"]["labels"]["kong-istio/release"] == "kong-istio"
    command = inputs(plain, APPLIED)
    assert command["create"] == command["update"]
    assert not command.get("delete"), "they would go with all objects of them"
    assert "Command/precheck" in before(plain, APPLIED)
    assert inputs(plain, "Release/kong-istio")["skipCrds"] is True


def test_a_repair_brings_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def environment() -> Any:
        return inputs(recorded(), APPLIED).get("environment") or {}

    assert REPAIR not in environment()
    monkeypatch.setenv(REPAIR, "true")
    assert environment()[REPAIR]


def test_they_are_applied_without_descriptions_and_else_as_they_are(tmp_path: Path) -> None:
    plugin = next(item for item in documents(OWN) if item["metadata"]["name"] == PLUGINS)
    schema: dict[str, Any] = {
        "description": "of it",
        "type": "object",
        "properties": {
            "description": {"description": "of a field of this name", "type": "string"},
            "properties": {"type": "object", "properties": {"description": {"type": "string", "enum": ["a"]}}},
        },
    }
    plugin["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    (tmp_path / "one.yaml").write_text(json.dumps(plugin))
    (made,) = of_stack(recorded(kong={"crds": str(tmp_path)}))
    del schema["description"], schema["properties"]["description"]["description"]
    for version in plugin["spec"]["versions"]:
        for column in version.get("additionalPrinterColumns", []):
            column.pop("description", None)
    assert made["spec"] == plugin["spec"]


@pytest.mark.parametrize(
    "later",
    [
        *("Release/kong-istio", "KongPlugin/bookinfo-route-rate-limit", "KongClusterPlugin/kong-metrics"),
        *("Ingress/bookinfo-route-ingress", "Command/kong-ready"),
    ],
)
def test_what_needs_them_comes_later(later: str, plain: Recording) -> None:
    assert APPLIED in before(plain, later)


def test_no_mesh_is_waited_for_to_make_them(plain: Recording) -> None:
    assert not {"Release/istio-base", "Release/istiod"} & before(plain, APPLIED)


def test_the_namespaces_come_before_them(plain: Recording) -> None:
    assert "Namespace/istio-system" in before(plain, APPLIED)
    namespaces = {r.label for r in plain.resources.values() if r.kind == "Namespace"}
    assert not any(APPLIED in before(plain, label) for label in namespaces)


def brought(recording: Recording) -> dict[str, Any]:
    words = shlex.split(inputs(recording, "Command/precheck")["create"])
    return dict(json.loads(words[words.index("--kong-crds") + 1]))


def test_the_precheck_knows_what_comes(plain: Recording) -> None:
    assert brought(plain)[PLUGINS] == {"of": f"v{KONG_CRDS}", "versions": ["v1"]}
    assert len(brought(plain)) == 12


def test_somebody_elses_are_left_alone() -> None:
    recording = recorded(kong={"crds": "none"})
    assert of_stack(recording) == []
    assert brought(recording) == {}
    assert inputs(recording, "Release/kong-istio")["skipCrds"] is True


def test_others_take_their_place(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(OWN.replace(f"v{KONG_CRDS}", "v9.9.9"))
    assert {item["of"] for item in brought(recorded(kong={"crds": str(tmp_path)})).values()} == {"v9.9.9"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "kind: ConfigMap",
            "where ConfigMap one is, which is no CRD of Kong's: name a file or folder with Kong's CRDs alone",
        ),
        (
            "kind: CustomResourceDefinition\nspec: {group: a.io}",
            "where CustomResourceDefinition one is, which is no CRD",
        ),
        ("kind: CustomResourceDefinition\nspec: {group: configuration.konghq.com}", "the CRD of KongPlugin is missing"),
    ],
)
def test_what_is_no_set_of_kongs_crds_is_refused(text: str, said: str, tmp_path: Path) -> None:
    group = "v1" if "ConfigMap" in text else "apiextensions.k8s.io/v1"
    (tmp_path / "crds.yaml").write_text(f"apiVersion: {group}\nmetadata: {{name: one}}\n{text}\n")
    with pytest.raises(ManifestError, match=said):
        read(tmp_path, "crds.yaml")
