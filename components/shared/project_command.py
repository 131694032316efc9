"""Commands of the project's own, run by pulumi-command on the machine that runs Pulumi."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

# The virtual environment that `Pulumi.yaml` names. Relative, as the same state serves every machine.
PYTHON = "venv/bin/python"

_ROOT = Path(__file__).resolve().parents[2]

# One with the packages where there is one, in the places of pip's and uv's virtual environments first.
BY_SOME_PYTHON = (
    'for python in "${VIRTUAL_ENV:-venv}/bin/python" venv/bin/python .venv/bin/python python3; do '
    '"$python" -c "import kubernetes" 2>/dev/null && break; done; exec "$python" '
)

# Prints 32 characters, the length of Kiali's keys.
RANDOM_KEY = f"{PYTHON} -c 'import secrets; print(secrets.token_hex(16))'"


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return the shell command that runs a module of this project from the project's folder."""
    return shlex.join([PYTHON, "-m", module, *arguments])


def digest(*looked_at: Any) -> list[str]:
    """Return an argument that changes with what a command looks at, so that the command runs again when that does."""
    text = json.dumps(looked_at, sort_keys=True, default=dataclasses.asdict)
    return ["--digest", hashlib.sha256(text.encode()).hexdigest()[:12]]


def run(
    name: str,
    module: str,
    arguments: Sequence[str],
    opts: pulumi.ResourceOptions,
    *,
    only_first: Sequence[str] = (),
) -> local.Command:
    """Run `python -m <module> <arguments>` when it is new, and again whenever its arguments change.

    `only_first` are further arguments for the very first run.
    """
    again = command_line(module, arguments)
    first = command_line(module, [*arguments, *only_first])
    return local.Command(name, create=first, update=again, logging=local.Logging.STDERR, opts=opts)


def run_when_deleted(name: str, file: str, arguments: Sequence[str], opts: pulumi.ResourceOptions) -> local.Command:
    """Run a file of this project when the resource is deleted, by whatever Python there is then.

    The state carries its text: the project of that day may have no virtual environment, or no such file. So the file
    imports nothing of the project.
    """
    return local.Command(
        name,
        delete=BY_SOME_PYTHON + shlex.join(["-", *arguments]),
        # Pulumi prints the command when it fails, but not what it reads.
        stdin=(_ROOT / file).read_text(encoding="utf-8"),
        logging=local.Logging.STDERR,
        opts=opts,
    )
