"""The stack by Pulumi's own engine: what stays as it is, what is refused, what the state holds, what a destroy leaves."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import Answer, Object, Stack, said, wait_for

from sandbox import pulumi_engine, state_folder
from sandbox.paths import CONTEXT

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

CONFIG_FILE = ".sandbox/Pulumi.sandbox.yaml"
# The kinds that a destroy must leave nothing of, save what a cluster makes for itself.
KINDS = (
    *("namespaces", "customresourcedefinitions", "ingressclasses", "clusterroles", "clusterrolebindings"),
    *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
    *("configmaps", "secrets", "services", "deployments.apps", "pods", "ingresses.networking.k8s.io"),
)
CLUSTERS_OWN = {
    "Namespace": "default|kube-node-lease|kube-public|kube-system",
    "ClusterRole": "system:.+|admin|cluster-admin|edit|view",
    "ClusterRoleBinding": "system:.+|cluster-admin",
    "ConfigMap": "kube-.+|extension-apiserver-authentication",
    "Service": "kubernetes",
}


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> Stack:
    """Return the stack that the engine brought up; skip where there is no engine."""
    if not shutil.which("pulumi"):
        pytest.skip(pulumi_engine.missing())
    # Only now: without an engine, nothing here is worth the time that a stack takes.
    found: Stack = request.getfixturevalue("stack")
    if found.rehearsed:
        pytest.skip(found.rehearsed)
    found.up_unless_it_is()
    return found


def pulumi(stack: Stack, *arguments: str) -> Answer:
    """Run Pulumi on the stack in the sandbox."""
    options = ("--stack=sandbox", f"--config-file={CONFIG_FILE}", "--non-interactive")
    return stack.project.run("pulumi", *arguments, *options, environment=stack.environment)


# --- nothing to do --------------------------------------------------------------------------------------------


def test_a_second_up_changes_nothing(engines: Stack) -> None:
    answer = pulumi(engines, "up", "--yes", "--skip-preview", "--expect-no-changes")
    assert answer.returncode == 0, f"a second `up` has something to do:\n{said(answer)}"


def test_what_make_up_reads_of_the_states_files_is_what_the_cli_says(engines: Stack) -> None:
    told = json.loads(engines.run("pulumi", "stack", "output", "--json", "--stack=sandbox", "--non-interactive"))
    assert told["versions"]
    assert state_folder.outputs("sandbox", engines.project.paths) == told
    assert not state_folder.is_cut_off("sandbox", engines.project.paths)


def test_a_refresh_finds_nothing_and_a_preview_then_neither(engines: Stack) -> None:
    refreshed = pulumi(engines, "refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert refreshed.returncode == 0, f"a refresh finds that the cluster is not as the state says:\n{said(refreshed)}"
    previewed = pulumi(engines, "preview", "--expect-no-changes")
    assert previewed.returncode == 0, f"after a refresh, a preview has something to do:\n{said(previewed)}"


# --- what the state holds -------------------------------------------------------------------------------------


def test_no_secret_is_told_or_written_down(engines: Stack) -> None:
    export = ("pulumi", "stack", "export", "--stack=sandbox", "--non-interactive")
    texts = {
        "the exported state": engines.run(*export),
        "the outputs": engines.run("pulumi", "stack", "output", "--json", "--stack=sandbox", "--non-interactive"),
        "what `up` said": engines.said,
        **{str(path.relative_to(engines.paths.root)): text for path, text in written(engines)},
    }
    assert any(name.startswith(".sandbox/state") for name in texts), "the state's own files are not among them"
    disclosed = engines.run(*export, "--show-secrets")
    for name, field in (("kiali-signing-key", "key"), ("grafana-admin", "admin-password")):
        value = base64.b64decode(engines.get("secret", name, "istio-system")["data"][field]).decode()
        assert value in disclosed, f"the key of {name} is not even encrypted in the state: is it what was looked for?"
        spellings = (value, base64.b64encode(value.encode()).decode())
        telling = [where for where, text in texts.items() if any(spelling in text for spelling in spellings)]
        assert not telling, f"the key of {name} stands in clear text in {', '.join(telling)}"


def test_the_passphrase_is_kept_to_itself(engines: Stack) -> None:
    passphrase = engines.paths.passphrase.read_text().strip()
    telling = [path.name for path, text in written(engines) if passphrase in text]
    assert passphrase, "there is no passphrase"
    assert passphrase not in engines.said, "`up` tells the passphrase"
    assert not telling, f"the passphrase stands in {', '.join(telling)}"


def test_the_state_names_no_folder_of_this_machine(engines: Stack) -> None:
    exported = json.loads(engines.run("pulumi", "stack", "export", "--stack=sandbox", "--non-interactive"))
    resources = exported["deployment"]["resources"]
    folders = [str(engines.paths.root), str(engines.project.home)]
    telling = [item["urn"] for item in resources if any(folder in json.dumps(item) for folder in folders)]
    assert len(resources) > 40, f"the state holds only {len(resources)} resources"
    assert not telling, f"these would differ on another machine: {telling}"


def written(stack: Stack) -> list[tuple[Path, str]]:
    """Return the state and the logs, as they lie on the disk."""
    folders = (
        stack.paths.state,
        stack.paths.logs,
        stack.paths.sandbox / "pulumi" / "logs",
        stack.paths.cluster / "logs",
    )
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [(path, path.read_text(errors="replace")) for path in files]


# --- other stacks, which must not reach a cluster -------------------------------------------------------------


@dataclass(frozen=True)
class Other:
    """A stack of the same project, in a state of its own and with settings of its own."""

    stack: Stack
    name: str
    config_file: Path
    environment: dict[str, str]

    def preview(self) -> Answer:
        return self._pulumi("preview", f"--config-file={self.config_file}")

    def up(self) -> Answer:
        return self._pulumi("up", "--yes", "--skip-preview", f"--config-file={self.config_file}")

    def created(self) -> list[str]:
        """Return the resources in the state, but for components and providers, which are no object of anybody's."""
        answer = self._pulumi("stack", "export")
        assert answer.returncode == 0, said(answer)
        resources = json.loads(answer.stdout)["deployment"].get("resources") or []
        return [each["urn"] for each in resources if each.get("custom") and "pulumi:providers:" not in each["type"]]

    def _pulumi(self, *arguments: str) -> Answer:
        options = (f"--stack={self.name}", "--non-interactive")
        return self.stack.project.run("pulumi", *arguments, *options, environment=self.environment)


MakeOther = Callable[..., Other]


@pytest.fixture
def other(engines: Stack, tmp_path: Path) -> MakeOther:
    """Make stacks with the sandbox's settings and some changes to them."""

    def make(changes: Mapping[str, Any], name: str = "other") -> Other:
        project = tmp_path / "project"
        state = tmp_path / "state"
        for folder in (project, state):
            folder.mkdir()
        # `stack init` writes a stack file beside the project's, where it would stay.
        shutil.copy(engines.paths.root / "Pulumi.yaml", project)
        settings = yaml.safe_load(engines.paths.stack_file.read_text())
        own = {f"kong-istio:{key}": value for key, value in changes.items()}
        config_file = tmp_path / "settings.yaml"
        config_file.write_text(yaml.safe_dump({"config": {**settings["config"], **own}}))
        environment = {**engines.environment, "PULUMI_BACKEND_URL": state.as_uri()}
        init = ("pulumi", "stack", "init", name, "--no-select", "--non-interactive", f"--cwd={project}")
        answer = engines.project.run(*init, environment=environment)
        assert answer.returncode == 0, said(answer)
        return Other(engines, name, config_file, environment)

    return make


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """Hold a port that nothing listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory, closed_port: int) -> str:
    """Write a kubeconfig of a server that does not answer, also with a user who has no credentials."""
    path = tmp_path_factory.mktemp("dead") / "kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{closed_port}"}
    users: dict[str, Object] = {"dead": {"token": "token"}, "nobody": {}}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "dead", "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": "dead", "user": name}} for name in users],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "current-context": "dead",
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_a_preview_needs_no_kubeconfig(other: MakeOther, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    answer = other({"sandbox": False, "kubeconfig": absent}).preview()
    assert answer.returncode == 0, f"the preview failed without a kubeconfig:\n{said(answer)}"
    warnings = sentences(answer, "warning", about="kubeconfig")
    expected = f"The kubeconfig {absent} does not exist: set kubeconfig to the file that reaches your cluster."
    assert warnings == [f"{expected} Previewing without a cluster."], f"the warnings are {warnings}"


def test_a_preview_needs_no_server_that_answers(other: MakeOther, dead: str) -> None:
    answer = other({"sandbox": False, "kubeconfig": dead, "kubeContext": "dead"}).preview()
    assert answer.returncode == 0, f"the preview failed with a dead server:\n{said(answer)}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"kubeconfig": "DEAD", "kubeContext": "dead"},
            "The API server of context dead does not answer: ",
            id="dead server",
        ),
        pytest.param({"kubeContext": ""}, "kubeContext is empty, and this stack never follows ", id="empty context"),
        pytest.param(
            {"kubeContext": "elsewhere"},
            rf"kubeContext is elsewhere: .+ has no such context \(there are: {CONTEXT}\)",
            id="unknown context",
        ),
        pytest.param({"kubeconfig": "absent"}, "The kubeconfig absent does not exist: ", id="no kubeconfig"),
        pytest.param(
            {"kubeconfig": "DEAD", "kubeContext": "nobody"},
            "kubeContext is nobody: its user nobody in .+ has no credentials",
            id="no credentials",
        ),
    ],
)
def test_an_up_without_a_cluster_is_refused(other: MakeOther, dead: str, changes: Object, reason: str) -> None:
    settings = {key: dead if value == "DEAD" else value for key, value in changes.items()}
    tried = other({"sandbox": False, **settings})
    assert re.match(reason, refusal(tried.up())), f"not refused for {reason}"
    assert tried.created() == [], "something was created although the `up` was refused"


@pytest.mark.parametrize("command", ["preview", "up"])
def test_the_stack_sandbox_takes_no_other_kubeconfig(other: MakeOther, dead: str, command: str) -> None:
    tried = other({"kubeconfig": dead, "kubeContext": "dead"}, name="sandbox")
    sentence = refusal(tried.up() if command == "up" else tried.preview())
    assert sentence.startswith(f"kubeconfig is {dead} while sandbox is true: "), f"refused otherwise: {sentence}"
    assert tried.created() == [], "something was created although it was refused"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"kongs": {"replicas": 1}}, r"kongs is not a setting: did you mean kong\?", id="unknown key"),
        pytest.param({"kong": {"replica": 1}}, r"kong\.replica is not a setting: did you mean", id="unknown field"),
        pytest.param({"kong": {"replicas": "two"}}, r'kong\.replicas is "two": it must be a whole', id="wrong field"),
        # The engine itself judges these.
        pytest.param({"sandbox": "maybe"}, r"validating .+ key 'sandbox' must be of type 'boolean'", id="wrong type"),
        pytest.param(
            {"applications": "bookinfo"}, r"validating .+ 'applications' must be .+ 'array", id="text for a list"
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(other: MakeOther, changes: Object, reason: str) -> None:
    sentence = refusal(other(changes).preview())
    assert re.match(reason, sentence), f"refused otherwise: {sentence}"


def test_a_chart_repository_out_of_reach_is_named(other: MakeOther, engines: Stack, closed_port: int) -> None:
    repository = f"http://127.0.0.1:{closed_port}/"
    charts = yaml.safe_load(engines.paths.stack_file.read_text())["config"].get("kong-istio:charts") or {}
    tried = other({"charts": {**charts, "kong": repository}, "sandbox": False, "kubeconfig": "absent"})
    sentence = refusal(tried.up())
    assert sentence.startswith(f"The chart repository {repository} cannot be reached ("), f"refused for {sentence}"
    assert "charts" in sentence.rpartition(":")[2], f"no remedy: {sentence}"
    assert tried.created() == [], "something was created although the `up` was refused"


def refusal(answer: Answer) -> str:
    """Return the one sentence that a command was refused with."""
    told = said(answer)
    assert answer.returncode, f"it was not refused:\n{told}"
    assert "Traceback" not in told, f"the sentence is buried by a traceback:\n{told}"
    found = [text for text in sentences(answer, "error") if "program exited with non-zero exit code" not in text]
    assert len(found) == 1, f"not one sentence but {len(found)}:\n{told}"
    return found[0]


def sentences(answer: Answer, severity: str, about: str = "") -> list[str]:
    """Return the messages of a severity that stand on lines of their own, each once."""
    lines = re.findall(rf"^ *{severity}: (.+)$", said(answer), re.MULTILINE)
    return list(dict.fromkeys(line.strip() for line in lines if about in line))


# --- applications ---------------------------------------------------------------------------------------------

WEB = """
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}-web"}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "example.com/web:1"}]}}
"""


def up_with(stack: Stack, applications: list[Object], *options: str) -> Answer:
    """Run `up` with other applications."""
    settings = yaml.safe_load(stack.paths.stack_file.read_text())
    file = stack.paths.sandbox / "Pulumi.applications.yaml"
    file.write_text(yaml.safe_dump({"config": {**settings["config"], "kong-istio:applications": applications}}))
    options = ("--stack=sandbox", f"--config-file={file}", "--non-interactive", *options)
    return stack.project.run("pulumi", "up", "--yes", "--skip-preview", *options, environment=stack.environment)


def application(name: str, service: str, port: int, **fields: str | Object) -> Object:
    route = {"service": service, "port": port, "path": f"/{name}"}
    return {"name": name, "namespace": name, "route": route, **fields}


def test_a_chart_is_an_application_and_goes_with_all_that_it_made(engines: Stack) -> None:
    folder = engines.paths.sandbox / "web"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.2.3\n")
    (folder / "templates" / "all.yaml").write_text(WEB)
    chart: Object = {"name": str(folder.relative_to(engines.paths.root))}
    bookinfo = application("bookinfo", "productpage", 9080, manifests="manifests/bookinfo.yaml")
    bookinfo["route"]["path"] = "/"
    try:
        missing = up_with(engines, [bookinfo, application("shop", "web", 80, chart=chart)])
        assert "The Helm release shop made no Service web (there are: shop-web): correct the route" in said(missing)
        shop = application("shop", "shop-web", 80, chart=chart)
        for options in ((), ("--expect-no-changes",)):
            answer = up_with(engines, [bookinfo, shop], *options)
            assert answer.returncode == 0, said(answer)
        annotations = engines.get("service", "shop-web", "shop")["metadata"]["annotations"]
        assert annotations["ingress.kubernetes.io/service-upstream"] == "true"
        (pod,) = engines.list("pods", "shop")
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        assert "istio-proxy" in {container["name"] for container in containers}
        # Of a Service that is gone there is no annotation to take back.
        engines.kubectl("delete", "service", "shop-web", "--namespace=shop")
    finally:
        back = pulumi(engines, "up", "--yes", "--skip-preview")
    assert back.returncode == 0, said(back)
    assert not [item for item in engines.list("namespaces") if item["metadata"]["name"] == "shop"]


def test_an_object_that_the_stack_makes_too_is_refused_before_anything_is_made(
    other: MakeOther, tmp_path: Path
) -> None:
    file = tmp_path / "web.yaml"
    service = (
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}"
    )
    file.write_text(f"{service}\n---\n{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: web}}}}\n")
    tried = other({"applications": [application("shop", "web", 80, manifests=str(file))]})
    assert refusal(tried.up()) == (
        "applications[0].manifests has Ingress shop/web, which the stack makes itself: give it another name, or take it out."
    )
    assert tried.created() == [], "something was created although it was refused"


def test_a_service_account_that_every_namespace_has_is_the_applications_to_change(
    engines: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "web.yaml"
    service = (
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}"
    )
    account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default}, imagePullSecrets: [{name: mine}]}"
    file.write_text(f"{service}\n---\n{account}\n")
    bookinfo = application("bookinfo", "productpage", 9080, manifests="manifests/bookinfo.yaml")
    bookinfo["route"]["path"] = "/"
    try:
        answer = up_with(engines, [bookinfo, application("shop", "web", 80, manifests=str(file))])
        assert answer.returncode == 0, said(answer)
        assert engines.get("serviceaccount", "default", "shop")["imagePullSecrets"] == [{"name": "mine"}]
    finally:
        back = pulumi(engines, "up", "--yes", "--skip-preview")
    assert back.returncode == 0, said(back)


# --- an `up` and a `destroy` that are killed ------------------------------------------------------------------


def kill(stack: Stack, verb: str, when: Callable[[], object]) -> None:
    """Run `pulumi up` or `pulumi destroy`, and kill it with all that it has started as soon as something is so."""
    options = ("--yes", "--skip-preview", "--stack=sandbox", f"--config-file={CONFIG_FILE}", "--non-interactive")
    process = subprocess.Popen(
        ["pulumi", verb, *options],
        cwd=stack.paths.root,
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: process.poll() is not None or when(), f"the moment to kill `{verb}`", seconds=120)
        assert process.poll() is None, f"`{verb}` ended before it could be killed"
    finally:
        for pid in family(process.pid):
            # One of them may have ended by itself since they were listed.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def family(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = [pid]
    for each in found:
        found += [child for child, parent in pairs if parent == each]
    return found


def status_of(stack: Stack, release: str) -> str:
    """Return what Helm says of a release in istio-system; empty where it knows none."""
    secrets = stack.cluster.list("secrets", "istio-system", labels=f"owner=helm,name={release}")
    return str(secrets[-1]["metadata"]["labels"]["status"]) if secrets else ""


def assert_whole(stack: Stack) -> None:
    listed = json.loads(stack.run("helm", "list", "--all-namespaces", "--all", "-o", "json"))
    assert {item["status"] for item in listed} == {"deployed"}, f"Helm's releases: {listed}"
    assert len({item["name"] for item in listed}) == len(listed), f"twice among Helm's releases: {listed}"
    previewed = pulumi(stack, "preview", "--refresh", "--expect-no-changes")
    assert previewed.returncode == 0, f"the stack is not as it should be:\n{said(previewed)}"


def test_a_destroy_that_was_killed_is_recovered_to_a_whole_stack(engines: Stack) -> None:
    kill(engines, "destroy", lambda: status_of(engines, "istiod") != "deployed")
    assert state_folder.is_cut_off("sandbox", engines.project.paths)
    recovered = engines.project.python("-m", "recovery", "--stack=sandbox", environment=engines.environment)
    assert recovered.returncode == 0, said(recovered)
    assert "take off the lock by " in recovered.stdout, said(recovered)
    assert_whole(engines)


def test_an_up_that_was_killed_inside_a_release_goes_on_by_make_up(engines: Stack) -> None:
    destroyed = pulumi(engines, "destroy", "--yes", "--skip-preview")
    assert destroyed.returncode == 0, said(destroyed)
    kill(engines, "up", lambda: status_of(engines, "istiod"))
    status = status_of(engines, "istiod")
    engines.up()
    assert "take off the lock by " in engines.said, engines.said
    # Helm may have ended between the look and the kill.
    if status == "pending-install":
        assert "uninstall the Helm release istiod in istio-system (pending-install)" in engines.said, engines.said
    assert_whole(engines)


# --- the end of the stack, and a new one in the same cluster; last, as the others need the stack --------------


# Unused, of Kong's group, and installed by somebody else once the stack was there.
STRANGERS_CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "kongthings.configuration.konghq.com"},
    "spec": {
        "group": "configuration.konghq.com",
        "names": {"kind": "KongThing", "plural": "kongthings"},
        "scope": "Namespaced",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


def test_destroy_leaves_nothing_and_up_works_again(engines: Stack) -> None:
    engines.kubectl("create", "--filename=-", stdin=json.dumps(STRANGERS_CRD))
    answer = pulumi(engines, "destroy", "--yes", "--skip-preview")
    assert answer.returncode == 0, f"`destroy` ended with {answer.returncode}:\n{said(answer)}"
    assert "Kept the definition" not in said(answer), f"definitions were kept:\n{said(answer)}"
    left = leftovers(engines)
    strangers = STRANGERS_CRD["metadata"]["name"]
    assert left == [f"CustomResourceDefinition {strangers}"], f"`destroy` has left {', '.join(left)}"
    engines.kubectl("delete", "customresourcedefinition", strangers)
    listed = json.loads(engines.run("pulumi", "stack", "export", "--stack=sandbox", "--non-interactive"))
    assert not listed["deployment"].get("resources"), "the state still holds resources"
    engines.up()
    engines.project.assert_home_untouched("After `up`, `destroy` and `up`")


def leftovers(stack: Stack) -> list[str]:
    """Return what there is in the cluster that it did not make for itself."""
    found = [(item["kind"], item["metadata"]["name"]) for item in stack.list(",".join(KINDS))]
    assert ("Namespace", "default") in found, f"this is no whole list: {found}"
    return [f"{kind} {name}" for kind, name in found if not re.fullmatch(CLUSTERS_OWN.get(kind, "-"), name)]
