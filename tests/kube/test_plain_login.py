"""Kubeconfigs that are read without the Kubernetes project's client: it is asked neither, nor for what it would say."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fakes.api_server import ApiServer, write_kubeconfig
from fakes.server import certified, serving

from kube import Cluster, ClusterError, connection, plain_login

TOKEN = {"token": "secret-token"}


class Named(BaseHTTPRequestHandler):
    """Tells whom a client certificate names."""

    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        subject: Any = (self.connection.getpeercert() or {})["subject"]
        body = b'{"gitVersion": "%s"}' % subject[0][0][1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the client was asked")

    monkeypatch.setattr(connection, "_connect", asked)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve over TLS to whoever has a certificate of the authority."""
    tls, authority = certified(tmp_path)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority)
    with serving(Named, tls) as found:
        yield found


@pytest.mark.usefixtures("no_client")
def test_a_token_is_shown(tmp_path: Path) -> None:
    server = ApiServer()
    server.token = "secret-token"
    with server.running() as url:
        config = write_kubeconfig(tmp_path / "config", {"one": url})
        assert Cluster(str(config), "one").raw("/version")


@pytest.mark.usefixtures("no_client")
@pytest.mark.parametrize("form", ["files", "relative", "data"])
def test_a_client_certificate_is_shown(form: str, url: str, tmp_path: Path) -> None:
    names = {"client-certificate": "server.pem", "client-key": "server.key", "certificate-authority": "ca.pem"}
    if form == "data":
        fields = {f"{key}-data": b64encode((tmp_path / name).read_bytes()).decode() for key, name in names.items()}
    else:
        fields = {key: name if form == "relative" else os.fspath(tmp_path / name) for key, name in names.items()}
    trusted = {key.replace("-", "_"): fields.pop(key) for key in list(fields) if key.startswith("certificate")}
    config = write_kubeconfig(tmp_path / "config", {"one": url}, fields, **trusted)
    assert Cluster(str(config), "one").raw("/version") == {"gitVersion": "127.0.0.1"}
    if form == "data":
        assert Cluster(config.read_text(), "one").raw("/version"), "nor does a content need one"


def test_whom_nobody_trusts_is_told(url: str, tmp_path: Path) -> None:
    config = write_kubeconfig(tmp_path / "config", {"one": url}, TOKEN)
    with pytest.raises(ClusterError, match=r"does not answer: .*certificate verify failed") as caught:
        Cluster(str(config), "one").raw("/version")
    assert not caught.value.passing


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"exec": {"command": "login"}}, {}),
        ({"auth-provider": {"name": "oidc"}}, {}),
        ({"tokenFile": "token"}, {}),
        ({"username": "me", "password": "secret-token"}, {}),
        ({"client-certificate": "no-such-file", "client-key": "no-such-file"}, {}),
        ({"client-certificate-data": "no base64", "client-key-data": "="}, {}),
        ({"client-certificate": "config"}, {}),
        (TOKEN, {"insecure_skip_tls_verify": True}),
        (TOKEN, {"tls_server_name": "another"}),
        (TOKEN, {"proxy_url": "http://proxy"}),
        (TOKEN, {"certificate_authority": "config"}),
        (TOKEN, {"certificate_authority_data": ""}),
    ],
)
def test_the_rest_is_the_clients(user: dict[str, Any], cluster: dict[str, Any], tmp_path: Path) -> None:
    config = write_kubeconfig(tmp_path / "config", {"one": "https://127.0.0.1:9"}, user, **cluster)
    assert plain_login.read(str(config), "one", 1) is None


def test_so_are_proxies_other_contexts_and_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = str(write_kubeconfig(tmp_path / "config", {"one": "https://127.0.0.1:9"}))
    assert plain_login.read(config, "one", 1)
    assert plain_login.read(config, "two", 1) is None
    monkeypatch.setenv("KUBECONFIG", config)
    assert plain_login.read("", "one", 1)
    monkeypatch.setenv("KUBECONFIG", f"{config}{os.pathsep}{config}")
    assert plain_login.read("", "one", 1) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert plain_login.read(config, "one", 1) is None
