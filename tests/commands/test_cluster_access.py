"""Access to the cluster: which kubeconfig and context a stack takes, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from fakes.api_server import ApiServer

from commands.cluster_access import SANDBOX_KUBECONFIG, Access, AccessError, check_access
from kube import Cluster

LOGIN = {"token": "abc"}


def kubeconfig(path: Path, contexts: dict[str, Any], server: str = "https://127.0.0.1:6443") -> Path:
    """Write a kubeconfig with a user of its own for each context."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": f"{name}-user"}} for name in contexts],
        "users": [{"name": f"{name}-user", "user": user} for name, user in contexts.items()],
        "current-context": next(iter(contexts), ""),
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def refused(access: Access, root: Path, *, preview: bool = False) -> str:
    """Return the sentence that an access is refused with."""
    with pytest.raises(AccessError) as caught:
        check_access(access, root, preview=preview)
    # Pulumi prints a RunError without a traceback.
    assert isinstance(caught.value, pulumi.RunError)
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith("..")
    assert text.endswith(".")
    return text


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project's folder beside an empty home folder, and nothing on PATH."""
    for name in ("project", "home", "bin"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every API server answer; return what they are asked for."""
    paths: list[str] = []
    monkeypatch.setattr(Cluster, "raw", lambda _, path: paths.append(path))
    return paths


# --- the context -----------------------------------------------------------------------------------------------------

EMPTY = (
    "kubeContext is empty, and this stack never follows the current context: name one with "
    "`pulumi config set kubeContext NAME` (contexts in config: kind-one, kind-two)."
)


def test_an_empty_context_is_refused_in_an_up_and_the_contexts_are_listed(root: Path, asked: list[str]) -> None:
    kubeconfig(root / "config", {"kind-two": LOGIN, "kind-one": LOGIN})
    assert refused(Access(kubeconfig="config", context=""), root) == EMPTY
    assert asked == []


def test_an_empty_context_is_a_warning_in_a_preview(root: Path) -> None:
    kubeconfig(root / "config", {"kind-two": LOGIN, "kind-one": LOGIN})
    warning = check_access(Access(kubeconfig="config", context=""), root, preview=True)
    assert warning == f"{EMPTY} Previewing without a cluster."


def test_a_kubeconfig_without_contexts_says_so(root: Path) -> None:
    kubeconfig(root / "config", {})
    assert refused(Access(kubeconfig="config", context=""), root).endswith("(contexts in config: none).")


def test_an_unknown_context_is_refused_with_those_that_there_are(root: Path) -> None:
    kubeconfig(root / "config", {"kind-two": LOGIN, "kind-one": LOGIN})
    access = Access(kubeconfig="config", context="kind-on")
    text = "kubeContext is kind-on: config has no such context (there are: kind-one, kind-two)."
    assert refused(access, root) == text
    assert check_access(access, root, preview=True) == f"{text} Previewing without a cluster."


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize(
    "user",
    [None, {}, {"username": "me"}, {"token": ""}, {"client-key": "k"}, {"exec": None}],
    ids=["nothing", "empty", "name only", "empty token", "key only", "empty exec"],
)
def test_a_context_without_credentials_is_refused_in_both(user: Any, preview: bool, root: Path) -> None:
    kubeconfig(root / "config", {"one": user})
    assert refused(Access(kubeconfig="config", context="one"), root, preview=preview) == (
        "kubeContext is one: its user one-user in config has no credentials, and the provider would wait at a password "
        "prompt; add a client certificate, a token or an exec plugin to that user."
    )


def test_a_context_without_a_user_is_refused(root: Path) -> None:
    (root / "config").write_text("contexts: [{name: one, context: {cluster: c}}]", encoding="utf-8")
    assert "its user (none) in config has no credentials" in refused(Access(kubeconfig="config", context="one"), root)


@pytest.mark.parametrize(
    "user",
    [
        {"client-certificate": "a", "client-key": "b"},
        {"client-certificate-data": "YQ=="},
        {"token": "a"},
        {"tokenFile": "a"},
        {"exec": {"command": "login"}},
        {"auth-provider": {"name": "oidc"}},
        {"username": "me", "password": "secret"},
    ],
    ids=lambda user: next(reversed(user)),
)
def test_a_context_with_credentials_is_taken(user: dict[str, Any], root: Path, asked: list[str]) -> None:
    kubeconfig(root / "config", {"one": user})
    assert check_access(Access(kubeconfig="config", context="one"), root, preview=False) is None
    assert asked == ["/version"]


# --- the kubeconfig --------------------------------------------------------------------------------------------------


def test_a_missing_kubeconfig_is_refused(root: Path) -> None:
    access = Access(kubeconfig="none/config", context="one")
    text = "The kubeconfig none/config does not exist: set kubeconfig to the file that reaches your cluster."
    assert refused(access, root) == text
    assert check_access(access, root, preview=True) == f"{text} Previewing without a cluster."


def test_without_a_setting_the_home_folders_is_meant(root: Path) -> None:
    expected = root.parent / "home/.kube/config"
    assert f"The kubeconfig {expected} does not exist" in refused(Access(kubeconfig="", context="one"), root)
    kubeconfig(expected, {"one": LOGIN})
    assert check_access(Access(kubeconfig="", context="one"), root, preview=True) is None


def test_the_environment_comes_before_the_home_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig(root.parent / "home/.kube/config", {"one": LOGIN})
    monkeypatch.setenv("KUBECONFIG", str(root / "gone"))
    assert f"The kubeconfig {root / 'gone'} does not exist" in refused(Access(kubeconfig="", context="one"), root)


def test_the_setting_comes_before_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(root / "other", {"two": LOGIN})))
    kubeconfig(root / "config", {"one": LOGIN})
    assert "(there are: one)" in refused(Access(kubeconfig="config", context="two"), root)
    assert check_access(Access(kubeconfig="config", context="one"), root, preview=True) is None


def test_several_files_are_merged_and_the_first_that_names_something_wins(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfig(root / "first", {"one": {}, "two": LOGIN})
    second = kubeconfig(root / "second", {"one": LOGIN, "three": LOGIN})
    for files, refuses in ([first, second], True), ([second, first], False):
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", str(root / "gone"), *map(str, files)]))
        for name in ("two", "three"):
            assert check_access(Access(kubeconfig="", context=name), root, preview=True) is None
        access = Access(kubeconfig="", context="one")
        if refuses:
            assert "has no credentials" in refused(access, root, preview=True)
        else:
            assert check_access(access, root, preview=True) is None
    assert "(there are: one, three, two)" in refused(Access(kubeconfig="", context="four"), root)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"- a list",
        b"just text",
        b"\xff\xfe\x00binary",
        b"contexts: 5",
        b"contexts: [one]",
        b"contexts: [{context: {}}]",
        b"contexts: [{name: one, context: text}]",
        b"users: [{name: one, user: [a]}]",
        b"when: 2001-99-99",
    ],
)
@pytest.mark.parametrize("preview", [True, False])
def test_an_unreadable_kubeconfig_is_refused(content: bytes, preview: bool, root: Path) -> None:
    (root / "config").write_bytes(content)
    assert refused(Access(kubeconfig="config", context="one"), root, preview=preview) == (
        f"The kubeconfig {root / 'config'} cannot be read as one: fix it, or name another one."
    )


# --- the sandbox -----------------------------------------------------------------------------------------------------


def sandboxed(path: str = SANDBOX_KUBECONFIG) -> Access:
    return Access(kubeconfig=path, context="one", sandbox=True)


@pytest.mark.parametrize("server", ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"])
@pytest.mark.usefixtures("asked")
def test_a_sandbox_stack_takes_the_sandboxs_kubeconfig(server: str, root: Path) -> None:
    kubeconfig(root / SANDBOX_KUBECONFIG, {"one": LOGIN}, server)
    assert check_access(sandboxed(), root, preview=False) is None
    assert check_access(sandboxed(str(root / SANDBOX_KUBECONFIG)), root, preview=True) is None


@pytest.mark.usefixtures("asked")
def test_a_sandbox_stack_takes_the_kubeconfig_of_any_of_the_checkouts_sandboxes(root: Path) -> None:
    named = ".sandbox-second/kubeconfig"
    kubeconfig(root / named, {"one": LOGIN}, "https://127.0.0.1:6443")
    assert check_access(sandboxed(named), root, preview=False) is None
    kubeconfig(root / named, {"one": LOGIN}, "https://10.0.0.1:6443")
    assert refused(sandboxed(named), root).startswith(f"{named} names the server https://10.0.0.1:6443 while")


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize(("path", "shown"), [("config", "config"), ("~/.kube/config", "~/.kube/config"), ("", "empty")])
def test_a_sandbox_stack_takes_no_other(path: str, shown: str, preview: bool, root: Path) -> None:
    kubeconfig(root / "config", {"one": LOGIN})
    kubeconfig(root.parent / "home/.kube/config", {"one": LOGIN})
    kubeconfig(root / SANDBOX_KUBECONFIG, {"one": LOGIN})
    assert refused(sandboxed(path), root, preview=preview) == (
        f"kubeconfig is {shown} while sandbox is true: this stack takes only the kubeconfig that the sandbox wrote; set "
        "kubeconfig back to .sandbox/kubeconfig, or use another stack."
    )


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize(
    "server",
    [
        "https://10.0.0.1:6443",
        "https://prod.example:443",
        "https://127.0.0.1.prod.example",
        "https://127.0.0.1@prod.example",
        "https://[::1",
        "",
    ],
)
def test_a_sandbox_stack_takes_only_servers_on_this_machine(server: str, preview: bool, root: Path) -> None:
    kubeconfig(root / SANDBOX_KUBECONFIG, {"one": LOGIN}, server)
    assert refused(sandboxed(), root, preview=preview) == (
        f".sandbox/kubeconfig names the server {server} while sandbox is true: that is not the sandbox's; run "
        "`python -m sandbox down` and `make up`, or use another stack."
    )


def test_a_sandbox_that_is_down_is_told(root: Path) -> None:
    text = "The kubeconfig .sandbox/kubeconfig does not exist: run `make up`."
    assert refused(sandboxed(), root) == text
    assert check_access(sandboxed(), root, preview=True) == f"{text} Previewing without a cluster."


# --- the API server --------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[ApiServer, str]]:
    found = ApiServer()
    found.token = LOGIN["token"]
    with found.running() as url:
        yield found, url


@pytest.mark.parametrize(
    ("written", "setting"),
    [("config", "config"), ("../home/clusters/config", "~/clusters/config"), ("../home/.kube/config", "")],
)
def test_the_cluster_of_the_settings_is_asked_for_its_version(
    written: str, setting: str, root: Path, server: tuple[ApiServer, str]
) -> None:
    kubeconfig(root / written, {"one": LOGIN, "two": {"token": "another"}}, server[1])
    assert check_access(Access(kubeconfig=setting, context="one"), root, preview=False) is None
    assert [path for _, path, _, _ in server[0].requests] == ["/version"]


def test_the_home_folder_is_not_spelled_out_in_sentences(root: Path) -> None:
    access = Access(kubeconfig="~/clusters/config", context="one")
    assert refused(access, root).startswith("The kubeconfig ~/clusters/config does not exist")


def test_refused_credentials_are_told_from_a_dead_server(root: Path, server: tuple[ApiServer, str]) -> None:
    kubeconfig(root / "config", {"one": {"token": "another"}}, server[1])
    assert refused(Access(kubeconfig="config", context="one"), root) == (
        "The API server of context one refuses the credentials; log in again, or name another context in kubeContext."
    )


def test_a_login_that_fails_is_told(root: Path, server: tuple[ApiServer, str]) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login"}}
    kubeconfig(root / "config", {"one": user}, server[1])
    text = refused(Access(kubeconfig="config", context="one"), root)
    assert text.startswith("Context one gives no credentials: ")
    assert "no-such-login" in text
    assert text.endswith("; log in again, or name another context in kubeContext.")


def test_a_dead_api_server_is_refused_in_an_up(root: Path) -> None:
    kubeconfig(root / "config", {"one": LOGIN}, "https://127.0.0.1:1")
    assert refused(Access(kubeconfig="config", context="one"), root) == (
        "The API server of context one does not answer: Connection refused; start that cluster, or name another context "
        "in kubeContext."
    )


def test_an_api_server_is_not_looked_at_in_a_preview(root: Path, server: tuple[ApiServer, str]) -> None:
    kubeconfig(root / "config", {"one": LOGIN}, server[1])
    assert check_access(Access(kubeconfig="config", context="one"), root, preview=True) is None
    assert server[0].requests == []


def test_something_else_that_answers_is_refused(root: Path, server: tuple[ApiServer, str]) -> None:
    server[0].troubles = ["page"]
    kubeconfig(root / "config", {"one": LOGIN}, server[1])
    assert refused(Access(kubeconfig="config", context="one"), root) == (
        "/version is answered by something that is no Kubernetes API server; log in again, or name another context in "
        "kubeContext."
    )


@pytest.mark.parametrize(
    ("path", "expected"), [("", ["--context", "one"]), ("a b", ["--kubeconfig", "a b", "--context", "one"])]
)
def test_the_options_name_the_cluster(path: str, expected: list[str]) -> None:
    assert Access(kubeconfig=path, context="one").arguments() == expected


# --- content, and the service account --------------------------------------------------------------------------------


def content(root: Path, contexts: dict[str, Any]) -> str:
    return kubeconfig(root / "of-nobody", contexts).read_text()


def test_content_is_a_kubeconfig_like_a_file(root: Path, asked: list[str]) -> None:
    given = content(root, {"kind-one": {"token": "secret-token"}, "bare": {}})
    access = Access(kubeconfig=given, context="kind-one")
    assert check_access(access, root, preview=False) is None
    assert asked == ["/version"]
    assert "secret-token" not in repr(access)
    assert access.kubectl() == ["kubectl", "--context", "kind-one"]
    there = "(there are: bare, kind-one)"
    other = Access(kubeconfig=given, context="kind-two")
    assert (
        refused(other, root) == f"kubeContext is kind-two: the kubeconfig in the settings has no such context {there}."
    )
    assert "its user bare-user in the kubeconfig in the settings has no credentials" in refused(
        Access(kubeconfig=given, context="bare"), root
    )


@pytest.mark.parametrize("given", ["a: secret-token\n", "{", "clusters: []\nusers: secret-token\ncontexts: [a]\n"])
@pytest.mark.parametrize("preview", [True, False])
def test_content_that_is_none_is_told_without_it(given: str, preview: bool, root: Path) -> None:
    said = refused(Access(kubeconfig=given, context="kind"), root, preview=preview)
    assert said.startswith("The kubeconfig in the settings ")
    assert "secret-token" not in said


def test_the_sandbox_takes_no_content(root: Path) -> None:
    access = Access(kubeconfig=content(root, {"kind": {"token": "secret-token"}}), context="kind", sandbox=True)
    said = refused(access, root)
    assert said.startswith("kubeconfig is in the settings while sandbox is true")
    assert "secret-token" not in said


def test_outside_a_pod_there_is_no_service_account(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "this is no pod with a service account" in refused(
        Access(kubeconfig="in-cluster", context="in-cluster"), root
    )
