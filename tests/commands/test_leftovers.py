"""What a destroy clears away, and what it leaves to others: run as the stack's state carries it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.api_server import ApiServer, write_kubeconfig

from commands.when_deleted import api, leftovers
from commands.when_deleted.api import LeftoversError
from components.shared.project_command import BY_SOME_PYTHON, text_of

Object = dict[str, Any]

KINDS: dict[str, list[tuple[str, str, bool, list[str]]]] = {
    "v1": [("ConfigMap", "configmaps", True, []), ("Pod", "pods", True, []), ("Namespace", "namespaces", False, [])],
    "apps/v1": [("Deployment", "deployments", True, [])],
    "apiextensions.k8s.io/v1": [("CustomResourceDefinition", "customresourcedefinitions", False, ["crd"])],
    "gateway.networking.k8s.io/v1": [
        ("GatewayClass", "gatewayclasses", False, []),
        ("Gateway", "gateways", True, []),
    ],
    "configuration.konghq.com/v1": [("KongPlugin", "kongplugins", True, [])],
    "networking.istio.io/v1": [("Sidecar", "sidecars", True, [])],
}
PROGRAM = text_of(leftovers.__name__)
# Minutes of one day: Istio's CRDs are made at 10, Kong's namespace at 19, its CRDs at 20, its Deployment at 21.
ISTIO_AT, KONG_AT = 10, 20


def made(plural: str, name: str, minute: int, namespace: str = "", **fields: Any) -> tuple[str, Object]:
    metadata = {
        "name": name,
        "creationTimestamp": f"2026-01-02T03:{minute:02}:00Z",
        **({"namespace": namespace} if namespace else {}),
        **fields.pop("metadata", {}),
    }
    return plural, {"metadata": metadata, **fields}


def crd(plural: str, group: str, minute: int, release: str = "", label: str = "") -> tuple[str, Object]:
    marks: Object = {"labels": {leftovers.MARK: label}} if label else {}
    if release:
        namespace, _, name = release.partition("/")
        marks["annotations"] = {"meta.helm.sh/release-namespace": namespace, "meta.helm.sh/release-name": name}
    spec = {
        "group": group,
        "names": {"kind": plural.title(), "plural": plural},
        "versions": [{"name": "v1", "served": True}],
    }
    return made("customresourcedefinitions", f"{plural}.{group}", minute, metadata=marks, spec=spec)


def sidecars(release: str = "istio-system/istio-base", label: str = "istio-base", minute: int = ISTIO_AT) -> Any:
    return crd("sidecars", "networking.istio.io", minute, release, label)


def kongs(plural: str = "kongplugins", minute: int = KONG_AT, label: str = "kong-istio") -> tuple[str, Object]:
    return crd(plural, "configuration.konghq.com", minute, label=label)


def root_cert(namespace: str, root: str = "ours") -> tuple[str, Object]:
    return made("configmaps", "istio-ca-root-cert", 15, namespace, data={"root-cert.pem": root})


def istiod(namespace: str = "mesh-two") -> tuple[str, Object]:
    labels = {"labels": {"app": "istiod"}}
    return made("deployments", "istiod", 30, namespace, metadata=labels, spec=containers("istio/pilot:1.30.3"))


def kong(namespace: str = "kong-two") -> tuple[str, Object]:
    return made(
        "deployments", "kong", 30, namespace, spec=containers("kong:3.9", "kong/kubernetes-ingress-controller:3.5")
    )


def containers(*images: str) -> Object:
    return {"template": {"spec": {"containers": [{"name": "one", "image": image} for image in images]}}}


def gateway_class(
    name: str = "istio",
    controller: str = "istio.io/gateway-controller",
    manager: str = "pilot-discovery-1.30.3",
    minute: int = 15,
) -> tuple[str, Object]:
    fields = [{"manager": manager}]
    return made("gatewayclasses", name, minute, metadata={"managedFields": fields}, spec={"controllerName": controller})


@pytest.fixture
def server() -> ApiServer:
    """Return an API server that knows the kinds of a cluster with Istio, Kong and the Gateway API."""
    found = ApiServer()
    found.kinds = {version: list(kinds) for version, kinds in KINDS.items()}
    return found


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Iterator[Path]:
    with server.running() as url:
        yield write_kubeconfig(tmp_path / "config", {"one": url})


def fill(server: ApiServer, *objects: tuple[str, Object]) -> None:
    for plural, item in objects:
        server.put(plural, item)


def left(server: ApiServer) -> set[str]:
    """Return what is there, as namespace/name, Deployments apart."""
    return {
        f"{namespace}/{name}" if namespace else name
        for plural, namespace, name in server.objects
        if plural not in ("deployments", "namespaces")
    }


def clear(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["-", "--kubeconfig", str(kubeconfig), "--context", "one", *arguments])
    leftovers.main()


ROOTS = "other/istio-ca-root-cert"
SIDECARS, PLUGINS = "sidecars.networking.istio.io", "kongplugins.configuration.konghq.com"
# What is there when all else of the stack is gone -> what is to stay.
CASES: dict[str, tuple[list[tuple[str, Object]], set[str]]] = {
    "nothing but its own": (
        [sidecars(), kongs(), root_cert("other"), root_cert("kube-system"), gateway_class()],
        set(),
    ),
    "Kong's CRDs that nobody marked, of a stack that marked its own": (
        [sidecars(), kongs(), kongs("tcpingresses", 5, ""), kongs("kongvaults", 50, "")],
        {"tcpingresses.configuration.konghq.com", "kongvaults.configuration.konghq.com"},
    ),
    "Kong's CRDs that were there, of a stack that made none": ([sidecars(), kongs(minute=12, label="")], {PLUGINS}),
    "Kong's CRDs alone": ([kongs(label="")], {PLUGINS}),
    "CRDs of another release of Istio": ([sidecars("mesh-two/base", "")], {SIDECARS}),
    "CRDs of istioctl": ([sidecars("", "")], {SIDECARS}),
    "objects of its CRDs": (
        [sidecars(), kongs(), made("kongplugins", "theirs", 40, "other")],
        {PLUGINS, "other/theirs"},
    ),
    "objects of its CRDs in a namespace that goes as well": (
        [sidecars(), made("sidecars", "theirs", 40, "going"), root_cert("going")],
        {"going/istio-ca-root-cert"},
    ),
    "another Kong": ([sidecars(), kongs(), kong()], {PLUGINS}),
    "another Istio": (
        [
            sidecars(),
            kongs(),
            istiod(),
            root_cert("mesh-two", "theirs"),
            root_cert("served", "theirs"),
            root_cert("other"),
            # Without a revoked certificate they are all the same.
            made("configmaps", "istio-ca-crl", 15, "served", data={"ca-crl.pem": ""}),
            made("configmaps", "istio-ca-crl", 15, "other", data={"ca-crl.pem": ""}),
        ],
        {SIDECARS, "mesh-two/istio-ca-root-cert", "served/istio-ca-root-cert", "served/istio-ca-crl"},
    ),
    "another Istio that has not begun": ([istiod(), root_cert("other")], {ROOTS}),
    "another Istio's GatewayClass": ([sidecars(), istiod(), gateway_class()], {SIDECARS, "istio"}),
    "GatewayClasses of others": (
        [
            sidecars(),
            gateway_class("kong", "konghq.com/kic-gateway-controller"),
            gateway_class("istio-remote", "istio.io/unmanaged-gateway", "helm"),
            gateway_class("istio", minute=3),
        ],
        {"kong", "istio-remote", "istio"},
    ),
    "a GatewayClass in use": (
        [gateway_class(), made("gateways", "door", 40, "other", spec={"gatewayClassName": "istio"})],
        {"istio", "other/door"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_the_stack_made_is_deleted(
    case: str, server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, stay = CASES[case]
    fill(server, *objects)
    clear(kubeconfig, monkeypatch, "--namespace=going")
    assert left(server) - {"going/theirs"} == stay


def test_the_content_of_a_kubeconfig_will_do(
    server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(server, sidecars(), kongs())
    monkeypatch.setenv("KONG_ISTIO_KUBECONFIG", kubeconfig.read_text())
    clear(Path("env:KONG_ISTIO_KUBECONFIG"), monkeypatch)
    assert left(server) == set()
    with pytest.raises(SystemExit):
        clear(Path("env:KONG_ISTIO_NOTHING"), monkeypatch)
    assert "KONG_ISTIO_NOTHING is not set: only the stack itself gives it" in capsys.readouterr().err


def test_a_cluster_without_the_gateway_api_is_cleared(
    server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.kinds.pop("gateway.networking.k8s.io/v1")
    fill(server, sidecars(), root_cert("other"))
    clear(kubeconfig, monkeypatch)
    assert left(server) == set()


@pytest.mark.parametrize("option", ["--keep-crds", "--keep-definitions"])
def test_crds_stay_on_request(
    option: str, server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server, sidecars(), kongs(), root_cert("other"))
    clear(kubeconfig, monkeypatch, option)
    assert left(server) == {SIDECARS, PLUGINS}


def test_what_is_kept_is_named_with_who_needs_it(
    server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(server, sidecars(), kongs(), made("sidecars", "theirs", 40, "other"), kong())
    clear(kubeconfig, monkeypatch)
    assert capsys.readouterr().err.splitlines() == [
        "Kept the CRD of Kongplugins (configuration.konghq.com): kong-two/kong needs it.",
        "Kept the CRD of Sidecars (networking.istio.io): there are still objects of it.",
    ]


def test_two_hundred_namespaces_are_cleared(
    server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server, *(root_cert(f"team-{number}") for number in range(200)))
    clear(kubeconfig, monkeypatch)
    assert left(server) == set()


def test_an_api_server_that_is_away_for_a_moment_is_asked_again(
    server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server, sidecars(), kongs())
    server.troubles = [503, "cut", 429, 0, 500]
    clear(kubeconfig, monkeypatch)
    assert left(server) == set()


def test_what_does_not_go_is_named(server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plural, item = sidecars()
    item["metadata"]["finalizers"] = ["somebodys"]
    fill(server, (plural, item))
    monkeypatch.setattr(leftovers, "_GONE_SECONDS", 0)
    with pytest.raises(LeftoversError, match=f"customresourcedefinitions/{SIDECARS} is not gone"):
        clear(kubeconfig, monkeypatch)


# --- pods that end ------------------------------------------------------------------------------------------------


class PodsOverTime:
    """Pods of a namespace, by the second: how many end, and how many stay."""

    def __init__(self, *states: tuple[float, int, int]) -> None:
        self.states, self.seconds = states, 0.0

    def list(self, kind: str, namespace: str | None = None, **_: str) -> list[Object]:
        assert (kind, namespace) == ("pods", "istio-system")
        ending, staying = next((e, s) for since, e, s in reversed(self.states) if self.seconds >= since)
        return [{"metadata": {"deletionTimestamp": "x"}}] * ending + [{"metadata": {}}] * staying

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize(
    ("states", "seconds"),
    [
        ([(0, 0, 0)], 0),
        ([(0, 2, 0), (20, 0, 0)], 20),
        # The garbage collector begins a moment after the Deployment is gone.
        ([(0, 0, 1), (2, 1, 0), (10, 0, 0)], 10),
        # A pod of somebody else is not waited for.
        ([(0, 1, 1), (10, 0, 1)], 13),
        ([(0, 1, 0)], 300),
    ],
)
def test_pods_that_end_are_waited_for_and_no_others(
    states: list[tuple[float, int, int]], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = PodsOverTime(*states)
    monkeypatch.setattr(api, "time", pods)
    api.wait_for_pods(pods, "istio-system")
    assert pods.seconds == pytest.approx(seconds, abs=1)


# --- without a checkout -------------------------------------------------------------------------------------------

KUBECTL = """#!{python}
import json, sys, urllib.error, urllib.request, yaml
*_, context, _, verb, _, path = sys.argv
server = yaml.safe_load(open(sys.argv[2]))["clusters"][0]["cluster"]["server"]
try:
    request = urllib.request.Request(server + path, method={{"get": "GET", "delete": "DELETE"}}[verb])
    print(urllib.request.urlopen(request).read().decode())
except urllib.error.HTTPError as error:
    kind = "(NotFound)" if error.code == 404 else "(Forbidden)"
    sys.exit(f"Error from server {{kind}}: {{error}}")
"""


def destroyed(folder: Path, kubeconfig: Path, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what the state carries in a folder that holds nothing of the project."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        ["/bin/sh", "-c", f"{BY_SOME_PYTHON}- --kubeconfig {kubeconfig} --context one"],
        input=PROGRAM,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """Return a folder for PATH whose python3 has no packages."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec {getattr(sys, "_base_executable", sys.executable)} -S -E "$@"\n')
    (folder / "python3").chmod(0o755)
    return folder


@pytest.mark.parametrize("place", ["venv", ".venv", "elsewhere"])
def test_any_virtual_environment_will_do(
    place: str, server: ApiServer, kubeconfig: Path, bare_python: Path, tmp_path: Path
) -> None:
    fill(server, sidecars(), kongs(), root_cert("other"), root_cert("mesh-two", "theirs"), istiod())
    folder = tmp_path / "fresh"
    folder.mkdir()
    # One whose Python has gone is passed over.
    packages = folder / "gone" / "lib" / "python3.99" / "site-packages" / "kubernetes"
    packages.mkdir(parents=True)
    (packages / "__init__.py").touch()
    if place == "elsewhere":
        answer = destroyed(folder, kubeconfig, str(bare_python), VIRTUAL_ENV=sys.prefix)
    else:
        # uv's is called .venv.
        (folder / place).symlink_to(sys.prefix)
        answer = destroyed(folder, kubeconfig, str(bare_python), VIRTUAL_ENV=str(folder / "gone"))
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr
    assert left(server) == {SIDECARS, "mesh-two/istio-ca-root-cert"}


def test_without_a_virtual_environment_kubectl_will_do(
    server: ApiServer, kubeconfig: Path, bare_python: Path, tmp_path: Path
) -> None:
    (bare_python / "kubectl").write_text(KUBECTL.format(python=sys.executable))
    (bare_python / "kubectl").chmod(0o755)
    server.kinds.pop("gateway.networking.k8s.io/v1")
    fill(server, sidecars(), kongs(), root_cert("other"))
    answer = destroyed(tmp_path / "fresh", kubeconfig, str(bare_python))
    assert answer.returncode == 0, answer.stderr
    assert left(server) == set()


def test_with_neither_there_is_one_sentence_that_helps(kubeconfig: Path, bare_python: Path, tmp_path: Path) -> None:
    answer = destroyed(tmp_path / "fresh", kubeconfig, str(bare_python))
    assert answer.returncode == 1
    assert answer.stderr == (
        "There is neither the Python package kubernetes nor kubectl here: `pulumi install` installs the first, then run "
        "the same again.\n"
    )


GONE = "`PULUMI_K8S_DELETE_UNREACHABLE=true pulumi destroy --refresh` has the stack forget it."


@pytest.mark.parametrize("context", ["one", "no-longer-there"])
def test_a_cluster_that_is_gone_is_one_sentence_that_helps(
    context: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_PATIENCE_SECONDS", 0)
    nobody = write_kubeconfig(tmp_path / "config", {context: "http://127.0.0.1:9"})
    with pytest.raises(LeftoversError) as caught:
        clear(nobody, monkeypatch)
    assert str(caught.value).endswith(GONE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("context", ["one", "no-longer-there"])
def test_a_cluster_that_the_user_gives_up_is_left_at_once(context: str, tmp_path: Path) -> None:
    nobody = write_kubeconfig(tmp_path / "config", {context: "http://127.0.0.1:9"})
    environment = {"VIRTUAL_ENV": sys.prefix, "PULUMI_K8S_DELETE_UNREACHABLE": "true"}
    answer = destroyed(tmp_path / "fresh", nobody, os.environ["PATH"], **environment)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("program", ["leftovers", "pods_gone", "unused_revision", "destroy_guard"])
def test_each_needs_the_standard_library_alone(program: str, bare_python: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [bare_python / "python3", "-", "--help"],
        input=text_of(f"commands.when_deleted.{program}"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
