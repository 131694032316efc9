"""Pulumi's own programs: those of this machine, or official ones in the cache of tools.

The SDK can install the CLI too (`pulumi.automation.PulumiCommand.install`), but not checked: it runs the script that
get.pulumi.com sends at that moment, which compares what it downloads with nothing. The archive that the script takes
is therefore downloaded as every other program is; the Python language host lies in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sandbox import SandboxError, downloads, isolation, tools
from sandbox.fetching import FetchError
from sandbox.paths import CHECKOUT, tool_cache
from sandbox.programs import PULUMI, pulumi_plugin

# The provider plugins, by the name of the Python package that says which version is wanted.
_PLUGINS = {"kubernetes": "pulumi-kubernetes", "command": "pulumi-command"}
# The oldest CLI that this project was tried with. The SDK itself names 3.1, which is far too old for its language host.
_OLDEST = (3, 260)
_INSTALL_SECONDS = 300
_HELP = "see https://www.pulumi.com/docs/install/"


def missing(*, download: bool = True) -> str:
    """Return a sentence about what of Pulumi is missing here; empty where nothing is.

    What is missing is downloaded for a sandbox that is there, unless `download` forbids it.
    """
    download = download and CHECKOUT.sandbox.exists()
    if problem := _unsuitable_cli():
        reason = _cli_downloaded() if download else ""
        if reason or not download:
            return f"{problem}{reason}; {_HELP}."
    for name, package in _PLUGINS.items():
        expected = version(package)
        if _has_plugin(name, expected):
            continue
        if not download:
            return f"the provider plugin {name} {expected} is not on this machine."
        if reason := _plugin_downloaded(name, expected):
            return f"the provider plugin {name} {expected} is not on this machine{reason}."
    return ""


def look_ahead() -> None:
    """Ask the CLI that is first on PATH for its version, while other things are done."""
    if program := shutil.which("pulumi", path=isolation.environment()["PATH"]):
        _version(Path(program))


def _version(program: Path) -> str:
    return _version_of_file(program, program.stat().st_mtime_ns)


@cache
def _version_of_file(program: Path, _written: int) -> str:
    return tools.said(program, "version")


def _unsuitable_cli() -> str:
    """Say what is wrong with the CLI that is first on PATH; nothing if it can be used."""
    path = isolation.environment()["PATH"]
    program = shutil.which("pulumi", path=path)
    if not program:
        return "the Pulumi CLI is not on this machine's PATH"
    said = re.search(r"v(\d+)\.(\d+)\.\S+", _version(Path(program)))
    if said and (int(said[1]), int(said[2])) < _OLDEST:
        return f"the Pulumi CLI {program} is {said[0]}, and this project needs v{_OLDEST[0]}.{_OLDEST[1]} or newer"
    if not shutil.which("pulumi-language-python", path=path):
        return "the Pulumi CLI's Python language host (pulumi-language-python) is not on PATH"
    return ""


def _cli_downloaded() -> str:
    """Put the official CLI, in the version of the SDK, on the sandbox's PATH; return why not if that fails."""
    wanted = version("pulumi")
    folder = tool_cache() / f"pulumi-{wanted}"
    if not (folder / "pulumi").is_file():
        try:
            with tools.cache():
                # The process that held the lock may have got it in the meantime.
                if not (folder / "pulumi").is_file():
                    downloads.download(PULUMI, "pulumi", wanted, folder)
        except (FetchError, SandboxError) as problem:
            return f", and {wanted} could not be downloaded ({str(problem).rstrip('.')})"
    tools.link({program.name: program for program in folder.iterdir()})
    return ""


def _has_plugin(name: str, expected: str) -> bool:
    on_path = shutil.which(f"pulumi-resource-{name}", path=isolation.environment()["PATH"])
    return bool(on_path) or (CHECKOUT.sandbox / "pulumi" / "plugins" / f"resource-{name}-v{expected}").is_dir()


def _plugin_downloaded(name: str, expected: str) -> str:
    """Give the CLI a provider plugin; return why not if that fails."""
    archive = tool_cache() / f"pulumi-resource-{name}-{expected}.tar.gz"
    try:
        with tools.cache():
            if _has_plugin(name, expected):
                return ""
            downloads.download(pulumi_plugin(name), f"pulumi-resource-{name}", expected, archive)
            _install_plugin(name, expected, archive)
    except (FetchError, SandboxError) as problem:
        return f", and could not be downloaded ({str(problem).rstrip('.')})"
    finally:
        archive.unlink(missing_ok=True)
    return ""


def _install_plugin(name: str, expected: str, archive: Path) -> None:
    """Have the CLI unpack a plugin: whether it is whole, it notes in a way of its own."""
    command = ["pulumi", "plugin", "install", "resource", name, expected, "--exact", "--file", os.fspath(archive)]
    try:
        done = subprocess.run(
            command,
            cwd=CHECKOUT.root,
            env=isolation.environment(),
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"it was not unpacked within {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise FetchError(f"`pulumi plugin install` failed: {done.stderr.strip()}")
