"""What came in as a secret, in whatever key, is one to the provider, and is nowhere else in what is registered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from components.shared import releases
from plan import record
from plan.recording import Recording

CANARY = "canary-in-a-setting"
NUMBER = 471147114711
STORE = {"minute": 5, "policy": "redis", "redis": {"host": "store"}}


@pytest.fixture(scope="module", autouse=True)
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand for a machine without a kubeconfig, to which every chart repository answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("machine") / "none"))
        patch.setattr(releases, "urlopen", lambda *_, **__: nullcontext())
        yield


def chart(section: str, key: str) -> tuple[str, dict[str, Any]]:
    return section, {key: {"env": {"password": CANARY, "list": [{"deep": CANARY}]}, "pin": NUMBER, "on": True}}


CASES: list[tuple[str, Any, str]] = [
    (*chart("istio", "baseValues"), "Release/istio-base"),
    (*chart("istio", "istiodValues"), "Release/istiod"),
    ("istio", {"cni": True, **chart("", "cniValues")[1]}, "Release/istio-cni"),
    ("istio", {"ingressGateway": True, **chart("", "gatewayValues")[1]}, "Release/istio-ingressgateway"),
    (*chart("kong", "values"), "Release/kong-istio"),
    ("observability", {"prometheus": chart("", "values")[1]}, "Release/prometheus"),
    ("observability", {"grafana": chart("", "values")[1]}, "Release/grafana"),
    ("observability", {"kiali": chart("", "values")[1]}, "Release/kiali"),
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


@pytest.mark.parametrize(("key", "value"), [case[:2] for case in (CASES[4], CASES[9])])
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
