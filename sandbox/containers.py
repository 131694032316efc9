"""Docker, Podman or nerdctl: whichever of them answers on this machine runs the node of a kind cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import SandboxError

#: In the order in which they are asked.
PROGRAMS = ("docker", "podman", "nerdctl")
#: By which kind knows its nodes (pkg/cluster/internal/providers/docker/constants.go).
CLUSTER_LABEL = "io.x-k8s.kind.cluster"

_ANSWER_SECONDS = 20
_START_SECONDS = 60
# What of the user's shell would lead these programs elsewhere. Where Docker's daemon listens is asked of Docker itself.
_MISLEADING = re.compile(r"(DOCKER|KIND|KUBE|HELM|PULUMI)\w*")
_START = {
    "docker": "start Docker (Docker Desktop, `colima start`, `sudo systemctl start docker`)",
    "podman": "start Podman's machine (`podman machine start`)",
    "nerdctl": "start containerd (`sudo systemctl start containerd`, `limactl start`)",
}


@dataclass(frozen=True)
class Machine:
    """What containers may use together: memory in bytes, processors; where their files lie; how the program calls the system.

    `cgroups`: the version of the kernel's control groups, where the program tells it.
    """

    memory: int
    processors: int
    folder: str = ""
    system: str = ""
    cgroups: str = ""


@dataclass(frozen=True)
class Node:
    """A container that is a node of a kind cluster."""

    id: str
    name: str
    runs: bool


class NoAnswerError(SandboxError):
    """The program is not here, or does not answer; the message says why, without a full stop."""


class Runtime:
    """One of the three programs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._environment: dict[str, str] | None = None

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.name if self.name == "nerdctl" else self.name.capitalize()

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which it and kind reach this machine's daemon. Raises `NoAnswerError` where that is another machine's.

        The home folder stays the user's: it has the logins to registries, and a rootless program its images.
        """
        if self._environment is None:
            own = {name: value for name, value in os.environ.items() if not _MISLEADING.fullmatch(name)}
            self._environment = own | {"KIND_EXPERIMENTAL_PROVIDER": self.name} | self._daemon()
        return self._environment

    def _daemon(self) -> dict[str, str]:
        if self.name != "docker":
            return {}
        asked = [*self._program(), "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        host = _run(asked, dict(os.environ), _ANSWER_SECONDS).stdout.strip()
        if host and urlsplit(host).scheme not in ("unix", "npipe"):
            raise NoAnswerError(f"Docker's context leads to another machine ({host}), whose ports are not this one's")
        return {"DOCKER_HOST": host} if host else {}

    def _program(self) -> list[str]:
        if not shutil.which(self.name):
            raise NoAnswerError(f"{self.title} is not installed")
        return [self.name]

    def run(self, *arguments: str, seconds: float = _ANSWER_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command; its exit code is the caller's to judge. Raises `NoAnswerError` after that time."""
        return _run([*self._program(), *arguments], self.environment, seconds)

    def machine(self) -> Machine:
        """Ask what containers may use. Raises `NoAnswerError`."""
        template = "json" if self.name == "podman" else "{{json .}}"
        done = self.run("info", "--format", template)
        try:
            said = dict(json.loads(done.stdout))
        except ValueError:
            said = {}
        # Docker's client prints what it knows of itself, and an error, where the daemon does not answer.
        found = _podman(said) if self.name == "podman" else _docker(said)
        if done.returncode or not found.memory:
            raise NoAnswerError(self._why(str(said.get("ServerErrors") or "") + done.stderr))
        return found

    def _why(self, said: str) -> str:
        lines = [line.removeprefix("ERROR: ").strip() for line in said.splitlines() if line.strip()]
        last = lines[-1].strip("[]'\" ").rstrip(".") if lines else "it said nothing"
        if "permission denied" in said:
            return (
                f"this user may not use {self.title} ({last}): add yourself to its group (`sudo usermod -aG docker $USER`) and log in "
                "anew"
            )
        return f"{self.title} does not answer ({last}): {_START[self.name]}"

    def nodes(self, cluster: str) -> list[Node]:
        """Return the nodes of a kind cluster, stopped ones as well. Raises `SandboxError`."""
        label = f"label={CLUSTER_LABEL}={cluster}"
        done = self.run("ps", "--all", "--no-trunc", "--filter", label, "--format", "{{.ID}}\t{{.Names}}\t{{.Status}}")
        if done.returncode:
            raise NoAnswerError(self._why(done.stderr))
        rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 2]
        return [Node(id=id_, name=name, runs=status.startswith("Up")) for id_, name, status in rows]

    def start(self, node: Node) -> None:
        """Start a stopped node. Raises `SandboxError`."""
        done = self.run("start", node.name, seconds=_START_SECONDS)
        if done.returncode:
            raise SandboxError(
                f"the container {node.name} does not start: {_last(done.stderr)}. Run `make down`, then `make up`."
            )

    def remove(self, node: Node) -> None:
        """Remove a node and its volumes, as kind does. Raises `SandboxError`."""
        done = self.run("rm", "--force", "--volumes", node.name, seconds=_START_SECONDS)
        if done.returncode:
            raise SandboxError(f"the container {node.name} cannot be removed: {_last(done.stderr)}.")


def answering() -> tuple[Runtime, Machine]:
    """Return the first program that answers. Raises `NoAnswerError` with what each of them says."""
    problems = []
    for name in PROGRAMS:
        runtime = Runtime(name)
        try:
            return runtime, runtime.machine()
        except NoAnswerError as problem:
            problems.append((name, str(problem)))
    present = [problem for name, problem in problems if shutil.which(name)]
    raise NoAnswerError("; ".join(present) if present else "neither Docker nor Podman nor nerdctl is installed")


def _run(command: list[str], environment: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(
            f"`{command[0]} {command[1]}` did not end within {seconds:.0f} s: {_START[command[0]]}"
        ) from None
    except OSError as problem:
        raise NoAnswerError(f"{command[0]} cannot be run: {problem.strerror}") from None


def _docker(said: Mapping[str, Any]) -> Machine:
    return Machine(
        memory=int(said.get("MemTotal") or 0),
        processors=int(said.get("NCPU") or 0),
        folder=str(said.get("DockerRootDir") or ""),
        system=str(said.get("OperatingSystem") or ""),
        cgroups=str(said.get("CgroupVersion") or ""),
    )


def _podman(said: Mapping[str, Any]) -> Machine:
    host, store = said.get("host") or {}, said.get("store") or {}
    return Machine(
        memory=int(host.get("memTotal") or 0),
        processors=int(host.get("cpus") or 0),
        folder=str(store.get("graphRoot") or ""),
        system=str((host.get("distribution") or {}).get("distribution") or ""),
        cgroups=str(host.get("cgroupVersion") or "").removeprefix("v"),
    )


def free_disk(machine: Machine) -> int | None:
    """Return the bytes that are free where images go; nothing where that is inside a virtual machine."""
    folder = Path(machine.folder)
    try:
        return shutil.disk_usage(folder).free if machine.folder and folder.is_dir() else None
    except OSError:
        return None


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "it said nothing"
