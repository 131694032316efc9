"""The stack that is meant: its settings, and how Pulumi is asked about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pulumi

from plan.stack_config import Project
from sandbox import isolation
from sandbox.paths import CHECKOUT
from settings import KubeconfigFrom, Settings, read

SANDBOX = "sandbox"

_SECONDS = 120


class StackError(Exception):
    """Why there is no stack to check, or nothing known of it, and what to do about it."""


@dataclass(frozen=True)
class Stack:
    """A stack of this project. `environment` is the one in which Pulumi, and the kubeconfig, are found."""

    name: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    config_file: Path | None = None

    @property
    def root(self) -> Path:
        """The project's folder, from which its settings name files."""
        return CHECKOUT.root

    @property
    def rehearsed(self) -> bool:
        """Whether it was brought up without Pulumi's engine."""
        return self.config_file is not None and (CHECKOUT.sandbox / "outputs.json").is_file()

    def pulumi(self, *arguments: str, seconds: int = _SECONDS, config: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Pulumi on the stack; its exit code is the caller's to judge. Raises `StackError`.

        `config`: the command is one of those that take a file of settings.
        """
        file = ["--config-file", os.fspath(self.config_file)] if self.config_file and config else []
        return _pulumi(self.environment, [*arguments, "--stack", self.name, *file], seconds)

    def become_pulumi(self, *arguments: str) -> NoReturn:
        """Put Pulumi in this process's place: its questions, Ctrl-C and exit code are then its own. Raises `StackError`."""
        file = ["--config-file", os.fspath(self.config_file)] if self.config_file else []
        os.chdir(CHECKOUT.root)
        command = [_program(self.environment), *arguments, "--stack", self.name, *file]
        os.execve(command[0], command, dict(self.environment))  # noqa: S606 -- no shell is meant

    def enter(self) -> None:
        """Have this process find the kubeconfig where the stack's own commands find it."""
        if kubeconfig := self.environment.get("KUBECONFIG"):
            os.environ["KUBECONFIG"] = kubeconfig

    def settings(self) -> Settings:
        """Return the stack's settings, defaults included. Raises `StackError` and `SettingsError`."""
        # The sandbox may be without Pulumi, but only Pulumi knows what is encrypted.
        texts, secrets = _from_file(self.config_file) if self.config_file else ({}, frozenset())
        if not self.config_file or (secrets and not self.rehearsed):
            texts, secrets = self._from_engine()
        found = read(texts, secrets, CHECKOUT.root)
        source = found.kubeconfig_from
        return found.model_copy(update={"kubeconfig": self._output_of(source)}) if source.stack else found

    def _output_of(self, source: KubeconfigFrom) -> str:
        asked = ["stack", "output", source.output, "--stack", source.stack, "--show-secrets"]
        done = _pulumi(self.environment, asked, _SECONDS)
        if done.returncode:
            raise StackError(
                f"The kubeconfig is the output {source.output} of the stack {source.stack}, which cannot be read: "
                f"{_reason(done)}."
            )
        return done.stdout

    def _from_engine(self) -> tuple[dict[str, str], frozenset[str]]:
        # A key with one secret field is not told at all without them.
        done = self.pulumi("config", "--json", "--show-secrets")
        if done.returncode:
            raise StackError(
                f"The settings of the stack {self.name} cannot be read, or not decrypted: {_reason(done)}."
            )
        entries = json.loads(done.stdout or "{}")
        texts = {key: str(entry["value"]) for key, entry in entries.items()}
        return texts, frozenset(key for key, entry in entries.items() if entry.get("secret"))


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
        return Stack(name, isolation.environment(), CHECKOUT.stack_file)
    return Stack(name)


def _from_file(file: Path) -> tuple[dict[str, str], frozenset[str]]:
    try:
        found = Project(CHECKOUT.root).read(file)
    except (OSError, pulumi.RunError) as problem:
        raise StackError(f"{file} cannot be read as a stack file ({problem}): run `make up`.") from None
    return found.values, found.secrets


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines() or ["pulumi said nothing"]
    return lines[-1].removeprefix("error: ").rstrip(".")


def _selected() -> str:
    if not shutil.which("pulumi"):
        return ""
    done = _pulumi(os.environ, ["stack", "--show-name"], _SECONDS)
    return done.stdout.strip() if done.returncode == 0 else ""


def _pulumi(environment: Mapping[str, str], arguments: list[str], seconds: int) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [_program(environment), *arguments, "--non-interactive"],
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


def _program(environment: Mapping[str, str]) -> str:
    program = shutil.which("pulumi", path=environment.get("PATH"))
    if not program:
        raise StackError("pulumi is not on PATH: install it (https://www.pulumi.com/docs/install/), or give --target.")
    return program
