"""Pulumi's own preview of a stack: of a copy, in a state of its own that goes away with it, with no access to a cluster."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from plan.recording import Resource
from plan.stack_config import disclosed, placeholder_for, secret_places, settings_in

# All that a program and its tools may see of this process: nothing of it is a credential or leads to a cluster.
_PASSED_ON = re.compile(
    r"PATH|HOME|USER|LANG|LC_\w+|TMPDIR|TZ|SSL_CERT_\w+|(HTTPS?|NO)_PROXY|(https?|no)_proxy|PULUMI_HOME|HELM_\w+_HOME|XDG_\w+"
)
_TIMEOUT = 600
_REASON_LINES = 6
# What the engine adds to the sentence of a program that ended by itself.
_SAYS_NOTHING = "an unhandled error occurred: program exited"
_CHARTS = "kong-istio:charts"


class EngineError(RuntimeError):
    """A preview that failed, and what the engine said."""


def missing() -> str:
    """Return a sentence about what is not on this machine; empty where all is."""
    for program in ("pulumi", "pulumi-language-python"):
        if not shutil.which(program):
            return f"A preview needs {program}, which is not on PATH: see https://www.pulumi.com/docs/install/."
    return ""


def charts_of(file: Path) -> dict[str, str]:
    """Return the setting `charts` of a stack file."""
    return dict(settings_in(file).get(_CHARTS) or {})


def settings(file: Path, charts: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a stack file; `charts` replace its own."""
    found = settings_in(file)
    return {**found, _CHARTS: {**(found.get(_CHARTS) or {}), **charts}} if charts else found


def preview(root: Path, stack: str, charts: Mapping[str, str]) -> dict[str, Resource]:
    """Preview a stack of the project at `root`; return its resources by URN. Raises `EngineError`."""
    with copied_stack(root, stack, charts) as (file, environment):
        return parsed(_pulumi(root, environment, "preview", "--json", "--stack", stack, "--config-file", str(file)))


@contextmanager
def copied_stack(root: Path, stack: str, charts: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Create an empty state with a copy of a stack; yield its stack file, and the environment that leads to it.

    The copy's secrets are placeholders, encrypted under a passphrase that nobody knows.
    """
    with tempfile.TemporaryDirectory(prefix="preview-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        environment = _environment(folder)
        try:
            config = settings(root / f"Pulumi.{stack}.yaml", charts)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as problem:
            raise EngineError(f"Pulumi.{stack}.yaml cannot be read: {problem}") from None
        # The sandbox takes no kubeconfig but its own, which the copy of the project does not have.
        if config.get("kong-istio:sandbox") != "true":
            config.pop("kong-istio:kubeconfig", None)
        shutil.copy(root / "Pulumi.yaml", folder)
        copy = folder / f"Pulumi.{stack}.yaml"
        copy.write_text(yaml.safe_dump({"config": disclosed(config)}))
        # It adds the passphrase's salt to the file.
        _pulumi(folder, environment, "stack", "init", stack, "--no-select")
        for place in secret_places(config):
            secret = ("--secret", "--path", written(place), placeholder_for(place[-1]))
            _pulumi(folder, environment, "config", "set", "--stack", stack, *secret)
        yield copy, environment


def written(place: tuple[str | int, ...]) -> str:
    """Return a place in settings as `pulumi config set --path` takes it."""
    return str(place[0]) + "".join(f"[{json.dumps(step, ensure_ascii=False)}]" for step in place[1:])


def parsed(said: str) -> dict[str, Resource]:
    """Return the resources that `pulumi preview --json` names, without the stack itself."""
    found = {}
    for step in json.loads(said).get("steps") or []:
        state, urn = step.get("newState") or step.get("oldState") or {}, str(step["urn"])
        found[urn] = Resource(
            urn=urn,
            type=str(state.get("type", "")),
            name=urn.rsplit("::", 1)[-1],
            custom=bool(state.get("custom")),
            inputs=state.get("inputs") or {},
            parent=state.get("parent"),
            dependencies=frozenset(state.get("dependencies") or ()),
        )
    return {urn: resource for urn, resource in found.items() if resource.type != "pulumi:pulumi:Stack"}


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
    command = ("pulumi", *arguments, "--non-interactive", "--color", "never")
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
