"""Several routes of an application: what is made of each, and what is refused before anything is made."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.kong_gateway import kong_values
from components.shared.manifests import ManifestError
from plan import Recording, record
from settings import Images, Kong

pytestmark = pytest.mark.usefixtures("machine")

Object = dict[str, Any]

ROUTE: Object = {"service": "web", "port": 80}
API: Object = {"service": "api", "port": 9000, "path": "/api"}
PLUGIN: Object = {
    "apiVersion": "configuration.konghq.com/v1",
    "kind": "KongPlugin",
    "metadata": {"name": "ask-for-a-key"},
    "plugin": "key-auth",
}
CLUSTER_PLUGIN: Object = {**PLUGIN, "kind": "KongClusterPlugin"}


def service(name: str = "web", port: Object | None = None, **spec: Any) -> Object:
    shape = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080, **(port or {})}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": shape}


def pods(name: str = "web", port: str = "http") -> Object:
    container = {"name": name, "image": "web:1", "ports": [{"name": port, "containerPort": 8080}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


BOTH = (service(), service("api", {"port": 9000}))


def recorded(
    folder: Path, *objects: Object, secrets: tuple[str, ...] = (), further: Object | None = None, **application: Any
) -> Recording:
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump_all(objects or BOTH))
    shop = {"name": "shop", "namespace": "shop", "manifests": str(file), **application}
    return record({"kubeContext": "here", "applications": [shop], **(further or {})}, secrets)


def refused(folder: Path, *objects: Object, **application: Any) -> str:
    with pytest.raises(pulumi.RunError) as caught:
        recorded(folder, *objects, **application)
    assert isinstance(caught.value, ManifestError)
    return str(caught.value)


def inputs(recording: Recording, kind: str, name: str) -> Object:
    (found,) = (r.inputs for r in recording.resources.values() if (r.kind, r.name) == (kind, name))
    return found


def before(recording: Recording, name: str) -> set[str]:
    (key,) = (key for key, resource in recording.resources.items() if resource.name == name)
    return {recording.resources[key].name for key in recording.waits_for(key)}


def names(recording: Recording, *kinds: str) -> set[str]:
    return {resource.name for resource in recording.resources.values() if resource.kind in kinds}


def said_by(recording: Recording, ingress: str) -> Object:
    return dict(inputs(recording, "Ingress", ingress)["metadata"]["annotations"])


# --- What is made of each --------------------------------------------------------------------------------------------


def test_each_route_has_its_own_ingress_and_wait_and_they_share_the_applications_limit(tmp_path: Path) -> None:
    found = recorded(tmp_path, routes=[ROUTE, {**ROUTE, "name": "admin", "path": "/admin"}, API])
    assert names(found, "Ingress") == {f"shop-route-ingress.{name}" for name in ("web", "admin", "api")}
    assert {"shop-route-ready.web", "shop-route-ready.admin", "shop-route-ready.api"} <= names(found, "Command")
    assert names(found, "KongPlugin") == {"shop-route-rate-limit"}
    filters = {r.inputs["metadata"]["name"] for r in found.resources.values() if r.kind == "EnvoyFilter"}
    assert filters == {"client-host.web.shop", "client-host.admin.shop", "client-host.api.shop"}
    for name in ("web", "api"):
        labels = inputs(found, "Service", f"shop-service-{name}")["metadata"]["annotations"]
        assert labels["ingress.kubernetes.io/service-upstream"] == "true"


def test_an_application_without_a_route_is_deployed_and_not_routed_to(tmp_path: Path) -> None:
    found = recorded(tmp_path, further={"security": {"onlyKongCalls": True, "networkPolicies": True}})
    assert "shop-service-web" in names(found, "Service")
    assert not names(found, "Ingress", "KongPlugin", "RateLimitedRoute", "AuthorizationPolicy", "EnvoyFilter")
    assert {"shop-default"} == {name for name in names(found, "NetworkPolicy") if name.startswith("shop")}


def test_what_guards_a_route_guards_every_routed_service_at_every_routed_port(tmp_path: Path) -> None:
    two = service("web", ports=[{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "admin"}])
    routes = [ROUTE, {**ROUTE, "name": "admin", "port": 81, "path": "/admin"}, API]
    security = {"security": {"onlyKongCalls": True, "networkPolicies": True}}
    found = recorded(tmp_path, two, BOTH[1], routes=routes, further=security)
    guards = {f"shop-only-kong-calls.{name}" for name in ("web", "api")}
    assert names(found, "AuthorizationPolicy") == guards
    (rule,) = inputs(found, "NetworkPolicy", "shop-web-from-kong")["spec"]["ingress"]
    assert [entry["port"] for entry in rule["ports"]] == [8080, "admin"]
    assert "shop-api-from-kong" in names(found, "NetworkPolicy")


def test_a_route_with_fields_of_its_own_has_a_plugin_of_its_own(tmp_path: Path) -> None:
    redis = {"policy": "redis", "redis": {"host": "store", "password": "hunter2"}}
    routes = [ROUTE, {**API, "rateLimit": {"hour": 9, **redis}}]
    found = recorded(tmp_path, routes=routes, secrets=("applications",))
    assert said_by(found, "shop-route-ingress.web")["konghq.com/plugins"] == "rate-limit"
    assert said_by(found, "shop-route-ingress.api")["konghq.com/plugins"] == "rate-limit-api"
    plugin = inputs(found, "KongPlugin", "shop-route-rate-limit-api")
    assert (plugin["metadata"]["name"], plugin["config"]["hour"]) == ("rate-limit-api", 9)
    (patch,) = plugin["configPatches"]
    assert patch["valueFrom"]["secretKeyRef"]["name"] == "rate-limit-redis-api"
    assert inputs(found, "Secret", "shop-route-rate-limit-redis-api")["metadata"]["name"] == "rate-limit-redis-api"


def test_a_route_without_a_limit_is_said_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = recorded(tmp_path, routes=[{**API, "rateLimit": "none"}])
    assert "/api of shop has no rate limit (rateLimit: none)." in caplog.text
    assert not names(found, "KongPlugin")
    assert "konghq.com/plugins" not in said_by(found, "shop-route-ingress.api")
    (command,) = (r for r in found.resources.values() if r.name == "shop-route-ready.api")
    assert "--limit" not in str(command.inputs["create"])


SPOKEN: dict[str, tuple[Object, Object]] = {
    "a plain route": ({}, {"konghq.com/preserve-host": "false"}),
    "a stripped path": ({"stripPath": True}, {"konghq.com/strip-path": "true"}),
    "a redirect": (
        {"https": "redirect"},
        {"konghq.com/protocols": "https", "konghq.com/https-redirect-status-code": "308"},
    ),
    "HTTPS alone": ({"https": "only"}, {"konghq.com/protocols": "https"}),
    "gRPC": ({"protocol": "grpc"}, {"konghq.com/protocols": "grpcs", "konghq.com/preserve-host": "false"}),
    "a Service that speaks TLS": ({"protocol": "https"}, {"konghq.com/preserve-host": "true"}),
    "further ones": ({"annotations": {"konghq.com/methods": "GET"}}, {"konghq.com/methods": "GET"}),
    "an issuer": (
        {"host": "shop.example", "issuer": "own"},
        {"cert-manager.io/issuer": "own"},
    ),
}


@pytest.mark.parametrize(("given", "said"), SPOKEN.values(), ids=SPOKEN)
def test_an_ingress_says_what_the_route_does(given: Object, said: Object, tmp_path: Path) -> None:
    found = said_by(recorded(tmp_path, route={**ROUTE, **given}), "shop-route-ingress")
    assert said.items() <= found.items()
    own = {"konghq.com/plugins", "konghq.com/preserve-host", "pulumi.com/skipAwait"}
    assert found.keys() == own | said.keys()


@pytest.mark.parametrize(("protocol", "told"), [("http", None), ("https", "https"), ("grpc", "grpc")])
def test_a_service_tells_kong_what_it_speaks(protocol: str, told: str | None, tmp_path: Path) -> None:
    found = recorded(tmp_path, route={**ROUTE, "protocol": protocol})
    assert inputs(found, "Service", "shop-service-web")["metadata"]["annotations"].get("konghq.com/protocol") == told
    # What Kong encrypts, its sidecar cannot read.
    assert bool(names(found, "EnvoyFilter")) is (protocol != "https")


def test_a_given_certificate_is_waited_for_and_one_of_cert_manager_is_not(tmp_path: Path) -> None:
    given = {**ROUTE, "host": "shop.example", "tlsSecret": "given"}
    made = {**API, "host": "api.example", "clusterIssuer": "letsencrypt"}
    found = recorded(tmp_path, routes=[given, made])
    tls = {name: inputs(found, "Ingress", f"shop-route-ingress.{name}")["spec"]["tls"] for name in ("web", "api")}
    assert tls == {
        "web": [{"hosts": ["shop.example"], "secretName": "given"}],
        "api": [{"hosts": ["api.example"], "secretName": "api-tls"}],
    }
    assert "shop-route-tls-secret-ready.web" in before(found, "shop-route-ingress.web")
    assert "shop-route-tls-secret-ready.api" not in names(found, "Command")


def test_further_plugins_are_there_before_the_route_and_their_configuration_is_secret(tmp_path: Path) -> None:
    oidc = {"name": "login", "plugin": "openid-connect", "config": {"client_secret": "hunter2"}}
    plain = {"name": "bots", "plugin": "bot-detection"}
    plugins = ["ask-for-a-key", oidc, plain]
    found = recorded(tmp_path, *BOTH, PLUGIN, route={**ROUTE, "plugins": plugins}, secrets=("applications",))
    named = "rate-limit,ask-for-a-key,login,bots"
    assert said_by(found, "shop-route-ingress")["konghq.com/plugins"] == named
    waited = {"shop-kongplugin-ask-for-a-key", "shop-route-plugin-login", "shop-route-plugin-bots"}
    assert waited <= before(found, "shop-route-ingress")
    reference = {"name": "kong-plugin-login", "key": "config"}
    made = inputs(found, "KongPlugin", "shop-route-plugin-login")
    assert (made["plugin"], made["configFrom"]) == ("openid-connect", {"secretKeyRef": reference})
    (secret,) = (r for r in found.resources.values() if r.name == "shop-route-kong-plugin-login")
    assert "stringData" in secret.secret_inputs
    assert secret.inputs["stringData"] == {"config": '{"client_secret": "hunter2"}'}
    others = [r.inputs for r in found.resources.values() if r is not secret]
    assert "hunter2" not in json.dumps([others, found.outputs], default=str)
    assert "configFrom" not in inputs(found, "KongPlugin", "shop-route-plugin-bots")


def test_routes_may_share_a_plugin_that_one_of_them_makes(tmp_path: Path) -> None:
    cors = {"name": "cors", "plugin": "cors", "config": {"origins": ["https://shop.example"]}}
    found = recorded(
        tmp_path, *BOTH, CLUSTER_PLUGIN, routes=[{**ROUTE, "plugins": [cors]}, {**API, "plugins": ["cors"]}]
    )
    assert names(found, "KongPlugin") == {"shop-route-rate-limit", "shop-route-plugin-cors"}
    assert said_by(found, "shop-route-ingress.api")["konghq.com/plugins"] == "rate-limit,cors"
    assert inputs(found, "KongPlugin", "shop-route-plugin-cors")["config"] == cors["config"]
    assert not names(found, "Secret") & {"shop-route-kong-plugin-cors"}


# --- What no request would reach -------------------------------------------------------------------------------------

SLICE: Object = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
}
UNREACHABLE: dict[str, tuple[tuple[Object, ...], Object, str]] = {
    "a headless Service that translates a port": (
        (service(clusterIP="None"), pods()),
        {},
        "applications[0].route.port is 80: the Service web is headless, and its pods listen at 8080",
    ),
    "a headless Service with a named port": (
        (service(port={"targetPort": "http"}, clusterIP="None"), pods()),
        {},
        "the Service web is headless, and its pods listen at 8080, where no request to its port 80 arrives; make the two "
        "one number, or leave clusterIP: None out.",
    ),
    "an ExternalName": (
        (service(type="ExternalName", externalName="elsewhere.example"),),
        {},
        "applications[0].route.service is web: that Service is an ExternalName (elsewhere.example)",
    ),
    "plain HTTP to a port for gRPC": (
        (service(port={"name": "grpc-web-api"}),),
        {},
        "applications[0].route.protocol is http, and the mesh takes port 80 of the Service web for grpc-web by its name "
        "grpc-web-api: set applications[0].route.protocol to grpc, or give that port appProtocol: http.",
    ),
    "gRPC to a port for HTTP": (
        (service(port={"name": "http"}),),
        {"protocol": "grpc"},
        "for http by its name http: set applications[0].route.protocol to http, or give that port appProtocol: grpc.",
    ),
    "TLS to a port for HTTP": (
        (service(port={"name": "x", "appProtocol": "kubernetes.io/h2c"}),),
        {"protocol": "https"},
        "for http2 by its appProtocol kubernetes.io/h2c: set applications[0].route.protocol to http, or give that port "
        "appProtocol: https.",
    ),
    "a port of UDP": (
        (service(port={"name": "http", "protocol": "UDP"}),),
        {},
        "the mesh takes port 80 of the Service web for udp",
    ),
    "a plugin that nobody defines": (
        (service(), PLUGIN),
        {"plugins": ["ask-for-a-kee"]},
        "applications[0].route.plugins[0] is ask-for-a-kee: the manifests have no such KongPlugin or KongClusterPlugin (there "
        "are: ask-for-a-key); add it there",
    ),
    "a plugin that both define": (
        (service(), PLUGIN),
        {"plugins": [{"name": "ask-for-a-key", "plugin": "jwt"}]},
        "applications[0].route.plugins[0].name is ask-for-a-key: the manifests have such a KongPlugin",
    ),
}


@pytest.mark.parametrize(("objects", "given", "said"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_a_service_that_no_request_would_reach_is_refused(
    objects: tuple[Object, ...], given: Object, said: str, tmp_path: Path
) -> None:
    assert said in refused(tmp_path, *objects, route={**ROUTE, **given})


REACHED: dict[str, tuple[tuple[Object, ...], Object]] = {
    "a headless Service with one number": ((service(port={"targetPort": 80}, clusterIP="None"),), {}),
    "a headless Service whose name means that number": (
        (service(port={"port": 8080, "targetPort": "http"}, clusterIP="None"), pods()),
        {"port": 8080},
    ),
    "the Service says itself what it speaks": (
        (
            {
                **service(port={"name": "grpc"}),
                "metadata": {"name": "web", "annotations": {"konghq.com/protocol": "grpc"}},
            },
        ),
        {},
    ),
    "a port whose protocol nobody says": ((service(),), {"protocol": "grpcs"}),
    "an endpoint of the manifests' own": ((service(selector={}), SLICE), {}),
}


@pytest.mark.parametrize(("objects", "given"), REACHED.values(), ids=REACHED)
def test_a_service_that_requests_reach_is_taken(
    objects: tuple[Object, ...], given: Object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert names(recorded(tmp_path, *objects, route={**ROUTE, **given}), "Ingress")
    assert "has no selector" not in caplog.text


def test_past_the_mesh_kong_calls_the_pods_of_a_headless_service_themselves(tmp_path: Path) -> None:
    objects = (service(clusterIP="None"), pods())
    assert names(recorded(tmp_path, *objects, route=ROUTE, further={"kong": {"routing": "guide"}}), "Ingress")


def test_a_service_without_selector_and_endpoints_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        recorded(tmp_path, service(selector={}), route=ROUTE)
    assert (
        "applications[0].route.service is web: that Service has no selector, and the manifests have no EndpointSlice for it"
    ) in caplog.text


def test_a_port_whose_requests_the_mesh_does_not_read_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        recorded(tmp_path, service(port={"name": "tcp-web"}), route=ROUTE)
    assert "applications[0].route.port is 80: the mesh takes that port of the Service web for tcp" in caplog.text


def test_what_kong_encrypts_itself_needs_nothing_that_brings_the_host(tmp_path: Path) -> None:
    found = recorded(tmp_path, route={**ROUTE, "protocol": "https"}, further={"kong": {"clientHost": "serviceEntry"}})
    assert not names(found, "ServiceEntry")


# --- The gateway -----------------------------------------------------------------------------------------------------


def test_an_internal_load_balancer_is_asked_for_in_the_words_of_each_cloud() -> None:
    proxy = kong_values(Kong(internal=True, annotations={"example.com/zone": "a"}), Images())["proxy"]
    assert proxy["annotations"] == {
        "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
        "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
        "networking.gke.io/load-balancer-type": "Internal",
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
        "example.com/zone": "a",
    }
    assert "annotations" not in kong_values(Kong(), Images())["proxy"]


def test_another_class_is_served_routed_to_and_looked_for(tmp_path: Path) -> None:
    found = recorded(tmp_path, route=ROUTE, further={"kong": {"ingressClass": "kong-shop"}})
    assert inputs(found, "Ingress", "shop-route-ingress")["spec"]["ingressClassName"] == "kong-shop"
    assert inputs(found, "Release", "kong-istio")["values"]["ingressController"]["ingressClass"] == "kong-shop"
    assert "--ingress-class kong-shop" in str(inputs(found, "Command", "precheck")["create"])
