"""A small HTTP client: what came back, or one sentence about why nothing did.

It follows no redirect and no proxy of the environment: who asks has to see what the asked server itself says.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

_CHUNK = 65536


class NoAnswer(Exception):  # noqa: N818 -- an outcome, not an error
    """Why there was no answer, or none that can be read, as one sentence without its full stop."""


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, those of repeated ones joined by commas; empty where there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def cookies(self) -> str:
        """What the server asks to be sent back, as the value of a Cookie header."""
        found = (value.partition(";")[0].strip() for key, value in self.headers if key.lower() == "set-cookie")
        return "; ".join(cookie for cookie in found if not cookie.endswith("="))

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 in it is marked."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body, read as JSON. Raises `NoAnswer`."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise NoAnswer(f"the body is not JSON: {self.excerpt}") from None

    @property
    def excerpt(self) -> str:
        """The beginning of the body, in one line."""
        line = " ".join(self.text.split())
        return f"“{line[:120]}{'…' if len(line) > 120 else ''}”"


def get(url: str, headers: Mapping[str, str] | None = None, *, seconds: float = 10, verify: bool = True) -> Answer:
    """Return the answer to a GET. Raises `NoAnswer`."""
    return request("GET", url, headers, seconds=seconds, verify=verify)


def post_form(url: str, fields: Mapping[str, str], *, seconds: float = 10) -> Answer:
    """Return the answer to a form that is sent. Raises `NoAnswer`."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request("POST", url, headers, urlencode(fields).encode(), seconds=seconds)


def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    seconds: float = 10,
    verify: bool = True,
) -> Answer:
    """Return the answer to a request, which must be complete within that many seconds. Raises `NoAnswer`.

    `verify`: of HTTPS, that the certificate is for that name; through a port-forward none can be.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts, seconds, verify=verify)
    try:
        return _exchange(connection, method, path, {"Connection": "close", **(headers or {})}, body, seconds)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(_sentence(parts.netloc, error, seconds)) from None
    finally:
        connection.close()


def _connection(parts: SplitResult, seconds: float, *, verify: bool) -> http.client.HTTPConnection:
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=seconds, context=context)


def reachable(host: str, port: int, *, seconds: float = 3) -> bool:
    """Return whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:
        return False


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
    seconds: float,
) -> Answer:
    end = time.monotonic() + seconds
    connection.connect()
    # The socket's own limit holds for each read alone: a body that drips would never end.
    line = connection.sock
    connection.request(method, path, body, dict(headers))
    with connection.getresponse() as response:
        chunks = []
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            line.settimeout(left)
        if response.length:
            raise http.client.IncompleteRead(b"".join(chunks), response.length)
        return Answer(response.status, tuple(response.getheaders()), b"".join(chunks))


def _sentence(server: str, error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"{server} gave no complete answer within {seconds:g} s"
    if isinstance(error, ConnectionRefusedError):
        return f"{server} refused the connection"
    if isinstance(error, (ConnectionError, http.client.IncompleteRead)):
        return f"{server} cut the connection before its answer was complete"
    if isinstance(error, socket.gaierror):
        return f"the name in {server} cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return f"{server} and this machine found no common TLS ({error.reason or error})"
    if isinstance(error, http.client.HTTPException):
        return f"{server} answered with something that is not HTTP"
    return f"{server} cannot be reached ({error})"
