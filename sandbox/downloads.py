"""Official builds of the programs, downloaded and checked.

What is unpacked has the checksum that `programs` knows or that its project publishes beside it; without either, nothing
is. The names in the cache are fixed, as whoever downloads holds its lock: what a killed download left is found again.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from sandbox import fetching
from sandbox.fetching import FetchError, OutOfReachError
from sandbox.installed import cached_path, install, make_executable
from sandbox.programs import Official, Tool

_HASH = "[0-9a-fA-F]{64}"
PLATFORMS = [(system, processor) for system in ("linux", "darwin") for processor in ("amd64", "arm64")]


def this_platform() -> tuple[str, str]:
    """Return this machine's system and processor as Go and the official builds call them."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def ask(tools: Iterable[Tool]) -> None:
    """Find out which of the hosts that have the official builds can be reached, and say which can't."""
    if not os.environ.get("KONG_ISTIO_OFFLINE"):
        fetching.ask(tool.official.address for tool in tools if tool.official and not no_build(tool.official))


def official_build(tool: Tool) -> Path | None:
    """Return the official build; nothing if it could not be had, having said why unless that is said already."""
    if os.environ.get("KONG_ISTIO_OFFLINE"):
        return None
    target = cached_path(tool)
    try:
        if not tool.official:
            raise FetchError(tool.unofficial)
        download(tool.official, tool.name, tool.version, target)
    except FetchError as problem:
        if not isinstance(problem, OutOfReachError):
            print(f"no official build of {tool.name} {tool.version}: {problem}", flush=True)
        return None
    return target


def no_build(build: Official) -> str:
    """Say why a project has no build for this machine; nothing if it has one."""
    system, processor = this_platform()
    if (system, processor) not in PLATFORMS:
        return f"none is known for {system} on {processor}"
    return build.not_for.get(system, "")


def download(build: Official, name: str, version: str, target: Path) -> None:
    """Put an official build to `target`, as its project made it. The lock on the cache is held.

    `target` becomes a program; or a folder of them, where the build is one. Raises `FetchError` if it cannot be had.
    """
    if os.environ.get("KONG_ISTIO_OFFLINE"):
        raise FetchError("KONG_ISTIO_OFFLINE is set")
    if problem := no_build(build):
        raise FetchError(problem)
    names = _names(version)
    address = build.address.format(**names)
    checksum = build.sha256.get("{os}-{arch}".format(**names)) or published(build, version)
    fetched = target.with_name(f".{target.name}.fetched")
    fetching.fetch(address, checksum, fetched, name=f"{name} {version}")
    if not build.member:
        install(fetched, target)
        return
    try:
        _unpack(fetched, build.member.format(**names), target)
    finally:
        fetched.unlink()


def published(build: Official, version: str) -> str:
    """Return the checksum that the project publishes."""
    names = _names(version)
    file = build.address.format(**names).rpartition("/")[2]
    listing = build.checksums.format(**names)
    found = set(_checksums(fetching.text(listing), file))
    if len(found) != 1:
        raise FetchError(f"{listing} holds {'more than one' if found else 'no'} checksum of {file}")
    return found.pop()


def _checksums(listing: str, file: str) -> list[str]:
    """Return what a listing says of a file: lines as sha256sum writes them, a checksum alone, or GitHub's JSON."""
    if listing.lstrip().startswith("{"):
        return _digests(listing, file)
    if re.fullmatch(_HASH, listing.strip()):
        return [listing.strip()]
    return re.findall(rf"^({_HASH})\s+\*?(?:\./)?{re.escape(file)}\s*$", listing, re.MULTILINE)


def _digests(release: str, file: str) -> list[str]:
    try:
        digests = [str(asset["digest"]) for asset in json.loads(release)["assets"] if asset["name"] == file]
    except (ValueError, KeyError, TypeError):
        return []
    return [digest.removeprefix("sha256:") for digest in digests if re.fullmatch(f"sha256:{_HASH}", digest)]


def _names(version: str) -> dict[str, str]:
    system, processor = this_platform()
    return {
        "version": version,
        "os": system,
        "arch": processor,
        "x64": "x64" if processor == "amd64" else processor,
        "archive": "zip" if system == "darwin" else "tar.gz",
    }


def _unpack(archive: Path, member: str, target: Path) -> None:
    """Unpack a program, or a folder of them, so that nobody sees half of it."""
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        for path, content in _files(archive):
            if member in (path, f"{path.rpartition('/')[0]}/"):
                program = new / Path(path).name
                with program.open("wb") as file:
                    shutil.copyfileobj(content, file)
                make_executable(program)
        programs = list(new.iterdir())
        if not programs:
            raise FetchError(f"there is no {member} in the archive")
        # What is left of a folder that somebody emptied.
        shutil.rmtree(target, ignore_errors=True)
        (new if member.endswith("/") else programs[0]).replace(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as unzipped:
            for name in unzipped.namelist():
                with unzipped.open(name) as content:
                    yield name, content
        return
    with tarfile.open(archive) as tar:
        for entry in tar:
            if extracted := tar.extractfile(entry):
                yield entry.name, extracted
