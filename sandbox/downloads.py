"""Official builds of the programs, downloaded and checked."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from sandbox import SandboxError
from sandbox.installed import cached_path, install
from sandbox.programs import Tool


def this_platform() -> tuple[str, str]:
    """Return this machine's system and processor as Go and the official builds call them."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def official_build(tool: Tool) -> Path | None:
    """Return the official build, or nothing, having said why there is none."""
    system, processor = this_platform()
    checksum = tool.sha256.get(f"{system}-{processor}")
    if not checksum or os.environ.get("KONG_ISTIO_OFFLINE"):
        return None
    names = {"version": tool.version, "os": system, "arch": processor}
    try:
        return download(tool.download.format(**names), checksum, cached_path(tool), member=tool.member.format(**names))
    except (OSError, SandboxError) as problem:
        print(f"no official build of {tool.name} {tool.version} ({problem}); building it instead", flush=True)
        return None


def download(address: str, checksum: str, target: Path, *, member: str = "", loopback_http: bool = False) -> Path:
    """Fetch a program, or the archive it is a member of, and install it if the checksum is right."""
    parts = urlsplit(address)
    if parts.scheme != "https" and not (loopback_http and parts.hostname == "127.0.0.1"):
        raise SandboxError(f"{address} is not an https address")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        fetched = Path(folder) / "fetched"
        with urllib.request.urlopen(address, timeout=10) as answer, fetched.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
        actual = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if actual != checksum:
            raise SandboxError(f"the checksum of {address} is {actual}, not {checksum}")
        install(_extracted(fetched, member) if member else fetched, target)
    return target


def _extracted(archive: Path, member: str) -> Path:
    """Unpack one member of a .tar.gz next to it."""
    program = archive.with_name("program")
    with tarfile.open(archive, "r:gz") as tar:
        try:
            content = tar.extractfile(member)
        except KeyError:
            content = None
        if content is None:
            raise SandboxError(f"there is no {member} in the archive")
        with content, program.open("wb") as file:
            shutil.copyfileobj(content, file)
    return program
