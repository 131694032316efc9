"""The kind sandbox, with stand-ins for the programs that run containers, and for kind: what they are asked, and what is said of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import containers as stand_ins
from fakes.api_server import ApiServer
from fakes.containers import DENIED, NO_DAEMON, NO_NETWORK, TAKEN, Machine

from sandbox import SandboxError, chart_sources, choice, containers, kind_cluster, kind_program, node_images, tools
from sandbox.facts import Facts
from sandbox.kind_record import Record, cluster_name
from sandbox.paths import Paths
from sandbox.programs import TOOLS
from versions import CHARTS, KUBERNETES_MINIMUM, KUBERNETES_TESTED

pytestmark = pytest.mark.usefixtures("machine")

GIB = 2**30
# What kubeadm says with --v=6: a log, its error, and where in its source that was.
KUBEADM = (
    'I1126 07:30:00.123456     137 initconfiguration.go:261] loading configuration from "/kind/kubeadm.conf"\n'
    '[kubelet-check] The kubelet is not healthy: Get "http://127.0.0.1:10248/healthz": dial tcp 127.0.0.1:10248: i/o timeout\n'
    "error: error execution phase wait-control-plane: could not initialize a Kubernetes cluster\n"
    + "k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow.(*Runner).Run.func1\n\tcmd/kubeadm/app/cmd/phases/workflow/runner.go:260\n"
    * 30
)
REPOSITORIES = {chart.repository for chart in CHARTS.values()}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api_server() -> Iterator[tuple[ApiServer, str]]:
    server = ApiServer()
    server.put("namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system"}})
    with server.running() as url:
        yield server, url


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Make a checkout without a sandbox."""
    (tmp_path / "checkout").mkdir()
    committed = ROOT / "Pulumi.sandbox.yaml"
    (tmp_path / "checkout" / committed.name).write_text(committed.read_text())
    return Paths(tmp_path / "checkout")


@pytest.fixture(params=["docker"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: tuple[ApiServer, str]
) -> Machine:
    """Make a machine with nothing on PATH but the stand-ins, and with every chart repository in reach."""
    made = stand_ins.machine(tmp_path, (request.param, "kind"), server=api_server[1])
    for name in (
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SANDBOX",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(made.folder))
    monkeypatch.setenv(stand_ins.STATE, str(made.state_file))
    monkeypatch.setattr(chart_sources, "reachable_repositories", lambda asked: set(asked))
    own = made.folder / "kind"
    monkeypatch.setattr(tools, "ensure", lambda names: dict.fromkeys(names, own))
    monkeypatch.setattr(tools, "find_by_name", lambda _: own)
    monkeypatch.setattr(kind_cluster, "_READY_SECONDS", 2)
    monkeypatch.setattr(node_images, "_TRIES", 1)
    return made


def refused(paths: Paths) -> str:
    with pytest.raises(SandboxError) as caught:
        kind_cluster.up(paths)
    return str(caught.value)


def clusters(machine: Machine) -> list[str]:
    return [each["cluster"] for each in machine.state["containers"]]


# --- a cluster of its own ----------------------------------------------------------------------------------------------


def test_an_up_makes_a_cluster_of_its_own_with_its_own_kubeconfig(machine: Machine, paths: Paths) -> None:
    facts = kind_cluster.up(paths)
    (name,) = clusters(machine)
    assert re.fullmatch(r"kong-istio-[0-9a-f]{8}", name)
    create = next(call for call in machine.calls("kind") if call[1] == "create")
    assert create[create.index("--kubeconfig") + 1] == str(paths.kubeconfig)
    assert paths.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert paths.context == f"kind-{name}"
    assert facts.kind == "kind"
    assert kind_cluster.status(paths).live


def test_the_node_listens_on_loopback_alone_and_its_image_is_pinned(machine: Machine, paths: Paths) -> None:
    facts = kind_cluster.up(paths)
    configuration = machine.state["configuration"]
    (node,) = configuration["nodes"]
    assert node["extraPortMappings"] == [
        {"containerPort": 30080, "hostPort": facts.ports["kong"], "listenAddress": "127.0.0.1", "protocol": "TCP"}
    ]
    assert configuration["networking"] == {
        "apiServerAddress": "127.0.0.1",
        "apiServerPort": facts.ports["kube-apiserver"],
    }
    found = re.fullmatch(r"kindest/node:v(\d+)\.(\d+)\.\d+@sha256:[0-9a-f]{64}", node["image"])
    assert found
    assert KUBERNETES_MINIMUM <= (int(found[1]), int(found[2])) <= KUBERNETES_TESTED


def test_the_stacks_settings_are_those_of_real_pods(machine: Machine, paths: Paths) -> None:
    facts = kind_cluster.up(paths)
    config = yaml.safe_load(paths.stack_file.read_text())["config"]
    assert config["kong-istio:kubeContext"] == f"kind-{clusters(machine)[0]}"
    assert config["kong-istio:kubeconfig"] == ".sandbox/kubeconfig"
    assert config["kong-istio:kong"] == {
        "serviceType": "NodePort",
        "nodePort": 30080,
        "proxyAddress": f"localhost:{facts.ports['kong']}",
        "admissionWebhook": True,
    }
    assert config["kong-istio:istio"] == {"mtls": "STRICT"}
    assert config["kong-istio:security"] == {"onlyKongCalls": True}
    (application,) = config["kong-istio:applications"]
    assert application["route"] == {"service": "productpage", "port": 9080, "host": "localhost"}
    assert "kong-istio:charts" not in config
    assert "istiodAddress" not in config["kong-istio:checks"]


def test_two_checkouts_and_two_names_have_different_clusters(tmp_path: Path) -> None:
    names = {cluster_name(Paths(tmp_path / place, name)) for place in ("a", "b") for name in ("", "second")}
    assert len(names) == 4
    assert "kind" not in names


def test_a_second_up_changes_nothing(machine: Machine, paths: Paths) -> None:
    facts = kind_cluster.up(paths)
    before, calls = paths.stack_file.stat().st_mtime_ns, len(machine.calls("kind"))
    assert kind_cluster.up(paths) == facts
    assert paths.stack_file.stat().st_mtime_ns == before
    assert len(machine.calls("kind")) == calls


def test_down_leaves_nothing(machine: Machine, paths: Paths) -> None:
    kind_cluster.up(paths)
    assert kind_cluster.down(paths)
    assert clusters(machine) == []
    assert not paths.sandbox.exists()
    assert not kind_cluster.down(paths)


@pytest.mark.parametrize("machine", ["docker", "podman", "nerdctl"], indirect=True)
def test_every_program_that_runs_containers_will_do(machine: Machine, paths: Paths) -> None:
    chosen = choice.choose("", paths)
    program = Record.load(paths) or containers.answering()[0].name
    assert chosen.kind == "kind"
    assert chosen.line.lower().startswith(f"sandbox: kind, as {program} answers (8 gib, 4 processors)")
    kind_cluster.up(paths)
    assert machine.state["environment"]["provider"] == program
    kind_cluster.down(paths)
    assert clusters(machine) == []


# --- which kind --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"down": NO_DAEMON}, "Docker does not answer (Cannot connect to the Docker daemon"),
        ({"down": DENIED}, "this user may not use Docker"),
        ({"host": "ssh://me@build-server"}, "Docker's context leads to another machine (ssh://me@build-server)"),
    ],
)
def test_without_containers_it_is_the_simulated_one_and_says_why(
    state: dict[str, Any], reason: str, machine: Machine, paths: Paths
) -> None:
    machine.change(**state)
    chosen = choice.choose("", paths)
    assert chosen.kind == "simulated"
    assert chosen.line.startswith(f"Sandbox: simulated, as {reason}")
    assert "\n" not in chosen.line
    with pytest.raises(SandboxError, match=re.escape(reason)):
        choice.choose("kind", paths)


def test_a_machine_without_any_such_program_has_the_simulated_one(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choice.choose("", paths).line == (
        "Sandbox: simulated, as neither Docker nor Podman nor nerdctl is installed."
    )


def test_a_machine_that_cannot_have_kind_has_the_simulated_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def ensure(_: object) -> dict[str, Path]:
        raise SandboxError("kind 0.33.0 is neither on this machine nor to be built: install Go and try again.")

    monkeypatch.setattr(tools, "ensure", ensure)
    assert choice.choose("", paths).line == (
        "Sandbox: simulated, as kind 0.33.0 is neither on this machine nor to be built: install Go and try again."
    )


@pytest.mark.parametrize("variable", ["kind", "simulated"])
def test_the_variable_asks_for_one(variable: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX", variable)
    assert choice.choose("", paths).line == f"Sandbox: {variable}, as SANDBOX says."


def test_another_word_is_refused(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX", "minikube")
    with pytest.raises(SandboxError, match="SANDBOX is 'minikube': it must be kind or simulated, or empty"):
        choice.choose("", paths)


def test_a_sandbox_keeps_its_kind_until_it_ends(paths: Paths) -> None:
    kind_cluster.up(paths)
    assert choice.choose("", paths).kind == "kind"
    kept = choice.choose("simulated", paths)
    assert (kept.kind, kept.cluster) == ("kind", kind_cluster)
    assert "`make down` first, then `make up SANDBOX=simulated`" in kept.line


# --- not enough of something -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"memory": 2 * GIB, "processors": 4}, "Docker has 2.0 GiB of memory, and the stack with its node needs 5 GiB"),
        ({"memory": 8 * GIB, "processors": 1}, "Docker has 1 processor, and the stack's pods request 2"),
    ],
)
def test_too_small_a_machine_is_refused_before_anything_is_pulled(
    info: dict[str, int], said: str, machine: Machine, paths: Paths
) -> None:
    machine.change(info=info)
    text = refused(paths)
    assert text.startswith(said)
    assert "Docker Desktop: Settings, Resources" in text
    assert "make up SANDBOX=simulated" in text
    assert not [call for call in machine.calls() if call[1] in ("pull", "create", "run")]


@pytest.mark.parametrize("machine", ["docker", "podman", "nerdctl"], indirect=True)
def test_a_kernel_that_kubernetes_takes_no_more_is_refused_before_anything_is_pulled(
    machine: Machine, paths: Paths
) -> None:
    machine.change(info={"memory": 8 * GIB, "processors": 4, "cgroups": "1"})
    assert re.match(
        r"(Docker|Podman|nerdctl) runs on a kernel with cgroup v1, which Kubernetes takes no more", refused(paths)
    )
    assert not [call for call in machine.calls() if call[1] in ("pull", "create", "run")]


def test_a_full_disk_is_refused_before_anything_is_pulled(
    machine: Machine, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.change(info={"memory": 8 * GIB, "processors": 4, "folder": str(tmp_path)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3 * 10**9}))
    assert refused(paths).startswith(
        f"{tmp_path} has 3.0 GB free, and the images of the node and the stack need some 10 GB"
    )
    assert not machine.calls("kind")


def test_without_the_published_charts_no_cluster_is_made(
    machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        chart_sources, "reachable_repositories", lambda asked: set(asked) - {"https://charts.konghq.com"}
    )
    assert refused(paths).startswith(
        "https://charts.konghq.com does not answer, and containers need the published charts"
    )
    assert clusters(machine) == []


# --- what kind and Docker may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        (
            {"pull": NO_NETWORK},
            "the image of the node cannot be pulled: connect to the network, set HTTPS_PROXY, or name a mirror in the setting",
        ),
        (
            {"create": "Error response from daemon: mkdir /var/lib/docker/overlay2: no space left on device"},
            "kind did not make the cluster: there is no room for its images: `docker system prune`, or a larger disk for the virtual "
            "machine (mkdir /var/lib/docker/overlay2: no space left on device). The whole story is in ",
        ),
        (
            {
                "create": 'could not find a log line that matches "Reached target .*Multi-User System.*|detected cgroup v1"'
            },
            "kind did not make the cluster: the node's container does not come up; mostly the kernel's limits are too low",
        ),
        (
            {"create": 'running kind with rootless provider requires setting systemd property "Delegate=yes"'},
            "kind did not make the cluster: a rootless program needs delegated cgroups",
        ),
        (
            {
                "create": f"{'7' * 64}\ndocker: Error response from daemon: failed to create shim task: OCI runtime create failed."
            },
            "kind did not make the cluster: failed to create shim task: OCI runtime create failed. The whole story is in ",
        ),
        (
            {"kubeadm": KUBEADM},
            "kind did not make the cluster: Kubernetes does not come up in the node, mostly as memory, processors or the disk are too "
            "busy: end what else is running, and run `make up` again; a rootless program needs more "
            "(https://kind.sigs.k8s.io/docs/user/rootless/) (failed to init node with kubeadm: command ",
        ),
        ({"create": "something that nobody has seen yet"}, "kind did not make the cluster: "),
    ],
)
def test_a_failure_of_the_making_is_one_sentence(
    fail: dict[str, str], sentence: str, machine: Machine, paths: Paths
) -> None:
    machine.change(fail=fail)
    text = refused(paths)
    assert text.startswith(sentence)
    assert "\n" not in text
    assert clusters(machine) == []
    # What stood in the way is gone: the next one makes it.
    machine.change(fail={})
    kind_cluster.up(paths)
    assert len(clusters(machine)) == 1


def test_a_port_that_is_taken_in_the_meantime_is_replaced(machine: Machine, paths: Paths) -> None:
    machine.change(fail={"create": [TAKEN]})
    facts = kind_cluster.up(paths)
    tried = [call for call in machine.calls("kind") if call[1] == "create"]
    assert len(tried) == 2
    assert machine.state["configuration"]["nodes"][0]["extraPortMappings"][0]["hostPort"] == facts.ports["kong"]


def test_ports_that_are_always_taken_end_it(machine: Machine, paths: Paths) -> None:
    machine.change(fail={"create": TAKEN})
    assert refused(paths).startswith("no free port was found for Kong and the API server in 3 attempts")


# --- half of it dead ---------------------------------------------------------------------------------------------------


def stop(machine: Machine) -> None:
    machine.change(containers=[{**each, "runs": False} for each in machine.state["containers"]])


def test_a_node_that_stopped_is_started_again(machine: Machine, paths: Paths) -> None:
    facts = kind_cluster.up(paths)
    stop(machine)
    assert not kind_cluster.status(paths).live
    assert kind_cluster.up(paths) == facts
    assert kind_cluster.status(paths).live
    assert ["docker", "start", f"{clusters(machine)[0]}-control-plane"] in machine.calls()


def test_a_kubeconfig_that_was_deleted_is_written_anew(machine: Machine, paths: Paths) -> None:
    facts = kind_cluster.up(paths)
    paths.kubeconfig.unlink()
    assert kind_cluster.up(paths) == facts
    assert kind_cluster.status(paths).live
    assert len([call for call in machine.calls("kind") if call[1] == "create"]) == 1


def test_a_cluster_that_was_deleted_by_hand_is_made_anew_without_the_old_ones_state(
    machine: Machine, paths: Paths, api_server: tuple[ApiServer, str]
) -> None:
    kind_cluster.up(paths)
    (paths.state / "of-the-old-one").write_text("")
    machine.change(containers=[])
    assert not kind_cluster.status(paths).live
    api_server[0].remove("namespaces", "kube-system")
    api_server[0].put("namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system"}})
    kind_cluster.up(paths)
    assert len(clusters(machine)) == 1
    assert not (paths.state / "of-the-old-one").exists()
    assert kind_cluster.status(paths).live


def test_a_half_made_cluster_is_deleted_and_made_again(machine: Machine, paths: Paths) -> None:
    machine.change(killed=True)
    refused(paths)
    assert len(clusters(machine)) == 1
    machine.change(killed=False)
    kind_cluster.up(paths)
    assert [each["id"][-1] for each in machine.state["containers"]] == ["2"]


def test_a_half_made_cluster_is_deleted_by_down(machine: Machine, paths: Paths) -> None:
    machine.change(killed=True)
    refused(paths)
    assert kind_cluster.down(paths)
    assert clusters(machine) == []
    assert not paths.sandbox.exists()


def test_down_without_an_answer_keeps_what_the_next_one_needs(machine: Machine, paths: Paths) -> None:
    kind_cluster.up(paths)
    machine.change(down=NO_DAEMON)
    with pytest.raises(SandboxError) as caught:
        kind_cluster.down(paths)
    assert str(caught.value).startswith("Docker does not answer (Cannot connect to the Docker daemon")
    assert str(caught.value).endswith("could not be deleted: then run `make down` once more.")
    assert [path.name for path in paths.sandbox.iterdir()] == ["kind.json"]
    machine.change(down="")
    assert kind_cluster.down(paths)
    assert clusters(machine) == []


def test_an_up_without_an_answer_says_what_to_do(machine: Machine, paths: Paths) -> None:
    kind_cluster.up(paths)
    machine.change(down=NO_DAEMON)
    text = refused(paths)
    assert text.startswith("Docker does not answer (Cannot connect to the Docker daemon")
    assert text.endswith(f"`make up` then goes on with the kind cluster {clusters(machine)[0]}.")


def test_down_needs_no_kind(machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    kind_cluster.up(paths)
    monkeypatch.setattr(tools, "find_by_name", lambda _: None)
    assert kind_cluster.down(paths)
    assert clusters(machine) == []
    assert ["delete"] not in [call[1:2] for call in machine.calls("kind")]


def test_down_does_not_wait_for_a_kind_that_hangs(
    machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind_cluster.up(paths)
    monkeypatch.setattr(kind_program, "_DELETE_SECONDS", 0.001)
    assert kind_cluster.down(paths)
    assert clusters(machine) == []


def test_the_copy_of_a_checkout_gets_a_cluster_of_its_own(machine: Machine, paths: Paths, tmp_path: Path) -> None:
    kind_cluster.up(paths)
    shutil.copytree(paths.root, tmp_path / "copy", symlinks=True)
    copy = Paths(tmp_path / "copy")
    kind_cluster.up(copy)
    assert len(set(clusters(machine))) == 2
    kind_cluster.down(copy)
    assert kind_cluster.status(paths).live
    shutil.copytree(paths.root, tmp_path / "another", symlinks=True)
    kind_cluster.down(Paths(tmp_path / "another"))
    assert kind_cluster.status(paths).live


def test_a_checkout_that_is_moved_keeps_its_cluster(machine: Machine, paths: Paths, tmp_path: Path) -> None:
    facts = kind_cluster.up(paths)
    settings = paths.stack_file.read_text()
    paths.root.rename(tmp_path / "elsewhere")
    moved = Paths(tmp_path / "elsewhere")
    assert kind_cluster.up(moved) == facts
    assert moved.stack_file.read_text() == settings
    assert len(clusters(machine)) == 1


# --- what is somebody else's -------------------------------------------------------------------------------------------


def somebodys(name: str, **entries: Any) -> dict[str, Any]:
    return {"id": "f" * 64, "name": f"{name}-control-plane", "cluster": name, "runs": True, "port": 1, **entries}


def test_a_cluster_of_the_users_own_is_never_touched(machine: Machine, paths: Paths) -> None:
    machine.change(containers=[somebodys("kind"), somebodys("kong-istio")])
    kind_cluster.up(paths)
    kind_cluster.down(paths)
    assert clusters(machine) == ["kind", "kong-istio"]


def test_one_of_the_same_name_that_was_not_made_here_stops_an_up(machine: Machine, paths: Paths) -> None:
    machine.change(containers=[somebodys(cluster_name(paths))])
    assert "that this sandbox has not made" in refused(paths)
    assert len(clusters(machine)) == 1


def test_one_that_took_the_place_of_ours_is_left_alone(machine: Machine, paths: Paths) -> None:
    kind_cluster.up(paths)
    machine.change(containers=[somebodys(clusters(machine)[0])])
    assert "is not the one that this sandbox has made, and is left alone" in refused(paths)
    assert kind_cluster.down(paths)
    assert len(clusters(machine)) == 1


def test_another_cluster_behind_our_port_is_noticed(paths: Paths, api_server: tuple[ApiServer, str]) -> None:
    kind_cluster.up(paths)
    api_server[0].remove("namespaces", "kube-system")
    api_server[0].put("namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system"}})
    assert refused(paths).startswith("another cluster than the recorded one answers at 127.0.0.1:")


def test_nothing_of_the_users_shell_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "KUBECONFIG",
        "KIND_CLUSTER_NAME",
        "DOCKER_CONFIG",
        "DOCKER_TLS_VERIFY",
        "HELM_NAMESPACE",
        "PULUMI_STACK",
    ):
        monkeypatch.setenv(name, "somebodys")
    environment = containers.Runtime("docker").environment
    assert not [name for name, value in environment.items() if value == "somebodys"]
    assert environment["DOCKER_HOST"] == "unix:///var/run/docker.sock"


# --- proxies and certificates ------------------------------------------------------------------------------------------


def test_a_proxy_and_its_certificates_reach_the_node(
    machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".example")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    kind_cluster.up(paths)
    assert machine.state["environment"]["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert machine.state["environment"]["NO_PROXY"] == ".example"
    (mount,) = machine.state["configuration"]["nodes"][0]["extraMounts"]
    assert Path(mount["hostPath"]).read_text() == bundle.read_text()
    assert mount["containerPath"].startswith("/etc/ssl/certs/")
    assert mount["readOnly"] is True


@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:3128", "http://localhost:3128", "localhost:3128", "http://[::1]:1"]
)
def test_a_proxy_on_loopback_is_not_the_nodes(
    proxy: str, machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    kind_cluster.up(paths)
    assert "HTTPS_PROXY" not in machine.state["environment"]


def test_a_bundle_that_is_not_there_is_named(machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    assert refused(paths).startswith("/nowhere/bundle.pem, which SSL_CERT_FILE or the like names, is not a file")
    assert clusters(machine) == []


def test_the_nodes_image_comes_from_the_mirror_that_the_settings_name(machine: Machine, paths: Paths) -> None:
    committed = yaml.safe_load(paths.committed_stack_file.read_text())
    committed["config"]["kong-istio:images"] = {"registry": "registry.example.com/mirror"}
    paths.committed_stack_file.write_text(yaml.safe_dump(committed))
    kind_cluster.up(paths)
    image = machine.state["configuration"]["nodes"][0]["image"]
    assert image.startswith("registry.example.com/mirror/kindest/node:v")
    assert machine.state["images"] == [image]


# --- the pins ----------------------------------------------------------------------------------------------------------


def test_the_workflow_of_main_has_the_same_kind_and_node() -> None:
    main = (ROOT / ".github" / "workflows" / "main.yml").read_text()
    assert f"sigs.k8s.io/kind@v{TOOLS['kind'].version}" in main
    assert f"NODE: {kind_program.NODE_IMAGE}" in main


def test_facts_of_before_there_was_a_kind_are_of_a_simulated_one(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({"ports": {}, "charts": {}, "origins": {}, "istiod": "", "not_shown": ""}))
    found = Facts.load(file)
    assert found
    assert found.kind == "simulated"
