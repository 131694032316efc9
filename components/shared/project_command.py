"""Commands of the project's own, run by pulumi-command on the machine that runs Pulumi."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

from commands import cluster_access
from commands.cluster_access import Access, Look
from commands.cluster_identity import CLUSTER_UID
from commands.command_line import FROM_ENVIRONMENT
from names import is_kubeconfig
from settings.secret_parts import SecretText, sealed, secret_parts

# What comes after an option; secret where it is marked so, or known only to the engine.
Argument = str | pulumi.Output[str]

# The virtual environment that `Pulumi.yaml` names. Relative, as the same state serves every machine.
PYTHON = "venv/bin/python"

_ROOT = Path(__file__).resolve().parents[2]

# That of a virtual environment with the package kubernetes, in the places of pip's and uv's; else the system's. To ask
# Python whether it has the package would take as long as half of what it runs.
BY_SOME_PYTHON = (
    'for folder in "${VIRTUAL_ENV:-venv}" venv .venv; do '
    'set -- "$folder"/lib/python3*/site-packages/kubernetes/__init__.py; [ -f "$1" ] && [ -x "$folder/bin/python3" ] && break; folder=; done; '
    'exec "${folder:+$folder/bin/}python3" '
)

_WHEN_DELETED = "commands.when_deleted"

# Prints 32 characters, the length of Kiali's keys.
RANDOM_KEY = f"{PYTHON} -c 'import secrets; print(secrets.token_hex(16))'"

# For an update: what was printed before.
PRINTED_BEFORE = 'printf %s "$PULUMI_COMMAND_STDOUT"'


def command_line(module: str, arguments: Sequence[Argument]) -> str:
    """Return the shell command that runs a module of this project from the project's folder.

    Everybody on the machine may read a command line, and the state holds it: `secret_environment` has what is secret.
    """
    return shlex.join([PYTHON, "-m", module, *_passed(arguments)[0]])


def secret_environment(arguments: Sequence[Argument]) -> dict[str, pulumi.Output[str]] | None:
    """Return the variables that a command line of these arguments names, or None where it names none."""
    return _passed(arguments)[1] or None


def digest(*looked_at: Any) -> list[str]:
    """Return an argument that changes with what a command looks at, so that the command runs again when that does.

    Where a secret is in it the digest is one too: who knows the rest could try passwords against it.
    """
    plain = [_compared(one) if dataclasses.is_dataclass(one) else one for one in looked_at]
    text = json.dumps(plain, sort_keys=True, default=_compared)
    found = hashlib.sha256(text.encode()).hexdigest()[:12]
    return ["--digest", SecretText(found) if any(secret_parts(plain)) else found]


def _compared(value: Any) -> dict[str, Any]:
    """Return the fields that tell whether two of a dataclass are the same: others, such as a login, change nothing."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}


def run(
    name: str,
    module: str,
    access: Access,
    arguments: Sequence[Argument],
    opts: pulumi.ResourceOptions,
    *,
    only_first: Sequence[str] = (),
) -> local.Command:
    """Run `python -m <module> <arguments>` on a cluster when it is new there, and again whenever its arguments change.

    `only_first` are further arguments for the very first run in a cluster.
    """
    given = [*access.arguments(), *arguments]
    return on_cluster(
        name,
        access,
        opts,
        create=command_line(module, [*given, *only_first]),
        update=command_line(module, given),
        environment=secret_environment(given),
    )


def run_when_deleted(
    name: str, program: str, access: Access, arguments: Sequence[Argument], opts: pulumi.ResourceOptions
) -> local.Command:
    """Run a program of `commands/when_deleted` on a cluster when the resource is deleted, by whatever Python there is then.

    The state carries its text: the project of that day may have no virtual environment, or no such file.
    """
    given = [*access.arguments(), *arguments]
    return on_cluster(
        name,
        access,
        opts,
        delete=BY_SOME_PYTHON + shlex.join(["-", *_passed(given)[0]]),
        # Pulumi prints the command when it fails, but not what it reads.
        stdin=text_of(f"{_WHEN_DELETED}.{program}"),
        environment=secret_environment(given),
    )


@functools.cache
def text_of(module: str) -> str:
    """Return the text of a module of `commands/when_deleted`, with that of another one in place of its import."""
    text = (_ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(_WHEN_DELETED):
            lines[node.lineno - 1 : node.end_lineno] = [text_of(str(node.module))]
    return "".join(lines)


def on_cluster(
    name: str,
    access: Access,
    opts: pulumi.ResourceOptions,
    *,
    create: str | None = None,
    update: str | None = None,
    delete: str | None = None,
    stdin: str | None = None,
    environment: Mapping[str, pulumi.Output[str]] | None = None,
) -> local.Command:
    """Create a Command that belongs to a cluster: when the stack comes into another one, it is replaced.

    It is then created there, and deleted in the one where it was.
    """
    identity = access.identity
    uid = {CLUSTER_UID: identity.uid} if identity.uid else {}
    # Where nothing of the stack is left, there is nothing to clear; and maybe no cluster either.
    cleared = bool(delete) and not identity.last.objects
    replaced = [f"environment.{CLUSTER_UID}"] if identity.replaces(name) and not cleared else []
    return local.Command(
        name,
        create=create,
        update=update,
        delete=delete,
        stdin=stdin,
        environment={**(environment or {}), **uid} or None,
        logging=local.Logging.STDERR,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(replace_on_changes=replaced)),
    )


def report(command: local.Command) -> pulumi.Output[Any]:
    """Return what a command of this project found, which is JSON and never secret.

    The provider takes every output for one where an input is.
    """
    return pulumi.Output.unsecret(command.stdout).apply(json.loads)


def report_of_today(
    command: local.Command, component: str, access: Access, look: Look
) -> pulumi.Output[dict[str, str]]:
    """Return what a command found, and where that can be looked at, what it would find today.

    A preview without a cluster goes by what `component` told at the last `up`.
    """

    def today(found: dict[str, str]) -> dict[str, str]:
        told = access.identity.last.reports.get(component, {})
        now = cluster_access.ask(access, look) if access.identity.version else told
        return {key: str(now.get(key, value)) for key, value in found.items()}

    return report(command).apply(today)


def _passed(arguments: Sequence[Argument]) -> tuple[list[str], dict[str, pulumi.Output[str]]]:
    """Return arguments as a command line shows them, and the variables for those that it does not show."""
    shown: list[str] = []
    hidden: dict[str, pulumi.Output[str]] = {}
    for option, given in itertools.pairwise(["", *arguments]):
        if isinstance(given, SecretText | pulumi.Output) or (option == "--kubeconfig" and is_kubeconfig(given)):
            name = f"KONG_ISTIO_{str(option).strip('-').replace('-', '_').upper()}"
            hidden[name] = pulumi.Output.secret(sealed(given))
            shown.append(f"{FROM_ENVIRONMENT}{name}")
        else:
            shown.append(given)
    return shown, hidden
