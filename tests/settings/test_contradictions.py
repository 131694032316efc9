"""Further values of charts that contradict the stack are refused, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from charts import documents, published
from test_settings import FULL, refused, root, says

import settings
from settings.chart_values import PROFILES
from settings.contradictions import RULES, Rule

__all__ = ["root"]

CHART = {
    "istio.baseValues": "base",
    "istio.istiodValues": "istiod",
    "istio.cniValues": "cni",
    "istio.gatewayValues": "gateway",
    "kong.values": "kong",
    "observability.prometheus.values": "prometheus",
    "observability.grafana.values": "grafana",
    "observability.kiali.values": "kiali-server",
}
# Settings under which every rule applies.
STRICTEST: dict[str, Any] = {
    "security": {"networkPolicies": True},
    "istio": {"mtls": "STRICT"},
    "kong": {"clientAddress": {"source": "proxyProtocol", "trustedRanges": ["198.51.100.0/24"]}},
}
# What templates read that is in no chart's own values: a comment there may name it.
READ_BY_TEMPLATES = {
    *("fullnameOverride", "nameOverride", "namespace", "profile", "istio_cni", "pullSecrets", "customEnv"),
    *("unifiedRepoTag", "externalTrafficPolicy", "externalIPs", "installCRDs"),
}
# Maps of Kong's, Grafana's, Istio's and Kiali's own settings, some of which the charts' own values name.
HANDED_ON = {
    "scrapeConfigs",
    "env",
    "customEnv",
    "grafana.ini",
    "meshConfig",
    "external_services",
    "podAnnotations",
    "podLabels",
    "pod_annotations",
}


ROWS = [(key, path, rule) for key, rules in RULES.items() for rule in rules for path in rule.paths]


def config(path: str, value: Any) -> dict[str, Any]:
    """Return settings, the strictest, with a value at a place whose steps are between spaces."""
    *outer, last = path.split()
    result: dict[str, Any] = {key: dict(section) for key, section in STRICTEST.items()}
    place = result
    for step in outer:
        place = place.setdefault(step, {})
    place[last] = value
    return result


def place(key: str, path: str) -> str:
    return f"{key.replace('.', ' ')} {path}"


@pytest.mark.parametrize(("key", "path", "rule"), ROWS)
def test_a_value_that_contradicts_the_stack_is_refused_with_the_remedy(
    key: str, path: str, rule: Rule, root: Path
) -> None:
    value = "[]" if rule.secret else "other"
    said = refused(config(place(key, path), value), root)
    steps = [step if re.fullmatch(r"[\w-]+", step) else f'"{step}"' for step in path.split()]
    says(said, ".".join([key, *steps]), "[secret]" if rule.secret else '"other"', rule.remedy)


@pytest.mark.parametrize(("key", "path", "rule"), [row for row in ROWS if row[2].agrees])
def test_a_value_that_agrees_is_taken(key: str, path: str, rule: Rule, root: Path) -> None:
    for value in rule.agrees:
        settings.parse(config(place(key, path), value), (), root)


@pytest.mark.parametrize(("key", "path"), sorted({(key, path) for key, path, _ in ROWS}))
def test_the_chart_knows_the_path(key: str, path: str) -> None:
    text = published(CHART[key]).values.read_text()
    values: Any = documents(text)[0]
    values |= values.get("_internal_defaults_do_not_set", {})
    for step in path.split():
        known = isinstance(values, dict) and step in values
        assert known or step in READ_BY_TEMPLATES or re.search(rf"\b{re.escape(step)}\b", text), (path, step)
        values = values[step] if known else None
        if values == {} or step in HANDED_ON:
            break


def test_every_chart_has_its_rules() -> None:
    assert RULES.keys() == CHART.keys()
    # The full settings hold values for all of them, and are taken.
    assert all(str(value) for value in FULL.values())


TWO = {"minute": 5, "policy": "redis", "redis": {"host": "redis.example.com"}}
INJECTED = [{"matchLabels": {"istio-injection": "enabled"}}]
OURS = [
    *INJECTED,
    {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["istio-system"]}]},
]
REGISTRY_ONLY = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
MESH = {"istio": {"istiodValues": {"meshConfig": REGISTRY_ONLY}}}


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"kong": {"values": {"autoscaling": {"enabled": True}}}}, ["autoscaling.enabled is true", "local", "redis"]),
        (
            {"kong": {"values": {"env": {"trusted_ips": "0.0.0.0/0,::/0"}}}},
            ["trusted_ips", "0.0.0.0/0", "trustedRanges"],
        ),
        ({"kong": {"values": {"env": {"TRUSTED_IPS": "::/0"}}}}, ["trusted_ips", "::/0", "trustedRanges"]),
        ({"kong": {"values": {"env": {"trusted_ips": "0.0.0.0/1, 128.0.0.0/1"}}}}, ["anyone"]),
        ({"kong": {"values": {"env": {"DATABASE": "postgres"}}}}, ["env.database", "postgres", "no database"]),
        # In place of what leads to a value that is guarded.
        ({"kong": {"values": {"env": None}}}, ["kong.values.env is no object", "leave it out"]),
        (
            {"kong": {"values": {"podAnnotations": {"proxy.istio.io/config": "{}"}}}},
            ["proxy.istio.io/config", "add hold"],
        ),
        ({"kong": {"values": {"ingressController": {"watchNamespaces": ["a"]}}}}, ["watchNamespaces", "bookinfo"]),
        (
            {"istio": {"cniValues": {"excludeNamespaces": ["kube-system", "bookinfo"]}}},
            ["excludeNamespaces", "bookinfo"],
        ),
        (
            {"istio": {"istiodValues": {"pilot": {"revision": "canary"}}}},
            ["pilot.revision", "canary", "use the setting istio.revision or istio.canary"],
        ),
        ({"istio": {"istiodValues": {"autoscaleMin": 2}}}, ["autoscaleMin is 2", "autoscaleEnabled", "istio.replicas"]),
        ({"istio": {"istiodValues": {"pilot": {"autoscaleMax": 9}}}}, ["autoscaleMax is 9", "autoscaleEnabled"]),
        ({"istio": {"profile": "minimal"}}, ["istio.profile", "minimal", "istioctl", "demo"]),
        ({"istio": {"profile": "openshift"}}, ["istio.profile", "platform"]),
        ({"istio": {"profile": "remote"}}, ["istio.profile", "control plane"]),
        ({"istio": {"profile": "prod"}}, ["istio.profile", "ambient, demo, preview, stable"]),
        ({**MESH, "kong": {"routing": "guide"}}, ["REGISTRY_ONLY", "kong.routing"]),
        (
            {"istio": {"istiodValues": {"meshConfig": {"discoverySelectors": INJECTED}}}},
            ["discoverySelectors", "istio-system"],
        ),
        (
            {
                "istio": {
                    "canary": {"version": "1.31.0", "istiodValues": {"meshConfig": {"discoverySelectors": INJECTED}}}
                }
            },
            ["istio.canary.istiodValues.meshConfig.discoverySelectors", "istio-system"],
        ),
        (
            {
                "istio": {"canary": {"version": "1.31.0", "istiodValues": {"meshConfig": REGISTRY_ONLY}}},
                "kong": {"routing": "guide"},
            },
            ["istio.canary.istiodValues.meshConfig.outboundTrafficPolicy.mode", "kong.routing"],
        ),
        (
            {"istio": {"istiodValues": {"meshConfig": {**REGISTRY_ONLY, "discoverySelectors": OURS}}}},
            ["discoverySelectors", "would not see default"],
        ),
    ],
)
def test_what_contradicts_by_its_value_is_refused(given: dict[str, Any], parts: list[str], root: Path) -> None:
    says(refused(given, root), *parts)


@pytest.mark.parametrize(
    "given",
    [
        {"kong": {"values": {"autoscaling": {"enabled": True}}}, "rateLimit": TWO},
        {"kong": {"values": {"env": {"trusted_ips": "198.51.100.0/24", "log_level": "debug"}}}},
        {"kong": {"values": {"ingressController": {"watchNamespaces": ["bookinfo"], "env": {"log_level": "debug"}}}}},
        {"kong": {"values": {"podAnnotations": {"proxy.istio.io/config": "{holdApplicationUntilProxyStarts: true}"}}}},
        {"istio": {"istiodValues": {"autoscaleEnabled": True, "autoscaleMin": 2, "traceSampling": 5}}},
        {"istio": {"istiodValues": {"meshConfig": {"discoverySelectors": OURS, "accessLogFile": "/dev/stdout"}}}},
        {"istio": {"injection": False, "istiodValues": {"global": {"operatorManageWebhooks": True}}}},
        {
            "observability": {
                "grafana": {"values": {"persistence": {"enabled": True}, "datasources": {"loki.yaml": {}}}}
            }
        },
        *({"istio": {"profile": profile}} for profile in ("", *PROFILES)),
        MESH,
    ],
)
def test_further_values_that_contradict_nothing_are_taken(given: dict[str, Any], root: Path) -> None:
    settings.parse(given, (), root)


def test_no_sentence_shows_what_may_be_a_password(root: Path) -> None:
    for key, path, rule in ROWS:
        if rule.secret:
            assert "hunter2" not in refused(config(place(key, path), "hunter2"), root)
