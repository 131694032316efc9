"""Copies of the project to preview from: as it is in the working folder, and as it was in a commit."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

#: What git does not keep and a preview needs; the charts only where the sandbox has made some ready.
_LINKED = ("venv", ".sandbox/charts")
#: What a pull request is compared with if nothing else is said: the first of these that git knows.
_USUAL_BASES = ("origin/main", "main", "HEAD")


class TreeError(RuntimeError):
    """Something that git cannot give, in one sentence."""


def working(root: Path, target: Path) -> None:
    """Copy the files that git keeps, or would, as they are now."""
    for name in _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
        source = root / name
        # A file that was deleted stays listed until that is committed.
        if name and (source.is_file() or source.is_symlink()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    _link(root, target)


def committed(root: Path, commit: str, target: Path) -> None:
    """Unpack the files of a commit."""
    archive = target.with_suffix(".tar")
    archive.write_bytes(_git(root, "archive", "--format=tar", resolved(root, commit)))
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    archive.unlink()
    _link(root, target)


def resolved(root: Path, name: str) -> str:
    """Return the commit that a name stands for."""
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except TreeError:
        raise TreeError(f"git knows no commit {name}; name another one with --base.") from None


def usual_base(root: Path) -> str:
    """Return what to compare with where nobody says; nothing where there is no commit."""
    for name in _USUAL_BASES:
        try:
            resolved(root, name)
        except TreeError:
            continue
        return name
    return ""


def _link(root: Path, target: Path) -> None:
    for name in _LINKED:
        if (root / name).exists() and not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to((root / name).resolve())


def _git(root: Path, *arguments: str) -> bytes:
    command: Sequence[str] = ("git", *arguments)
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    except FileNotFoundError:
        raise TreeError("A preview copies what git keeps, and there is no git on this machine.") from None
    if done.returncode:
        raise TreeError(f"`git {arguments[0]}` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
