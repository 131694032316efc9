"""Parts of settings that came in as secrets: passed on for what they are, never shown, and secrets to the provider.

The engine tells a program which keys hold a secret, not where in them. What a stack file of the project says in plain text
in the same place is none; all else in such a key counts as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

import quick_yaml
from names import SANDBOX_FOLDER

HIDDEN = "[secret]"

# Shorter ones are in sentences anyway.
_TELLING = 4


class SecretPart:
    """Marks a value as secret. Wherever one is put into a sentence, or printed, it reads `[secret]`."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return what is shown in place of it."""
        return HIDDEN

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        """Return what is shown in place of it."""
        return HIDDEN


class SecretText(SecretPart, str):
    """A text that is secret."""

    __slots__ = ()


class SecretInteger(SecretPart, int):
    """A whole number that is secret."""

    __slots__ = ()


class SecretNumber(SecretPart, float):
    """A number that is secret."""

    __slots__ = ()


def plain_settings(root: Path, key: str) -> list[Any]:
    """Return what the stack files of the project at `root`, the sandbox's among them, say of a key."""
    found = []
    for file in (*root.glob("Pulumi.*.yaml"), *root.glob(f"{SANDBOX_FOLDER}*/Pulumi.*.yaml")):
        try:
            found.append(quick_yaml.load(file.read_text(encoding="utf-8"))["config"][key])
        except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
            # Whatever it is, nothing can be seen in it.
            continue
    return found


def marked(value: Any, plain: list[Any]) -> Any:
    """Return a value of a secret key with its texts and numbers marked, save those that one of `plain` has as well."""
    match value:
        case dict():
            return {
                key: marked(inner, [said[key] for said in plain if isinstance(said, dict) and key in said])
                for key, inner in value.items()
            }
        case list():
            lists = [said for said in plain if isinstance(said, list)]
            return [
                marked(inner, [said[index] for said in lists if index < len(said)]) for index, inner in enumerate(value)
            ]
        case bool() | None | "":
            return value
    if any(value == said and type(value) is type(said) for said in plain):
        return value
    kinds = {str: SecretText, int: SecretInteger, float: SecretNumber}
    return kinds[type(value)](value) if type(value) in kinds else value


def secret_parts(value: Any) -> Iterator[SecretPart]:
    """Yield what is marked in a value."""
    if isinstance(value, SecretPart):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from secret_parts(inner)


def plain(value: Any) -> Any:
    """Return a value of configuration without its marks, to look into it."""
    match value:
        case SecretText():
            return str.__str__(value)
        case SecretInteger():
            return int.__int__(value)
        case SecretNumber():
            return float.__float__(value)
        case Mapping():
            return {key: plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
    return value


def sealed(value: Any) -> Any:
    """Return a value as a resource takes it: what is marked in it is a secret to Pulumi."""
    match value:
        case SecretPart():
            return pulumi.Output.secret(plain(value))
        case Mapping():
            return {key: sealed(inner) for key, inner in value.items()}
        case list() | tuple():
            return [sealed(inner) for inner in value]
    return value


def without_secrets(sentence: str, value: Any) -> str:
    """Return a sentence without what is marked in a value; of what is short, nothing could be told."""
    for part in secret_parts(value):
        text = str(plain(part))
        if len(text) >= _TELLING:
            sentence = sentence.replace(text, HIDDEN)
    return sentence
