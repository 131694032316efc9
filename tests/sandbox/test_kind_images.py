"""How the stack's images come onto the node of a kind sandbox, and what is said of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from fakes import containers as stand_ins
from fakes.containers import Machine

from plan.inventory import Image
from sandbox import SandboxError, node_images, tools
from sandbox.kind_record import Record
from sandbox.paths import Paths

ROOT = Path(__file__).resolve().parents[2]
KONG = "docker.io/library/kong:3.9.1"
PROXY = "registry.istio.io/release/proxyv2:1.30.3"
KIALI = f"quay.io/kiali/kiali@sha256:{'a' * 64}"
IMAGES = (
    Image(source=KONG, pulled_as=KONG, needed_by=("kong-istio",)),
    Image(source=PROXY, pulled_as=PROXY, needed_by=("bookinfo", "istiod")),
    Image(source=KIALI, pulled_as=KIALI, needed_by=("kiali",)),
)
NODE = "kong-istio-0000-control-plane"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Make a checkout whose sandbox has a kind cluster."""
    (tmp_path / "checkout").mkdir()
    made = Paths(tmp_path / "checkout")
    made.committed_stack_file.write_text((ROOT / "Pulumi.sandbox.yaml").read_text())
    Record("kong-istio-0000", "docker", kong_port=1, api_port=2, node="1", uid="1").save(made)
    made.temporary.mkdir()
    return made


@pytest.fixture
def machine(tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make a machine with nothing on PATH but the stand-ins, and a node that runs."""
    node = {"id": "1", "name": NODE, "cluster": "kong-istio-0000", "runs": True, "port": 1}
    made = stand_ins.machine(tmp_path, containers=[node])
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(made.folder))
    monkeypatch.setenv(stand_ins.STATE, str(made.state_file))
    monkeypatch.setattr(node_images, "_wanted", lambda _: list(IMAGES))
    monkeypatch.setattr(node_images, "_PAUSE_SECONDS", 0)
    tools.link({"kind": made.folder / "kind"}, paths)
    return made


def mirrored(paths: Paths) -> None:
    committed = yaml.safe_load(paths.committed_stack_file.read_text())
    committed["config"]["kong-istio:images"] = {"registry": "registry.example.com/mirror"}
    paths.committed_stack_file.write_text(yaml.safe_dump(committed))


def test_each_image_is_told_with_its_size_and_with_what_waits_for_it(
    machine: Machine, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    node_images.bring(paths)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "3 of 3 images are missing; pulled by the node, 3 at a time"
    assert {line.split()[0] for line in lines} == {"1/3", "2/3", "3/3"}
    for image in IMAGES:
        (line,) = [line for line in lines if image.pulled_as in line]
        assert re.search(r"\d s +51 MB ", line)
        assert line.endswith(f"for {', '.join(image.needed_by)}")
    assert set(machine.state["on_node"]) == {image.pulled_as for image in IMAGES}


def test_what_is_there_is_not_pulled_again(machine: Machine, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    node_images.bring(paths)
    calls = [call for call in machine.calls() if "pull" in call]
    capsys.readouterr()
    node_images.bring(paths)
    assert capsys.readouterr().out == "all 3 images are on the node\n"
    assert [call for call in machine.calls() if "pull" in call] == calls


@pytest.mark.parametrize("by", ["mirror", "proxy"])
def test_from_a_mirror_or_by_a_proxy_this_machine_pulls_and_kind_loads(
    by: str, machine: Machine, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if by == "mirror":
        mirrored(paths)
    else:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    node_images.bring(paths)
    assert "pulled by Docker and `kind load`" in capsys.readouterr().out
    # One that has only a digest would lose its name on that way.
    assert sorted(machine.state["images"]) == [KONG, PROXY]
    loads = [call for call in machine.calls("kind") if call[1] == "load"]
    assert [call[2] for call in loads] == ["image-archive", "image-archive"]
    assert all(call[-2:] == ["--name", "kong-istio-0000"] for call in loads)
    assert set(machine.state["on_node"]) == {image.pulled_as for image in IMAGES}
    assert not list(paths.temporary.iterdir())


def test_a_docker_that_cannot_save_one_platform_saves_all(machine: Machine, paths: Paths) -> None:
    mirrored(paths)
    machine.change(fail={"platform": "unknown flag: --platform"})
    node_images.bring(paths)
    assert KONG in machine.state["on_node"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            'failed to pull and unpack image "{image}": failed to resolve reference: dial tcp: lookup quay.io: no such host',
            "the registry does not answer: connect to the network, or set HTTPS_PROXY",
        ),
        (
            "toomanyrequests: You have reached your unauthenticated pull rate limit",
            "the registry allows no more pulls for now: log in to it, or name a mirror in images.registry",
        ),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "its certificate is not trusted: name the bundle that has its authority in SSL_CERT_FILE",
        ),
        ("pull access denied, repository does not exist or may require authorization", "the registry wants a login"),
        ("{image}: not found", "the registry does not have it: see images.registry and images.references"),
        ("write /var/lib/containerd: no space left on device", "there is no room left on the node"),
    ],
)
def test_an_image_that_does_not_come_is_one_sentence(
    said: str, remedy: str, machine: Machine, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.change(fail={"node pull": said}, on_node={KONG: 1, KIALI: 1})
    with pytest.raises(SandboxError) as caught:
        node_images.bring(paths)
    text = str(caught.value)
    assert text.startswith(
        f"the image {PROXY}, which bookinfo and istiod would wait for, cannot be pulled (pulling image: {said.format(image=PROXY)}"
    )
    assert f"): {remedy}" in text
    assert "\n" not in text
    assert "FAILED" in capsys.readouterr().out


def test_a_network_that_comes_back_is_waited_for(machine: Machine, paths: Paths) -> None:
    machine.change(fail={"node pull": ["read: connection reset by peer", "i/o timeout"]}, on_node={PROXY: 1, KIALI: 1})
    node_images.bring(paths)
    assert KONG in machine.state["on_node"]


def test_a_node_that_is_busy_is_waited_for(machine: Machine, paths: Paths) -> None:
    machine.change(fail={"busy": 'level=fatal msg="listing images: context deadline exceeded"'})
    node_images.bring(paths)
    assert set(machine.state["on_node"]) == {image.pulled_as for image in IMAGES}


def test_a_node_that_is_gone_is_told(machine: Machine, paths: Paths) -> None:
    machine.change(containers=[])
    with pytest.raises(SandboxError, match=f"the node {NODE} does not tell its images: .*No such container"):
        node_images.bring(paths)
