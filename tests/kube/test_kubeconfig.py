"""A kubeconfig's content, and the service account of a pod, in place of a path."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.api_server import ApiServer, write_kubeconfig

from kube import Cluster, ClusterError, connection, kubeconfig
from names import IN_CLUSTER, is_kubeconfig, is_kubeconfig_path


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def url(server: ApiServer) -> Iterator[str]:
    with server.running() as found:
        yield found


@pytest.fixture
def content(url: str, tmp_path: Path) -> str:
    return write_kubeconfig(tmp_path / "config", {"fake": url}).read_text()


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand for a pod: return the folder of its service account."""
    for name, text in {"token": "secret-token", "ca.crt": ""}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(kubeconfig, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    return tmp_path


def refused(given: str, context: str = "fake") -> str:
    with pytest.raises(ClusterError) as caught:
        Cluster(given, context).raw("/version")
    text = str(caught.value)
    assert "\n" not in text
    assert "secret-token" not in text
    return text


@pytest.mark.parametrize("form", [str, lambda text: json.dumps(yaml.safe_load(text))])
def test_the_content_logs_in_as_the_file_does(form: Any, server: ApiServer, content: str) -> None:
    server.token = "secret-token"
    given = form(content)
    assert (is_kubeconfig(given), is_kubeconfig_path(given)) == (True, False)
    assert Cluster(given, "fake").raw("/version")
    server.token = "another"
    assert refused(given) == "The API server of context fake refuses the credentials."


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("token: secret-token\nclusters", "The kubeconfig in the settings has no clusters, so it is none: store what"),
        ("{secret-token", "The kubeconfig in the settings has no clusters, so it is none: store what"),
        ("clusters: []\ncontexts: []\nusers: []\n", "The kubeconfig in the settings has no context fake."),
        ("- secret-token\n- a\n", "The kubeconfig in the settings has no clusters"),
        (
            "clusters: [1]\ncontexts: [{name: fake, context: {cluster: a, user: b}}]\nusers: []\n",
            "The kubeconfig in the",
        ),
    ],
)
def test_content_that_is_none_is_told_without_it(given: str, text: str) -> None:
    assert refused(given).startswith(text)


def test_a_pods_service_account_is_a_kubeconfig_without_a_secret(pod: Path) -> None:
    made = kubeconfig.content(IN_CLUSTER)
    assert "secret-token" not in made
    assert yaml.safe_load(made)["clusters"][0]["cluster"] == {
        "server": "https://[fd00::1]:6443",
        "certificate-authority": os.fspath(pod / "ca.crt"),
    }
    client = connection._connect(IN_CLUSTER, IN_CLUSTER)
    assert client.configuration.host == "https://[fd00::1]:6443"
    assert connection._credentials(client) == {"authorization": "Bearer secret-token"}


@pytest.mark.usefixtures("pod")
def test_outside_a_pod_there_is_no_service_account(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    told = "kubeconfig is in-cluster, and this is no pod with a service account (KUBERNETES_SERVICE_HOST, "
    assert refused(IN_CLUSTER, IN_CLUSTER).startswith(told)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    (pod / "token").unlink()
    assert refused(IN_CLUSTER, IN_CLUSTER).startswith(told)


def test_a_plugin_without_end_is_given_up(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LOGIN_SECONDS", 0.2)
    program = tmp_path / "login"
    program.write_text("#!/bin/sh\nexec sleep 3\n")
    program.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}
    given = str(write_kubeconfig(tmp_path / "config", {"fake": url}, user))
    started = time.monotonic()
    assert refused(given).startswith("The login of context fake has no end after 0 s: its exec plugin waits")
    assert time.monotonic() - started < 2
