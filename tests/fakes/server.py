"""What all servers here have in common: a port on loopback, and the troubles that any server can have."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    form: dict[str, str]


@dataclass
class Reply:
    """What is answered."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(status: int, content: Any, **headers: str) -> Reply:
    """Return JSON as the servers send it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(content), {"Content-Type": "application/json", **named})


class FakeServer:
    """A server; `answer` says what it answers. `asleep`: so many requests are answered 503 first."""

    reset = False
    garbled = False

    def __init__(self) -> None:
        self.asleep = 0
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    def sleepy(self) -> Reply:
        """Return what it answers before it is ready."""
        return Reply(503, "Service Unavailable")

    def handle(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            if self.asleep > 0:
                self.asleep -= 1
                return self.sleepy()
            reply = self.answer(request)
        if self.garbled and "json" in reply.headers.get("Content-Type", ""):
            return Reply(200, "<html><body>Please log in to the company's network</body></html>")
        return reply

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve, and give the URL."""
        with serving(_handler(self)) as url:
            yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve in threads, and give the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001}, daemon=True)
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def certified(folder: Path, names: str = "IP:127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """Return what a server of these names needs to speak TLS, and the file of the certificate that signed its own."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here to make a certificate with")
    (folder / "names").write_text(f"subjectAltName={names}")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context, folder / "ca.pem"


def cut(connection: socket.socket) -> None:
    """End a connection as a proxy does that refuses it: with a reset, not with a goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            # Head and body are two writes.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def _reply(self) -> None:
            if fake.reset:
                cut(self.connection)
                self.close_connection = True
                return
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            query, form = ({key: values[0] for key, values in parse_qs(text).items()} for text in (parts.query, body))
            reply = fake.handle(Request(self.command, parts.path, query, dict(self.headers), form))
            content = reply.body.encode()
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_TRACE = _reply  # noqa: N815 -- http.server's names

        def log_message(self, *arguments: object) -> None:
            pass

        def finish(self) -> None:
            # A client that is gone is none of the server's business.
            try:
                super().finish()
            except OSError:
                return

    return Handler
