"""What an application's manifests make that the stack makes as well: refused before anything is made, or taken in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.collisions import identity, stacks_own
from components.shared import manifests
from components.shared.own_routes import without_limit
from plan import Recording, Resource, record
from plan.program import run
from plan.stack_config import ROOT, Project
from settings import Application, Kong, Route, parse

pytestmark = pytest.mark.usefixtures("machine")

Object = dict[str, Any]

SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}
SHOP = Application(name="shop", namespace="shop", manifests="", route=Route(service="web", port=80))
REDIS = {"minute": 30, "policy": "redis", "redis": {"host": "redis.example", "password": "hidden"}}


def thing(kind: str, name: str, **fields: Any) -> Object:
    """Return an object; a kind with a slash is in an API group."""
    group, slash, kind = kind.rpartition("/")
    return {"apiVersion": f"{group}/v1" if slash else "v1", "kind": kind, "metadata": {"name": name}, **fields}


def application(file: Path, *objects: Object, name: str = "shop", path: str = "/") -> Object:
    file.write_text(yaml.safe_dump_all([SERVICE, *objects]))
    route = {"service": "web", "port": 80, "path": path}
    return {"name": name, "namespace": name, "manifests": str(file), "route": route}


def recorded(config: Mapping[str, Any]) -> Recording:
    return record({"kubeContext": "somewhere", **config}, secrets=["rateLimit"])


def refused(config: Mapping[str, Any]) -> str:
    """Run the program, which must fail before it has registered anything; return its sentence."""
    made: list[str] = []

    def note(resource: Resource) -> tuple[str, Object]:
        made.append(resource.label)
        return "", resource.inputs

    stack = Project(ROOT).configure({"kubeContext": "somewhere", **config}, ["rateLimit"])
    with pytest.raises(pulumi.RunError) as error:
        run(stack, note, preview=True)
    assert made == []
    assert "\n" not in str(error.value)
    return str(error.value)


STACKS_OWN: dict[str, tuple[Object, Object]] = {
    "Ingress shop/web": ({}, thing("networking.k8s.io/Ingress", "web")),
    "KongPlugin shop/rate-limit": ({}, thing("configuration.konghq.com/KongPlugin", "rate-limit")),
    "NetworkPolicy shop/default": (
        {"security": {"networkPolicies": True}},
        thing("networking.k8s.io/NetworkPolicy", "default"),
    ),
    "NetworkPolicy shop/web-from-kong": (
        {"security": {"networkPolicies": True}},
        thing("networking.k8s.io/NetworkPolicy", "web-from-kong"),
    ),
    "AuthorizationPolicy shop/web-only-kong-calls": (
        {"security": {"onlyKongCalls": True}},
        thing("security.istio.io/AuthorizationPolicy", "web-only-kong-calls"),
    ),
    "Secret shop/rate-limit-redis": ({"rateLimit": REDIS}, thing("Secret", "rate-limit-redis")),
    "ServiceEntry shop/client-host.web": (
        {"kong": {"clientHost": "serviceEntry"}},
        thing("networking.istio.io/ServiceEntry", "client-host.web"),
    ),
    "Namespace kong-istio": ({}, thing("Namespace", "kong-istio")),
}


@pytest.mark.parametrize("name", STACKS_OWN)
def test_an_object_that_the_stack_makes_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    config, item = STACKS_OWN[name]
    shop = application(tmp_path / "shop.yaml", item)
    shop["route"]["host"] = "shop.example"
    assert refused({**config, "applications": [shop]}) == (
        f"applications[0].manifests has {name}, which the stack makes itself: give it another name, or take it out."
    )


def test_everything_that_the_stack_makes_beside_the_manifests_is_compared(tmp_path: Path) -> None:
    shop = application(tmp_path / "shop.yaml")
    shop["route"]["host"] = "shop.example"
    config: Object = {"applications": [shop]}
    for more, _ in STACKS_OWN.values():
        for key, value in more.items():
            config[key] = {**config.get(key, {}), **value}
    settings = parse(config, ["rateLimit"], ROOT)
    objects = manifests.read(tmp_path / "shop.yaml", "shop")
    told = {str(identity(item)) for item in [*objects, *stacks_own(settings, settings.applications[0], objects)]}
    registered = {
        f"{resource.kind} shop/{resource.inputs['metadata']['name']}"
        for resource in recorded(config).resources.values()
        if resource.inputs.get("metadata", {}).get("namespace") == "shop"
    }
    assert len(registered) == 8
    assert told == registered


def test_everything_that_several_routes_need_is_compared(tmp_path: Path) -> None:
    shop = application(tmp_path / "shop.yaml")
    route = shop.pop("route")
    further = {
        "name": "api",
        "path": "/api",
        "rateLimit": REDIS,
        "plugins": [{"name": "a", "plugin": "b", "config": {"c": 1}}],
    }
    shop["routes"] = [route, {**route, **further}]
    settings = parse({"applications": [shop]}, ["applications"], ROOT)
    objects = manifests.read(tmp_path / "shop.yaml", "shop")
    told = {str(identity(item)) for item in stacks_own(settings, settings.applications[0], objects)}
    assert told == {
        *("Ingress shop/web", "Ingress shop/api", "KongPlugin shop/rate-limit", "KongPlugin shop/rate-limit-api"),
        *("Secret shop/rate-limit-redis-api", "KongPlugin shop/a", "Secret shop/kong-plugin-a"),
        *("EnvoyFilter kong-istio/client-host.web.shop", "EnvoyFilter kong-istio/client-host.api.shop"),
    }


@pytest.mark.parametrize("name", [name for name, (config, _) in STACKS_OWN.items() if config])
def test_what_the_stack_does_not_make_with_these_settings_is_the_applications_to_make(
    name: str, tmp_path: Path
) -> None:
    shop = application(tmp_path / "shop.yaml", STACKS_OWN[name][1])
    assert [r for r in recorded({"applications": [shop]}).resources.values() if r.kind == name.partition(" ")[0]]


@pytest.mark.parametrize(
    ("item", "owner"),
    [
        (thing("ConfigMap", "kube-root-ca.crt"), "the cluster writes"),
        (thing("ConfigMap", "istio-ca-root-cert"), "istiod writes"),
        (thing("networking.k8s.io/IngressClass", "kong"), "Kong's chart makes"),
        (
            thing("apiextensions.k8s.io/CustomResourceDefinition", "kongplugins.configuration.konghq.com"),
            "the setting kong.crds has",
        ),
        (thing("apiextensions.k8s.io/CustomResourceDefinition", "gateways.networking.istio.io"), "Istio's chart makes"),
    ],
)
def test_what_only_others_make_is_refused(item: Object, owner: str, tmp_path: Path) -> None:
    sentence = refused({"applications": [application(tmp_path / "shop.yaml", item)]})
    assert f"{item['kind']} " in sentence
    assert f", which {owner}: take it out." in sentence


def test_two_applications_may_not_share_an_object_of_the_cluster(tmp_path: Path) -> None:
    role = thing("rbac.authorization.k8s.io/ClusterRole", "reader")
    shop = application(tmp_path / "shop.yaml", role)
    blog = application(tmp_path / "blog.yaml", role, name="blog", path="/blog")
    assert refused({"applications": [shop, blog]}).startswith(
        "applications[0].manifests and applications[1].manifests both have ClusterRole reader: give each its own"
    )


def test_the_service_account_default_is_the_applications_to_change(tmp_path: Path) -> None:
    account = thing("ServiceAccount", "default", imagePullSecrets=[{"name": "mine"}])
    recording = recorded({"applications": [application(tmp_path / "shop.yaml", account)]})
    made = recording.resources["shop-serviceaccount-default"]
    # It is there as soon as the namespace is, and the provider creates nothing that is there.
    assert made.type == "kubernetes:core/v1:ServiceAccountPatch"
    assert made.inputs["imagePullSecrets"] == [{"name": "mine"}]


def test_what_the_manifests_say_of_the_namespace_is_said_of_the_stacks(tmp_path: Path) -> None:
    home = thing("Namespace", "shop")
    home["metadata"] |= {"labels": {"team": "a", "istio-injection": "enabled"}, "annotations": {"owner": "b"}}
    made = recorded({"applications": [application(tmp_path / "shop.yaml", home)]})
    (metadata,) = (
        resource.inputs["metadata"]
        for resource in made.resources.values()
        if resource.kind == "Namespace" and resource.name == "shop"
    )
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert metadata["annotations"] == {"owner": "b"}


def test_a_namespace_that_is_labelled_against_the_stack_is_refused(tmp_path: Path) -> None:
    home = thing("Namespace", "shop")
    home["metadata"]["labels"] = {"istio-injection": "disabled"}
    assert refused({"applications": [application(tmp_path / "shop.yaml", home)]}) == (
        "applications[0].manifests label the Namespace shop istio-injection: disabled, and the stack labels it "
        "istio-injection: enabled: take that label out."
    )


@pytest.mark.parametrize("namespace", ["kong-istio", "istio-system", "istio-cni", "kong-istio-checks", "kube-system"])
def test_a_namespace_of_others_is_no_applications(namespace: str) -> None:
    route = {"service": "productpage", "port": 9080}
    given = {"name": "a", "namespace": namespace, "manifests": "manifests/bookinfo.yaml", "route": route}
    with pytest.raises(pulumi.RunError, match=rf"applications\[0\].namespace is {namespace}: that one is not"):
        parse({"applications": [given]}, (), ROOT)


# --- routes of the application's own -----------------------------------------------------------------------------

BACKEND = {"rules": [{"http": {"paths": [{"path": "/a", "backend": {"service": {"name": "web"}}}]}}]}
DEFAULT_CLASS = {
    "ingressController": {"ingressClassAnnotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
}
LIMIT = thing("configuration.konghq.com/KongPlugin", "own", plugin="rate-limiting", config={"minute": 5})


def route(kind: str = "networking.k8s.io/Ingress", spec: Object | None = None, **annotations: str) -> Object:
    """Return a route; in an annotation's name `__` stands for a slash and `_` for a dot."""
    found = thing(kind, "own", spec={**BACKEND, **(spec or {})})
    named = {name.replace("__", "/").replace("_", "."): value for name, value in annotations.items()}
    found["metadata"] |= {"namespace": "shop", "annotations": named}
    return found


GATEWAY = thing("gateway.networking.k8s.io/Gateway", "door", spec={"gatewayClassName": "kong"})
HTTP_ROUTE = thing("gateway.networking.k8s.io/HTTPRoute", "own", spec={"parentRefs": [{"name": "door"}]})
OF_KONG: dict[str, tuple[list[Object], Object]] = {
    "class as a field": ([route(spec={"ingressClassName": "kong"})], {}),
    "class as an annotation": ([route(kubernetes_io__ingress_class="kong")], {}),
    "no class, and Kong's is the default": ([route()], DEFAULT_CLASS),
    "a plugin that is no limit": (
        [route(spec={"ingressClassName": "kong"}, konghq_com__plugins="cors")],
        {},
    ),
    "HTTPRoute of a gateway of Kong's": ([HTTP_ROUTE, GATEWAY], {}),
    "TCPIngress": ([route("configuration.konghq.com/TCPIngress", kubernetes_io__ingress_class="kong")], {}),
}
LIMITED: dict[str, tuple[list[Object], Object]] = {
    "of another class": ([route(spec={"ingressClassName": "nginx"})], DEFAULT_CLASS),
    "of another class by annotation": ([route(kubernetes_io__ingress_class="nginx")], DEFAULT_CLASS),
    "no class, and no default": ([route()], {}),
    "the stack's limit": ([route(spec={"ingressClassName": "kong"}, konghq_com__plugins="cors, rate-limit")], {}),
    "its own limit": (
        [route(spec={"ingressClassName": "kong"}, konghq_com__plugins="own"), LIMIT],
        {},
    ),
    "a limit on its Service": (
        [
            route(spec={"ingressClassName": "kong"}),
            {**SERVICE, "metadata": {"name": "web", "annotations": {"konghq.com/plugins": "rate-limit"}}},
        ],
        {},
    ),
    "HTTPRoute of another gateway": ([HTTP_ROUTE, {**GATEWAY, "spec": {"gatewayClassName": "istio"}}], {}),
}


@pytest.mark.parametrize("case", OF_KONG)
def test_a_route_of_kongs_without_a_limit_is_named_with_what_to_do(case: str) -> None:
    objects, values = OF_KONG[case]
    (sentence,) = without_limit(objects, Kong(values=values), SHOP, "applications[0]")
    assert sentence == (
        f"applications[0].manifests: {objects[0]['kind']} own is a route of Kong's without a rate limit: annotate it with "
        "konghq.com/plugins: rate-limit, the limit of this application, or take it out."
    )


@pytest.mark.parametrize("case", LIMITED)
def test_a_route_that_has_a_limit_or_is_not_kongs_is_not_named(case: str) -> None:
    objects, values = LIMITED[case]
    objects = [{**item, "metadata": {"namespace": "shop", **item["metadata"]}} for item in objects]
    assert without_limit(objects, Kong(values=values), SHOP, "applications[0]") == []


def test_the_preview_warns_of_a_route_without_a_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = route(spec={"ingressClassName": "kong"})
    with caplog.at_level(logging.WARNING):
        recorded({"applications": [application(tmp_path / "shop.yaml", own)]})
    assert "Ingress own is a route of Kong's without a rate limit" in caplog.text
