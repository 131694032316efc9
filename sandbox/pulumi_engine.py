"""Pulumi's own programs: what of them is on this machine, and what can be downloaded."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version

from sandbox import isolation
from sandbox.paths import CHECKOUT

# The provider plugins, by the name of the Python package that says which version is wanted.
_PLUGINS = {"kubernetes": "pulumi-kubernetes", "command": "pulumi-command"}
_DOWNLOAD_SECONDS = 300


def missing(*, download: bool = True) -> str:
    """Return a sentence about what of Pulumi is missing here; empty where nothing is.

    Provider plugins that are not here are downloaded, unless `download` forbids it.
    """
    path = isolation.environment()["PATH"]
    install = "https://www.pulumi.com/docs/install/"
    if not shutil.which("pulumi", path=path):
        return f"the Pulumi CLI is not on this machine's PATH, and this project installs none; see {install}."
    if not shutil.which("pulumi-language-python", path=path):
        return f"the Pulumi CLI's Python language host (pulumi-language-python) is not on PATH; see {install}."
    for name, package in _PLUGINS.items():
        expected = version(package)
        if _has_plugin(name, expected):
            continue
        if not download:
            return f"the provider plugin {name} {expected} is not on this machine."
        if not _downloaded(name, expected):
            return (
                f"the provider plugin {name} {expected} is neither on this machine nor could it be downloaded "
                f"(pulumi plugin install resource {name} {expected})."
            )
    return ""


def _has_plugin(name: str, expected: str) -> bool:
    on_path = shutil.which(f"pulumi-resource-{name}", path=isolation.environment()["PATH"])
    return bool(on_path) or (CHECKOUT.sandbox / "pulumi" / "plugins" / f"resource-{name}-v{expected}").is_dir()


def _downloaded(name: str, expected: str) -> bool:
    print(f"Downloading the provider plugin {name} {expected} (some 60 MB) …", flush=True)
    command = ["pulumi", "plugin", "install", "resource", name, expected]
    try:
        done = subprocess.run(
            command,
            cwd=CHECKOUT.root,
            env=isolation.environment(),
            capture_output=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
