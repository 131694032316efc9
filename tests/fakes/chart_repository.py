"""A repository of charts over HTTPS, whose certificate a private authority signed, and which wants a login."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fakes.server import serving

USERNAME, PASSWORD = "reader", "pa:ss wörd/@hunter2"


@contextmanager
def chart_repository(folder: Path, chart: Path) -> Iterator[tuple[str, Path]]:
    """Serve the archive of a chart; give the URL, and the file of the authority's certificate."""
    name, version = chart.stem.rsplit("-", 1)
    archive = chart.read_bytes()
    entry = {"name": name, "version": version, "urls": [chart.name], "digest": hashlib.sha256(archive).hexdigest()}
    index = {"apiVersion": "v1", "entries": {name: [entry]}}
    files = {"/charts/index.yaml": json.dumps(index).encode(), f"/charts/{chart.name}": archive}
    context, authority = _certified(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {login}":
                self.send_response(401)
                self.end_headers()
                return
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler, context) as url:
        yield f"{url}/charts", authority


def _certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what a server for 127.0.0.1 needs to speak TLS, and the file of the certificate that signed its own."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here to make a certificate with")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ):
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context, folder / "ca.pem"
