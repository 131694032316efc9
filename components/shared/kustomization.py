"""Builds a kustomization, as `kubectl apply -k` does, with kubectl or kustomize."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# It may fetch what it builds on.
_SECONDS = 120
_PROGRAMS = (("kubectl", "kustomize"), ("kustomize", "build"))
_LOGGED = re.compile(r"""^E\d{4} .*?\] "command failed" err=[<"]? ?(.*?) ?[>"]?$""")
# git, which fetches remote bases, asks nobody: an `up` would wait for an answer that nobody sees it ask for.
_ASK_NOTHING = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}


class KustomizationError(Exception):
    """Why a kustomization cannot be built, in one sentence."""


def folder_of(path: Path) -> Path | None:
    """Return the folder of the kustomization that a path names, if it names one."""
    folder = path.parent if path.name in NAMES else path
    return folder if any((folder / name).is_file() for name in NAMES) else None


def build(folder: Path) -> bytes:
    """Return what the kustomization in a folder makes. Raises `KustomizationError`."""
    command = next(([found, verb] for name, verb in _PROGRAMS if (found := shutil.which(name))), None)
    if not command:
        raise KustomizationError(
            f"{folder} has a kustomization, and neither kubectl nor kustomize is on PATH to build it: install one of them "
            "(https://kubernetes.io/docs/tasks/tools/), or name a file with what `kubectl kustomize` prints."
        )
    try:
        code, made, said = _run([*command, str(folder)])
    except subprocess.TimeoutExpired:
        why = f"no answer within {_SECONDS} s"
    except OSError as error:
        why = str(error)
    else:
        if not code:
            return made
        why = _reason(said.decode(errors="replace"))
    raise KustomizationError(f"{folder} has a kustomization that cannot be built ({why}): correct it.")


def _reason(said: str) -> str:
    """Return what went wrong on one line, without what kubectl's log puts around it, and without a base's login."""
    line = " ".join(said.split()).removeprefix("error: ")
    return re.sub(r"(?<=://)[^/@\s]+@", "", _LOGGED.sub(r"\1", line))


def _run(command: Sequence[str]) -> tuple[int, bytes, bytes]:
    """Run a program without a terminal; one that takes too long ends with everything that it started."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**_ASK_NOTHING, **os.environ},
        start_new_session=True,
    ) as running:
        try:
            made, said = running.communicate(timeout=_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            raise
        return running.returncode, made, said
