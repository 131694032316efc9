"""Waits for a Secret that the stack does not create; says meanwhile which, and the command that creates it."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from commands import command_line
from commands.command_line import CommandError
from names import is_kubeconfig_path

Kind = Literal["tls", "login", "json", "registry"]

# Somebody creates it by hand, or an operator does: neither is a matter of tenths of a second.
_POLL_SECONDS = 1

# What a Secret of each kind has to hold; `json` has the key that the settings name. Pods take a registry's in two forms.
_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "tls": ("tls.crt", "tls.key"),
    "login": ("admin-user", "admin-password"),
    "registry": (),
}
_CREATE: Mapping[Kind, str] = {
    "tls": "kubectl create secret tls {name} {place} --cert=tls.crt --key=tls.key",
    "login": (
        "kubectl create secret generic {name} {place} --from-literal=admin-user=admin "
        "--from-file=admin-password=password-of-grafana"
    ),
    "json": (
        """printf '"%s"' "$(cat password-of-redis)" | kubectl create secret generic {name} {place} """
        "--from-file={key}=/dev/stdin"
    ),
    "registry": (
        "kubectl create secret generic {name} {place} --type=kubernetes.io/dockerconfigjson "
        "--from-file=.dockerconfigjson=config.json"
    ),
}


def main() -> None:
    """Wait from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    keys = (options.key,) if options.key else _KEYS[options.kind]
    problem = ""

    def fits() -> bool | None:
        nonlocal problem
        before = problem
        problem = wrong(cluster.get("secrets", options.name, options.namespace), options.kind, keys)
        if problem and problem != before:
            print(
                f"The Secret {options.namespace}/{options.name} {problem}; waiting for it, up to {options.timeout} s. "
                f"To create it:\n{_command(options)}",
                file=sys.stderr,
                flush=True,
            )
        return None if problem else True

    if not command_line.poll(fits, options.timeout, pause=_POLL_SECONDS):
        there = "" if problem == _ABSENT else "delete it and "
        raise CommandError(
            f"The Secret {options.namespace}/{options.name} {problem} after {options.timeout} s: {there}create it"
            f"{f' with {_listed(keys)}' if keys else ''} by `{_command(options)}` and run `pulumi up` again, or raise "
            "security.secretTimeoutSeconds."
        )
    print(json.dumps({"secret": f"{options.namespace}/{options.name}"}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--kind", required=True, choices=get_args(Kind), help="what it is for")
    parser.add_argument("--key", default="", help="in which a Secret of the kind json holds its text")
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait for it")
    return parser.parse_args()


_ABSENT = "is not there"


def wrong(secret: Mapping[str, Any] | None, kind: Kind, keys: tuple[str, ...]) -> str:
    """Return what keeps a Secret from being used, without telling what is in it; empty where nothing does."""
    if secret is None:
        return _ABSENT
    data = secret.get("data") or {}
    missing = [key for key in keys if not data.get(key)]
    if missing:
        return f"has no {_listed(missing)}"
    if kind == "json" and not _is_json_text(base64.b64decode(data[keys[0]])):
        return f"holds no JSON text in {keys[0]} (Kong's controller wants double quotes around the password)"
    return ""


def _is_json_text(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), str)
    except ValueError:
        return False


def _command(options: argparse.Namespace) -> str:
    # Quoted, a shell would not expand it.
    path = os.fspath(Path(options.kubeconfig).expanduser()) if is_kubeconfig_path(options.kubeconfig) else ""
    kubeconfig = ["--kubeconfig", path] if path else []
    place = shlex.join(["--namespace", options.namespace, *kubeconfig, "--context", options.context])
    return _CREATE[options.kind].format(name=options.name, key=options.key, place=place)


def _listed(keys: tuple[str, ...] | list[str]) -> str:
    return " and ".join(keys)


if __name__ == "__main__":
    command_line.run(main)
