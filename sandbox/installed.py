"""The folder outside the repository that programs are kept in from one sandbox to the next."""

from __future__ import annotations

import stat
from pathlib import Path

from sandbox.paths import tool_cache
from sandbox.programs import Tool


def cached_path(tool: Tool) -> Path:
    """Return where the cache of tools keeps a program."""
    return tool_cache() / f"{tool.name}-{tool.version}"


def install(program: Path, target: Path) -> None:
    """Make a file executable and put it in its place at once, so that nobody sees half of it."""
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    program.replace(target)
