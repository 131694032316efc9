"""`python -m plan.mirror`: every image and chart of a stack, with and without a mirror."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import STAND_INS

from plan import helm
from plan.inventory import images_in
from plan.mirror import main
from policy import findings
from sandbox import tools
from sandbox.paths import CHECKOUT
from sandbox.programs import TOOLS
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY

ROOT = CHECKOUT.root
HOME = "mirror.example:5000/all"
# As Istio's own chart has it: the sidecar's image only stands in parts, in the injector's values.
INJECTOR = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector}
data:
  values: |
    {"global": {"hub": {{ .Values.global.hub | quote }}, "tag": "1.2.3",
     "proxy": {"image": {{ .Values.global.proxy.image | quote }}}, "proxy_init": {"image": "proxyv2"}}}
"""
# As of some application's chart: a Service, and pods without requests and limits.
WEB = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: web, image: "nginx:1.27"}]}}}
"""
ISTIOD_VALUES = "global: {hub: registry.istio.io/release, proxy: {image: proxyv2}}\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes a stack file whose charts are the stand-ins, and two charts of Istio's shape."""
    if tools.find(TOOLS["helm"]) is None:
        pytest.skip("there is no helm of the pinned version here")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    sources = {name: str(STAND_INS / name) for name in ("kong", "prometheus", "grafana", "kiali-server")}
    for name, template, values in (("base", "", ""), ("istiod", INJECTOR, ISTIOD_VALUES)):
        folder = tmp_path / name
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.2.3\n")
        (folder / "values.yaml").write_text(values)
        (folder / "templates" / "one.yaml").write_text(template)
        sources[name] = str(folder)

    def write(**changes: Any) -> Path:
        settings = {"kong": {"admissionWebhook": False}, "charts": sources, **changes}
        file = tmp_path / "Pulumi.here.yaml"
        file.write_text(yaml.safe_dump({"config": {f"kong-istio:{key}": value for key, value in settings.items()}}))
        return file

    return write


def listed(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["--config-file", str(file), "--json"]) == 0
    said = capsys.readouterr()
    return dict(json.loads(said.out))


IMAGES = {
    "docker.io/curlimages/curl": ["grafana"],
    "docker.io/grafana/grafana": ["grafana"],
    "docker.io/kong/kubernetes-ingress-controller": ["kong-istio"],
    "docker.io/library/kong": ["kong-istio"],
    "quay.io/kiali/kiali": ["kiali"],
    "quay.io/prometheus-operator/prometheus-config-reloader": ["prometheus"],
    "quay.io/prometheus/prometheus": ["prometheus"],
    "registry.istio.io/release/proxyv2": ["istiod"],
    **{
        f"registry.istio.io/release/examples-bookinfo-{name}": ["bookinfo"]
        for name in ("details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3")
    },
}


def test_every_image_is_listed_with_its_version_and_who_needs_it(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    images = listed(config(), capsys)["images"]
    assert {image["source"].rpartition(":")[0]: image["needed_by"] for image in images} == IMAGES
    assert all(image["source"] == image["pulled_as"] for image in images)
    versions = dict(image["source"].rsplit(":", 1) for image in images)
    assert versions["docker.io/library/kong"] == KONG_GATEWAY
    assert versions["docker.io/kong/kubernetes-ingress-controller"] == KONG_CONTROLLER
    assert versions["registry.istio.io/release/proxyv2"] == "1.2.3"


def test_every_chart_is_listed_with_where_it_is_published_and_where_it_is_taken_from(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    charts = {chart["name"]: chart for chart in listed(config(), capsys)["charts"]}
    assert charts.keys() == CHARTS.keys() - {"cni", "gateway"}
    for name, chart in charts.items():
        assert (chart["source"], chart["version"]) == (CHARTS[name].repository, CHARTS[name].version)
    assert (charts["kong"]["taken_from"], charts["kong"]["taken_version"]) == (
        "sandbox/charts/kong",
        f"{CHARTS['kong'].version}-standin",
    )
    assert charts["istiod"]["taken_version"] == "1.2.3"


def test_what_is_switched_off_needs_nothing(config: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    off = {"grafana": {"enabled": False}, "kiali": {"enabled": False}}
    found = listed(config(observability=off), capsys)
    assert not [image for image in found["images"] if "grafana" in image["source"] or "kiali" in image["source"]]
    assert not {chart["name"] for chart in found["charts"]} & {"grafana", "kiali-server"}


def test_a_mirror_is_listed_beside_where_images_are_published(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = "own.example/kong@sha256:" + "a" * 64
    settings = {"registry": HOME, "references": {"kong": digest, "quay.io/kiali/kiali": "own.example/kiali:2"}}
    images = {image["source"]: image["pulled_as"] for image in listed(config(images=settings), capsys)["images"]}
    assert {source.rpartition(":")[0] for source in images} == IMAGES.keys()
    assert images.pop(f"docker.io/library/kong:{KONG_GATEWAY}") == digest
    (kiali,) = (source for source in images if "kiali" in source)
    assert images.pop(kiali) == "own.example/kiali:2"
    assert images == {source: f"{HOME}/{source.partition('/')[2]}" for source in images}


def test_an_image_of_an_application_is_listed_for_it(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pod = {"spec": {"containers": [{"name": "web", "image": "kong:3.9.1"}]}}
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": pod}}
    port = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all([web, port]))
    shop = {
        "name": "shop",
        "namespace": "shop",
        "manifests": str(tmp_path / "shop.yaml"),
        "route": {"service": "web", "port": 80},
    }
    images = listed(config(applications=[shop]), capsys)["images"]
    (kong,) = (image for image in images if image["source"] == "docker.io/library/kong:3.9.1")
    assert kong["needed_by"] == ["kong-istio", "shop"]


def test_people_get_tables(config: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config-file", str(config())]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    rows = [line.split() for line in said.out.splitlines()]
    assert [f"docker.io/library/kong:{KONG_GATEWAY}", "kong-istio"] in rows
    assert rows[0] == [str(len(IMAGES)), "images"]
    kong = ["kong", CHARTS["kong"].version, CHARTS["kong"].repository, "sandbox/charts/kong"]
    assert kong in [row[:4] for row in rows]
    assert main(["--config-file", str(config(images={"registry": HOME}))]) == 0
    assert f"{HOME}/library/kong:{KONG_GATEWAY}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"kong": {"admissionWebhook": True}}, "The chart sandbox/charts/kong of the release kong-istio cannot be"),
        ({"images": {"references": {"konk": "a.example/kong:1"}}}, "did you mean docker.io/library/kong?"),
        ({"charts": {"kong": "https://127.0.0.1:9"}}, "cannot be reached"),
    ],
)
def test_what_cannot_be_listed_is_one_sentence(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str], changes: dict[str, Any], fragment: str
) -> None:
    assert main(["--config-file", str(config(**changes))]) == 1
    said = capsys.readouterr()
    assert fragment in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    """Return an application that is a chart, with one image."""
    folder = tmp_path / "web"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 4.5.6\n")
    (folder / "templates" / "all.yaml").write_text(WEB)
    return {
        **{"name": "shop", "namespace": "shop", "chart": {"name": str(folder)}},
        "route": {"service": "web", "port": 80, "path": "/shop"},
    }


def test_an_application_that_is_a_chart_is_listed_with_its_images(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str], shop: dict[str, Any]
) -> None:
    found = listed(config(applications=[shop], images={"registry": HOME}), capsys)
    (image,) = (one for one in found["images"] if one["needed_by"] == ["shop"])
    # What is in a chart is not the stack's to replace.
    assert (image["source"], image["pulled_as"]) == ("docker.io/library/nginx:1.27",) * 2
    (chart,) = (one for one in found["charts"] if one["name"] == "web")
    assert (chart["version"], chart["taken_from"] == chart["source"]) == ("4.5.6", True)


def test_the_rules_look_into_an_application_that_is_a_chart(config: Callable[..., Path], shop: dict[str, Any]) -> None:
    found = [one.resource for one in findings(config(applications=[shop])) if "shop" in one.resource]
    assert [one for one in found if one.startswith("Deployment shop/web")]
    assert not [one for one in found if one.startswith("Service")]


def test_a_stack_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("There is no stack 'nowhere'; there are: dev, ")


@pytest.mark.parametrize("name", ["istio-sidecar-injector", "istio-sidecar-injector-1-31-0"])
@pytest.mark.parametrize(
    ("values", "images"),
    [
        ({"hub": "h", "tag": "t"}, ["h/proxyv2:t", "h/init:t"]),
        ({"hub": "h", "tag": "t", "variant": "distroless"}, ["h/proxyv2:t-distroless", "h/init:t-distroless"]),
        (
            {"proxy": {"image": "own.example/p@sha256:0"}, "hub": "h", "tag": "t"},
            ["own.example/p@sha256:0", "h/init:t"],
        ),
    ],
)
def test_images_of_sidecars_are_put_together_as_istiod_does_it(
    values: dict[str, Any], images: list[str], name: str
) -> None:
    given = {"global": {"proxy": {"image": "proxyv2"}, "proxy_init": {"image": "init"}, **values}}
    injector = {
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"values": json.dumps(given)},
    }
    assert sorted(images_in([injector])) == sorted(images)


def test_any_helm_will_do_and_the_pinned_one_is_had_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tools, "find", lambda _tool: None)
    monkeypatch.setattr(tools, "ensure", lambda names: {name: tmp_path / f"had-{name}" for name in names})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert helm.find() == tmp_path / "had-helm"
    (tmp_path / "helm").write_text("")
    (tmp_path / "helm").chmod(0o755)
    assert helm.find() == tmp_path / "helm"


def test_a_chart_that_refuses_its_values_is_quoted(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config-file", str(config(kong={"admissionWebhook": True}))]) != 0
    said = capsys.readouterr().err
    assert "cannot be rendered" in said
    assert "admission webhook" in said, said
