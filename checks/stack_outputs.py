"""The stack that is meant: what Pulumi knows of it, and how to ask."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from checks.describe import describe
from checks.target import Target, from_json
from sandbox import tools
from sandbox.paths import CHECKOUT
from settings import PROJECT, Settings, parse

SANDBOX = "sandbox"
OUTPUT = "checksTarget"
ROOT = CHECKOUT.root

_REHEARSED_OUTPUTS = CHECKOUT.sandbox / "outputs.json"
_SECONDS = 120
_PREFIX = f"{PROJECT}:"


class StackError(Exception):
    """Why there is no stack to check, or nothing known of it, and what to do about it."""


@dataclass(frozen=True)
class Stack:
    """A stack of this project. `environment` is the one in which Pulumi and kubectl find it."""

    name: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    config_file: Path | None = None

    @property
    def rehearsed(self) -> bool:
        """Whether it was brought up without Pulumi's engine."""
        return self.config_file is not None and _REHEARSED_OUTPUTS.is_file()

    def pulumi(self, *arguments: str, seconds: int = _SECONDS) -> subprocess.CompletedProcess[str]:
        """Run Pulumi on the stack; its exit code is the caller's to judge. Raises `StackError`."""
        config = ["--config-file", os.fspath(self.config_file)] if self.config_file else []
        return _pulumi(self.environment, [*arguments, "--stack", self.name, *config], seconds)

    def target(self) -> Target:
        """Return what there is to check. Raises `StackError`, and `SettingsError` for settings that cannot be read."""
        found = self._outputs().get(OUTPUT)
        # An `up` that failed, as it does after a failed check, leaves no outputs; the settings it had are still there.
        return from_json(found) if found else describe(self.settings())

    def settings(self) -> Settings:
        """Return the stack's settings, secret ones left out. Raises `StackError` and `SettingsError`."""
        return parse(self._configuration(), (), ROOT)

    def _configuration(self) -> dict[str, Any]:
        """Return the settings as the stack file has them, without the secret ones. Raises `StackError`."""
        if self.config_file:
            try:
                listed = (yaml.safe_load(self.config_file.read_text(encoding="utf-8")) or {}).get("config") or {}
            except (OSError, yaml.YAMLError, AttributeError):
                raise StackError(f"{self.config_file} cannot be read as a stack file: run `make up`.") from None
            return {name.removeprefix(_PREFIX): value for name, value in listed.items() if name.startswith(_PREFIX)}
        entries = self._json("config", "--json")
        return {
            name.removeprefix(_PREFIX): _plain(entry)
            for name, entry in entries.items()
            if name.startswith(_PREFIX) and not entry.get("secret")
        }

    def _outputs(self) -> dict[str, Any]:
        if self.rehearsed:
            return dict(json.loads(_REHEARSED_OUTPUTS.read_text(encoding="utf-8")))
        done = _pulumi(self.environment, ["stack", "output", "--json", "--stack", self.name], _SECONDS)
        return _read(done, f"pulumi stack output --stack {self.name}")

    def _json(self, *arguments: str) -> dict[str, Any]:
        return _read(self.pulumi(*arguments), f"pulumi {arguments[0]} --stack {self.name}")


def find(name: str = "") -> Stack:
    """Return the stack of that name, else the selected one, else the sandbox's. Raises `StackError`."""
    if not name:
        name = _selected() or (SANDBOX if CHECKOUT.facts.is_file() else "")
    if not name:
        raise StackError(
            "No stack is selected and there is no sandbox: name one with --stack, select one with "
            "`pulumi stack select`, or run `make up`."
        )
    if name == SANDBOX and CHECKOUT.facts.is_file():
        return Stack(name, tools.environment(), CHECKOUT.stack_file)
    return Stack(name)


def _selected() -> str:
    if not shutil.which("pulumi"):
        return ""
    done = _pulumi(os.environ, ["stack", "--show-name"], _SECONDS)
    return done.stdout.strip() if done.returncode == 0 else ""


def _pulumi(environment: Mapping[str, str], arguments: list[str], seconds: int) -> subprocess.CompletedProcess[str]:
    program = shutil.which("pulumi", path=environment.get("PATH"))
    if not program:
        raise StackError("pulumi is not on PATH: install it (https://www.pulumi.com/docs/install/), or give --target.")
    try:
        return subprocess.run(
            [program, *arguments, "--non-interactive"],
            cwd=CHECKOUT.root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StackError(f"`pulumi {arguments[0]}` gave no answer within {seconds} s.") from None


def _read(done: subprocess.CompletedProcess[str], command: str) -> dict[str, Any]:
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise StackError(f"`{command}` failed: {lines[-1].removeprefix('error: ')}")
    return dict(json.loads(done.stdout or "{}"))


def _plain(entry: Mapping[str, Any]) -> Any:
    """Return a setting as YAML would have it: Pulumi prints true and false as text."""
    value = entry.get("objectValue", entry.get("value"))
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
