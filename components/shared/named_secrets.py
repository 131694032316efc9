"""Secrets that settings name and others make."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_command import local

from commands.cluster_access import Access
from commands.secret_ready import Kind
from components.shared import project_command


@dataclass(frozen=True, kw_only=True)
class NamedSecrets:
    """How a stack waits for what it is given: `timeout_seconds` for each Secret."""

    access: Access
    timeout_seconds: int

    def wait(
        self, resource: str, kind: Kind, namespace: str, name: str, opts: pulumi.ResourceOptions, *, key: str = ""
    ) -> local.Command:
        """Return a Command (`python -m commands.secret_ready`) that ends once the Secret is there with what it has to hold.

        Nothing of what is in it gets into the state. `key`: in it, for the kind `json`. Raises in `up`: its sentence,
        after `security.secretTimeoutSeconds`.
        """
        arguments = [
            *("--namespace", namespace, "--name", name, "--kind", kind),
            *(("--key", key) if key else ()),
            *("--timeout", str(self.timeout_seconds)),
        ]
        return project_command.run(resource, "commands.secret_ready", self.access, arguments, opts)
