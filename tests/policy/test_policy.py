"""The rules: their examples, the shipped stacks, what a chart hides, and what the command says."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import policies
import pytest
from pulumi import RunError

from policy import Finding, examples, findings, pack_config
from policy.command import main, report
from policy.objects import Object
from policy.rule import Rule
from policy.rules import RULES
from policy.stack_findings import judge
from sandbox.paths import CHECKOUT
from workloads import Image

EXAMPLES = list(examples.read())
STRICT = pack_config.PackConfig()

MakeStack = Callable[..., Path]


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.rule.name}: {example.name}")
def test_a_rule_finds_what_it_has_to_and_nothing_else(example: examples.Example) -> None:
    assert example.holds, f"found {example.found}, expected {example.finds}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_has_examples_that_pass_and_that_do_not(rule: Rule) -> None:
    own = [bool(example.finds) for example in EXAMPLES if example.rule is rule]
    assert own.count(False) >= 1
    assert own.count(True) >= 2


def test_no_finding_is_without_advice() -> None:
    violations = [violation for example in EXAMPLES for violation in example.violations()]
    assert all(v.what and v.remedy and not v.what.endswith(".") and "\n" not in v.what for v in violations)


def test_every_option_is_described_and_strict_unless_said() -> None:
    for rule in RULES:
        assert all(option.meaning and option.default is not True for option in rule.options.values()), rule.name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("broken", [None, "text", 7, [], ["text"], {"containers": "none"}, {"template": []}])
def test_a_rule_bears_objects_of_any_shape(rule: Rule, broken: Any) -> None:
    kinds = {body["kind"] for example in EXAMPLES for body in example.objects}
    for kind in kinds:
        body = {"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": broken, "spec": broken, "data": broken}
        list(rule.violations([Object(body=body)], {}))


@pytest.mark.parametrize("name", ["kiali", "grafana", "istio-sidecar-injector"])
def test_files_that_nobody_can_read_end_no_rule(name: str) -> None:
    for text in ("{", "[a", "text", "7", "[]", "null", "a: [b"):
        data = dict.fromkeys(("config.yaml", "grafana.ini", "values"), text)
        judge([Object(body={"kind": "ConfigMap", "metadata": {"name": name}, "data": data})], STRICT)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("kong", ("docker.io/library/kong", "", "")),
        ("kong/kubernetes-ingress-controller:3.5.13", ("docker.io/kong/kubernetes-ingress-controller", "3.5.13", "")),
        ("host:5000/a/b", ("host:5000/a/b", "", "")),
        ("host:5000/a/b:1@sha256:0", ("host:5000/a/b", "1", "sha256:0")),
    ],
)
def test_a_reference_is_taken_apart(reference: str, parts: tuple[str, str, str]) -> None:
    image = Image.parse(reference)
    assert (image.name, image.tag, image.digest) == parts


# --- the shipped stacks, with what this machine has in place of the charts' repositories ----------------------------


@pytest.fixture(scope="module")
def local_charts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a folder for every chart."""
    return policies.local_charts(tmp_path_factory.mktemp("charts"))


@pytest.fixture
def make_stack(local_charts: dict[str, str], tmp_path: Path) -> MakeStack:
    """Write a shipped stack's file with the charts of this machine, and with some changes."""
    return functools.partial(policies.stack_file, tmp_path, local_charts)


def mandatory(found: list[Finding]) -> list[tuple[str, str]]:
    """Return the rules and resources of mandatory findings."""
    return [(finding.rule, finding.resource) for finding in found if finding.severity == "mandatory"]


@pytest.mark.parametrize("stack", policies.STACKS)
def test_a_shipped_stack_passes_all_rules(stack: str, make_stack: MakeStack) -> None:
    found = findings(make_stack(stack), [policies.OFFLINE])
    assert mandatory(found) == [], report(found)


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_staging_and_prod_are_excused_from_nothing(stack: str) -> None:
    assert not pack_config.file_of(stack).exists()


@pytest.mark.parametrize("name", ["sandbox", "dev"])
def test_an_excuse_is_one_that_the_stack_needs(name: str, make_stack: MakeStack) -> None:
    said = pack_config.read(pack_config.file_of(name), RULES)
    config = make_stack(name)
    # As if it were another stack's, which has no file.
    strict = {rule for rule, _ in mandatory(findings(config.rename(config.with_name("Pulumi.other.yaml"))))}
    assert {*said.levels, *(rule for rule, options in said.options.items() if options)} <= strict


# Two stacks like staging, each with several settings that break a rule.
BROKEN: tuple[dict[str, Any], ...] = (
    {
        "istio": {"mtls": "PERMISSIVE", "cni": False},
        "kong": {"resources": {}, "values": {"env": {"pg_password": "hunter2"}}},
        "observability": {"grafana": {"anonymous": True, "adminSecret": "grafana-login"}},
        "images": {"references": {"kong": "docker.io/library/kong:3.9"}},
    },
    {
        "istio": {"ingressGateway": True},
        "security": {"podSecurity": False},
        "images": {"registry": "mirror.example/all", "references": {"kong": "docker.io/library/kong:3.9.0"}},
    },
)
KONG = "Deployment kong-istio/kong-istio-kong (release kong-istio)"
SIDECARS = "ConfigMap istio-system/istio-sidecar-injector (release istiod)"
BREACHES = [
    (0, "dashboards-ask-who-looks", "Release istio-system/grafana"),
    (0, "dashboards-ask-who-looks", "ConfigMap istio-system/grafana (release grafana)"),
    (0, "mesh-refuses-plain-text", "PeerAuthentication istio-system/default"),
    (0, "namespaces-are-labelled", "Namespace kong-istio"),
    (0, "images-are-pinned-and-from-known-registries", KONG),
    (0, "requests-and-limits-are-set", KONG),
    (0, "no-secret-in-plain-text", "Release kong-istio/kong-istio"),
    (1, "only-kong-is-exposed", "Service istio-ingress/istio-ingressgateway (release istio-ingressgateway)"),
    (1, "namespaces-are-labelled", "Namespace bookinfo"),
    (1, "images-are-pinned-and-from-known-registries", SIDECARS),
    (1, "versions-were-tested-together", KONG),
]


@pytest.fixture(scope="module")
def broken(local_charts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, str]]]:
    """Return what is mandatory of what is found in each of the broken stacks."""
    files = [policies.stack_file(tmp_path_factory.mktemp("s"), local_charts, "staging", **told) for told in BROKEN]
    return [mandatory(findings(file)) for file in files]


@pytest.mark.parametrize(("number", "rule", "resource"), BREACHES, ids=lambda value: str(value))
def test_a_setting_that_breaks_a_rule_is_found(
    broken: list[list[tuple[str, str]]], number: int, rule: str, resource: str
) -> None:
    assert (rule, resource) in broken[number]


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("{", "is not JSON"),
        ("[]", "speaks of no rule"),
        ('{"all-is-well": "disabled"}', "speaks of all-is-well"),
        ('{"only-kong-is-exposed": "sometimes"}', "it takes mandatory, advisory, disabled"),
        ('{"only-kong-is-exposed": 1}', "it takes mandatory"),
        ('{"only-kong-is-exposed": {"exposes": []}}', "has no option exposes; it has exposed"),
        ('{"mesh-refuses-plain-text": {"permissive": "yes"}}', "must be of the type boolean"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(text: str, fragment: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(RunError, match=fragment):
        pack_config.read(file, RULES)


def test_a_configuration_over_another_changes_only_what_it_says(tmp_path: Path) -> None:
    texts = {
        "below": '{"only-kong-is-exposed": "advisory", "namespaces-are-labelled": {"privileged": true}}',
        "above": '{"only-kong-is-exposed": {"exposed": ["a/b"]}, "namespaces-are-labelled": {"outside": []}}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    below, above = (pack_config.read(tmp_path / name, RULES) for name in texts)
    both = above.over(below)
    assert both.level(RULES[0]) == "advisory"
    assert both.options["only-kong-is-exposed"] == {"exposed": ["a/b"]}
    assert both.options["namespaces-are-labelled"] == {"privileged": True, "outside": []}


def test_severity_is_the_configurations(tmp_path: Path) -> None:
    service = {"kind": "Service", "metadata": {"name": "a", "namespace": "b"}, "spec": {"type": "NodePort"}}
    severities = {}
    for level in ("mandatory", "advisory", "disabled"):
        (tmp_path / level).write_text(json.dumps({"only-kong-is-exposed": level}))
        found = judge([Object(body=service)], pack_config.read(tmp_path / level, RULES))
        severities[level] = [finding.severity for finding in found if finding.rule == "only-kong-is-exposed"]
    assert severities == {"mandatory": ["mandatory"], "advisory": ["advisory"], "disabled": []}
    assert judge([Object(body=service)] * 2, STRICT) == judge([Object(body=service)], STRICT), "a finding is said twice"


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_what_is_found_and_fails(make_stack: MakeStack, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(make_stack("staging", istio={"mtls": "PERMISSIVE"}))
    options = ["--config-file", file, "--policy-config", str(policies.OFFLINE)]
    assert main(options) == 1
    said = capsys.readouterr().out
    assert (
        "mandatory  mesh-refuses-plain-text\n  PeerAuthentication istio-system/default: its mode is PERMISSIVE" in said
    )
    assert "    -> set istio.mtls to STRICT" in said
    assert main([*options, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"rule": "mesh-refuses-plain-text", "severity": "mandatory"}.items() <= found[0].items()
    assert found[0].keys() == {"rule", "severity", "resource", "what", "remedy"}


def test_the_command_is_content_with_advice(make_stack: MakeStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config-file", str(make_stack("sandbox"))]) == 0
    assert "10 rules: 0 mandatory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--stack", "nobody"], "There is no stack 'nobody'"),
        (["--config-file", "absent.yaml"], "no stack file absent.yaml"),
    ],
)
def test_what_cannot_be_looked_at_is_a_sentence(
    arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert fragment in error
    assert "Traceback" not in error


def test_the_table_shows_every_rule_and_nothing_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--table"]) == 0
    table = capsys.readouterr().out
    assert all(f"| {rule.name} |" in table for rule in RULES)
    assert "WRONG" not in table


# --- the policy pack: in an environment of its own, as the engine runs it ----------------------------------------------

IN_THE_PACK = """
import json, sys
from pulumi_policy import PolicyResource, PolicyResourceOptions, ResourceValidationArgs, StackValidationArgs
from pulumi_policy import ResourceValidationPolicy
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy
from policy.pack import policies

options = PolicyResourceOptions(False, [], False, None, [], None, [])
def of(body):
    if body["kind"] == "Release":
        return "kubernetes:helm.sh/v3:Release", {**body["metadata"], **body["spec"], "status": UNKNOWN_STRING_VALUE}
    if body["kind"] == "Command":
        return "command:local:Command", {**body["spec"], "stdout": UNKNOWN_STRING_VALUE}
    version = body["apiVersion"] if "/" in body["apiVersion"] else "core/" + body["apiVersion"]
    return f"kubernetes:{version}:{body['kind']}", {**body, "status": {"unknown": UNKNOWN_STRING_VALUE}}
def run(example):
    policy, found = known[example["rule"]], []
    report = lambda message, urn=None: found.append(message)
    registered = [(*of(body), body["metadata"]["name"]) for body in example["objects"]]
    if isinstance(policy, ResourceValidationPolicy):
        for type_, props, name in registered:
            props = unknown_checking_proxy(props)
            policy.validate(ResourceValidationArgs(type_, props, name, name, options, None, example["options"]), report)
    else:
        resources = [PolicyResource(t, unknown_checking_proxy(p), n, n, options, None, None, [], {}) for t, p, n in registered]
        policy.validate(StackValidationArgs(resources, example["options"]), report)
    return found
known = {policy.name: policy for policy in policies()}
json.dump([run(example) for example in json.load(sys.stdin)], sys.stdout)
"""


def test_the_policy_pack_finds_the_same_as_the_rules() -> None:
    if not policies.PACK.exists():
        pytest.skip(policies.NO_PACK)
    # Pulumi tells a validation nothing about what is secret.
    told = [example for example in EXAMPLES if example.secret is None]
    given = [{"rule": e.rule.name, "objects": e.objects, "options": e.options} for e in told]
    command = [str(policies.PACK), "-c", IN_THE_PACK]
    done = subprocess.run(
        command, cwd=CHECKOUT.root, input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for example, found in zip(told, json.loads(done.stdout), strict=True):
        expected = [f"{v.what}; {v.remedy}." for v in example.violations()]
        assert [message.partition(": ")[2] for message in found] == expected, f"{example.rule.name}: {example.name}"


def test_the_policy_pack_has_the_programs_own_versions() -> None:
    def pins(file: Path) -> dict[str, str]:
        lines = [line.partition("==") for line in file.read_text().splitlines() if "==" in line and line[0].isalpha()]
        return {name: version.partition(" ")[0] for name, _, version in lines}

    pack, program = pins(policies.FOLDER / "requirements.txt"), pins(CHECKOUT.root / "requirements.txt")
    for name in ("pulumi", "pyyaml", "grpcio"):
        assert pack[name] == program[name], name
    assert set(pins(policies.FOLDER / "requirements.in")) == {"pulumi", "pulumi-policy", "PyYAML"}
