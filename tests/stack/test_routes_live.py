"""Applications with several routes, by Pulumi's own engine: what lies in the cluster, and that a change of form replaces nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import Object, Stack, make_project

from sandbox import pulumi_engine

pytestmark = [pytest.mark.engine, pytest.mark.sandbox, pytest.mark.timeout(3600)]

CONFIG_FILE = ".sandbox/Pulumi.sandbox.yaml"
KEY = "key-of-the-shop"


def workload(name: str, *ports: Object) -> list[Object]:
    labels = {"app": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": "registry.example/web:1"}]},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": list(ports)},
    }
    return [deployment, service] if ports else [deployment]


def headless(name: str, *ports: Object) -> list[Object]:
    deployment, service = workload(name, *ports)
    return [deployment, {**service, "spec": {**service["spec"], "clusterIP": "None"}}]


def port(number: int, name: str = "http") -> Object:
    return {"name": name, "port": number, "targetPort": 8080}


CONSUMER: list[Object] = [
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "one-key", "labels": {"konghq.com/credential": "key-auth"}},
        "stringData": {"key": KEY},
    },
    {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongConsumer",
        "metadata": {"name": "one", "annotations": {"kubernetes.io/ingress.class": "kong"}},
        "username": "one",
        "credentials": ["one-key"],
    },
    {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongPlugin",
        "metadata": {"name": "ask-for-a-key"},
        "plugin": "key-auth",
    },
]
CERTIFICATE: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "shop-certificate"},
    "type": "kubernetes.io/tls",
    "stringData": {"tls.crt": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "tls.key": "secret"},
}
FRONT: Object = {"service": "front", "port": 80, "host": "shop.example", "tlsSecret": "shop-certificate"}
API: Object = {
    "name": "shop-api",
    "service": "api",
    "port": 9000,
    "host": "api.example",
    "path": "/v1",
    "stripPath": True,
    "https": "redirect",
    "clusterIssuer": "letsencrypt",
    "rateLimit": {"second": 5},
    "plugins": [{"name": "cors", "plugin": "cors", "config": {"origins": ["https://shop.example"]}}],
}
# Its name leads to its pods.
DIRECT: Object = {"service": "direct", "port": 8080, "host": "shop.example", "path": "/direct"}
RPC: Object = {"service": "rpc", "port": 90, "host": "rpc.example", "protocol": "grpc"}
KEYS: Object = {"service": "keys", "port": 80, "path": "/keys", "plugins": ["ask-for-a-key"]}


def applications(folder: Path, shop: Object) -> list[Object]:
    contents = {
        "worker": workload("worker"),
        "shop": [
            *workload("front", port(80)),
            *workload("api", port(9000), port(9090, "http-metrics")),
            *headless("direct", port(8080)),
            *workload("rpc", port(90, "grpc")),
            CERTIFICATE,
        ],
        "keys": [*workload("keys", port(80)), *CONSUMER],
    }
    routes: dict[str, Object] = {"worker": {}, "shop": shop, "keys": {"route": KEYS}}
    for name, objects in contents.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    return [
        {"name": name, "namespace": name, "manifests": f"manifests/{name}.yaml", **routes[name]} for name in contents
    ]


def choose(stack: Stack, shop: Object, file: str) -> None:
    """Write the applications into a file of settings."""
    path = stack.paths.root / file
    settings = yaml.safe_load(path.read_text())
    chosen = applications(stack.paths.root / "manifests", shop)
    settings["config"] |= {
        "kong-istio:applications": chosen,
        "kong-istio:security": {"onlyKongCalls": True, "networkPolicies": True},
        "kong-istio:observability": {
            "prometheus": {"enabled": False},
            "grafana": {"enabled": False},
            "kiali": {"enabled": False},
        },
    }
    path.write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Bring up a stack with three applications, in a sandbox of its own."""
    if not shutil.which("pulumi"):
        pytest.skip(pulumi_engine.missing())
    found = Stack(make_project(tmp_path_factory.mktemp("routed").resolve()))
    choose(found, {"route": FRONT}, found.paths.committed_stack_file.name)
    try:
        found.up()
        if found.rehearsed:
            pytest.skip(found.rehearsed)
        yield found
    finally:
        found.down()


def up(stack: Stack, *further: str, command: str = "up") -> str:
    """Run an `up` and return what it said."""
    options = ("--stack=sandbox", f"--config-file={CONFIG_FILE}", "--non-interactive", "--yes", "--skip-preview")
    return stack.run("pulumi", command, *options, *further)


def spec_of(stack: Stack, kind: str, name: str, namespace: str) -> Any:
    found = stack.get(kind, name, namespace)
    return found.get("spec") or {key: found.get(key) for key in ("plugin", "config", "configFrom") if key in found}


def identities(stack: Stack) -> dict[tuple[str, str, str], str]:
    """Return the UID of everything that carries traffic."""
    kinds = ("ingresses.networking.k8s.io", "kongplugins", "services", "envoyfilters", "authorizationpolicies")
    return {
        (item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"]["uid"]
        for kind in kinds
        for item in stack.list(kind)
    }


def test_each_form_of_application_lies_in_the_cluster(routed: Stack) -> None:
    before = identities(routed)
    assert ("Ingress", "shop", "front") in before
    choose(routed, {"routes": [FRONT, API, DIRECT, RPC]}, CONFIG_FILE)
    changed = up(routed)
    assert "replaced" not in changed, changed
    after = identities(routed)
    assert before.items() <= after.items(), "another form of the settings has replaced what carries traffic"

    assert routed.list("ingresses.networking.k8s.io", "worker") == []
    front, api = (routed.get("ingress", name, "shop") for name in ("front", "shop-api"))
    assert front["spec"]["tls"] == [{"hosts": ["shop.example"], "secretName": "shop-certificate"}]
    assert front["metadata"]["annotations"]["konghq.com/plugins"] == "rate-limit"
    assert api["spec"]["tls"] == [{"hosts": ["api.example"], "secretName": "shop-api-tls"}]
    wanted = {
        "konghq.com/plugins": "rate-limit-shop-api,cors",
        "konghq.com/strip-path": "true",
        "konghq.com/protocols": "https",
        "konghq.com/https-redirect-status-code": "308",
        "konghq.com/preserve-host": "false",
        "cert-manager.io/cluster-issuer": "letsencrypt",
    }
    assert wanted.items() <= api["metadata"]["annotations"].items()
    assert spec_of(routed, "kongplugin", "rate-limit-shop-api", "shop")["config"] == {"second": 5, "policy": "local"}
    assert spec_of(routed, "kongplugin", "cors", "shop")["config"] == {"origins": ["https://shop.example"]}
    for service in ("front", "api"):
        annotations = routed.get("service", service, "shop")["metadata"]["annotations"]
        assert annotations["ingress.kubernetes.io/service-upstream"] == "true"
        routed.get("authorizationpolicy", f"{service}-only-kong-calls", "shop")
        routed.get("networkpolicy", f"{service}-from-kong", "shop")
    for name in ("front.shop", "shop-api.shop", "keys.keys"):
        routed.get("envoyfilter", f"client-host.{name}", "kong-istio")
    keys = routed.get("ingress", "keys", "keys")["metadata"]["annotations"]
    assert keys["konghq.com/plugins"] == "rate-limit,ask-for-a-key"


def test_a_second_up_and_a_refresh_find_nothing(routed: Stack) -> None:
    for command in ("up", "refresh"):
        up(routed, "--expect-no-changes", command=command)


def test_back_in_the_short_form_nothing_of_the_route_is_replaced(routed: Stack) -> None:
    before = identities(routed)
    choose(routed, {"route": FRONT}, CONFIG_FILE)
    up(routed)
    after = identities(routed)
    assert after.items() <= before.items()
    assert ("Ingress", "shop", "front") in after
    assert ("Ingress", "shop", "shop-api") not in after
