"""The client of the API server, against one that has every trouble that a real one can have."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml
from fakes.api_server import ApiServer, write_kubeconfig
from fakes.server import FakeServer, Reply, Request

from kube import Cluster, ClusterError, Object, connection, errors
from kube import cluster as cluster_module

PLUGIN = {"apiVersion": "configuration.konghq.com/v1", "kind": "KongPlugin", "plugin": "rate-limiting"}


def pod(name: str, **status: Any) -> Object:
    metadata = {"name": name, "namespace": "one", "labels": {"app": name[:1]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def plugin(name: str, **fields: Any) -> Object:
    return {**PLUGIN, "metadata": {"name": name, "namespace": "one"}, **fields}


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def url(server: ApiServer) -> Iterator[str]:
    with server.running() as found:
        yield found


@pytest.fixture
def cluster(url: str, tmp_path: Path) -> Cluster:
    return Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": url})), "fake")


def refused(question: Callable[[], object]) -> ClusterError:
    """Return the error of a question: a sentence on one line, without the secret."""
    with pytest.raises(ClusterError) as caught:
        question()
    text = str(caught.value)
    assert "\n" not in text
    assert "secret-token" not in text
    assert "0x" not in text
    return caught.value


def test_importing_it_does_not_import_the_library_behind_it() -> None:
    code = "import sys, kube; print([name for name in sys.modules if name.split('.')[0] in ('kubernetes', 'urllib3')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# --- objects ---------------------------------------------------------------------------------------------------------


def test_an_object_is_there_or_not(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    found = cluster.get("pod", "a", "one")
    assert found
    assert found["metadata"]["labels"] == {"app": "a"}
    assert cluster.get("pod", "b", "one") is None
    assert cluster.get("pod", "a", "two") is None
    assert cluster.get("unheardof", "a") is None


@pytest.mark.parametrize(
    "name",
    [
        "kongplugins.configuration.konghq.com",
        "kongplugins",
        "kongplugin",
        "KongPlugin",
        "kp",
        "kp.configuration.konghq.com",
    ],
)
def test_a_kind_has_the_names_that_kubectl_takes(name: str, server: ApiServer, cluster: Cluster) -> None:
    server.put("kongplugins", plugin("limit"))
    assert cluster.get(name, "limit", "one")
    assert cluster.has(name)


def test_the_core_group_wins_where_a_name_has_two(server: ApiServer, cluster: Cluster) -> None:
    cluster.list("events")
    cluster.list("events.events.k8s.io", "one")
    paths = [path for _, path, _, _ in server.requests if path.endswith("events")]
    assert paths == ["/api/v1/events", "/apis/events.k8s.io/v1/namespaces/one/events"]


def test_a_list_is_of_one_namespace_or_of_all(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    server.put("pods", {"metadata": {"name": "b", "namespace": "two", "labels": {"app": "b"}}})
    names = [[item["metadata"]["name"] for item in cluster.list("pods", where)] for where in (None, "one", "three")]
    assert names == [["a", "b"], ["a"], []]
    assert [item["metadata"]["name"] for item in cluster.list("pods", labels="app=b")] == ["b"]
    assert [item["metadata"]["name"] for item in cluster.list("pods", fields="metadata.name=a")] == ["a"]
    assert cluster.list("unheardof") == []


def test_what_is_listed_says_what_it_is(server: ApiServer, cluster: Cluster) -> None:
    server.put("kongplugins", plugin("limit"))
    (found,) = cluster.list("kongplugins")
    assert (found["apiVersion"], found["kind"]) == ("configuration.konghq.com/v1", "KongPlugin")


def test_a_long_list_comes_in_pages(server: ApiServer, cluster: Cluster) -> None:
    for number in range(1201):
        server.put("pods", pod(f"p{number:04}"))
    assert len({item["metadata"]["name"] for item in cluster.list("pods")}) == 1201
    assert len([path for _, path, _, _ in server.requests if path == "/api/v1/pods"]) == 3


def test_a_long_list_that_grows_too_old_is_asked_for_again(server: ApiServer, cluster: Cluster) -> None:
    for number in range(600):
        server.put("pods", pod(f"p{number:04}"))
    cluster.has("pods")
    server.troubles = [0, 410]
    assert len(cluster.list("pods")) == 600


def test_an_object_is_created_applied_changed_and_deleted(server: ApiServer, cluster: Cluster) -> None:
    assert cluster.create(plugin("limit"))["metadata"]["uid"]
    assert "already exists" in str(refused(lambda: cluster.create(plugin("limit"))))
    cluster.patch("kongplugins", "limit", "one", {"config": {"minute": 5}})
    cluster.apply(plugin("limit", disabled=True), manager="me", force=True)
    found = cluster.get("kongplugins", "limit", "one")
    assert found
    assert (found["config"], found["disabled"]) == ({"minute": 5}, True)
    applied = next(query for method, _, query, body in server.requests if method == "PATCH" and "disabled" in body)
    assert applied == {"fieldManager": "me", "force": "true"}
    assert cluster.delete("kongplugins", "limit", "one")
    assert cluster.get("kongplugins", "limit", "one") is None
    assert cluster.delete("kongplugins", "limit", "one")
    assert cluster.delete("unheardof", "limit", "one")


def test_a_dry_run_changes_nothing(server: ApiServer, cluster: Cluster) -> None:
    assert cluster.create(plugin("limit"), dry_run=True)["plugin"] == "rate-limiting"
    assert cluster.apply(plugin("limit"), manager="me", dry_run=True)["plugin"] == "rate-limiting"
    assert server.objects == {}


def test_what_has_no_namespace_is_created_in_none(server: ApiServer, cluster: Cluster) -> None:
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one"}})
    assert ("namespaces", "", "one") in server.objects
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}}
    assert cluster.create(review)["status"] == {"allowed": True}


def test_a_kind_that_the_cluster_lacks_is_named(cluster: Cluster) -> None:
    error = refused(lambda: cluster.create({**plugin("a"), "kind": "Nothing"}))
    assert str(error) == "The cluster has no Nothing of configuration.konghq.com/v1."
    assert error.code == 404
    assert str(refused(lambda: cluster.patch("nothings", "a", "one", {}))) == "The cluster has no nothings."


def test_a_kind_that_comes_later_is_found(server: ApiServer, cluster: Cluster) -> None:
    kinds = server.kinds.pop("configuration.konghq.com/v1")
    assert not cluster.has("kongplugins")
    server.kinds["configuration.konghq.com/v1"] = kinds
    assert cluster.create(plugin("limit"))


def test_a_kind_that_goes_is_no_more(server: ApiServer, cluster: Cluster) -> None:
    server.put("kongplugins", plugin("limit"))
    assert cluster.list("kongplugins")
    del server.kinds["configuration.konghq.com/v1"]
    assert cluster.list("kongplugins") == []
    assert cluster.get("kongplugins", "limit", "one") is None
    assert list(cluster.follow("kongplugins", "limit", "one", 0)) == [None]


def test_a_token_is_made_for_an_account(cluster: Cluster) -> None:
    assert cluster.create_token("kiali", "one") == "token-of-kiali"


def test_paths_are_answered_as_they_are(server: ApiServer, cluster: Cluster) -> None:
    assert cluster.raw("/version")["gitVersion"] == "v1.37.2"
    assert cluster.is_ready()
    server.troubles = [500]
    assert not cluster.is_ready()


def test_several_threads_ask_at_once(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: cluster.get("pods", "a", "one"), range(40)))
    assert len([path for _, path, _, _ in server.requests if path == "/apis"]) == 1


# --- the kubeconfig --------------------------------------------------------------------------------------------------


def test_several_files_are_merged(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_kubeconfig(tmp_path / "first", {"one": "http://127.0.0.1:1"})
    second = write_kubeconfig(tmp_path / "second", {"one": url, "two": url})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'gone'}:{second}")
    assert Cluster("", "two").raw("/version")
    assert refused(lambda: Cluster("", "one").raw("/version")).passing


def test_the_home_folder_is_where_the_kubeconfig_is(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    path = write_kubeconfig(tmp_path / ".kube" / "config", {"fake": url})
    assert Cluster("", "fake").raw("/version")
    path.rename(tmp_path / "other")
    assert Cluster("~/other", "fake").raw("/version")


def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", {"fake": "http://127.0.0.1:1"})
    assert (
        str(refused(lambda: Cluster(str(path), "kind").raw("/version")))
        == f"The kubeconfig {path} has no context kind."
    )


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert str(refused(lambda: Cluster(str(path), "kind").raw("/version"))) == f"The kubeconfig {path} does not exist."


@pytest.mark.parametrize("text", ["{secret-token", "secret-token", "- a", "\0", "contexts: 5", "users: [secret-token]"])
def test_a_kubeconfig_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    assert f"The kubeconfig {path} " in str(refused(lambda: Cluster(str(path), "kind").raw("/version")))


def test_a_context_without_its_cluster_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("contexts: [{name: one, context: {cluster: gone}}]")
    text = str(refused(lambda: Cluster(str(path), "one").raw("/version")))
    assert text.startswith(f"The kubeconfig {path} does not lead to a cluster: ")
    assert "gone" in text


# --- logging in ------------------------------------------------------------------------------------------------------


def test_a_token_logs_in(server: ApiServer, cluster: Cluster) -> None:
    server.token = "secret-token"
    assert cluster.raw("/version")


def test_a_user_and_a_password_log_in(server: ApiServer, url: str, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", {"fake": url}, {"username": "me", "password": "secret-token"})
    server.token = "other"
    assert refused(lambda: Cluster(str(path), "fake").raw("/version")).code == 401


def test_refused_credentials_are_told(server: ApiServer, cluster: Cluster) -> None:
    server.token = "other"
    error = refused(lambda: cluster.raw("/version"))
    assert str(error) == "The API server of context fake refuses the credentials."
    assert (error.code, error.passing) == (401, False)


def test_a_token_file_is_read_again_where_the_token_ran_out(server: ApiServer, url: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    server.token = "first"
    cluster = Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": url}, {"tokenFile": str(token)})), "fake")
    assert cluster.raw("/version")
    token.write_text("second")
    server.token = "second"
    assert cluster.raw("/version")


def plugin_user(folder: Path, script: str) -> Object:
    program = folder / "login"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}
    }


def test_a_plugin_logs_in_and_again_where_the_token_ran_out(server: ApiServer, url: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    answer = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}'
    user = plugin_user(tmp_path, f"printf '{answer}' $(cat {tmp_path / 'token'})")
    cluster = Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": url}, user)), "fake")
    for token in ("first", "second"):
        (tmp_path / "token").write_text(token)
        server.token = token
        assert cluster.raw("/version")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'run: login again' >&2; exit 3", "run: login again"),
        ("echo secret-token", "failed to decode process output"),
        ("echo '{}'", "malformed response"),
    ],
)
def test_a_plugin_that_fails_is_told(
    script: str, told: str, url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": url}, plugin_user(tmp_path, script))), "fake")
    text = str(refused(lambda: cluster.raw("/version")))
    assert text.startswith("Context fake gives no credentials: ")
    assert told in text
    assert capfd.readouterr() == ("", "")


# --- the connection --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
def test_no_proxy_is_asked_for_a_server_on_this_machine(
    name: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert cluster.raw("/version")


def test_the_proxy_of_the_kubeconfig_is_used(url: str, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", {"fake": "http://cluster.invalid"}, proxy_url=url)
    assert Cluster(str(path), "fake").raw("/version")


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": f"http://127.0.0.1:{port}"})), "fake")
    error = refused(lambda: cluster.raw("/version"))
    assert str(error) == "The API server of context fake does not answer: Connection refused."
    assert error.passing
    assert not cluster.is_ready()


def test_a_name_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    cluster = Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": "http://cluster.invalid"})), "fake")
    assert "does not answer: " in str(refused(lambda: cluster.raw("/version")))


@pytest.mark.parametrize(
    ("trouble", "told", "code", "passing"),
    [
        (403, "trouble 403", 403, False),
        (500, "trouble 500", 500, True),
        (503, "trouble 503", 503, True),
        ("bad gateway", "The API server of context fake answers 502 to GET /version.", 502, True),
        ("page", "/version is answered by something that is no Kubernetes API server.", None, False),
        ("cut", "The API server of context fake does not answer: Connection reset by peer.", None, True),
    ],
)
def test_troubles_are_told(
    trouble: int | str, told: str, code: int | None, passing: bool, server: ApiServer, cluster: Cluster
) -> None:
    server.troubles = [trouble]
    error = refused(lambda: cluster.raw("/version"))
    assert (str(error), error.code, error.passing) == (told, code, passing)


@pytest.mark.parametrize(
    "reply", [Reply(200, "{}"), Reply(200, "[]"), Reply(200, "5"), Reply(302, "", {"Location": "/"})]
)
def test_a_server_of_another_kind_is_told(reply: Reply, tmp_path: Path) -> None:
    class Stranger(FakeServer):
        def answer(self, _: Request) -> Reply:
            return reply

    with Stranger().running() as url:
        cluster = Cluster(str(write_kubeconfig(tmp_path / "config", {"fake": url})), "fake")
        text = "/api is answered by something that is no Kubernetes API server."
        assert str(refused(lambda: cluster.list("pods"))) == text


# --- waiting ---------------------------------------------------------------------------------------------------------


def is_running(item: Object) -> bool:
    return bool(item["status"].get("phase") == "Running")


@contextmanager
def meanwhile(server: ApiServer, *steps: Callable[[], object]) -> Iterator[None]:
    """Do things one after another, each when the client watches."""

    def work() -> None:
        for step in steps:
            while not server.watching():
                time.sleep(0.005)
            step()
            time.sleep(0.05)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join()


def wait(cluster: Cluster, seconds: float = 10) -> Object | None:
    return cluster.wait_until("pods", "a", "one", is_running, seconds)


def run(server: ApiServer) -> Callable[[], object]:
    return lambda: server.put("pods", pod("a", phase="Running"))


def test_what_is_so_already_is_not_waited_for(server: ApiServer, cluster: Cluster) -> None:
    run(server)()
    assert wait(cluster, 0)


def test_an_object_is_waited_for_from_before_it_is_there(server: ApiServer, cluster: Cluster) -> None:
    steps = [lambda: server.put("pods", pod("b", phase="Running")), lambda: server.put("pods", pod("a")), run(server)]
    with meanwhile(server, *steps):
        found = wait(cluster)
    assert found
    assert (found["metadata"]["name"], found["apiVersion"], found["kind"]) == ("a", "v1", "Pod")


def test_a_change_is_noticed_at_once(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    changed: list[float] = []

    def change() -> None:
        time.sleep(0.3)
        changed.append(time.monotonic())
        run(server)()

    with meanwhile(server, change):
        assert wait(cluster)
        noticed = time.monotonic()
    assert noticed - changed[0] < 0.1
    assert len(server.requests) == 4, "two of discovery, a list, a watch"


def test_a_wait_ends_when_time_is_up(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    started = time.monotonic()
    assert wait(cluster, 0.7) is None
    assert 0.7 <= time.monotonic() - started < 2


def test_a_wait_sees_what_goes_and_comes(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    seen = []
    with meanwhile(server, lambda: server.remove("pods", "a", "one"), run(server)):
        for found in cluster.follow("pods", "a", "one", 10):
            seen.append(found and found["status"])
            if found and is_running(found):
                break
    assert seen == [{}, None, {"phase": "Running"}]


def test_a_wait_survives_an_expired_watch(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    with meanwhile(server, server.expire, run(server)):
        assert wait(cluster)


def test_a_wait_survives_a_watch_that_is_cut(server: ApiServer, cluster: Cluster) -> None:
    server.put("pods", pod("a"))
    with meanwhile(server, server.hang_up, run(server)):
        assert wait(cluster)


@pytest.mark.parametrize("troubles", [[500, 503, 429], ["cut", "cut"], ["bad gateway"], ["slow 0.5"], [0, "slow 0.5"]])
def test_a_wait_survives_troubles_that_pass(troubles: list[int | str], server: ApiServer, cluster: Cluster) -> None:
    cluster.has("pods")
    server.put("pods", pod("a"))
    server.troubles = troubles
    with meanwhile(server, run(server)):
        assert wait(cluster, 20)
    assert server.troubles == []


def test_a_wait_survives_an_answer_that_does_not_come(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.3)
    run(server)()
    cluster.has("pods")
    server.troubles = ["slow 5"]
    started = time.monotonic()
    assert wait(cluster, 20)
    assert time.monotonic() - started < 3


def test_a_wait_for_a_kind_that_is_not_there_yet(server: ApiServer, cluster: Cluster) -> None:
    kinds = server.kinds.pop("configuration.konghq.com/v1")
    threading.Timer(0.3, lambda: server.kinds.update({"configuration.konghq.com/v1": kinds})).start()
    server.put("kongplugins", plugin("limit"))
    assert cluster.wait_until("kongplugins", "limit", "one", lambda _: True, 10)


def test_a_wait_ends_with_a_failure_that_lasts(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_LASTING_SECONDS", 1.0)
    cluster.has("pods")
    server.troubles = [503] * 100
    started = time.monotonic()
    assert str(refused(lambda: wait(cluster, 60))) == "trouble 503"
    assert 1 <= time.monotonic() - started < 5


def test_a_wait_that_ends_without_an_answer_says_why(server: ApiServer, cluster: Cluster) -> None:
    cluster.has("pods")
    server.troubles = [503] * 100
    assert str(refused(lambda: wait(cluster, 1))) == "trouble 503"


@pytest.mark.parametrize("trouble", [403, "page"])
def test_a_wait_ends_with_what_will_not_pass(trouble: int | str, server: ApiServer, cluster: Cluster) -> None:
    cluster.has("pods")
    server.troubles = [trouble]
    started = time.monotonic()
    refused(lambda: wait(cluster, 60))
    assert time.monotonic() - started < 2


def test_a_deletion_is_waited_for(server: ApiServer, cluster: Cluster) -> None:
    held = pod("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    server.put("pods", held)
    assert cluster.delete("pods", "a", "one")
    found = cluster.get("pods", "a", "one")
    assert found
    assert found["metadata"]["deletionTimestamp"]
    assert not cluster.delete("pods", "a", "one", seconds=0.3)
    with meanwhile(server, lambda: server.remove("pods", "a", "one")):
        assert cluster.delete("pods", "a", "one", seconds=10)


def test_what_is_made_anew_is_not_what_was_deleted(server: ApiServer, cluster: Cluster) -> None:
    held = pod("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    server.put("pods", held)
    steps = [lambda: server.remove("pods", "a", "one"), run(server)]
    with meanwhile(server, lambda: [step() for step in steps]):
        assert cluster.delete("pods", "a", "one", seconds=10)
    assert cluster.get("pods", "a", "one")


# --- port-forwards ---------------------------------------------------------------------------------------------------


class Web(FakeServer):
    """What runs in a pod."""

    def answer(self, request: Request) -> Reply:
        return Reply(200, f"{request.path}\n" * int(request.query.get("lines", 1)))


@pytest.fixture
def web(server: ApiServer) -> Iterator[Web]:
    """Have a web server in the pod web-1, behind a Service and a Deployment."""
    found = Web()
    with found.running() as url:
        server.ports["web-1", 8080] = int(url.rpartition(":")[2])
        labels = {"app": "web"}
        container = {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}
        for name, ready in (("web-0", "False"), ("web-1", "True")):
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
            metadata = {"name": name, "namespace": "one", "labels": labels}
            server.put(
                "pods", {"kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}, "status": status}
            )
        metadata = {"name": "web", "namespace": "one"}
        ports = [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8080}, {"port": 8080}]
        server.put("services", {"kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}})
        spec = {"selector": {"matchLabels": labels}}
        server.put("deployments", {"kind": "Deployment", "metadata": metadata, "spec": spec})
        yield found


def fetch(url: str, path: str) -> str:
    with build_opener(ProxyHandler({})).open(url + path, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(
    ("resource", "port"),
    [("service/web", 80), ("service/web", 81), ("service/web", 8080), ("deployment/web", 8080), ("pod/web-1", 8080)],
)
@pytest.mark.usefixtures("web")
def test_a_port_is_forwarded(resource: str, port: int, cluster: Cluster) -> None:
    with cluster.port_forward("one", resource, port) as url:
        assert url.startswith("http://127.0.0.1:")
        assert fetch(url, "/hello") == "/hello\n"
        assert fetch(url, "/again") == "/again\n"


@pytest.mark.usefixtures("web")
def test_many_connections_are_forwarded_at_once(cluster: Cluster) -> None:
    with cluster.port_forward("one", "service/web", 80) as url, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: fetch(url, f"/{number}?lines=50000"), range(16)))
    assert answers == [f"/{number}\n" * 50000 for number in range(16)]


@pytest.mark.usefixtures("web")
def test_a_forward_survives_a_refused_connection(server: ApiServer, cluster: Cluster) -> None:
    there = server.ports.pop(("web-1", 8080))
    with cluster.port_forward("one", "service/web", 80) as url:
        with pytest.raises(OSError, match=r"reset|closed|refused"):
            fetch(url, "/")
        server.ports["web-1", 8080] = there
        assert fetch(url, "/") == "/\n"


@pytest.mark.usefixtures("web")
def test_a_forward_goes_on_to_another_pod(server: ApiServer, cluster: Cluster) -> None:
    with cluster.port_forward("one", "service/web", 80) as url:
        assert fetch(url, "/") == "/\n"
        server.remove("pods", "web-1", "one")
        server.ports["web-0", 8080] = server.ports["web-1", 8080]
        assert fetch(url, "/") == "/\n"


@pytest.mark.usefixtures("web")
def test_a_forward_ends_with_its_block(cluster: Cluster) -> None:
    with cluster.port_forward("one", "service/web", 80) as url:
        port = int(url.rpartition(":")[2])
        idle = socket.create_connection(("127.0.0.1", port))
        fetch(url, "/")
    idle.settimeout(5)
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.usefixtures("web")
def test_a_forward_takes_the_port_that_it_is_told(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with cluster.port_forward("one", "service/web", 80, local_port=port) as url:
        assert url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("resource", "port", "told"),
    [
        ("service/none", 80, "There is no service/none in one."),
        ("service/web", 82, "The Service web has no port 82."),
        ("service/odd", 80, "No container of service/odd's pod web-1 has a port named metrics."),
        ("deployment/idle", 80, "No pod of deployment/idle in one runs."),
    ],
)
@pytest.mark.usefixtures("web")
def test_a_forward_to_nothing_is_refused(
    resource: str, port: int, told: str, server: ApiServer, cluster: Cluster
) -> None:
    spec: Object = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "metrics"}]}
    server.put("services", {"kind": "Service", "metadata": {"name": "odd", "namespace": "one"}, "spec": spec})
    spec = {"selector": {"matchLabels": {"app": "idle"}}}
    server.put("deployments", {"kind": "Deployment", "metadata": {"name": "idle", "namespace": "one"}, "spec": spec})
    forward = cluster.port_forward("one", resource, port)
    assert str(refused(forward.__enter__)) == told


@pytest.mark.parametrize(("trouble", "code"), [(403, 403), (404, 404), ("bad gateway", 502), ("cut", None)])
@pytest.mark.usefixtures("web")
def test_a_forward_that_is_refused_is_told(
    trouble: int | str, code: int | None, server: ApiServer, cluster: Cluster
) -> None:
    cluster.has("pods")
    server.troubles = [0, trouble]
    error = refused(cluster.port_forward("one", "pod/web-1", 8080).__enter__)
    assert error.code == code


# --- a real API server -----------------------------------------------------------------------------------------------


@pytest.fixture
def real(sandbox: Any) -> Iterator[Cluster]:
    """Give the sandbox's cluster with a namespace to work in."""
    path = sandbox.paths.kubeconfig
    cluster = Cluster(str(path), yaml.safe_load(path.read_text())["current-context"])
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-client"}})
    yield cluster
    assert cluster.delete("namespaces", "kube-client", seconds=60)


def settings(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-client"},
        "data": data,
    }


@pytest.mark.sandbox
def test_a_real_server_is_asked(real: Cluster) -> None:
    assert real.raw("/version")["gitVersion"].startswith("v1.")
    assert real.is_ready()
    assert [real.has(kind) for kind in ("deploy", "ing", "crds", "nodes", "unheardof")] == [True] * 4 + [False]
    assert real.list("nodes")[0]["kind"] == "Node"
    attributes = {"verb": "create", "resource": "namespaces"}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    assert real.create({**review, "spec": {"resourceAttributes": attributes}})["status"]["allowed"]


@pytest.mark.sandbox
def test_a_real_server_keeps_who_applied_what(real: Cluster) -> None:
    assert real.apply(settings("one", colour="red"), manager="first", dry_run=True)["data"] == {"colour": "red"}
    assert real.get("configmaps", "one", "kube-client") is None
    real.apply(settings("one", colour="red"), manager="first")
    error = refused(lambda: real.apply(settings("one", colour="blue"), manager="second"))
    assert (error.code, str(error)) == (409, 'Apply failed with 1 conflict: conflict with "first": .data.colour')
    assert real.apply(settings("one", colour="blue"), manager="second", force=True)["data"] == {"colour": "blue"}
    assert real.patch("configmaps", "one", "kube-client", {"data": {"colour": None}}).get("data") is None
    assert refused(lambda: real.create(settings("Not A Name"))).code == 422


@pytest.mark.sandbox
def test_a_real_server_lists_in_pages(real: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_PAGE", 2)
    for number in range(5):
        real.create(settings(f"page-{number}"))
    found = [item["metadata"]["name"] for item in real.list("configmaps", "kube-client")]
    assert set(found) >= {f"page-{number}" for number in range(5)}
    assert len(found) == len(set(found))


@pytest.mark.sandbox
def test_a_real_deployment_is_waited_for(real: Cluster) -> None:
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": "registry.invalid/web"}]},
    }
    metadata = {"name": "web", "namespace": "kube-client"}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    real.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})

    def is_available(found: Object) -> bool:
        return bool((found.get("status") or {}).get("availableReplicas"))

    assert real.wait_until("deployments", "web", "kube-client", is_available, 60)
    # Its node is simulated: nothing there could forward a port.
    error = refused(real.port_forward("kube-client", "deployment/web", 80).__enter__)
    assert error.code == 500
    assert "dialing backend" in str(error)
    assert real.delete("deployments", "web", "kube-client", seconds=60)


@pytest.mark.sandbox
def test_a_real_kind_is_known_as_soon_as_it_is_served(real: Cluster) -> None:
    names = {"plural": "teapots", "singular": "teapot", "kind": "Teapot", "shortNames": ["tp"]}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "kube-client.example.com", "names": names, "scope": "Namespaced", "versions": versions}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    name = "teapots.kube-client.example.com"
    assert not real.has(name)
    real.create({**definition, "metadata": {"name": name}, "spec": spec})
    try:
        pot = {"apiVersion": "kube-client.example.com/v1", "kind": "Teapot"}
        deadline = time.monotonic() + 20
        while not real.has("tp") and time.monotonic() < deadline:
            time.sleep(0.05)
        real.create({**pot, "metadata": {"name": "short", "namespace": "kube-client"}})
        assert [item["kind"] for item in real.list("tp")] == ["Teapot"]
    finally:
        assert real.delete("crds", name, seconds=60)
    assert real.list(name) == []


@pytest.mark.sandbox
def test_a_real_server_refuses_strangers(real: Cluster, sandbox: Any, tmp_path: Path) -> None:
    (described,) = yaml.safe_load(sandbox.paths.kubeconfig.read_text())["clusters"]
    server, trusted = described["cluster"]["server"], described["cluster"]["certificate-authority"]

    def reached(user: Object, **cluster: Any) -> Cluster:
        return Cluster(str(write_kubeconfig(tmp_path / "config", {"one": server}, user, **cluster)), "one")

    assert real.wait_until("serviceaccounts", "default", "kube-client", lambda _: True, 30)
    token = real.create_token("default", "kube-client")
    nobody = reached({"token": token}, certificate_authority=trusted)
    error = refused(lambda: nobody.list("secrets", "kube-client"))
    assert error.code == 403
    assert "system:serviceaccount:kube-client:default" in str(error)
    assert refused(lambda: reached({"token": "secret-token"}, certificate_authority=trusted).list("pods")).code == 401
    untrusted = refused(lambda: reached({"token": token}).list("pods"))
    assert "certificate verify failed" in str(untrusted)
    assert not untrusted.passing
    assert reached({"token": token}, insecure_skip_tls_verify=True).has("pods")
    options = {"certificate_authority": trusted, "tls_server_name": "kubernetes.default"}
    assert reached({"token": token}, **options).has("pods")
    options["tls_server_name"] = "another.example"
    assert "another.example" in str(refused(lambda: reached({"token": token}, **options).has("pods")))
