"""The stack on a live API server: what is there, what is refused, and what it says of itself."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import CLUSTER, Object, Stack, make_project, said, wait_for

from commands import rollouts
from sandbox.programs import TOOLS
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(3600)]

BOOKINFO = {"details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"}
DASHBOARDS = {"prometheus": 9090, "grafana": 3000, "kiali": 20001}
PROXY = "kong-istio-kong-proxy"
# What Kong's admin API and its manager listen at, plain and with TLS.
ADMIN_PORTS = {8001, 8444, 8002, 8445}
ADDRESSES = ipaddress.ip_network("192.0.2.0/24")

# The stack has the istiod without a name, of whatever version.
_REVISION = "--revision=default="


@pytest.fixture(scope="module")
def live(stack: Stack) -> Stack:
    stack.up_unless_it_is()
    return stack


# --- the mesh -------------------------------------------------------------------------------------------------


@pytest.mark.pods
@pytest.mark.parametrize("namespace", ["bookinfo", "kong-istio"])
def test_every_pod_of_the_mesh_has_a_sidecar(live: Stack, namespace: str) -> None:
    if live.facts.not_shown:
        pytest.skip(f"not shown: {live.facts.not_shown}")
    pods = [pod for pod in live.list("pods", namespace) if "deletionTimestamp" not in pod["metadata"]]
    bare = [pod["metadata"]["name"] for pod in pods if "istio-proxy" not in containers(pod)]
    assert pods, f"there are no pods in {namespace}"
    assert not bare, f"pods in {namespace} without istio-proxy: {', '.join(bare)}"


def test_a_pod_outside_the_mesh_has_no_sidecar(live: Stack) -> None:
    name = "outside-the-mesh"
    live.kubectl("run", name, "--namespace=default", "--image=registry.invalid/nothing", "--restart=Never")
    try:
        found = containers(live.get("pod", name, "default"))
    finally:
        live.kubectl("delete", "pod", name, "--namespace=default", "--timeout=60s")
    assert found == {name}, f"a pod in the unlabelled namespace default got {sorted(found)}"


@pytest.mark.pods
def test_namespaces_are_labelled_for_injection_where_they_should_be(live: Stack) -> None:
    labelled = {
        item["metadata"]["name"]
        for item in live.list("namespaces")
        if (item["metadata"].get("labels") or {}).get("istio-injection") == "enabled"
    }
    assert labelled == {"bookinfo", "kong-istio"}, f"labelled istio-injection=enabled: {sorted(labelled)}"


def test_one_peer_authentication_rules_the_mesh(live: Stack) -> None:
    found = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"]["mtls"]["mode"]
        for item in live.list("peerauthentications.security.istio.io")
    }
    assert found == {("istio-system", "default"): "PERMISSIVE"}, f"PeerAuthentications: {found}"


def containers(pod: Object) -> set[str]:
    """Return the names of a pod's containers; a native sidecar is an init container."""
    spec = pod["spec"]
    return {container["name"] for container in [*(spec.get("initContainers") or []), *spec["containers"]]}


# --- the application and its route ----------------------------------------------------------------------------


@pytest.mark.pods
def test_the_application_is_available(live: Stack) -> None:
    found = {item["metadata"]["name"]: item for item in live.list("deployments.apps", "bookinfo")}
    assert set(found) == BOOKINFO, f"Deployments in bookinfo: {sorted(found)}"
    unavailable = {name: item.get("status") for name, item in found.items() if not rollouts.is_available(item)}
    assert not unavailable, f"not available: {unavailable}"


@pytest.mark.parametrize(
    ("kind", "name", "namespace"),
    [("ingresses.networking.k8s.io", "productpage", "bookinfo"), ("services", PROXY, "kong-istio")],
)
def test_the_way_in_has_an_address(live: Stack, kind: str, name: str, namespace: str) -> None:
    address = wait_for(lambda: address_of(live.get(kind, name, namespace)), f"an address of {kind} {name}")
    assert ipaddress.ip_address(address) in ADDRESSES, f"{kind} {name} has {address}, which is not in {ADDRESSES}"


def test_the_ingress_leads_to_the_page_with_the_limit_attached(live: Stack) -> None:
    (ingress,) = live.list("ingresses.networking.k8s.io")
    annotations = ingress["metadata"]["annotations"]
    assert (ingress["metadata"]["namespace"], ingress["metadata"]["name"]) == ("bookinfo", "productpage")
    assert ingress["spec"]["ingressClassName"] == "kong", "the Ingress is another controller's"
    assert annotations.get("konghq.com/plugins") == "rate-limit", f"no plugin is attached: {annotations}"
    assert annotations.get("konghq.com/preserve-host") == "false", f"the sidecar would pass it by: {annotations}"
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    backend = {"name": "productpage", "port": {"number": 9080}}
    assert (path["path"], path["backend"]["service"]) == ("/", backend), f"the route is {path}"


def test_kong_calls_the_routed_service_and_no_pods(live: Stack) -> None:
    annotated = {
        item["metadata"]["name"]: item["metadata"].get("annotations", {}).get("ingress.kubernetes.io/service-upstream")
        for item in live.list("services", "bookinfo")
    }
    expected = {"details": None, "productpage": "true", "ratings": None, "reviews": None}
    assert annotated == expected, f"service-upstream of bookinfo's Services: {annotated}"


@pytest.mark.pods
def test_the_ingress_class_is_kongs(live: Stack) -> None:
    found = {item["metadata"]["name"]: item["spec"]["controller"] for item in live.list("ingressclasses")}
    assert found == {"kong": "ingress-controllers.konghq.com/kong"}, f"IngressClasses: {found}"


def address_of(item: Object) -> str:
    entries = item["status"]["loadBalancer"].get("ingress") or [{}]
    return str(entries[0].get("ip", ""))


# --- the plugin -----------------------------------------------------------------------------------------------


@pytest.mark.pods
def test_the_plugin_is_there_as_it_was_set(live: Stack) -> None:
    found = live.get("kongplugins.configuration.konghq.com", "rate-limit", "bookinfo")
    assert found["plugin"] == "rate-limiting", f"the plugin is {found['plugin']}"
    assert found["config"] == {"minute": 30, "policy": "local"}, f"its config is {found['config']}"


@pytest.mark.pods
def test_a_plugin_of_the_right_form_is_accepted(live: Stack) -> None:
    answer = create_plugin(live, {"plugin": "rate-limiting", "config": {"minute": 1}, "protocols": ["http"]})
    assert answer == "", f"refused, so the refusals of others prove nothing: {answer}"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"plugin": "rate-limiting", "protocols": ["pigeon"]}, "pigeon", id="unknown protocol"),
        pytest.param({"config": {"minute": 1}}, "plugin: Required value", id="no plugin"),
        pytest.param(
            {
                "plugin": "rate-limiting",
                "config": {"minute": 1},
                "configFrom": {"secretKeyRef": {"name": "limit", "key": "config"}},
            },
            "Using both config and configFrom",
            id="config twice",
        ),
    ],
)
def test_a_plugin_of_the_wrong_form_is_refused(live: Stack, fields: Object, reason: str) -> None:
    answer = create_plugin(live, fields)
    assert reason in answer, f"the API server {'refused it otherwise: ' + answer if answer else 'accepted it'}"


def test_a_plugin_stays_the_plugin_that_it_is(live: Stack) -> None:
    answer = live.try_kubectl(
        *("patch", "kongplugins.configuration.konghq.com", "rate-limit", "--namespace=bookinfo"),
        *("--type=merge", '--patch={"plugin": "key-auth"}', "--dry-run=server"),
    )
    assert answer.returncode, f"the API server accepted another plugin in its place: {said(answer)}"
    assert "immutable" in answer.stderr, f"refused otherwise: {answer.stderr}"


def create_plugin(live: Stack, fields: Object) -> str:
    """Have the API server judge a plugin; return why it refuses, or nothing."""
    metadata = {"name": "tried", "namespace": "bookinfo"}
    manifest = {"apiVersion": "configuration.konghq.com/v1", "kind": "KongPlugin", "metadata": metadata, **fields}
    # kubectl's own look at the schema would come before the API server's.
    options = ("--filename=-", "--dry-run=server", "--validate=false")
    answer = live.try_kubectl("create", *options, stdin=json.dumps(manifest))
    return answer.stderr.strip() if answer.returncode else ""


# --- what is open, and what is not ----------------------------------------------------------------------------


@pytest.mark.pods
def test_dashboards_are_there_under_the_names_of_the_guide(live: Stack) -> None:
    services = {item["metadata"]["name"]: item["spec"] for item in live.list("services", "istio-system")}
    found = {item["metadata"]["name"]: item for item in live.list("deployments.apps", "istio-system")}
    for name, port in DASHBOARDS.items():
        assert name in found, f"no Deployment {name} in istio-system, only {sorted(found)}"
        assert rollouts.is_available(found[name]), f"{name} is not available: {found[name].get('status')}"
        assert name in services, f"no Service {name} in istio-system, only {sorted(services)}"
        ports = [entry["port"] for entry in services[name]["ports"]]
        assert services[name]["type"] == "ClusterIP", f"the Service {name} is of type {services[name]['type']}"
        assert port in ports, f"the Service {name} has the ports {ports}, and the guide's is {port}"


def test_only_kongs_proxy_is_open_to_the_outside(live: Stack) -> None:
    services = live.list("services")
    inside = {"ClusterIP", "ExternalName"}
    found = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"]["type"]
        for item in services
        if item["spec"]["type"] not in inside or item["spec"].get("externalIPs")
    }
    assert found == {("kong-istio", PROXY): "LoadBalancer"}, f"open to the outside: {found}"


@pytest.mark.pods
def test_kongs_admin_api_and_manager_are_behind_no_service(live: Stack) -> None:
    exposed = [
        f"{item['metadata']['name']}: {entry}"
        for item in live.list("services", "kong-istio")
        for entry in item["spec"]["ports"]
        if {entry["port"], entry.get("targetPort")} & ADMIN_PORTS
        or any(word in f"{entry.get('name')} {entry.get('targetPort')}" for word in ("admin", "manager"))
    ]
    assert not exposed, f"Kong's admin API or manager is behind a Service: {exposed}"


@pytest.mark.pods
def test_kongs_admin_api_listens_on_loopback_only(live: Stack) -> None:
    pod = live.get("deployments.apps", "kong-istio-kong", "kong-istio")["spec"]["template"]["spec"]
    (proxy,) = [container for container in pod["containers"] if container["name"] == "proxy"]
    listens = {entry["name"]: entry.get("value", "") for entry in proxy["env"]}["KONG_ADMIN_LISTEN"]
    elsewhere = [each for each in listens.split(",") if not each.strip().startswith(("127.0.0.1:", "[::1]:", "off"))]
    assert not elsewhere, f"Kong's admin API listens at {listens}"


# --- secrets --------------------------------------------------------------------------------------------------


@pytest.mark.pods
def test_kiali_has_its_signing_key_from_a_secret(live: Stack) -> None:
    key = secret(live, "kiali-signing-key", "key")
    config = live.get("configmap", "kiali", "istio-system")["data"]["config.yaml"]
    assert len(key) == 32, f"Kiali takes keys of 16, 24 or 32 characters, and this one has {len(key)}"
    assert "signing_key: secret:kiali-signing-key:key" in config, "Kiali's configuration does not name the Secret"


@pytest.mark.parametrize(("name", "field"), [("kiali-signing-key", "key"), ("grafana-admin", "admin-password")])
def test_no_config_map_and_no_release_holds_a_key(live: Stack, name: str, field: str) -> None:
    value = secret(live, name, field)
    spellings = (value, base64.b64encode(value.encode()).decode())
    config_maps = live.list("configmaps")
    assert any(item["metadata"]["name"] == "kiali" for item in config_maps), "Kiali's ConfigMap is not among them"
    texts = {f"ConfigMap {item['metadata']['name']}": json.dumps(item) for item in config_maps}
    for release in ("kiali", "grafana"):
        texts[f"Helm release {release}"] = live.run("helm", "get", "all", release, "--namespace=istio-system")
    telling = [where for where, text in texts.items() if any(spelling in text for spelling in spellings)]
    assert not telling, f"the Secret {name} stands in clear text in {', '.join(telling)}"


def secret(live: Stack, name: str, field: str) -> str:
    value = base64.b64decode(live.get("secret", name, "istio-system")["data"][field]).decode()
    assert len(value) >= 16, f"the Secret {name} holds only {len(value)} characters"
    return value


# --- what the stack says of itself ----------------------------------------------------------------------------


def test_outputs_name_the_address(live: Stack) -> None:
    address = address_of(live.get("services", PROXY, "kong-istio"))
    expected = {
        "proxyAddress": address,
        "proxyUrl": f"http://{address}",
        "proxyService": PROXY,
        "proxyNamespace": "kong-istio",
    }
    told = {name: live.outputs.get(name) for name in expected}
    assert told == expected, f"the outputs say {told}"
    assert f"http://{address}" in live.said, f"`up` does not name the address {address}"


@pytest.mark.pods
def test_outputs_name_the_versions_that_run(live: Stack) -> None:
    releases = {item["name"]: item for item in json.loads(live.run("helm", "list", "--all-namespaces", "-o", "json"))}
    server = json.loads(live.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
    expected = {
        "kubernetes": server,
        "istio": tag(live, "istiod", "discovery", "istio-system"),
        "kongChart": releases["kong-istio"]["chart"].removeprefix("kong-"),
        "kong": tag(live, "kong-istio-kong", "proxy", "kong-istio"),
        "kongController": tag(live, "kong-istio-kong", "ingress-controller", "kong-istio"),
        "prometheus": tag(live, "prometheus", "prometheus-server", "istio-system"),
        "grafana": tag(live, "grafana", "grafana", "istio-system"),
        "kiali": tag(live, "kiali", "kiali", "istio-system"),
    }
    assert live.outputs["versions"] == expected, "the outputs and what runs differ"
    for name, release in {
        "istio": "istiod",
        "prometheus": "prometheus",
        "grafana": "grafana",
        "kiali": "kiali",
    }.items():
        told = releases[release]["app_version"]
        assert expected[name] == told, f"the image of {name} is {expected[name]}, and Helm says {told}"
    missing = [version for version in expected.values() if version not in live.said]
    assert not missing, f"`up` does not name {missing}"


@pytest.mark.pods
def test_what_runs_is_what_is_pinned(live: Stack) -> None:
    versions = live.outputs["versions"]
    if "(official)" in live.facts.origins["istiod"]:
        assert versions["istio"] == CHARTS["istiod"].version, f"istiod {versions['istio']} is not the pinned one"
    else:
        commit = TOOLS["pilot-discovery"].version.rpartition("-")[2]
        assert versions["istio"].endswith(commit), f"istiod {versions['istio']} is not of the pinned commit {commit}"
    assert versions["kong"] == KONG_GATEWAY, f"Kong {versions['kong']} is not the pinned one"
    assert versions["kongController"] == KONG_CONTROLLER, f"controller {versions['kongController']} is not the pinned"


@pytest.mark.pods
def test_every_release_is_deployed_at_its_first_revision(live: Stack) -> None:
    listed = json.loads(live.run("helm", "list", "--all-namespaces", "--all", "-o", "json"))
    found = {item["name"]: (item["namespace"], item["status"], item["revision"]) for item in listed}
    expected = dict.fromkeys(("istio-base", "istiod", *DASHBOARDS), ("istio-system", "deployed", "1"))
    assert found == {**expected, "kong-istio": ("kong-istio", "deployed", "1")}, f"Helm's releases: {found}"


@pytest.mark.pods
def test_the_command_for_grafanas_password_prints_it(live: Stack) -> None:
    printed = live.run("/bin/sh", "-c", live.outputs["commands"]["grafanaPassword"])
    assert printed == secret(live, "grafana-admin", "admin-password"), "the command prints something else"


def tag(live: Stack, name: str, container: str, namespace: str) -> str:
    spec = live.get("deployments.apps", name, namespace)["spec"]["template"]["spec"]
    images = {item["name"]: item["image"] for item in spec["containers"]}
    assert container in images, f"the Deployment {name} has the containers {sorted(images)}"
    return str(images[container].rpartition(":")[2])


# --- its commands, by hand ------------------------------------------------------------------------------------


def test_the_precheck_knows_the_stacks_own_releases(live: Stack) -> None:
    assert by_hand(live, "precheck", _REVISION) == {"kubernetes": live.outputs["versions"]["kubernetes"]}


def test_the_precheck_of_a_first_up_refuses_releases_that_are_there(live: Stack) -> None:
    answer = live.project.python(
        "-m", "commands.precheck", *CLUSTER, _REVISION, "--first", environment=live.environment
    )
    assert answer.returncode, f"`--first` passed with the stack in the cluster: {said(answer)}"
    assert "The Helm release " in answer.stderr, f"refused otherwise: {answer.stderr}"
    assert "helm uninstall " in answer.stderr, f"no remedy: {answer.stderr}"
    assert "Traceback" not in answer.stderr, answer.stderr


def test_the_precheck_refuses_a_strangers_mesh(live: Stack, strangers_webhook: str) -> None:
    answer = live.project.python("-m", "commands.precheck", *CLUSTER, _REVISION, environment=live.environment)
    assert answer.returncode, f"it passed with a stranger's mesh in the cluster: {said(answer)}"
    expected = f"The webhook configuration {strangers_webhook} belongs to another Istio"
    assert expected in answer.stderr, f"refused otherwise: {answer.stderr}"
    assert "Traceback" not in answer.stderr, answer.stderr


@pytest.fixture
def strangers_webhook(live: Stack) -> Iterator[str]:
    """Put the webhook of another Istio into the cluster, one that is never called."""
    name = "istio-sidecar-injector-strangers"
    webhook: dict[str, Any] = {
        "name": "namespace.sidecar-injector.istio.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "clientConfig": {"url": "https://127.0.0.1:9/inject"},
        "namespaceSelector": {"matchLabels": {"no-namespace": "has-this-label"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
    }
    manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
    live.kubectl("create", "--filename=-", stdin=json.dumps(manifest))
    yield name
    live.kubectl("delete", "mutatingwebhookconfiguration", name)


@pytest.mark.pods
def test_istiod_ready_names_the_istiod_that_runs(live: Stack) -> None:
    options = [] if not live.facts.not_shown else ["--no-injection"]
    assert by_hand(live, "istiod_ready", *options) == {"istiod": live.outputs["versions"]["istio"]}


def test_kong_ready_names_kong_and_its_address(live: Stack) -> None:
    versions = live.outputs["versions"]
    assert by_hand(live, "kong_ready", "--type", "LoadBalancer") == {
        "address": live.outputs["proxyAddress"],
        "url": live.outputs["proxyUrl"],
        "kong": versions["kong"],
        "controller": versions["kongController"],
    }


def by_hand(live: Stack, command: str, *options: str) -> Any:
    cluster = ("--kubeconfig", ".sandbox/kubeconfig", "--context", live.paths.context)
    answer = live.project.python("-m", f"commands.{command}", *cluster, *options, environment=live.environment)
    assert answer.returncode == 0, f"commands.{command} ended with {answer.returncode}: {said(answer)}"
    return json.loads(answer.stdout)


# --- what is left alone ---------------------------------------------------------------------------------------


@pytest.mark.pods
def test_the_users_home_is_as_it_was(live: Stack) -> None:
    live.project.assert_home_untouched("After `up`")


@pytest.mark.pods
def test_up_changes_no_file_of_the_project(live: Stack) -> None:
    if not (live.paths.root / ".git").is_dir():
        pytest.skip("there is no git on this machine's PATH")
    answer = live.project.run("git", "status", "--porcelain")
    assert answer.returncode == 0, said(answer)
    assert answer.stdout == "", f"`up` left behind:\n{answer.stdout}"


def test_down_clears_up_after_an_up_that_failed(tmp_path: Path) -> None:
    project = make_project(tmp_path.resolve())
    # Such an `up` leaves its logs, and no facts.
    project.paths.logs.mkdir(parents=True)
    answer = project.python("-m", "sandbox", "down", "--with-stack")
    assert answer.returncode == 0, said(answer)
    assert not project.paths.sandbox.exists(), f"`down` has left the folder and says: {said(answer)}"


def test_ctrl_c_lets_pulumi_end_by_itself(tmp_path: Path) -> None:
    project = make_project(tmp_path.resolve())
    programs = tmp_path / "bin"
    programs.mkdir()
    # Pulumi takes a moment to end what it has begun, and to give its lock on the stack back.
    pretended = "#!/bin/sh\ntrap 'sleep 1; echo lock given back; exit 1' INT\necho begun\nwhile :; do sleep 0.1; done\n"
    (programs / "pulumi").write_text(pretended)
    (programs / "pulumi").chmod(0o755)
    environment = {**project.environment, "PATH": f"{programs}{os.pathsep}{project.environment['PATH']}"}
    # Tests that run in the background of a script ignore Ctrl-C, and so would all that they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            ["venv/bin/python", "-c", "from sandbox import whole_stack; whole_stack._pulumi('up')"],
            cwd=project.paths.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    begun = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    told, errors = process.communicate(timeout=30)
    assert begun == "begun\n", f"Pulumi was not run: {errors}"
    assert told == "lock given back\n", f"Pulumi was killed before it ended by itself: {told}{errors}"
