"""Images by settings only: from a mirror, by references with tags and digests, with the Secrets that open it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from charts import documents, helm_template, pick, published, template

from components.istio_gateways import gateway_values
from components.kong_gateway import kong_values
from components.mesh import cni_values, istiod_values
from components.observability import grafana_values, kiali_values, prometheus_values
from components.shared import images, releases
from components.shared.images import canonical, in_manifest, pulled
from plan import record
from plan.inventory import images_in
from sandbox.paths import CHECKOUT
from settings import Images, Istio, Kong, Observability, SettingsError
from versions import CHARTS

ROOT = CHECKOUT.root
HOME = "mirror.example:5000/all"
#: Different for each image, so that none can take another's place.
DIGESTS = {image: f"{number:064x}" for number, image in enumerate(images.OF_CHARTS, start=0xA0)}
SECRETS = ("one", "two.example")


def by(form: str, image: str) -> str:
    """Return a reference to an image elsewhere, with a tag, a digest or both."""
    name = f"own.example/{image.rpartition('/')[2]}"
    return name + {"tag": ":9.8", "digest": f"@sha256:{DIGESTS[image]}", "both": f":9.8@sha256:{DIGESTS[image]}"}[form]


FORMS = ("tag", "digest", "both")
REFERRED = {form: Images(registry=HOME, references={i: by(form, i) for i in images.OF_CHARTS}) for form in FORMS}
SECRET = Images(pull_secrets=SECRETS)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every chart repository answer: nothing here asks what is in it."""
    monkeypatch.setattr(releases, "urlopen", lambda *_, **__: nullcontext())


# --- What the charts make of it --------------------------------------------------------------------------------------

Values = dict[str, Any]
OF_CHART: dict[str, Callable[[Images], Values]] = {
    "istiod": lambda chosen: istiod_values(Istio(), chosen),
    "cni": lambda chosen: cni_values(Istio(cni=True), chosen),
    "gateway": lambda chosen: gateway_values("ingress", "ClusterIP", chosen),
    "kong": lambda chosen: kong_values(Kong(admission_webhook=False), chosen),
    "prometheus": lambda chosen: prometheus_values(Observability(), chosen),
    "grafana": lambda chosen: grafana_values(Observability(), chosen, ROOT),
    "kiali-server": lambda chosen: kiali_values(Observability(), chosen),
}
PULLS = {
    "istiod": {images.PILOT, images.PROXY},
    "cni": {images.CNI},
    "gateway": set[str](),
    "kong": {images.KONG, images.KONG_CONTROLLER},
    "prometheus": {images.PROMETHEUS, images.CONFIG_RELOADER},
    "grafana": {images.GRAFANA, images.CURL},
    "kiali-server": {images.KIALI},
}
Render = Callable[[str, Images], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def render() -> Render:
    """Return a function that renders a stand-in, or Istio's own chart, with what settings of images make of its values."""
    return lambda chart, chosen: documents(template(chart, OF_CHART[chart](chosen), chart, "somewhere"))


@pytest.mark.parametrize("chart", OF_CHART)
def test_charts_pull_what_is_listed(chart: str, render: Render) -> None:
    assert {canonical(image) for image in images_in(render(chart, Images()))} == PULLS[chart]


def test_every_listed_image_is_some_charts() -> None:
    assert set().union(*PULLS.values()) == set(images.OF_CHARTS)
    assert OF_CHART.keys() == CHARTS.keys() - {"base"}  # definitions alone


@pytest.mark.parametrize("chart", [chart for chart, pulls in PULLS.items() if pulls])
def test_a_mirror_holds_every_image_of_a_chart(chart: str, render: Render) -> None:
    made = images_in(render(chart, Images(registry=HOME)))
    assert {canonical(image) for image in made} == {f"{HOME}/{image.partition('/')[2]}" for image in PULLS[chart]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chart", [chart for chart in PULLS if chart != "grafana"])
def test_a_reference_is_pulled_as_it_is_written(chart: str, form: str, render: Render) -> None:
    made = set(images_in(render(chart, REFERRED[form])))
    assert made == {by(form, image) for image in PULLS[chart]}


@pytest.mark.parametrize("form", FORMS)
def test_grafana_pulls_by_a_reference_and_writes_a_tag_before_a_digest(form: str, render: Render) -> None:
    made = set(images_in(render("grafana", REFERRED[form])))
    if form != "digest":
        assert made == {by(form, image) for image in PULLS["grafana"]}
    # Where name and digest are given, a tag between them says nothing.
    assert {without_tag(image) for image in made} == {without_tag(by(form, image)) for image in PULLS["grafana"]}


def without_tag(image: str) -> str:
    return f"{canonical(image)}@{image.partition('@')[2]}"


@pytest.mark.parametrize("image", images.OF_CHARTS)
def test_one_reference_changes_one_image(image: str, render: Render) -> None:
    chosen = Images(registry=HOME, references={image: by("both", image)})
    for chart, pulls in PULLS.items():
        others = {f"{HOME}/{other.partition('/')[2]}" for other in pulls - {image}}
        own = {canonical(by("both", image))} if image in pulls else set()
        assert {canonical(made) for made in images_in(render(chart, chosen))} == others | own


def test_a_reference_may_name_an_image_in_docker_s_short_form() -> None:
    short = Images(references={"kong": by("tag", images.KONG)})
    assert kong_values(Kong(), short)["image"]["unifiedRepoTag"] == by("tag", images.KONG)


def test_kongs_chart_keeps_a_tag_to_tell_kongs_abilities_by(render: Render) -> None:
    (deployment,) = (item for item in render("kong", REFERRED["digest"]) if item["kind"] == "Deployment")
    assert pick(deployment, "spec", "template", "metadata", "labels", "version") == "3.9"


@pytest.mark.parametrize("chart", OF_CHART)
def test_pods_of_charts_have_the_pull_secrets(chart: str, render: Render) -> None:
    rendered = render(chart, SECRET)
    # Istio's charts give them to the accounts that the pods run as.
    holders = list(pods(rendered)) if chart not in ("istiod", "cni") else accounts(rendered)
    assert holders
    for holder in holders:
        assert [secret["name"] for secret in holder.get("imagePullSecrets", [])] == list(SECRETS)
    assert "imagePullSecrets" not in json.dumps([*pods(render(chart, Images())), *accounts(render(chart, Images()))])


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        spec = images.pod_spec(item)
        if spec is not None:
            yield spec


def accounts(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the accounts that pods run as; istiod's chart makes one more, for other clusters' readers."""
    used = {spec.get("serviceAccountName") for spec in pods(objects)}
    return [item for item in objects if item["kind"] == "ServiceAccount" and item["metadata"]["name"] in used]


def test_injected_pods_have_the_pull_secrets_by_istiods_template(render: Render) -> None:
    (injector,) = (item for item in render("istiod", SECRET) if item["metadata"]["name"] == "istio-sidecar-injector")
    assert json.loads(injector["data"]["values"])["global"]["imagePullSecrets"] == list(SECRETS)
    assert "range .Values.global.imagePullSecrets" in injector["data"]["config"]


@pytest.mark.parametrize("chart", OF_CHART)
def test_default_images_are_those_of_the_real_charts(chart: str) -> None:
    real = published(chart)
    rendered = real.values.with_name("rendered.yaml")
    if real.folder:
        made = images_in(
            documents(helm_template(real.folder, json.dumps(OF_CHART[chart](Images())), chart, "somewhere"))
        )
    else:
        # Without dashboards nothing is downloaded.
        made = [*images_in(documents(rendered.read_text())), *(PULLS[chart] & {images.CURL})]
    # Istio's source names images of its own tests.
    assert {canonical(image).replace("/testing/", "/release/") for image in made} == PULLS[chart]


# --- Applications ----------------------------------------------------------------------------------------------------

CONTAINERS = {
    "initContainers": [{"name": "before", "image": "busybox:1.37"}],
    "containers": [{"name": "web", "image": "shop/web:1"}, {"name": "injected", "image": "auto"}],
    "volumes": [{"name": "files", "image": {"reference": "quay.io/shop/files:2"}}, {"name": "rest", "emptyDir": {}}],
}


def workload(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    wrapped: dict[str, Any] = {"template": {"spec": spec}}
    if kind == "CronJob":
        wrapped = {"jobTemplate": {"spec": wrapped}}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "it"}, "spec": spec if kind == "Pod" else wrapped}


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
def test_pods_of_applications_pull_as_the_settings_say(kind: str) -> None:
    chosen = Images(registry=HOME, references={"shop/web": "own.example/web@sha256:" + "f" * 64})
    before = workload(kind, CONTAINERS)
    made = in_manifest(before, chosen)
    assert pulled(before) == ["busybox:1.37", "shop/web:1", "quay.io/shop/files:2"]
    assert pulled(made) == [
        f"{HOME}/library/busybox:1.37",
        "own.example/web@sha256:" + "f" * 64,
        f"{HOME}/shop/files:2",
    ]
    assert images.pod_spec(made)["containers"][1] == CONTAINERS["containers"][1]  # type: ignore[index]


def test_pull_secrets_come_beside_an_applications_own() -> None:
    own = workload("Deployment", {**CONTAINERS, "imagePullSecrets": [{"name": "two.example"}, {"name": "own"}]})
    names = [secret["name"] for secret in images.pod_spec(in_manifest(own, SECRET))["imagePullSecrets"]]  # type: ignore[index]
    assert names == ["two.example", "own", "one"]


@pytest.mark.parametrize(
    "manifest",
    [
        workload("Deployment", CONTAINERS),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": {"image": "busybox"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "it"}},
    ],
)
def test_without_settings_manifests_stay_as_they_are(manifest: dict[str, Any]) -> None:
    assert in_manifest(manifest, Images()) == manifest


def test_other_objects_stay_as_they_are_with_settings() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": {"image": "busybox"}}
    assert in_manifest(config, Images(registry=HOME, pull_secrets=SECRETS)) == config


# --- The whole stack -------------------------------------------------------------------------------------------------


def test_the_stack_takes_everything_from_where_the_settings_say() -> None:
    bookinfo = "registry.istio.io/release/examples-bookinfo-details-v1"
    chosen = {"registry": HOME, "pullSecrets": ["pull"], "references": {bookinfo: "own.example/details:7"}}
    resources = record({"images": chosen}).resources.values()
    workloads = [resource.inputs for resource in resources if resource.kind == "Deployment"]
    assert len(workloads) == 6
    assert all(pick(item, "spec", "template", "spec", "imagePullSecrets") == [{"name": "pull"}] for item in workloads)
    made = {image for item in workloads for image in pulled(item)}
    assert "own.example/details:7" in made
    assert all(image.startswith(f"{HOME}/release/") for image in made - {"own.example/details:7"})
    values = {resource.name: resource.inputs["values"] for resource in resources if resource.kind == "Release"}
    for release in ("istiod", "kong-istio", "prometheus", "grafana", "kiali"):
        assert "pull" in json.dumps(values[release])
        assert HOME in json.dumps(values[release])


def refused(**chosen: Any) -> str:
    with pytest.raises(SettingsError) as error:
        record({"images": chosen})
    assert "\n" not in str(error.value)
    return str(error.value)


WHOLE = "own.example/name:1"


@pytest.mark.parametrize(
    ("image", "fragment"),
    [
        ("docker.io/library/konk", "did you mean docker.io/library/kong?"),
        ("konk", "did you mean docker.io/library/kong?"),
        ("kong:3.9.1", "did you mean docker.io/library/kong?"),
        ("quay.io/kiali/kiali@sha256:0", "did you mean quay.io/kiali/kiali?"),
        ("registry.istio.io/release/examples-bookinfo-detail-v1", "did you mean registry.istio.io/release/examples"),
        ("x.y/z", "those are docker.io/curlimages/curl, docker.io/"),
    ],
)
def test_a_reference_for_an_image_that_the_stack_does_not_have_is_refused(image: str, fragment: str) -> None:
    sentence = refused(references={image: WHOLE})
    assert sentence.startswith(f"images.references names {image}, which is no image of this stack")
    assert fragment in sentence


@pytest.mark.parametrize(
    "given",
    [
        "",
        "kong:3.9",
        "kong/kong:3.9",
        "own.example/kong",
        "https://own.example/kong:1",
        "own.example/kong@sha256:12",
        3,
    ],
)
def test_a_reference_that_no_pull_could_use_is_refused(given: Any) -> None:
    sentence = refused(references={"kong": given})
    assert sentence.startswith("images.references has ")
    assert "for kong: it must be a whole reference with a tag or a digest" in sentence


@pytest.mark.parametrize(
    "given", ["localhost:5000/kong:1", "own/kong:1".replace("own", "own:80"), "a.b/c/d_e@sha256:" + "0" * 64]
)
def test_a_whole_reference_is_taken(given: str) -> None:
    images.check_references(Images(references={"kong": given}), [], Kong())


def test_two_references_for_one_image_are_refused() -> None:
    sentence = refused(references={"kong": WHOLE, "docker.io/library/kong": WHOLE})
    assert sentence == ("images.references names docker.io/library/kong and kong, the same image: keep one of them.")


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("kong", "docker.io/library/kong"),
        ("kong:3.9", "docker.io/library/kong"),
        ("kong/kong@sha256:0", "docker.io/kong/kong"),
        ("localhost:5000/kong:3", "localhost:5000/kong"),
        ("quay.io/a/b/c:1@sha256:0", "quay.io/a/b/c"),
    ],
)
def test_names_are_spelled_out(image: str, full: str) -> None:
    assert canonical(image) == full


@pytest.mark.parametrize(
    ("image", "versions", "key"),
    [
        ("kong", {"version": "3.9.2"}, "kong.version is 3.9.2"),
        ("kong/kubernetes-ingress-controller", {"controller_version": "3.5.14"}, "kong.controllerVersion is 3.5.14"),
    ],
)
def test_an_image_that_is_named_twice_is_refused(image: str, versions: dict[str, str], key: str) -> None:
    with pytest.raises(SettingsError, match=f"{key} while images.references has another {image}: keep one of them"):
        images.check_references(Images(references={image: WHOLE}), [], Kong.model_validate(versions))
    images.check_references(Images(references={"curlimages/curl": WHOLE}), [], Kong.model_validate(versions))


@pytest.mark.parametrize("image", [images.PILOT, images.PROXY])
def test_one_image_cannot_be_that_of_two_control_planes(image: str) -> None:
    chosen = Images(references={image: WHOLE})
    images.check_references(chosen, [], Kong())
    with pytest.raises(SettingsError, match=f"canary.version is 1.31.0 while images.references has another {image}"):
        images.check_references(chosen, [], Kong(), canary="1.31.0")
