"""The programs of the sandbox: found, downloaded, taken from a wheel, or built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox import SandboxError, builds, downloads, fetching, prebuilt
from sandbox.installed import cached_path
from sandbox.locks import locked
from sandbox.paths import CHECKOUT, Paths, tool_cache
from sandbox.programs import TOOLS, Tool

ISTIOD = "pilot-discovery"
CONTROL_PLANE = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
    "kwokctl",
    "helm",
)

_WAITING = "another process is getting tools ready; waiting for it"


def ensure(names: Iterable[str], *, optional: Collection[str] = ()) -> dict[str, Path]:
    """Return the path of each program, having it obtained where need be.

    Those of `optional` are obtained along with them, and are missing in what is returned if they cannot be.
    """
    expected = [TOOLS[name] for name in (*names, *optional)]
    found = {tool.name: path for tool in expected if (path := find(tool))}
    missing = [tool for tool in expected if tool.name not in found]
    if missing:
        with cache():
            found |= _obtain(missing, optional)
    return found


@contextmanager
def cache() -> Iterator[None]:
    """Hold the lock on the cache of tools; raise `SandboxError` where it cannot be written."""
    try:
        with locked(tool_cache(), waiting=_WAITING):
            yield
    except OSError as problem:
        remedy = "Free some room there" if problem.errno in fetching.FULL_DISK else "Make it writable"
        raise SandboxError(
            f"{tool_cache()}, where programs are kept, cannot be written: {problem.strerror or problem}. "
            f"{remedy}, or name another folder in XDG_CACHE_HOME, and try again."
        ) from None


def lacks(names: Iterable[str]) -> bool:
    """Return whether one of these programs has to be obtained first."""
    return any(find(TOOLS[name]) is None for name in names)


def find(tool: Tool) -> Path | None:
    """Look for the right version of a program: in the cache of tools, then on PATH."""
    cached = cached_path(tool)
    if os.access(cached, os.X_OK):
        return cached
    located = shutil.which(tool.name)
    return Path(located) if located and says_version(Path(located), tool) else None


def find_by_name(name: str) -> Path | None:
    """Look for a program of the table, and obtain nothing."""
    return find(TOOLS[name])


def remove_cache() -> bool:
    """Remove the cache of tools; say whether there was one."""
    if not tool_cache().exists():
        return False
    with locked(tool_cache(), waiting=_WAITING):
        shutil.rmtree(tool_cache())
    return True


def says_version(program: Path, tool: Tool) -> bool:
    """Say whether a program calls itself the version that is pinned."""
    if not tool.version_arguments:
        return False
    text = said(program, *tool.version_arguments).replace("v", " ")
    return bool(re.search(rf"(?<![\d.]){re.escape(tool.version)}(?![\d.]|-\w)", text))


def said(program: Path, *arguments: str) -> str:
    """Return what a program prints that is asked for its version; nothing if it does not run."""
    with tempfile.TemporaryDirectory() as home:
        try:
            answer = subprocess.run(
                [program, *arguments],
                # Somebody else's wrapper may want to write down that it was called, as Pulumi does.
                env={**os.environ, "HOME": home, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return answer.stdout + answer.stderr


def _obtain(tools: Sequence[Tool], optional: Collection[str]) -> dict[str, Path]:
    """Get what is missing from where it is fastest. The lock is held."""
    obtained: dict[str, Path] = {}
    to_build: list[Tool] = []
    downloads.ask(tools)
    for tool in tools:
        # The process that held the lock may have got it in the meantime.
        if path := find(tool) or downloads.official_build(tool) or prebuilt.wheel_of(tool):
            obtained[tool.name] = path
        else:
            to_build.append(tool)
    if to_build and (problem := builds.go_problem()):
        if needed := [f"{tool.name} {tool.version}" for tool in to_build if tool.name not in optional]:
            raise SandboxError(f"{', '.join(needed)} can be neither found nor built: {problem} and try again.")
        return obtained
    return obtained | builds.build(to_build, optional) if to_build else obtained


def link(programs: Mapping[str, Path], paths: Paths = CHECKOUT) -> None:
    """Give the tools their plain names in the sandbox's folder for PATH."""
    paths.programs.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        (paths.programs / name).unlink(missing_ok=True)
        (paths.programs / name).symlink_to(program)
