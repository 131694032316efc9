"""The stacks that are shipped: what their files say, what they bring up, and that no secret gets out of one."""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import documents, pick
from pydantic import BaseModel
from stack import Answer, Object, Stack, make_project, said, wait_for

import settings
from components.shared.merging import merged
from plan.program import record
from plan.stack_config import placeholder_for
from sandbox.machine_settings import with_facts
from sandbox.paths import CHECKOUT, CONTEXT
from settings import RateLimit, Settings

SHIPPED = ("dev", "prod", "sandbox", "staging")
LIKE_PRODUCTION = ("prod", "staging")
PREFIX = f"{settings.PROJECT}:"


def shipped(name: str) -> Object:
    """Return the settings of a stack as they are shipped, key to value."""
    config = yaml.safe_load((CHECKOUT.root / f"Pulumi.{name}.yaml").read_text())["config"]
    return {key.removeprefix(PREFIX): value for key, value in config.items()}


def parsed(config: Object) -> Settings:
    return settings.parse(config, (), CHECKOUT.root)


# --- the files ------------------------------------------------------------------------------------------------


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{where}.{name}" if where else name)
    else:
        yield where, value


def plain(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json", by_alias=True)


def test_these_stacks_are_shipped() -> None:
    assert {file.name.split(".")[1] for file in CHECKOUT.root.glob("Pulumi.*.yaml")} == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_stack_file_holds_only_what_differs(name: str) -> None:
    # A stack's rate limit takes the place of the whole default, whose window it has to repeat.
    defaults = dict(leaves({**plain(Settings()), "rateLimit": plain(RateLimit())}))
    repeated = [where for where, value in leaves(shipped(name)) if defaults.get(where, ...) == value]
    assert repeated == []


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"sandbox"}))
def test_a_stack_file_names_nobodys_cluster(name: str) -> None:
    assert not shipped(name).keys() & {"kubeconfig", "kubeContext", "sandbox"}


@pytest.mark.parametrize("name", SHIPPED)
def test_places_of_a_stack_file_are_placeholders(name: str) -> None:
    found = parsed(shipped(name))
    reserved = [ipaddress.ip_network(text) for text in ("203.0.113.0/24", "198.51.100.0/24")]
    ranges = [*found.kong.source_ranges, *found.kong.client_address.trusted_ranges]
    assert all(ipaddress.ip_network(text) in reserved for text in ranges)
    redis = found.rate_limit.redis
    assert redis is None or redis.host.endswith(".example.com")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_stack_file_holds_no_secret(name: str) -> None:
    text = (CHECKOUT.root / f"Pulumi.{name}.yaml").read_text()
    found = parsed(shipped(name))
    assert not (found.rate_limit.redis and found.rate_limit.redis.password)
    assert not found.kong.tls
    assert not found.observability.grafana.admin_password
    # What Pulumi encrypts with, and what it encrypted, belong to somebody's own stack.
    assert not re.search(r"encryptionsalt|encryptedkey|secure:", text)


@pytest.mark.usefixtures("machine")
def test_nothing_depends_on_what_a_stack_is_called() -> None:
    def registered(stack: str) -> dict[str, str]:
        resources = record({**shipped("dev"), "kubeContext": "somewhere"}, stack=stack).resources
        # What only an `up` knows is an object of its own each time; sentences name the stack in their commands.
        texts = {key: json.dumps(each.inputs, default=lambda _: "unknown") for key, each in resources.items()}
        return {key: text.replace(stack, "STACK") for key, text in texts.items()}

    one = registered("prod-of-somebody")
    assert len(one) > 20
    assert one == registered("another-dev")


def test_a_laptop_is_open_to_look_at_and_closed_to_change() -> None:
    found = parsed(shipped("dev"))
    assert found.istio.profile == "demo"
    assert found.kong.service_type == "NodePort"
    assert (found.observability.kiali.auth, found.observability.kiali.view_only) == ("anonymous", True)
    assert found.observability.grafana.anonymous


@pytest.mark.parametrize("name", LIKE_PRODUCTION)
def test_production_outlives_a_node_and_is_closed(name: str) -> None:
    found = parsed(shipped(name))
    assert (found.istio.profile, found.istio.mtls, found.istio.cni) == ("", "STRICT", True)
    assert min(found.istio.replicas, found.kong.replicas) > 1
    assert all((found.istio.resources, found.kong.resources, found.kong.controller_resources))
    assert found.kong.source_ranges
    assert found.kong.tls_secret
    assert found.kong.client_address.source != "connection"
    assert (found.observability.kiali.auth, found.observability.kiali.view_only) == ("token", True)
    assert (found.observability.grafana.anonymous, bool(found.observability.grafana.admin_secret)) == (False, True)
    assert found.observability.prometheus.volume
    assert all((found.security.pod_security, found.security.only_kong_calls, found.security.network_policies))
    redis = found.rate_limit.redis
    assert found.rate_limit.policy == "redis"
    assert redis is not None
    assert redis.password_secret is not None


def test_namespaces_of_production_are_protected() -> None:
    assert {name for name in SHIPPED if parsed(shipped(name)).security.protect_namespaces} == {"prod"}


# --- a stack in a sandbox of its own --------------------------------------------------------------------------

# Nothing in the sandbox creates volumes.
VOLUME = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "metadata": {"name": "of-prometheus"},
    "spec": {"capacity": {"storage": "1Ti"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"}},
}


@dataclass(frozen=True)
class Environment:
    """A stack that is up, by the settings that are shipped for it."""

    name: str
    stack: Stack
    settings: Settings


@pytest.fixture(scope="module", params=SHIPPED)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Bring up one shipped stack after the other."""
    name = request.param
    with ExitStack() as ending:
        if name == "sandbox":
            stack: Stack = request.getfixturevalue("stack")
            stack.up_unless_it_is()
        else:
            stack = ending.enter_context(sandbox_in(tmp_path_factory.mktemp(name)))
            bring_up(stack, name, in_the_sandbox(shipped(name), stack))
        yield Environment(name, stack, parsed(shipped(name)))


@contextmanager
def sandbox_in(folder: Path) -> Iterator[Stack]:
    """Give a sandbox without a stack: another copy's, as the shared one may have its stack up."""
    stack = Stack(make_project(folder.resolve()))
    try:
        answer = stack.project.python("-m", "sandbox", "up")
        assert answer.returncode == 0, f"there is no sandbox:\n{said(answer)}"
        asked = stack.project.python("-c", "from sandbox import pulumi_engine; print(pulumi_engine.missing())")
        stack.rehearsed = asked.stdout.splitlines()[-1]
        yield stack
    finally:
        stack.down()


def in_the_sandbox(config: Object, stack: Stack) -> Object:
    """Return a stack's settings with what any stack needs there."""
    facts = with_facts({"config": {f"{PREFIX}{key}": value for key, value in config.items()}}, stack.facts)
    found = {key.removeprefix(PREFIX): value for key, value in facts["config"].items()}
    needed = {"sandbox": True, "kubeconfig": ".sandbox/kubeconfig", "kubeContext": CONTEXT}
    # The API server cannot ask a simulated pod.
    return merged(found, {**needed, "kong": {"admissionWebhook": False}})


def bring_up(stack: Stack, name: str, config: Object) -> None:
    """Bring a stack up by Pulumi's engine, or rehearse it where there is none."""
    stack.kubectl("apply", "--filename=-", stdin=json.dumps(VOLUME))
    file = config_file(stack, name, config)
    if not stack.rehearsed:
        create(stack, name, stack.environment)
    with others_create(stack, config):
        if stack.rehearsed:
            answer = stack.project.python("-m", "sandbox.rehearsal", "--config-file", str(file))
        else:
            answer = pulumi(stack, name, "up", "--yes", "--skip-preview")
    stack.said = said(answer)
    assert answer.returncode == 0, f"the stack {name} did not come up:\n{stack.said}"
    assert not re.search(r"[1-9]\d* of the checks failed", stack.said), stack.said


# How long somebody takes to create a Secret, once its namespace is there.
SECONDS_LATER = 10


@contextmanager
def others_create(stack: Stack, config: Object) -> Iterator[None]:
    """Create the Secrets that settings name, by kubectl, while an `up` runs."""
    found = settings.parse({**config, "sandbox": False}, ("kong", "rateLimit", "observability"), stack.paths.root)
    kong, grafana, redis = found.kong.tls_secret, found.observability.grafana.admin_secret, found.rate_limit.redis
    reference = redis and redis.password_secret
    named: dict[tuple[str, str], dict[str, str]] = {
        ("kong-istio", kong): {"tls.crt": "certificate", "tls.key": "key"},
        ("istio-system", grafana): {"admin-user": "admin", "admin-password": "password"},
        ("bookinfo", reference.name if reference else ""): {reference.key if reference else "": '"password"'},
    }
    ended = threading.Event()

    def create_later(namespace: str, name: str, data: dict[str, str]) -> None:
        while stack.try_kubectl("get", "namespace", namespace).returncode and not ended.wait(1):
            pass
        if not ended.wait(SECONDS_LATER):
            metadata = {"name": name, "namespace": namespace}
            item = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
            stack.kubectl("apply", "--filename=-", stdin=json.dumps(item))

    threads = [threading.Thread(target=create_later, args=(*place, data)) for place, data in named.items() if place[1]]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def config_file(stack: Stack, name: str, config: Object) -> Path:
    """Write settings where `pulumi` below looks for them."""
    file = stack.paths.sandbox / f"Pulumi.{name}.yaml"
    if not file.exists() or "encryptionsalt" not in file.read_text():
        file.write_text(yaml.safe_dump({"config": {f"{PREFIX}{key}": value for key, value in config.items()}}))
    return file


def create(stack: Stack, name: str, environment: dict[str, str]) -> None:
    """Create a stack; `stack init` would write a file beside the project's."""
    folder = stack.paths.sandbox / "init"
    folder.mkdir(exist_ok=True)
    shutil.copy(stack.paths.root / "Pulumi.yaml", folder)
    init = ("pulumi", "stack", "init", name, "--no-select", "--non-interactive", f"--cwd={folder}")
    answer = stack.project.run(*init, environment=environment)
    assert answer.returncode == 0, said(answer)


def pulumi(
    stack: Stack, name: str, *arguments: str, environment: dict[str, str] | None = None, stdin: str = ""
) -> Answer:
    """Run Pulumi on a stack in the sandbox."""
    options = (f"--stack={name}", f"--config-file=.sandbox/Pulumi.{name}.yaml", "--non-interactive")
    return stack.project.run("pulumi", *arguments, *options, environment=environment or stack.environment, stdin=stdin)


@pytest.fixture
def apart(environment: Environment) -> Iterator[dict[str, str]]:
    """Return an environment without a cluster, where Pulumi has its state elsewhere."""
    stack = environment.stack
    state, hidden = stack.paths.sandbox / "apart", stack.paths.sandbox / "hidden"
    state.mkdir(exist_ok=True)
    stack.paths.kubeconfig.rename(hidden)
    yield {**stack.environment, "PULUMI_BACKEND_URL": state.as_uri(), "KUBECONFIG": str(stack.paths.kubeconfig)}
    hidden.rename(stack.paths.kubeconfig)


@pytest.mark.sandbox
def test_a_shipped_stack_runs_every_pod(environment: Environment) -> None:
    stack = environment.stack

    def waiting() -> list[str]:
        return [
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            for pod in stack.list("pods")
            if pick(condition(pod, "Ready"), "status") != "True"
        ]

    wait_for(lambda: not waiting(), "every pod to be ready", seconds=60)
    namespaces = {pod["metadata"]["namespace"] for pod in stack.list("pods")}
    assert namespaces >= {"istio-system", "kong-istio", "bookinfo"}
    short = [
        item["metadata"]["name"]
        for item in stack.list("deployments")
        if item["status"].get("readyReplicas") != item["spec"]["replicas"]
    ]
    assert short == [], "these have fewer pods than they should"


@pytest.mark.sandbox
def test_a_shipped_stack_runs_istiod_and_kong_as_often_as_is_set(environment: Environment) -> None:
    stack, expected = environment.stack, environment.settings
    for namespace, name, replicas in (
        ("istio-system", "istiod", expected.istio.replicas),
        ("kong-istio", "kong-istio-kong", expected.kong.replicas),
    ):
        deployment = stack.get("deployment", name, namespace)
        assert deployment["status"]["readyReplicas"] == replicas
        budgets = {item["metadata"]["name"]: item["spec"] for item in stack.list("poddisruptionbudgets", namespace)}
        assert pick(budgets, name, "minAvailable") == (1 if replicas > 1 else None)
        nodes = {pod["spec"]["nodeName"] for pod in pods_of(stack, deployment)}
        assert len(nodes) == min(replicas, len(stack.list("nodes"))), f"{name} runs on {nodes}"
    assert stack.list("horizontalpodautoscalers") == []


@pytest.mark.sandbox
def test_a_shipped_stack_gives_containers_the_size_that_is_set(environment: Environment) -> None:
    expected = environment.settings
    for namespace, name, container, size in (
        ("istio-system", "istiod", "discovery", expected.istio.resources),
        ("kong-istio", "kong-istio-kong", "proxy", expected.kong.resources),
        ("kong-istio", "kong-istio-kong", "ingress-controller", expected.kong.controller_resources),
        ("istio-system", "prometheus", "prometheus-server", expected.observability.prometheus.resources),
    ):
        spec = environment.stack.get("deployment", name, namespace)["spec"]["template"]["spec"]
        if size:
            assert pick(spec, "containers", container, "resources") == size


@pytest.mark.sandbox
def test_a_shipped_stack_lets_in_whom_it_shall(environment: Environment) -> None:
    stack, expected = environment.stack, environment.settings
    service = stack.get("service", "kong-istio-kong-proxy", "kong-istio")["spec"]
    assert service["type"] == expected.kong.service_type
    assert service.get("loadBalancerSourceRanges", []) == list(expected.kong.source_ranges)
    local = expected.kong.client_address.source == "localTraffic"
    assert service["externalTrafficPolicy"] == ("Local" if local else "Cluster")
    kiali = yaml.safe_load(stack.get("configmap", "kiali", "istio-system")["data"]["config.yaml"])
    assert kiali["auth"]["strategy"] == expected.observability.kiali.auth
    assert kiali["deployment"]["view_only_mode"] is expected.observability.kiali.view_only
    grafana = stack.get("configmap", "grafana", "istio-system")["data"]["grafana.ini"]
    anonymous = str(expected.observability.grafana.anonymous).lower()
    assert f"[auth.anonymous]\nenabled = {anonymous}\norg_role = Viewer" in grafana


@pytest.mark.sandbox
def test_a_shipped_stack_creates_no_secret_in_place_of_one_that_it_is_given(environment: Environment) -> None:
    stack, expected = environment.stack, environment.settings
    names = {item["metadata"]["name"] for item in stack.list("secrets")}
    assert ("grafana-admin" in names) is not bool(expected.observability.grafana.admin_secret)
    assert "kiali-signing-key" in names
    assert "rate-limit-redis" not in names
    plugin = stack.get("kongplugin", "rate-limit", "bookinfo")
    redis = expected.rate_limit.redis
    if redis and redis.password_secret:
        reference = {"name": redis.password_secret.name, "key": redis.password_secret.key}
        (patch,) = plugin["configPatches"]
        assert patch == {"path": "/redis/password", "valueFrom": {"secretKeyRef": reference}}
        assert (plugin["config"]["redis"]["host"], plugin["config"]["redis"]["port"]) == (redis.host, redis.port)


@pytest.mark.engine
def test_an_up_says_which_secret_it_waits_for_and_how_to_create_it(environment: Environment) -> None:
    if environment.stack.rehearsed or environment.name not in LIKE_PRODUCTION:
        pytest.skip(environment.stack.rehearsed or "it names no Secret")
    for place, make in {
        "kong-istio/kong-tls": "kubectl create secret tls kong-tls --namespace kong-istio",
        "istio-system/grafana-login": "kubectl create secret generic grafana-login --namespace istio-system",
        "bookinfo/redis-login": "kubectl create secret generic redis-login --namespace bookinfo",
    }.items():
        assert f"The Secret {place} is not there; waiting for it, up to 300 s." in environment.stack.said
        assert make in environment.stack.said


@pytest.mark.sandbox
def test_a_shipped_stack_keeps_metrics_as_long_and_where_it_is_set(environment: Environment) -> None:
    stack, expected = environment.stack, environment.settings.observability.prometheus
    spec = stack.get("deployment", "prometheus", "istio-system")["spec"]["template"]["spec"]
    arguments = pick(spec, "containers", "prometheus-server", "args")
    assert f"--storage.tsdb.retention.time={expected.retention}" in arguments
    claims = {item["metadata"]["name"]: item for item in stack.list("persistentvolumeclaims", "istio-system")}
    assert [claim["spec"]["resources"]["requests"]["storage"] for claim in claims.values()] == (
        [expected.volume] if expected.volume else []
    )
    assert all(claim["status"]["phase"] == "Bound" for claim in claims.values())


@pytest.mark.sandbox
def test_a_shipped_stack_previews_without_a_cluster(environment: Environment, apart: dict[str, str]) -> None:
    # As it is shipped, but for the charts: there may be no network.
    stack, name = environment.stack, f"{environment.name}-as-shipped"
    charts = stack.facts.charts
    file = config_file(stack, name, {**shipped(environment.name), **({"charts": charts} if charts else {})})
    if stack.rehearsed:
        arguments = ("-m", "plan", "--config-file", str(file))
        answer = stack.project.python(*arguments, environment=apart)
    else:
        create(stack, name, apart)
        answer = pulumi(stack, name, "preview", environment=apart)
    assert answer.returncode == 0, f"the preview of {environment.name} failed:\n{said(answer)}"
    assert "Previewing without a cluster." in said(answer)


@pytest.mark.engine
def test_a_shipped_stack_is_not_destroyed_where_it_is_protected(environment: Environment) -> None:
    stack = environment.stack
    if not environment.settings.security.protect_namespaces or stack.rehearsed:
        pytest.skip(stack.rehearsed or "its namespaces are not protected")
    before = {pod["metadata"]["uid"] for pod in stack.list("pods")}
    answer = pulumi(stack, environment.name, "destroy", "--yes")
    assert answer.returncode, f"it was destroyed:\n{said(answer)}"
    assert "because it is protected" in said(answer)
    assert {pod["metadata"]["uid"] for pod in stack.list("pods")} == before


def condition(item: Object, kind: str) -> Object:
    found = [each for each in item.get("status", {}).get("conditions") or [] if each["type"] == kind]
    return found[0] if found else {}


def pods_of(stack: Stack, deployment: Object) -> list[Object]:
    """Return the pods of a Deployment that are to stay."""
    labels = deployment["spec"]["selector"]["matchLabels"]
    return [
        pod
        for pod in stack.list("pods", deployment["metadata"]["namespace"])
        if labels.items() <= pod["metadata"]["labels"].items() and "deletionTimestamp" not in pod["metadata"]
    ]


# --- secrets: what is put in must not come out ----------------------------------------------------------------

CANARY_STACK = "canary"
# No key of a setting that holds passwords by itself.
KEYS_OF_VALUES = (
    "istio.baseValues.canary",
    "istio.istiodValues.meshConfig.defaultConfig.tracing.token",
    "kong.values.env.pg_password",
    "kong.values.plugins.secrets[0].name",
    "observability.prometheus.values.canary.deep[1].deeper",
    "observability.grafana.values.smtp.password",
    "observability.kiali.values.external_services.tracing.auth.token",
    "rateLimit.redis.username",
    "rateLimit.errorMessage",
    "applications[0].rateLimit.headerName",
)
OWN_SECRET = "{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {password: %s}}\n"


@dataclass(frozen=True)
class Watched:
    """A stack that is up, and the secrets that were put into it or that it created: name to value.

    `values`: secrets in keys that go to a chart or a plug-in, by their keys. What these make of them is theirs.
    """

    stack: Stack
    canaries: dict[str, str]
    values: dict[str, str]

    @property
    def all(self) -> dict[str, str]:
        """Every secret."""
        return {**self.canaries, **self.values}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Bring up a stack with a password of redis and a Secret among the application's manifests."""
    if not shutil.which("pulumi"):
        pytest.skip("there is no Pulumi CLI, and so no state")
    redis, login, grafana = (f"canary-{secrets.token_hex(12)}" for _ in range(3))
    # In a line of its own, as base64 in PEM is.
    key = f"Canary{secrets.token_hex(24)}"
    with sandbox_in(tmp_path_factory.mktemp(CANARY_STACK)) as stack:
        if stack.rehearsed:
            pytest.skip(stack.rehearsed)
        values = {key: f"canary-{secrets.token_hex(12)}" for key in KEYS_OF_VALUES}
        kubeconfig = stack.kubectl("config", "view", "--minify", "--flatten", "--raw")
        bring_up_with(stack, redis, login, grafana, key, {**values, "kubeconfig": kubeconfig})
        (user,) = yaml.safe_load(kubeconfig)["users"]
        canaries = {
            "the password of redis": redis,
            "the application's login": login,
            "Grafana's password": grafana,
            "Kong's TLS key": key,
        }
        kiali = stack.get("secret", "kiali-signing-key", "istio-system")["data"]["key"]
        canaries["Kiali's key"] = base64.b64decode(kiali).decode()
        yield Watched(stack, canaries, {**values, "the cluster's key": user["user"]["client-key-data"]})
        answer = pulumi(
            stack, CANARY_STACK, "destroy", "--yes", "--skip-preview", environment=without_kubeconfig(stack)
        )
        assert answer.returncode == 0, said(answer)
        assert {"istio-system", "kong-istio", "bookinfo"}.isdisjoint(
            item["metadata"]["name"] for item in stack.list("namespaces")
        )


def without_kubeconfig(stack: Stack) -> dict[str, str]:
    """Return an environment in which only the stack's own settings lead to the cluster."""
    return {**stack.environment, "KUBECONFIG": str(stack.paths.sandbox / "no-kubeconfig")}


def bring_up_with(stack: Stack, redis: str, login: str, grafana: str, key: str, values: dict[str, str]) -> None:
    manifests = stack.paths.sandbox / "manifests"
    shutil.copytree(stack.paths.root / "manifests", manifests)
    (manifests / "login.yaml").write_text(OWN_SECRET % login)
    (application,) = plain(Settings())["applications"]
    config = {
        **in_the_sandbox(shipped("sandbox"), stack),
        "applications": [{**application, "manifests": ".sandbox/manifests"}],
        "rateLimit": {"minute": 30, "policy": "redis", "redis": {"host": "redis.example.com"}},
    }
    config["kong"] = {**config["kong"], "tls": {"certificate": placeholder_for("certificate")}}
    # The cluster's kubeconfig is a secret of the stack.
    del config["kubeconfig"]
    config["sandbox"] = False
    config_file(stack, CANARY_STACK, config)
    create(stack, CANARY_STACK, stack.environment)
    pem = f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"
    for where, value in {
        "rateLimit.redis.password": redis,
        "observability.grafana.adminPassword": grafana,
        "kong.tls.key": pem,
        **values,
    }.items():
        place = ("--secret", "--path", f"{PREFIX}{where}")
        answer = pulumi(stack, CANARY_STACK, "config", "set", *place, stdin=value)
        assert answer.returncode == 0, said(answer)
    # It writes the events only where its own developers look.
    environment = {**without_kubeconfig(stack), "PULUMI_DEBUG_COMMANDS": "true"}
    events = (f"--event-log={stack.paths.sandbox / 'events.json'}",)
    answer = pulumi(stack, CANARY_STACK, "up", "--yes", "--skip-preview", "--diff", *events, environment=environment)
    stack.said = said(answer)
    assert answer.returncode == 0, f"the stack did not come up:\n{stack.said}"


@pytest.mark.engine
def test_secrets_reach_whom_they_are_for(watched: Watched) -> None:
    disclosed = watched.stack.run("pulumi", "stack", "export", f"--stack={CANARY_STACK}", "--show-secrets")
    held = json.dumps([item.get("data") for item in watched.stack.list("secrets")])
    for what, value in watched.all.items():
        assert tells(disclosed, value), f"{what} is not even encrypted in the state: is it what is looked for?"
    for what, value in watched.canaries.items():
        assert tells(held, value), f"{what} is in no Secret"


@pytest.mark.engine
def test_secrets_are_not_in_the_state_nor_in_outputs_nor_in_logs(watched: Watched) -> None:
    stack = watched.stack
    options = (f"--stack={CANARY_STACK}", "--non-interactive")
    texts = {
        "the exported state": stack.run("pulumi", "stack", "export", *options),
        "the outputs": stack.run("pulumi", "stack", "output", "--json", *options),
        "what `up` said": stack.said,
        "the events of `up`": (stack.paths.sandbox / "events.json").read_text(),
        "the stack file": (stack.paths.sandbox / f"Pulumi.{CANARY_STACK}.yaml").read_text(),
        **on_disk(stack),
    }
    assert len(texts) > 10, f"only these were looked at: {', '.join(texts)}"
    assert told(texts, watched.all) == []


@pytest.mark.engine
def test_secrets_are_in_no_preview_nor_plan_nor_finding_nor_report(watched: Watched) -> None:
    apart = without_kubeconfig(watched.stack)
    stack, file = watched.stack, f".sandbox/Pulumi.{CANARY_STACK}.yaml"
    place = ("--secret", "--path", f"{PREFIX}kong.values.env.pg_password")
    changed = {**watched.all, "the next password": f"canary-{secrets.token_hex(12)}"}
    pulumi(stack, CANARY_STACK, "config", "set", *place, stdin=changed["the next password"])
    told_by = {
        "a preview": pulumi(stack, CANARY_STACK, "preview", environment=apart),
        "its difference": pulumi(stack, CANARY_STACK, "preview", "--diff", environment=apart),
        "its JSON": pulumi(stack, CANARY_STACK, "preview", "--json", environment=apart),
        "the plan": stack.project.python("-m", "plan", "--config-file", file, environment=apart),
        "the policies": stack.project.python("-m", "policy", "--config-file", file, environment=apart),
    }
    pulumi(stack, CANARY_STACK, "config", "set", *place, stdin=watched.values["kong.values.env.pg_password"])
    assert "[secret] => [secret]" in told_by["its difference"].stdout
    reports = {str(path): path.read_text() for path in (stack.paths.sandbox / "checks").rglob("*") if path.is_file()}
    assert reports, "the checks wrote no report"
    assert told({**{what: said(answer) for what, answer in told_by.items()}, **reports}, changed) == []
    assert [what for what, answer in told_by.items() if answer.returncode and what != "the policies"] == []


@pytest.mark.engine
def test_secrets_are_not_on_the_cluster_outside_secrets(watched: Watched) -> None:
    stack = watched.stack
    kinds = stack.kubectl("api-resources", "--verbs=list", "--output=name").split()
    others = sorted({kind for kind in kinds if kind not in ("secrets", "componentstatuses")})
    found = stack.list(",".join(others))
    assert {"ConfigMap", "Pod", "KongPlugin", "Deployment"} <= {item["kind"] for item in found}
    texts = {f"{item['kind']} {item['metadata']['name']}": json.dumps(item) for item in found}
    assert told(texts, watched.canaries) == []


@pytest.mark.engine
def test_secrets_are_not_in_helm_releases(watched: Watched) -> None:
    releases = dict(helm_releases(watched.stack))
    assert releases.keys() >= {"istio-base", "istiod", "kong-istio", "prometheus", "grafana", "kiali"}
    # It is read as it should be: the name is there.
    assert releases["grafana"]["config"]["admin"]["existingSecret"] == "grafana-admin"
    assert {item["kind"] for item in documents(releases["grafana"]["manifest"])} >= {"Deployment", "ConfigMap"}
    texts = {f"release {name}": json.dumps(release) for name, release in releases.items()}
    assert told(texts, watched.canaries) == []


def told(texts: dict[str, str], canaries: dict[str, str]) -> list[str]:
    """Return which secret stands where."""
    return [
        f"{what} in {where}" for where, text in texts.items() for what, value in canaries.items() if tells(text, value)
    ]


def tells(text: str, value: str) -> bool:
    """Return whether a text tells a value, as it is or anywhere in something in base64."""
    return any(spelling in text for spelling in (value, *in_base64(value)))


def in_base64(value: str) -> Iterator[str]:
    """Yield what is the same in every base64 of something that holds the value, at each of the three offsets where it may lie."""
    for before in range(3):
        encoded = base64.b64encode(b" " * before + value.encode()).decode().rstrip("=")
        # The characters at both ends also stand for what is before and after it.
        yield encoded[(before * 8 + 5) // 6 : -1]


def on_disk(stack: Stack) -> dict[str, str]:
    """Return the state and the logs as they lie on the disk."""
    logs = (stack.paths.logs, stack.paths.sandbox / "pulumi" / "logs", stack.paths.cluster / "logs")
    files = [path for folder in (stack.paths.state, *logs) for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(stack.paths.root)): path.read_text(errors="replace") for path in files}


def helm_releases(stack: Stack) -> Iterator[tuple[str, Object]]:
    """Yield what Helm keeps of each release: its values, its chart and its manifests."""
    for item in stack.list("secrets"):
        if item["type"] == "helm.sh/release.v1":
            # Once by Kubernetes and once by Helm.
            packed = base64.b64decode(base64.b64decode(item["data"]["release"]))
            release = json.loads(gzip.decompress(packed))
            yield release["name"], release
