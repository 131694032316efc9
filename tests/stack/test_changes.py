"""Settings that change on a stack that is up, by Pulumi's own engine: in place, and the preview says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from stack import Answer, Stack, said
from test_engine import engines, pulumi

__all__ = ["engines"]

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

# What carries traffic, or holds what does.
CARRIERS = ("Namespace", "Release", "Service", "Deployment", "Ingress", "KongPlugin", "Provider")
ROUTE = {"service": "productpage", "port": 9080}
BOOKINFO = {"name": "bookinfo", "namespace": "bookinfo", "manifests": "manifests/bookinfo.yaml", "route": ROUTE}
SHOP = {**BOOKINFO, "name": "shop", "namespace": "shop", "route": {**ROUTE, "path": "/shop"}}

#: What is changed -> the settings, and what the preview updates, creates and deletes of what carries traffic.
CHANGES: dict[str, tuple[Mapping[str, Any], set[str]]] = {
    "a limit": ({"rateLimit": {"minute": 40}}, {"update KongPlugin bookinfo-route-rate-limit"}),
    "the mode of mTLS": ({"istio": {"mtls": "STRICT"}}, set()),
    "replicas": ({"istio": {"replicas": 2}}, {"update Release istiod"}),
    "the type of Kong's Service": ({"kong": {"serviceType": "NodePort"}}, {"update Release kong-istio"}),
    "a path": (
        {"applications": [{**BOOKINFO, "route": {**ROUTE, "path": "/productpage"}}]},
        {"update Ingress bookinfo-route-ingress"},
    ),
    "a dashboard less": ({"observability": {"kiali": {"enabled": False}}}, {"delete Release kiali"}),
    "an application more": (
        {"applications": [BOOKINFO, SHOP]},
        {
            *("create Namespace shop", "create Ingress shop-route-ingress", "create KongPlugin shop-route-rate-limit"),
            *(f"create Service shop-service-{name}" for name in ("details", "ratings", "reviews", "productpage")),
            *(
                f"create Deployment shop-deployment-{name}"
                for name in ("details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1")
            ),
        },
    ),
}


def configured(stack: Stack, changes: Mapping[str, Any]) -> str:
    """Write a stack file with some settings changed; return its path."""
    content = yaml.safe_load(stack.paths.stack_file.read_text())
    for key, value in changes.items():
        before = content["config"].get(f"kong-istio:{key}")
        both = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        content["config"][f"kong-istio:{key}"] = both
    (stack.paths.sandbox / "changed.yaml").write_text(yaml.safe_dump(content))
    return ".sandbox/changed.yaml"


def run(stack: Stack, changes: Mapping[str, Any], *arguments: str) -> Answer:
    options = ("--stack=sandbox", f"--config-file={configured(stack, changes)}", "--non-interactive")
    answer = stack.project.run("pulumi", *arguments, *options, environment=stack.environment)
    assert answer.returncode == 0, said(answer)
    return answer


def steps(stack: Stack, changes: Mapping[str, Any]) -> set[str]:
    """Return what a preview would do to what carries traffic, such as `update Release istiod`."""
    found = set()
    for step in json.loads(run(stack, changes, "preview", "--json").stdout)["steps"]:
        kind, _, name = step["urn"].rpartition("::")
        kind = "Provider" if "pulumi:providers:" in kind else kind.rpartition(":")[2]
        if step["op"] != "same" and kind in CARRIERS:
            found.add(f"{step['op']} {kind} {name}")
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_preview_shows_a_change_in_place(engines: Stack, change: str) -> None:
    changes, expected = CHANGES[change]
    assert steps(engines, changes) == expected


@pytest.fixture
def changed(engines: Stack) -> Iterator[Stack]:
    """Change everything at once, and put it back."""
    together: dict[str, Any] = {}
    for changes, _ in CHANGES.values():
        together |= changes
    together["istio"] = {"mtls": "STRICT", "replicas": 2}
    run(engines, together, "up", "--yes", "--skip-preview")
    yield engines
    # The way back is a change as well: one application less.
    assert "delete Namespace shop" in steps(engines, {})
    answer = pulumi(engines, "up", "--yes", "--skip-preview")
    assert answer.returncode == 0, said(answer)
    assert engines.try_kubectl("get", "namespace", "shop").returncode, "the application is not gone"


def test_a_change_comes_to_the_cluster_and_what_carries_traffic_stays(
    engines: Stack, request: pytest.FixtureRequest
) -> None:
    kinds = "deployments,services,ingresses.networking.k8s.io"
    names = "--output=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{'\\n'}{end}"
    before = {
        namespace: engines.kubectl("get", kinds, f"--namespace={namespace}", names)
        for namespace in ("bookinfo", "kong-istio")
    }
    stack: Stack = request.getfixturevalue("changed")
    for namespace, found in before.items():
        assert stack.kubectl("get", kinds, f"--namespace={namespace}", names) == found, f"replaced in {namespace}"
    assert stack.get("kongplugin", "rate-limit", "bookinfo")["config"]["minute"] == 40
    assert stack.get("peerauthentication", "default", "istio-system")["spec"]["mtls"]["mode"] == "STRICT"
    assert stack.get("deployment", "istiod", "istio-system")["spec"]["replicas"] == 2
    assert stack.get("service", "kong-istio-kong-proxy", "kong-istio")["spec"]["type"] == "NodePort"
    assert stack.get("ingress", "productpage", "shop")["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/shop"
    outputs = json.loads(stack.run("pulumi", "stack", "output", "--json", "--stack=sandbox"))
    assert re.fullmatch(r"http://.+:3\d{4}", outputs["proxyUrl"]), "the outputs do not tell the node port"


def test_a_deployment_whose_pods_fit_nowhere_is_named_and_mended_by_the_next_up(engines: Stack) -> None:
    file = engines.paths.sandbox / "heavy.yaml"
    application = {"name": "heavy", "namespace": "heavy", "manifests": str(file)}
    deployment: Any = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"pulumi.com/timeoutSeconds": "10"}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}},
    }

    def up(memory: str) -> Answer:
        container = {"name": "web", "image": "web", "resources": {"requests": {"memory": memory}}}
        deployment["spec"]["template"]["spec"] = {"containers": [container]}
        file.write_text(json.dumps(deployment))
        config = configured(engines, {"applications": [BOOKINFO, application]})
        options = ("--yes", "--skip-preview", "--stack=sandbox", f"--config-file={config}", "--non-interactive")
        return engines.project.run("pulumi", "up", *options, environment=engines.environment)

    try:
        refused = up("1Ti")
        assert refused.returncode
        sentence = (
            r"The Deployment heavy/web is not available after 10 s .*Insufficient memory.*: give the cluster a node"
        )
        assert re.search(sentence, said(refused)), said(refused)
        mended = up("1Mi")
        assert mended.returncode == 0, said(mended)
    finally:
        run(engines, {}, "up", "--yes", "--skip-preview")
