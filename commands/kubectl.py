"""Runs kubectl: it knows every way to log in that a kubeconfig can name."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any


class KubectlError(Exception):
    """What kubectl said when it failed, in one line."""


class NoKubectlError(KubectlError):
    """There is no kubectl."""


class Kubectl:
    """kubectl for one cluster. `arguments` are the options that name it."""

    def __init__(self, arguments: Sequence[str], *, timeout_seconds: int = 30) -> None:
        self._arguments = list(arguments)
        self._timeout = timeout_seconds

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what `kubectl <arguments>` prints. Raises `KubectlError`."""
        command = self.command("--request-timeout=10s", *arguments)
        given: dict[str, Any] = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self._timeout, check=False, **given)
        except subprocess.TimeoutExpired:
            raise KubectlError(f"kubectl {arguments[0]} gave no answer within {self._timeout} s.") from None
        if done.returncode:
            raise KubectlError(_last_line(done.stderr) or f"kubectl {arguments[0]} failed.")
        return str(done.stdout)

    def command(self, *arguments: str) -> list[str]:
        """Return the command of `kubectl <arguments>` on this cluster. Raises `NoKubectlError`."""
        program = shutil.which("kubectl")
        if not program:
            raise NoKubectlError("kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools/).")
        return [program, *self._arguments, *arguments]

    def get_raw(self, path: str) -> Any:
        """Return the JSON that the API server answers for a path."""
        answer = self.run("get", "--raw", path)
        try:
            return json.loads(answer)
        except ValueError:
            raise KubectlError(f"{path} is answered by something that is no Kubernetes API server.") from None

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """Return one object, or None where there is none of that name."""
        text = self.run("get", *arguments, "--output=json", "--ignore-not-found")
        return dict(json.loads(text)) if text.strip() else None

    def list(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects that `kubectl get <arguments>` lists; none where the cluster has no such kind."""
        try:
            found = json.loads(self.run("get", *arguments, "--output=json"))
        except KubectlError as error:
            if "doesn't have a resource type" in str(error):
                return []
            raise
        return list(found["items"])


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
