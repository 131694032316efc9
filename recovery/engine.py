"""What Pulumi's engine knows of a stack that was cut off: who locked it, its state, and what an `up` would still create."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from checks.selected_stack import Stack
from commands.cluster_identity import LastUp
from recovery import RecoveryError

RELEASE = "kubernetes:helm.sh/v3:Release"
_NAMESPACE = "kubernetes:core/v1:Namespace"
_SECONDS = 600
# What every backend that is a folder or a bucket says of a lock (pulumi: pkg/backend/diy/lock.go).
_HOLDER = re.compile(r"created by (?P<user>.*?)@(?P<host>\S+) \(pid (?P<process>\d+)\)")
# Pulumi Cloud's answer, which names nobody (HTTP's 409).
_REFUSED = ("currently locked", "[409]")

# What a backend that is a folder has of a state after its disk was full.
_CUT_OFF = (
    "The file with the state of {name} ends in the middle, as on a disk that was full: make room; put the newest whole file of "
    ".pulumi/backups/kong-istio/{name}/, or .pulumi/stacks/kong-istio/{name}.json.bak, in the place of "
    ".pulumi/stacks/kong-istio/{name}.json; and run this again."
)

Resource = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock on a stack. `holders`: the processes that took it, as far as they are told."""

    holders: Sequence[Mapping[str, str]]

    @property
    def running(self) -> str:
        """Who holds it for sure: a process of this machine that runs still."""
        return next((_named(each) for each in self.holders if _is_here(each) and _runs(each["process"])), "")

    def __str__(self) -> str:
        ended = all(_is_here(each) for each in self.holders)
        names = " and ".join(map(_named, self.holders))
        if not self.holders:
            return "by an update of which Pulumi Cloud names no process: go on only if none runs"
        return f"by {names}, which has ended" if ended else f"by {names}: go on only if that process has ended"


class State:
    """A stack's state, as `pulumi stack export` writes it."""

    def __init__(self, exported: Mapping[str, Any]) -> None:
        deployment = exported.get("deployment") or {}
        resources: list[Resource] = deployment.get("resources") or []
        # What an `up` is to delete has been replaced already, or is about to be.
        self.resources = [each for each in resources if not each.get("delete") and not each.get("pendingReplacement")]
        #: What was begun and never ended: URN -> creating, updating, deleting …
        self.begun = {
            str(each["resource"]["urn"]): str(each["type"]) for each in deployment.get("pending_operations") or []
        }

    @property
    def releases(self) -> set[tuple[str, str]]:
        """Namespace and name of the Helm releases."""
        return {pair(str(each["id"])) for each in self.resources if each["type"] == RELEASE and each.get("id")}

    @property
    def namespaces(self) -> set[str]:
        """The namespaces that the stack has created."""
        return {str(each["id"]) for each in self.resources if each["type"] == _NAMESPACE and each.get("id")}

    @property
    def root(self) -> str:
        """The URN of the stack itself; empty for a stack without resources."""
        return next((str(each["urn"]) for each in self.resources if each["type"] == "pulumi:pulumi:Stack"), "")

    @property
    def cluster(self) -> str:
        """The UID of the cluster that the stack is in; empty where none is known."""
        told = {
            str(each["urn"]): {"type": each["type"], "outputs": each.get("outputs") or {}} for each in self.resources
        }
        return LastUp.of(told).uid

    def has(self, urn: str) -> bool:
        """Return whether there is a resource."""
        return any(each["urn"] == urn for each in self.resources)


class Engine:
    """Pulumi's engine on one stack. Every method raises `RecoveryError` with what Pulumi said, and `StackError`."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    @cached_property
    def state(self) -> State:
        """The stack's state, as it was first looked at."""
        try:
            return State(self._told("stack", "export"))
        except RecoveryError as problem:
            if "failed to load checkpoint" not in str(problem):
                raise
            raise RecoveryError(_CUT_OFF.format(name=self._stack.name.rpartition("/")[2])) from None

    @property
    def interrupted(self) -> bool:
        """Whether the last `up` or `destroy` that wrote down its end did not succeed, or one wrote down none."""
        entries = self._told("stack", "history", "--json", "--page-size=20")
        last = next((each for each in entries if each["kind"] in ("update", "destroy")), {"result": "succeeded"})
        return bool(self.state.begun or last["result"] != "succeeded")

    def lock(self) -> Lock | None:
        """Return the lock on the stack, if there is any."""
        # Every backend looks for a lock before a refresh, and this one changes nothing.
        target = [f"--target={self.state.root}"] if self.state.root else []
        done = self._stack.pulumi(
            "refresh", "--yes", "--skip-preview", "--skip-pending-creates", *target, seconds=_SECONDS
        )
        if not done.returncode:
            return None
        if not any(text in done.stderr for text in _REFUSED):
            raise RecoveryError(f"`pulumi refresh` failed: {_reason(done.stdout, done.stderr)}.")
        return Lock(holders=[found.groupdict() for found in _HOLDER.finditer(done.stderr)])

    def unlock(self) -> None:
        """Take the lock off the stack."""
        self._ask("cancel", "--yes", config=False)

    def look_again(self, unfinished: Collection[str]) -> None:
        """Have the engine look at everything that the state holds, and forget the operations that never ended.

        The next `up` updates the `unfinished` Helm releases, given by their ids, whatever their inputs: the provider
        takes a release that failed for one that is well.
        """
        self._ask("refresh", "--yes", "--skip-preview", "--clear-pending-creates")
        if not unfinished:
            return
        exported = self._told("stack", "export")
        for each in exported["deployment"]["resources"]:
            if each["type"] == RELEASE and each.get("id") in unfinished:
                each["initErrors"] = ["Helm was cut off"]
        # It holds no secret in clear text.
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(exported, file)
            file.flush()
            self._ask("stack", "import", "--file", file.name, config=False)

    def planned(self) -> list[Resource]:
        """Return the Kubernetes objects and Helm releases that an `up` would create."""
        done = self._stack.pulumi("preview", "--json", seconds=_SECONDS)
        try:
            steps = json.loads(done.stdout)["steps"] if not done.returncode else None
        except (ValueError, KeyError):
            steps = None
        if steps is None:
            raise RecoveryError(f"`pulumi preview` failed: {_reason(done.stdout, done.stderr)}.")
        new = [step["newState"] for step in steps if step["op"] in ("create", "create-replacement")]
        return [each for each in new if each["type"].startswith("kubernetes:") and not self.state.has(each["urn"])]

    def _told(self, *arguments: str) -> Any:
        text = self._ask(*arguments, config=False)
        try:
            return json.loads(text)
        except ValueError:
            raise RecoveryError(
                f"`pulumi {' '.join(arguments[:2])}` printed no JSON: is that Pulumi's own program?"
            ) from None

    def _ask(self, *arguments: str, config: bool = True) -> str:
        done = self._stack.pulumi(*arguments, seconds=_SECONDS, config=config)
        if done.returncode:
            raise RecoveryError(f"`pulumi {' '.join(arguments[:2])}` failed: {_reason(done.stdout, done.stderr)}.")
        return done.stdout


def pair(identity: str) -> tuple[str, str]:
    """Return namespace and name of an id of the Kubernetes provider's."""
    namespace, _, name = identity.rpartition("/")
    return namespace, name


def _reason(stdout: str, stderr: str) -> str:
    errors = re.findall(r"error: (.+)", stderr) or re.findall(r'"message": "error: (.+?)(?:\\n)*"', stdout)
    last = [*(line.strip() for line in stderr.splitlines()), "it said nothing"]
    return str(errors[0] if errors else last[0]).rstrip(".")


def _named(holder: Mapping[str, str]) -> str:
    return f"{holder['user']}@{holder['host']} (process {holder['process']})"


def _is_here(holder: Mapping[str, str]) -> bool:
    return holder["host"] == socket.gethostname()


def _runs(process: str) -> bool:
    """Return whether a process is Pulumi: after a reboot its number may be anybody's."""
    environment = {**os.environ, "LC_ALL": "C"}
    command = ["ps", "-ww", "-p", process, "-o", "command="]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return "pulumi" in done.stdout
