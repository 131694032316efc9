"""Copies of the project to preview from: as it is in the working folder, and as it was in a commit."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from names import SANDBOX_FOLDER

#: What git does not keep and a preview needs; the charts only where the sandbox has prepared some.
_LINKED = ("venv", f"{SANDBOX_FOLDER}*/charts")
#: What a pull request is compared with if nothing else is said: the first of these that git knows.
_USUAL_BASES = ("origin/main", "main", "HEAD")


class GitError(RuntimeError):
    """Something that git cannot give, in one sentence."""


@contextmanager
def copies(root: Path, base: str | None) -> Iterator[tuple[Path, Path | None]]:
    """Yield two folders: the project as it is, and as it was in the commit `base`, where there is one.

    Where no base is named, it is the usual one. Raises `GitError`.
    """
    commit = _usual_base(root) if base is None else _resolved(root, base)
    with tempfile.TemporaryDirectory(prefix="copies-") as name:
        head, before = Path(name) / "head", Path(name) / "base"
        _copy(root, head)
        if commit:
            with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "--format=tar", commit))) as tar:
                tar.extractall(before, filter="data")
        for folder in (head, before) if commit else (head,):
            _link(root, folder)
        yield head, before if commit else None


def _copy(root: Path, target: Path) -> None:
    """Copy the files that git keeps, or would, as they are now."""
    for name in _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
        source = root / name
        # A file that was deleted stays listed until that is committed.
        if name and (source.is_file() or source.is_symlink()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def _resolved(root: Path, name: str) -> str:
    """Return the commit that a name stands for."""
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except GitError:
        raise GitError(f"git knows no commit {name}; name another one with --base.") from None


def _usual_base(root: Path) -> str:
    """Return what to compare with where nobody says; nothing where there is no commit."""
    for name in _USUAL_BASES:
        with suppress(GitError):
            return _resolved(root, name)
    return ""


def _link(root: Path, target: Path) -> None:
    for source in (path for name in _LINKED for path in root.glob(name)):
        link = target / source.relative_to(root)
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.resolve())


def _git(root: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(("git", *arguments), cwd=root, capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("A preview copies what git keeps, and there is no git on this machine.") from None
    if done.returncode:
        raise GitError(f"`git {arguments[0]}` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
