"""The sandbox's programs: found, downloaded, built; with fakes in place of the real ones."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.go import script

from sandbox import SandboxError, builds, isolation, tools
from sandbox.paths import CHECKOUT, Paths, tool_cache
from sandbox.programs import TOOLS

pytestmark = pytest.mark.usefixtures("bare_machine")

# --- found on the machine -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "is_right"),
    [
        ("kwok version v0.8.0 go1.26.8 (linux/amd64)", True),
        ("kwok version v0.8.0+dirty", True),
        ("kwok version v0.8.1", False),
        ("kwok version v10.8.0", False),
        ("kwok version v0.8.0-rc.1", False),
        ("kwok version v0.8.01", False),
        ("", False),
    ],
)
def test_a_program_on_path_is_taken_only_in_the_right_version(bare_machine: Path, says: str, is_right: bool) -> None:
    program = script(bare_machine / "kwok", f"#!/bin/sh\necho '{says}'\n")
    assert tools.find(TOOLS["kwok"]) == (program if is_right else None)


def test_a_program_that_is_asked_for_its_version_does_not_see_the_home(bare_machine: Path) -> None:
    script(bare_machine / "kwok", "#!/bin/sh\nmkdir -p $HOME/.kwok && echo v0.8.0\n")
    assert tools.find(TOOLS["kwok"])
    assert not (Path.home() / ".kwok").exists()


def test_what_is_in_the_cache_comes_before_what_is_on_path(bare_machine: Path) -> None:
    script(bare_machine / "kwok", "#!/bin/sh\necho v0.8.0\n")
    cached = script(tool_cache() / "kwok-0.8.0", "#!/bin/sh\n")
    assert tools.ensure(["kwok"]) == {"kwok": cached}


def test_nothing_on_path_is_taken_for_istiod(bare_machine: Path) -> None:
    # Every release says another version than that of the pinned source, and builds of it say none.
    script(bare_machine / "pilot-discovery", f"#!/bin/sh\necho {TOOLS['pilot-discovery'].version}\n")
    assert tools.find(TOOLS["pilot-discovery"]) is None


def test_the_cache_obeys_xdg_unless_that_is_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert tool_cache() == Path("/elsewhere/kong-istio/tools")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert tool_cache() == Path.home() / ".cache/kong-istio/tools"


# --- builds ---------------------------------------------------------------------------------------------------


def test_a_build_is_announced_and_done_once(go: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    paths = tools.ensure(["etcd", "kwok"])
    said = capsys.readouterr().out
    assert "2 programs" in said
    assert "about 87 MB and 1 min" in said
    assert "etcd, kwok" in said
    assert subprocess.run([paths["etcd"]], capture_output=True, text=True, check=True).stdout == "built\n"
    assert tools.ensure(["etcd", "kwok"]) == paths
    assert capsys.readouterr().out == ""
    # One build, so that what both use is compiled once.
    (call,) = go()
    assert call.startswith(f"{builds.MODULE} build ")
    assert call.endswith("sigs.k8s.io/kwok/cmd/kwok go.etcd.io/etcd/server/v3")
    assert sorted(path.name for path in tool_cache().iterdir()) == ["etcd-3.7.3", "kwok-0.8.0"]


def test_the_cache_can_be_removed(go: Callable[[], list[str]]) -> None:
    assert not tools.remove_cache()
    tools.ensure(["etcd"])
    assert tools.remove_cache()
    assert not tool_cache().exists()
    tools.ensure(["etcd"])
    assert len(go()) == 2


def test_the_programs_are_built_with_the_version_that_they_are_asked_for(go: Callable[[], list[str]]) -> None:
    tools.ensure(["kube-apiserver"])
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in go()[0]
    assert "-X k8s.io/component-base/version.gitMinor=37" in go()[0]


def test_two_at_once_build_once(go: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GO_SLEEPS", "1")
    program = "from sandbox import downloads, tools; downloads.this_platform = lambda: ('plan9', 'mips'); tools.ensure(['kwok'])"
    both = [
        subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT.root, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(go()) == 1
    assert any("waiting for it" in text for text in said)


def test_a_build_that_fails_says_why_and_leaves_no_program(
    go: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "server")
    with pytest.raises(SandboxError, match=r"etcd 3\.7\.3 could not be built .*no route to host.*GOPROXY") as failure:
        tools.ensure(["etcd", "kwok"])
    assert len(go()) == 1
    log = re.search(r"is in (\S+);", str(failure.value))
    assert log is not None
    assert "compiling" in Path(log[1]).read_text()
    assert sorted(path.name for path in tool_cache().iterdir()) == ["go-build.log", "kwok-0.8.0"]
    # What could be built is not built again.
    monkeypatch.delenv("GO_FAILS")
    tools.ensure(["etcd", "kwok"])
    assert re.search(r"-o \S+/ go\.etcd\.io/etcd/server/v3$", go()[1])


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("module lookup disabled by GOPROXY=off", "set GOPROXY to a proxy"),
        ("dial tcp 192.0.2.1:443: connect: connection refused", "set GOPROXY to a proxy"),
        ("write /tmp/x: no space left on device", "free some room"),
        ("mkdir /x: read-only file system", "GOCACHE and GOMODCACHE"),
        ("something else", "if it speaks of the network, set GOPROXY"),
    ],
)
def test_what_stops_go_has_a_remedy(
    go: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, said: str, remedy: str
) -> None:
    monkeypatch.setenv("GO_OFFLINE", said)
    with pytest.raises(SandboxError) as failure:
        tools.ensure(["etcd"])
    assert said in str(failure.value)
    assert remedy in str(failure.value)
    assert "\n" not in str(failure.value)
    assert go() == []


def test_an_optional_program_fails_alone(go: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GO_FAILS", "pilot-discovery")
    assert list(tools.ensure(["etcd"], optional=["pilot-discovery"])) == ["etcd"]
    assert len(go()) == 1
    with pytest.raises(SandboxError, match=r"pilot-discovery \S+ could not be built"):
        tools.ensure(["pilot-discovery"])


@pytest.mark.usefixtures("go")
def test_a_build_that_was_killed_is_done_again() -> None:
    script(tool_cache() / ".build-1" / "server", "half of it")
    path = tools.ensure(["etcd"])["etcd"]
    assert subprocess.run([path], capture_output=True, text=True, check=True).stdout == "built\n"
    assert [path.name for path in tool_cache().iterdir()] == ["etcd-3.7.3"]


def test_a_long_build_says_how_far_it_is(
    go: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GO_SLEEPS", "0.3")
    monkeypatch.setattr(builds, "_GLANCE_SECONDS", 0.1)
    monkeypatch.setattr(builds, "_SAY_SECONDS", 0.1)
    tools.ensure(["etcd"])
    assert "0 of 2 packages in 0 s" in capsys.readouterr().out
    assert builds._progress(200, 800, 100) == "200 of 800 packages in 1 min 40 s, about 5 min 0 s to go"
    assert builds._progress(800, 800, 500) == "800 of 800 packages in 8 min 20 s, linking"
    assert go()


def test_without_go_it_says_what_to_do_and_builds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SandboxError, match=r"etcd 3\.7\.3 .*there is no Go.*https://go\.dev/dl/"):
        tools.ensure(["etcd"])
    assert "building" not in capsys.readouterr().out


@pytest.mark.usefixtures("go")
def test_a_go_that_is_too_old_is_refused_before_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GO_SAYS", "go1.19.3")
    assert re.search(r"too old: sandbox/go needs 1\.\d+.*no wheel.*https://go\.dev/dl/", builds.go_problem())
    monkeypatch.setenv("GO_SAYS", "go1.99")
    assert builds.go_problem() == ""


def test_go_keeps_the_users_settings_but_counts_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = builds.go_environment()
    assert environment["GOENV"] == str(Path.home() / ".config/go/env")
    assert environment["XDG_CONFIG_HOME"].startswith(str(tool_cache()))
    monkeypatch.setenv("GOENV", "/their/own")
    assert builds.go_environment()["GOENV"] == "/their/own"


# --- the environment ------------------------------------------------------------------------------------------


HOSTILE = (
    *("KUBECONFIG", "KUBERNETES_MASTER", "KUBERNETES_SERVICE_HOST", "KUBE_EDITOR", "KUBECTL_EXTERNAL_DIFF", "KUBERC"),
    *("HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_KUBEAPISERVER", "HELM_KUBETOKEN", "HELM_DRIVER", "HELM_PLUGINS"),
    *("HELM_REGISTRY_CONFIG", "HELM_REPOSITORY_CONFIG", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"),
    *("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK", "PULUMI_HOME"),
    *("PULUMI_K8S_DELETE_UNREACHABLE", "PULUMI_CONFIG", "PULUMI_OPTION_REFRESH"),
    *("DOCKER_HOST", "DOCKER_CONFIG", "AWS_PROFILE", "KWOK_WORKDIR", "GIT_DIR", "GIT_WORK_TREE", "XDG_CONFIG_HOME"),
    *(
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "VIRTUAL_ENV",
        "LD_PRELOAD",
        "LD_AUDIT",
        "BASH_ENV",
        "ENV",
        "TMPDIR",
    ),
    *("KONG_ISTIO_REPAIR", "KONG_ISTIO_SANDBOX_NAME", "KONG_ISTIO_SANDBOX_PROCESS", "SSH_AUTH_SOCK", "EDITOR"),
)


def test_the_environment_leads_everything_to_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HOSTILE:
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("TERM", "vt100")
    environment = isolation.environment(Paths(tmp_path))
    assert [name for name, value in environment.items() if "theirs" in value] == []
    assert environment["KUBECONFIG"] == str(tmp_path / ".sandbox/kubeconfig")
    assert environment["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/.sandbox/state"
    assert environment["PATH"].startswith(f"{tmp_path}/.sandbox/bin:")
    assert environment["TERM"] == "vt100"
    homes = [value for name, value in environment.items() if re.fullmatch(r"HOME|\w+_HOME|KWOK_\w+|KUBECACHEDIR", name)]
    assert len(homes) == 8
    elsewhere = [home for home in homes if not home.startswith(f"{tmp_path}/.sandbox/")]
    assert elsewhere == [str(tool_cache().parent.parent)], "one cache of programs for all checkouts"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, "localhost,127.0.0.1,::1"),
        ({"http_proxy": "http://proxy:1", "no_proxy": "intranet,127.0.0.1"}, "intranet,127.0.0.1,localhost,::1"),
        ({"ALL_PROXY": "http://proxy:1", "NO_PROXY": "*"}, "*,localhost,127.0.0.1,::1"),
    ],
)
def test_a_proxy_is_used_but_not_for_what_runs_here(
    given: dict[str, str], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment = isolation.environment(Paths(tmp_path))
    assert environment.get("NO_PROXY") == environment.get("no_proxy") == expected
    assert (
        given.items() <= {**environment, **{name: given[name] for name in given if name.lower() == "no_proxy"}}.items()
    )


def test_a_shell_can_take_the_environment_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "theirs")
    paths = Paths(tmp_path / "it's a folder")
    check = 'printf %s "$KUBECONFIG${PULUMI_CONFIG_PASSPHRASE-}"'
    said = subprocess.run(
        ["sh", "-c", f"{isolation.exports(paths)}\n{check}"], capture_output=True, text=True, check=True
    ).stdout
    assert said == str(paths.kubeconfig)


# --- the table ------------------------------------------------------------------------------------------------


def test_the_go_module_holds_the_tools_of_the_table_in_their_version() -> None:
    answer = (builds.MODULE / "go.mod").read_text()
    block = re.search(r"^tool \((.*?)^\)", answer, re.M | re.S)
    assert block
    assert sorted(block[1].split()) == sorted(tool.package for tool in TOOLS.values())
    modules = dict(re.findall(r"^\s+([\w.-]+\.\w+/\S+) v(\S+)", answer, re.M))
    for tool in TOOLS.values():
        (module,) = (name for name in modules if f"{tool.package}/".startswith(f"{name}/"))
        # A wheel may be a patch behind.
        length = 2 if tool.wheel else None
        assert modules[module].split(".")[:length] == tool.version.split(".")[:length]
