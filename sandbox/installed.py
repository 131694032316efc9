"""The folder outside the repository that programs are kept in from one sandbox to the next."""

from __future__ import annotations

import stat
from pathlib import Path

from sandbox.paths import tool_cache
from sandbox.programs import Tool


def cached_path(tool: Tool) -> Path:
    """Return where the cache of tools keeps a program."""
    return tool_cache() / f"{tool.name}-{tool.version}"


def make_executable(program: Path) -> None:
    """Let everybody run a program who can read it."""
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def install(program: Path, target: Path) -> None:
    """Make a file executable and put it in its place at once, so that nobody sees half of it."""
    make_executable(program)
    program.replace(target)
