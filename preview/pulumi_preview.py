"""Pulumi's own preview of a copy of the project, in a state of its own that goes away with it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plan.stack_config import placeholder_for
from preview import stack_settings

# All that a program and its tools may see of this process: nothing of it is a credential or a way to a cluster.
_PASSED_ON = re.compile(
    r"PATH|HOME|USER|LANG|LC_\w+|TMPDIR|TZ|SSL_CERT_\w+|(HTTPS?|NO)_PROXY|(https?|no)_proxy|PULUMI_HOME|HELM_\w+_HOME|XDG_\w+"
)
_TIMEOUT = 600
_REASON_LINES = 6
# What the engine adds to the sentence of a program that ended by itself.
_SAYS_NOTHING = "an unhandled error occurred: program exited"


class EngineError(RuntimeError):
    """A preview that failed, and what the engine said."""


@dataclass(frozen=True, kw_only=True)
class State:
    """One resource as the program asks for it."""

    urn: str
    type: str
    name: str
    op: str
    custom: bool
    parent: str
    dependencies: tuple[str, ...]
    inputs: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one preview found: the resources by URN, and how long it took."""

    states: dict[str, State]
    seconds: float


def missing() -> str:
    """Return a sentence about what is not on this machine; empty where all is."""
    for program in ("pulumi", "pulumi-language-python"):
        if not shutil.which(program):
            return f"A preview needs {program}, which is not on PATH: see https://www.pulumi.com/docs/install/."
    return ""


@contextmanager
def copied_stack(root: Path, stack: str, charts: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Make an empty state with a copy of a stack; yield its stack file, and the environment that leads to it."""
    with tempfile.TemporaryDirectory(prefix="preview-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        environment = _environment(folder)
        try:
            content, places = stack_settings.copied(root / f"Pulumi.{stack}.yaml", charts)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as problem:
            raise EngineError(f"Pulumi.{stack}.yaml cannot be read: {problem}") from None
        shutil.copy(root / "Pulumi.yaml", folder)
        # `stack init` writes the passphrase's salt into the stack file beside the project's.
        _pulumi(folder, environment, "stack", "init", stack, "--no-select")
        copy = folder / f"Pulumi.{stack}.yaml"
        copy.write_text(yaml.safe_dump({**content, **yaml.safe_load(copy.read_text())}, sort_keys=False))
        for place in places:
            where = ["--path", stack_settings.written(place), placeholder_for(place[-1], secrets.token_hex(16))]
            _pulumi(folder, environment, "config", "set", "--secret", "--stack", stack, *where)
        yield copy, environment


def preview(root: Path, stack: str, charts: Mapping[str, str]) -> Run:
    """Preview a stack of the project at `root`."""
    with copied_stack(root, stack, charts) as (file, environment):
        started = time.monotonic()
        said = _pulumi(root, environment, "preview", "--json", "--stack", stack, "--config-file", str(file))
        return Run(states=parsed(said), seconds=time.monotonic() - started)


def parsed(said: str) -> dict[str, State]:
    """Return the resources that `pulumi preview --json` names, without the stack itself."""
    found = {}
    for step in json.loads(said).get("steps") or []:
        known = step.get("newState") or step.get("oldState") or {}
        urn, type_ = str(step["urn"]), str(known.get("type", ""))
        if type_ == "pulumi:pulumi:Stack":
            continue
        found[urn] = State(
            urn=urn,
            type=type_,
            name=urn.rsplit("::", 1)[-1],
            op=str(step.get("op", "")),
            custom=bool(known.get("custom")),
            parent=str(known.get("parent") or ""),
            dependencies=tuple(known.get("dependencies") or ()),
            inputs=known.get("inputs") or {},
        )
    return found


def _environment(folder: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    return own | {
        "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_hex(16),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Not this user's either: a file that is not there.
        "KUBECONFIG": str(folder / "no-kubeconfig"),
    }


def _pulumi(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    command: Sequence[str] = ("pulumi", *arguments, "--non-interactive", "--color", "never")
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise EngineError(missing()) from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"`pulumi {arguments[0]}` was stopped after {_TIMEOUT} seconds.") from None
    if done.returncode:
        raise EngineError(why(done.stdout, done.stderr) or f"`pulumi {arguments[0]}` failed and said nothing.")
    return done.stdout


def why(stdout: str, stderr: str) -> str:
    """Return what went wrong: the errors in the JSON of a preview, else the last lines."""
    try:
        diagnostics = json.loads(stdout).get("diagnostics") or []
        errors = [str(each.get("message", "")).strip() for each in diagnostics if each.get("severity") == "error"]
    except (ValueError, AttributeError):
        errors = []
    lines = [line.strip() for text in errors or [stderr or stdout] for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if _SAYS_NOTHING not in line]
    return " ".join(dict.fromkeys(told[-_REASON_LINES:]))
