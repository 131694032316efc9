"""Bad days of a stack that is up, by Pulumi's own engine: what somebody changed by hand is shown and put back."""

from __future__ import annotations

import json
import re

import pytest
from stack import Answer, Stack, said
from test_engine import engines, pulumi

from checks.report import JSON
from components.shared.releases import REPAIR

__all__ = ["engines"]

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

ROLE = "istiod-clusterrole-istio-system"
MERGE = ("--type=merge", "--patch")
JSON_PATCH = ("--type=json", "--patch")

# What somebody does with kubectl -> what `python -m checks drift` says of it.
DRIFTS: dict[str, tuple[tuple[str, ...], str]] = {
    "a namespace's label": (
        ("label", "namespace", "bookinfo", "istio-injection-"),
        "update Namespace bookinfo",
    ),
    "a plugin's limit": (
        ("patch", "kongplugin", "rate-limit", "-nbookinfo", *MERGE, '{"config": {"minute": 3000}}'),
        "update KongPlugin bookinfo-route-rate-limit",
    ),
    "a plugin's annotation on the route": (
        ("annotate", "ingress", "productpage", "-nbookinfo", "konghq.com/plugins=none", "--overwrite"),
        "update Ingress bookinfo-route-ingress",
    ),
    "an application's Service": (
        ("delete", "service", "details", "-nbookinfo"),
        "create Service bookinfo-service-details",
    ),
    "a Deployment in a release": (
        ("scale", "deployment", "kong-istio-kong", "-nkong-istio", "--replicas=2"),
        "Deployment kong-istio/kong-istio-kong: spec.replicas",
    ),
    "a Service in a release": (
        ("patch", "service", "kong-istio-kong-proxy", "-nkong-istio", *MERGE, '{"spec": {"type": "ClusterIP"}}'),
        "Service kong-istio/kong-istio-kong-proxy: spec.type",
    ),
    "a right in a release": (
        ("patch", "clusterrole", ROLE, *JSON_PATCH, '[{"op": "remove", "path": "/rules/0"}]'),
        rf"ClusterRole {ROLE}: rules has \d+ entries, not \d+",
    ),
    "a ConfigMap of a release": (
        ("delete", "configmap", "istio", "-nistio-system"),
        "ConfigMap istio-system/istio is not there",
    ),
    "a CRD of Kong's": (
        ("patch", "crd", "kongplugins.configuration.konghq.com", *MERGE, '{"spec": {"names": {"shortNames": ["k"]}}}'),
        "CustomResourceDefinition kongplugins.configuration.konghq.com: spec.names.shortNames",
    ),
    "a label of a CRD": (
        (
            "label",
            "customresourcedefinition",
            "gateways.networking.istio.io",
            "app.kubernetes.io/part-of=other",
            "--overwrite",
        ),
        r"CustomResourceDefinition gateways.networking.istio.io: metadata.labels.app.kubernetes.io/part-of",
    ),
}


def drift(stack: Stack) -> tuple[Answer, str]:
    """Return how `python -m checks drift` ended, and all that it found."""
    folder = stack.paths.sandbox / "drift"
    answer = stack.project.python("-m", "checks", "drift", "--stack=sandbox", f"--reports={folder}")
    found = json.loads((folder / JSON).read_text())["checks"]
    return answer, "; ".join(one["seen"] for one in found)


def test_a_stack_that_nobody_touched_has_no_drift(engines: Stack) -> None:
    answer, _ = drift(engines)
    assert answer.returncode == 0, said(answer)


def test_what_somebody_changed_by_hand_is_shown_and_put_back(engines: Stack) -> None:
    for command, _ in DRIFTS.values():
        engines.kubectl(*command)
    answer, found = drift(engines)
    assert answer.returncode == 1, said(answer)
    missed = [name for name, (_, expected) in DRIFTS.items() if not re.search(expected, found)]
    assert not missed, f"not shown: {missed} in {found}"
    remedy = re.search(rf"{REPAIR}=true (pulumi up --refresh --stack sandbox)", said(answer))
    assert remedy, f"no remedy in {said(answer)}"
    repaired = engines.project.run(
        *remedy[1].split(),
        *("--config-file=.sandbox/Pulumi.sandbox.yaml", "--yes", "--skip-preview", "--non-interactive"),
        environment=engines.environment | {REPAIR: "true"},
    )
    assert repaired.returncode == 0, said(repaired)
    answer, found = drift(engines)
    assert answer.returncode == 0, f"not put back: {found}\n{said(answer)}"
    unchanged = pulumi(engines, "preview", "--expect-no-changes")
    assert unchanged.returncode == 0, said(unchanged)


def test_an_up_and_a_refresh_tell_todays_address(engines: Stack) -> None:
    for address, command in (("192.0.2.201", ("up",)), ("192.0.2.202", ("refresh", "--run-program"))):
        status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
        where = ("service", "kong-istio-kong-proxy", "--namespace=kong-istio", "--subresource=status")
        engines.kubectl("patch", *where, "--type=merge", f"--patch={status}")
        answer = pulumi(engines, *command, "--yes", "--skip-preview", "--expect-no-changes")
        assert answer.returncode == 0, said(answer)
        outputs = json.loads(engines.run("pulumi", "stack", "output", "--json", "--stack=sandbox"))
        assert (outputs["proxyAddress"], outputs["proxyUrl"]) == (address, f"http://{address}")
