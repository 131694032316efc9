"""The hosts that programs are downloaded from, behind a proxy on loopback that leads to all of them."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from fakes.server import certified, serving

HOSTS = ("github.com", "api.github.com", "dl.k8s.io", "get.helm.sh", "charts.konghq.com", "example.org")


@dataclass
class File:
    """A file, and how it is served: `cuts` are the bytes after which the next connections end."""

    content: bytes = b""
    tag: str = '"1"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    redirect: str = ""
    statuses: list[int] = field(default_factory=list)
    # Set as soon as a client has the first bytes; the rest follows when the other is set.
    begun: threading.Event | None = None
    goes_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class Releases:
    """What is served by address, and what was asked for: the method, the address and the range."""

    files: dict[str, File] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    #: Where the proxy was asked to lead to.
    led_to: list[str] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    environment: dict[str, str] = field(default_factory=dict)

    def add(self, address: str, content: bytes | str) -> File:
        """Serve a file at an address."""
        file = File(content.encode() if isinstance(content, str) else content)
        self.files[address] = file
        return file

    def downloads(self) -> list[str]:
        """Return the addresses that were asked for, without those only asked whether they answer."""
        return [address for method, address, _ in self.asked if method == "GET"]

    @contextmanager
    def running(self, folder: Path) -> Iterator[Releases]:
        """Serve; `environment` leads a process to it."""
        context, authority = certified(folder, ",".join(f"DNS:{host}" for host in HOSTS))
        with serving(_hosts(self), context) as hosts, serving(_proxy(self, hosts)) as proxy:
            self.environment = {"HTTPS_PROXY": proxy, "NO_PROXY": "", "SSL_CERT_FILE": str(authority)}
            yield self


def _hosts(releases: Releases) -> type[BaseHTTPRequestHandler]:
    class Hosts(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._file()
            _head(self, 200, 0)

        def do_GET(self) -> None:
            file = self._file()
            if file.statuses:
                _head(self, file.statuses.pop(0), 0)
            elif file.redirect:
                _head(self, 302, 0, Location=file.redirect)
            else:
                _send(self, file)

        def _file(self) -> File:
            self.close_connection = True
            address = f"https://{self.headers['Host']}{self.path}"
            releases.asked.append((self.command, address, self.headers.get("Range", "")))
            return releases.files.get(address, File(statuses=[404]))

        def log_message(self, *arguments: object) -> None:
            pass

    return Hosts


def _head(handler: BaseHTTPRequestHandler, status: int, length: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in (headers | {"Content-Length": str(length)}).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def _send(handler: BaseHTTPRequestHandler, file: File) -> None:
    start = 0
    if file.ranges and file.tag and handler.headers.get("If-Range") == file.tag:
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    rest, last = file.content[start:], len(file.content) - 1
    ranged = {"Content_Range": f"bytes {start}-{last}/{last + 1}"} if start else {}
    _head(handler, 206 if start else 200, len(rest), **ranged, **({"ETag": file.tag} if file.tag else {}))
    with suppress(OSError):
        if file.cuts:
            # A reset would take with it what the client has not read yet.
            rest = rest[: file.cuts.pop(0)]
        if file.begun:
            handler.wfile.write(rest[: len(rest) // 2])
            handler.wfile.flush()
            file.begun.set()
            file.goes_on.wait(20)
            rest = rest[len(rest) // 2 :]
        handler.wfile.write(rest)


def _proxy(releases: Releases, hosts: str) -> type[BaseHTTPRequestHandler]:
    port = int(hosts.rpartition(":")[2])

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            host = self.path.partition(":")[0]
            releases.led_to.append(host)
            if host in releases.closed:
                self.send_error(403)
                return
            with socket.create_connection(("127.0.0.1", port)) as behind:
                self.send_response(200)
                self.end_headers()
                there = threading.Thread(target=_pass_on, args=(self.connection, behind), daemon=True)
                there.start()
                _pass_on(behind, self.connection)

        def log_message(self, *arguments: object) -> None:
            pass

    return Proxy


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


# --- what is served -------------------------------------------------------------------------------------------


def sha256(content: bytes | str) -> str:
    """Return a checksum as projects publish it."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sums(*files: tuple[str, bytes | str]) -> str:
    """Return the lines of sha256sum."""
    return "".join(f"{sha256(content)}  {name}\n" for name, content in files)


def archive(*members: tuple[str, str], zipped: bool = False) -> bytes:
    """Pack texts, by their paths."""
    buffer = io.BytesIO()
    if zipped:
        with zipfile.ZipFile(buffer, "w") as file:
            for name, text in members:
                file.writestr(name, text)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in members:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()
