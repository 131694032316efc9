"""Files from the network: over https alone, whole or not at all, and never twice from a host that is out of reach.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). The certificates that count are the system's, or those of
the file that SSL_CERT_FILE names, which OpenSSL, helm and Pulumi read as well; without it, those that requests or curl
are told of.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi

from sandbox import SandboxError
from sandbox.transfer import Transfer

_TIMEOUT = 10.0
_ASK_TIMEOUT = 5.0
_ATTEMPTS = 3
_PAUSE = 1.0
_CHUNK = 1 << 18
# Of the files that are read as text, GitHub's listing of a release is by far the largest.
_TEXT = 4 << 20
#: What names a file of certificates, the first before the others.
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: What the system says where no byte more fits.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

# Why a host could not be reached: it is not asked again in this run.
_out_of_reach: dict[str, str] = {}


class FetchError(Exception):
    """A file could not be had; the message says why. Another source may have it."""


class OutOfReachError(FetchError):
    """Its host could not be reached."""


class _CutError(FetchError):
    """The connection ended before the file did."""


class _WrongError(FetchError):
    """The server answers, but not with the file that is wanted."""


def ask(addresses: Iterable[str]) -> None:
    """Ask the hosts of these addresses, all at the same time, whether they answer, and say which don't."""
    hosts = sorted({_host(address) for address in addresses} - _out_of_reach.keys())
    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        list(pool.map(_ask, hosts))
    if silent := [host for host in hosts if host in _out_of_reach]:
        print(f"out of reach: {', '.join(silent)} ({_out_of_reach[silent[0]]})", flush=True)


def _ask(host: str) -> None:
    try:
        _open(f"https://{host}/", method="HEAD", timeout=_ASK_TIMEOUT).close()
    except _CutError as problem:
        _out_of_reach[host] = str(problem)
    except FetchError:
        return


def text(address: str) -> str:
    """Return a small file's text."""
    with _open(address) as answer:
        return b"".join(_chunks(answer, address))[:_TEXT].decode(errors="replace")


def fetch(address: str, sha256: str, target: Path, *, name: str) -> None:
    """Fetch a file to `target`, if its checksum is right; `name` is what its progress is shown under.

    What an earlier fetch that was cut has left at `target` is gone on with where the server still has the same file.
    Where it has not, or the checksum is wrong, it is thrown away.
    """
    for left in reversed(range(_ATTEMPTS)):
        begun = target.exists()
        try:
            # A run may have been killed after its last byte.
            if not (begun and _checksum(target) == sha256.lower()):
                _go_on(address, target, name)
                _check(address, sha256, target)
        except _CutError:
            if not left:
                raise
            time.sleep(_PAUSE)
        except _WrongError:
            _discard(target)
            # What was gone on with may be no part of what lies there now.
            if not (begun and left):
                raise
        except OSError as problem:
            if problem.errno in FULL_DISK:
                _discard(target)
            raise
        else:
            _validator_of(target).unlink(missing_ok=True)
            return


def _go_on(address: str, target: Path, name: str) -> None:
    """Fetch what is missing of a file."""
    validator = _validator_of(target)
    have = target.stat().st_size if target.exists() and validator.exists() else 0
    # The server sends the rest where it still has that very file, and else all of it.
    rest = {"Range": f"bytes={have}-", "If-Range": validator.read_text()} if have else {}
    with _open(address, rest) as answer:
        resumes = str(answer.headers.get("Content-Range")).startswith(f"bytes {have}-")
        have = have if resumes else 0
        _note_validator(answer, validator)
        size = have + int(answer.headers.get("Content-Length") or 0)
        with target.open("ab" if resumes else "wb") as file, Transfer(name, size, have) as transfer:
            for chunk in _chunks(answer, address):
                file.write(chunk)
                transfer.add(len(chunk))
    if target.stat().st_size < size:
        raise _CutError(f"{address} broke off")


def _note_validator(answer: Any, file: Path) -> None:
    """Keep what tells a file from its successor; a weak ETag doesn't."""
    tag = str(answer.headers.get("ETag") or "")
    if found := tag if tag.startswith('"') else answer.headers.get("Last-Modified"):
        file.write_text(found)
    else:
        file.unlink(missing_ok=True)


def _validator_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.validator")


def _check(address: str, sha256: str, file: Path) -> None:
    if (actual := _checksum(file)) != sha256.lower():
        raise _WrongError(f"the checksum of {address} is {actual}, not {sha256}")


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _discard(target: Path) -> None:
    target.unlink(missing_ok=True)
    _validator_of(target).unlink(missing_ok=True)


# --- one request ----------------------------------------------------------------------------------------------


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_https(newurl)
        # Whoever asks whether a host answers has been answered.
        return None if req.method == "HEAD" else super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(
    address: str, headers: Mapping[str, str] | None = None, method: str = "GET", timeout: float = _TIMEOUT
) -> Any:
    """Send a request and return the answer, whose status is one of success."""
    _require_https(address)
    host = _host(address)
    if host in _out_of_reach:
        raise OutOfReachError(f"{host} is out of reach: {_out_of_reach[host]}")
    request = urllib.request.Request(address, headers=dict(headers or {}), method=method)  # noqa: S310
    opener = urllib.request.build_opener(_OnlyHttps, urllib.request.HTTPSHandler(context=_certificates()))
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as problem:
        problem.close()
        kind = _CutError if problem.code >= http.client.INTERNAL_SERVER_ERROR else _WrongError
        raise kind(f"{address} answers {problem.code} {problem.reason}") from None
    except urllib.error.URLError as problem:
        _out_of_reach[host] = _reason(problem)
        raise OutOfReachError(f"{host} is out of reach: {_out_of_reach[host]}") from None
    except (OSError, http.client.HTTPException) as problem:
        # The connection was there.
        raise _CutError(f"{address} broke off: {_reason(problem)}") from None


def _chunks(answer: Any, address: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as problem:
            raise _CutError(f"{address} broke off: {_reason(problem)}") from None
        if not chunk:
            return
        yield chunk


def name_bundle() -> None:
    """Name in SSL_CERT_FILE what counts here: helm, Pulumi and Python's own requests know no other variable."""
    _, named = _bundle()
    if named and Path(named).is_file():
        os.environ[BUNDLES[0]] = named


def _bundle() -> tuple[str, str | None]:
    """Return what names a file of certificates, and the file; nothing where the system's count."""
    for variable in BUNDLES:
        if named := os.environ.get(variable):
            return variable, named
    known = ssl.get_default_verify_paths()
    # Python from its own installer on macOS knows no certificates until somebody runs a script of it.
    return "", None if known.cafile or known.capath else certifi.where()


def _certificates() -> ssl.SSLContext:
    variable, named = _bundle()
    try:
        return ssl.create_default_context(cafile=named)
    except OSError as problem:
        raise SandboxError(
            f"{variable} names {named}, from which no certificates can be read ({_reason(problem)}). "
            "Name a file in PEM format, or unset it, and try again."
        ) from None


def _require_https(address: str) -> None:
    if urlsplit(address).scheme != "https":
        raise FetchError(f"{address} is not an https address")


def _host(address: str) -> str:
    return urlsplit(address).netloc


def _reason(problem: BaseException) -> str:
    inner = getattr(problem, "reason", problem)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"{inner.verify_message}; if a proxy signs anew, name its authority's file in SSL_CERT_FILE"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__
