"""`Pulumi.yaml` and a stack file, read with the engine's rules for types and defaults.

The CLI applies these rules before a program starts, so mocks never see them. What comes out is what the
engine hands to a program: text for each key, JSON text for arrays and objects.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pulumi import RunError

from names import SANDBOX_NAME, sandbox_folder

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "rehearsal-placeholder"
_PLACEHOLDERS = {"integer": "0", "boolean": "false"}
# Settings that are read as PEM take no other text.
_PEM = {"certificate": "CERTIFICATE", "key": "PRIVATE KEY"}


class _Loader(yaml.SafeLoader):
    """The engine's YAML, whose only booleans are `true` and `false`: `yes` and `on` are strings, and so are dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by its base class
        first: [
            (tag, pattern)
            for tag, pattern in pairs
            if tag != "tag:yaml.org,2002:timestamp" and (tag != "tag:yaml.org,2002:bool" or first in "tTfF")
        ]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@cache
def _manifest(text: str) -> Any:
    return _Loader(text).get_single_data()


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """What the engine would hand to the program for one stack."""

    stack: str
    values: dict[str, str]
    secrets: frozenset[str]


def settings_in(file: Path) -> dict[str, Any]:
    """Return the settings of a stack file as the engine takes them: `1.30` stays "1.30" for a string."""
    typed = (_Loader(file.read_text()).get_single_data() or {}).get("config") or {}
    written = (yaml.BaseLoader(file.read_text()).get_single_data() or {}).get("config") or {}
    return {key: text if isinstance(text, str) else typed[key] for key, text in written.items()}


class Project:
    """A project folder: its name and the schema of its configuration."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        manifest = _manifest((root / "Pulumi.yaml").read_text())
        self.name: str = manifest["name"]
        self.schema = {
            self.full_key(key): self._declaration(key, declared)
            for key, declared in (manifest.get("config") or {}).items()
        }

    def full_key(self, key: str) -> str:
        """Return the key with its namespace; a bare key is in the project's own."""
        return key if ":" in key else f"{self.name}:{key}"

    def _declaration(self, key: str, declared: Any) -> dict[str, Any]:
        key = self.full_key(key)
        if not isinstance(declared, dict):  # the short form `key: value`
            return {"default" if self._own(key) else "value": declared}
        if "default" in declared and "value" in declared:
            raise RunError(f"Pulumi.yaml gives {key} both a default and a value; keep one of them.")
        if not self._own(key) and ("type" in declared or "default" in declared):
            raise RunError(f"Pulumi.yaml may only give a value to {key}, which is not a key of {self.name}.")
        if declared.get("type") == "array" and "items" not in declared:
            raise RunError(f"Pulumi.yaml declares {key} as an array without saying of which items.")
        if "type" in declared and "default" in declared and not _fits(declared["default"], declared):
            raise RunError(_mismatch("Pulumi.yaml's default for " + key, declared["default"], declared))
        return declared

    def _own(self, key: str) -> bool:
        return key.startswith(f"{self.name}:")

    def stacks(self) -> list[str]:
        """Return the names of the stacks that have a file."""
        return sorted(
            path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in self.root.glob("Pulumi.*.yaml")
        )

    def stack_file(self, stack: str) -> Path:
        """Return the file of a stack, or say which stacks there are.

        While the sandbox is up, its own file, with what is true of this machine, stands in for the committed one.
        """
        of_the_sandbox = self.root / sandbox_folder(os.environ.get(SANDBOX_NAME, "")) / f"Pulumi.{stack}.yaml"
        if stack == "sandbox" and of_the_sandbox.is_file():
            return of_the_sandbox
        file = self.root / f"Pulumi.{stack}.yaml"
        if not file.is_file():
            raise RunError(f"There is no stack {stack!r}; there are: {', '.join(self.stacks()) or 'none'}.")
        return file

    def selected(self, options: argparse.Namespace) -> StackConfig:
        """Return the configuration of the stack that a command line names, else of the sandbox's."""
        return self.read(options.config_file or self.stack_file(options.stack or "sandbox"))

    def read(self, file: Path) -> StackConfig:
        """Return the configuration that a stack file gives."""
        if not file.is_file():
            raise RunError(f"There is no stack file {file}.")
        name = re.fullmatch(r"Pulumi\.(.+)\.yaml", file.name)
        return self.configure(settings_in(file), stack=name[1] if name else file.stem)

    def configure(self, given: Mapping[str, Any], secrets: Collection[str] = (), stack: str = "test") -> StackConfig:
        """Check values against the schema, add the defaults and write all as the engine does."""
        values = {self.full_key(key): value for key, value in given.items()}
        hidden = {self.full_key(key) for key in secrets} | {k for k, v in values.items() if list(secret_places(v))}
        for key in hidden & values.keys():
            values[key] = disclosed(values[key], _PLACEHOLDERS.get(self._type(key), PLACEHOLDER))
        missing = [
            key
            for key, declared in self.schema.items()
            if self._own(key) and key not in values and declared.keys().isdisjoint({"default", "value"})
        ]
        if missing:
            raise RunError(f"Stack {stack!r} gives no value to {' and '.join(missing)}.")
        for key in values.keys() & self.schema.keys():
            self._check(key, values[key], key in hidden)
        defaults = {key: d.get("default", d.get("value")) for key, d in self.schema.items()}
        merged = {key: value for key, value in {**defaults, **values}.items() if value is not None}
        return StackConfig(stack=stack, values={k: _text(v) for k, v in merged.items()}, secrets=frozenset(hidden))

    def _type(self, key: str) -> str:
        return str(self.schema.get(key, {}).get("type", ""))

    def _check(self, key: str, value: Any, secret: bool) -> None:
        declared = self.schema[key]
        if declared.get("secret") and not secret:
            raise RunError(f"{key} is a secret and must be encrypted: `pulumi config set --secret`.")
        # On the stack's side a scalar is text by now, so `2` is a string as well as an integer.
        content = value if isinstance(value, dict | list) else _text(value)
        if "type" in declared and not _fits(content, declared):
            raise RunError(_mismatch(key, "a secret" if secret else value, declared))


def add_stack_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Let a command line name a stack, or its file."""
    stack = parser.add_mutually_exclusive_group(required=required)
    stack.add_argument("--stack", metavar="NAME", help="of the stack in Pulumi.NAME.yaml")
    stack.add_argument("--config-file", metavar="FILE", type=Path, help="of the stack in this file")


def _fits(value: Any, declared: Mapping[str, Any]) -> bool:
    """Tell whether a value is of the declared type, as the engine judges it."""
    match declared["type"]:
        case "string":
            return isinstance(value, str)
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            text = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value) is not None
            return whole or text or (isinstance(value, int) and not isinstance(value, bool))
        case "boolean":
            return isinstance(value, bool) or value in ("true", "false")
        case "object":
            return isinstance(value, dict)
    return isinstance(value, list) and all(_fits(item, declared["items"]) for item in value)


def _mismatch(subject: str, value: Any, declared: Mapping[str, Any]) -> str:
    name = declared["type"]
    inner = declared.get("items")
    while inner:
        name, inner = f"{name} of {inner['type']}", inner.get("items")
    article = "an" if name[0] in "aeio" else "a"
    return f"{subject} is {value!r}, but must be {article} {name}."


def secret_places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where settings have encrypted values: keys, and positions in lists."""
    if isinstance(value, dict) and value.keys() == {"secure"}:
        yield place
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from secret_places(item, (*place, key))


def disclosed(value: Any, placeholder: str = PLACEHOLDER) -> Any:
    """Return settings with a placeholder for each encrypted value."""
    if isinstance(value, dict):
        if value.keys() == {"secure"}:
            return placeholder
        return {key: disclosed(item, placeholder_for(key)) for key, item in value.items()}
    return [disclosed(item) for item in value] if isinstance(value, list) else value


def placeholder_for(field: str | int, text: str = PLACEHOLDER) -> str:
    """Return what stands for an encrypted field, with `text` where that will do."""
    if field not in _PEM:
        return text
    label = _PEM[str(field)]
    # Not from the first character on, where it would look like an option.
    return (
        f"{PLACEHOLDER}\n-----BEGIN {label}-----\n{base64.b64encode(text.encode()).decode()}\n-----END {label}-----\n"
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # Once more, as keys of YAML that are no texts become texts only then, and can be sorted.
    return json.dumps(json.loads(json.dumps(value, default=str)), sort_keys=True, separators=(",", ":"))
