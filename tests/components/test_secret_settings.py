"""What came in as a secret, in whatever key, is one to the provider, and is nowhere else in what is registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from commands.cluster_access import NO_CLUSTER
from kube import kubeconfig
from plan import record
from plan.recording import Recording

pytestmark = pytest.mark.usefixtures("machine")

CANARY = "canary-in-a-setting"
NUMBER = 471147114711
STORE = {"minute": 5, "policy": "redis", "redis": {"host": "store"}}


def chart(section: str, key: str) -> tuple[str, dict[str, Any]]:
    return section, {key: {"env": {"password": CANARY, "list": [{"deep": CANARY}]}, "pin": NUMBER, "on": True}}


APPLICATION = {
    "name": "shop",
    "namespace": "shop",
    "chart": {
        "name": "shop",
        "repository": "https://c.example",
        "version": "1.2.3",
        "values": {"a": [CANARY]},
        "services": [{"name": "shop", "selector": {"app": "shop"}}],
    },
}
CASES: list[tuple[str, Any, str]] = [
    (*chart("istio", "baseValues"), "Release/istio-base"),
    (*chart("istio", "istiodValues"), "Release/istiod"),
    ("istio", {"cni": True, **chart("", "cniValues")[1]}, "Release/istio-cni"),
    ("istio", {"ingressGateway": True, **chart("", "gatewayValues")[1]}, "Release/istio-ingressgateway"),
    (*chart("kong", "values"), "Release/kong-istio"),
    ("observability", {"prometheus": chart("", "values")[1]}, "Release/prometheus"),
    ("observability", {"grafana": chart("", "values")[1]}, "Release/grafana"),
    ("observability", {"kiali": chart("", "values")[1]}, "Release/kiali"),
    ("charts", {"kong": {"location": "https://c.example", "username": "u", "password": CANARY}}, "Release/kong-istio"),
    ("applications", [APPLICATION], "Release/shop"),
    ("rateLimit", {**STORE, "redis": {"host": CANARY}}, "KongPlugin/bookinfo-route-rate-limit"),
    ("rateLimit", {**STORE, "redis": {"host": "h", "username": CANARY}}, "KongPlugin/bookinfo-route-rate-limit"),
    ("rateLimit", {"minute": 5, "errorMessage": CANARY}, "KongPlugin/bookinfo-route-rate-limit"),
    ("rateLimit", {"minute": 5, "limitBy": "header", "headerName": CANARY}, "KongPlugin/bookinfo-route-rate-limit"),
]


def written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda _: "unknown")


def recorded(key: str, value: Any, secrets: tuple[str, ...]) -> Recording:
    return record({"kubeContext": "somewhere", key: value}, secrets)


@pytest.mark.parametrize(("key", "value", "label"), CASES)
def test_what_came_in_as_a_secret_is_one_to_the_provider(key: str, value: Any, label: str) -> None:
    recording = recorded(key, value, (key,))
    seen = False
    for resource in recording.resources.values():
        told = written({name: given for name, given in resource.inputs.items() if name not in resource.secret_inputs})
        assert CANARY not in told, f"{resource.label} tells it"
        assert str(NUMBER) not in told, f"{resource.label} tells it"
        if resource.label == label:
            seen = CANARY in written(resource.inputs)
    assert seen, f"{label} does not get it"
    assert CANARY not in written(recording.outputs)


@pytest.mark.parametrize(("key", "value"), [case[:2] for case in (CASES[4], CASES[-2])])
def test_a_secret_leaves_the_rest_of_the_graph_as_it_was(key: str, value: Any) -> None:
    plain, hidden = recorded(key, value, ()), recorded(key, value, (key,))
    assert hidden.resources.keys() == plain.resources.keys()
    for name, resource in hidden.resources.items():
        before = plain.resources[name]
        if resource.kind != "Command":
            assert written(resource.inputs) == written(before.inputs)
            continue
        # Whoever knows the rest could try passwords against a digest: it is a secret, in the environment.
        assert resource.secret_inputs <= {"environment"}
        if resource.inputs != before.inputs and "environment" in resource.inputs:
            digest = resource.inputs["environment"]["KONG_ISTIO_DIGEST"]
            assert "--digest env:KONG_ISTIO_DIGEST" in resource.inputs["create"]
            assert f"--digest {digest}" in before.inputs["create"]
            assert "env:" not in before.inputs["create"]


def test_a_command_runs_again_when_a_secret_that_it_looks_at_has_changed() -> None:
    def command(password: str) -> dict[str, Any]:
        recording = recorded("kong", {"values": {"env": {"pg_password": password}}}, ("kong",))
        return recording.resources["kong-ready"].inputs

    one, other = command("one"), command("other")
    assert one["create"] == other["create"]
    assert one["environment"] != other["environment"]
    assert command("one") == one


# --- the kubeconfig ---------------------------------------------------------------------------------------------------

KUBECONFIG = yaml.safe_dump(
    {
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1"}}],
        "users": [{"name": "u", "user": {"token": CANARY}}],
        "contexts": [{"name": "somewhere", "context": {"cluster": "c", "user": "u"}}],
    }
)


def test_a_kubeconfigs_content_reaches_provider_and_commands_as_a_secret() -> None:
    recording = recorded("kubeconfig", KUBECONFIG, ("kubeconfig",))
    provider = recording.resources["kubernetes"]
    assert (provider.inputs["kubeconfig"], provider.inputs["context"]) == (KUBECONFIG, "somewhere")
    commands = [one for one in recording.resources.values() if one.kind == "Command"]
    asking = [one for one in commands if "--context" in written(one.inputs) or one.name == "checks"]
    assert len(asking) > 5
    for command in asking:
        line = command.inputs.get("create") or command.inputs["delete"]
        assert "--kubeconfig env:KONG_ISTIO_KUBECONFIG" in line, command.name
        assert command.inputs["environment"]["KONG_ISTIO_KUBECONFIG"] == KUBECONFIG
    for resource in recording.resources.values():
        told = written({name: given for name, given in resource.inputs.items() if name not in resource.secret_inputs})
        assert CANARY not in told, f"{resource.label} tells it"
    assert CANARY not in written(recording.outputs)
    assert recording.outputs["commands"]["kiali"].startswith("kubectl --context somewhere ")


def test_a_pods_service_account_is_named_and_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(CANARY)
    monkeypatch.setattr(kubeconfig, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    recording = record({"kubeconfig": "in-cluster"})
    assert CANARY not in written({name: one.inputs for name, one in recording.resources.items()})
    provider = recording.resources["kubernetes"].inputs
    assert provider["context"] == "in-cluster"
    assert str(tmp_path / "token") in provider["kubeconfig"]
    assert "--kubeconfig in-cluster --context in-cluster" in recording.resources["kong-ready"].inputs["create"]


def test_a_preview_does_without_the_stack_that_tells_the_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_: warnings.append(text))
    recording = record({"kubeContext": "somewhere", "kubeconfigFrom": {"stack": "me/cluster/prod"}})
    assert recording.resources["kubernetes"].inputs["kubeconfig"] == NO_CLUSTER
    said = " ".join(warnings)
    assert 'kubeconfigFrom names the output "kubeconfig" of the stack me/cluster/prod: there is none' in said
    assert "Previewing without a cluster." in said
