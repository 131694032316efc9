"""Reads plain configuration (dicts, lists, numbers, text) into frozen dataclasses, by their type hints.

Keys are camelCase in configuration and snake_case in Python. Whatever does not fit raises `SettingsError`
with one sentence that names the key, the value and the remedy.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pulumi

T = TypeVar("T")

_NAMES: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class SettingsError(pulumi.RunError):
    """A setting that cannot be used. Pulumi prints a RunError as its sentence, without a traceback."""


def camel(name: str) -> str:
    """Return the configuration's spelling of a Python field name."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def limits(minimum: int, maximum: int) -> dict[str, int]:
    """Return field metadata for a number that must lie between two bounds, both included."""
    return {"minimum": minimum, "maximum": maximum}


def matching(pattern: str, meaning: str) -> dict[str, str]:
    """Return field metadata for text that must match `pattern` wholly; `meaning` says so to people."""
    return {"pattern": pattern, "meaning": meaning}


def private() -> dict[str, bool]:
    """Return field metadata for what no error sentence may show."""
    return {"private": True}


def read(kind: type[T], value: Any, key: str, metadata: Mapping[str, Any] = types.MappingProxyType({})) -> T:
    """Return `value`, found under the configuration key `key`, as an instance of the dataclass `kind`."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} is {_shown(value, metadata)}: it must be an object with the keys {_keys(kind)}.")
    hints = typing.get_type_hints(kind)
    fields = {camel(field.name): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    check_known(value, fields, key)
    found: dict[str, Any] = {}
    for name, field in fields.items():
        where = join(key, name)
        if name in value:
            found[field.name] = _convert(hints[field.name], value[name], where, field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{where} is missing: every entry of {key.split('[')[0]} must have it.")
    return kind(**found)


def override(base: T, own: Mapping[str, Any], key: str) -> T:
    """Return `base`, a dataclass, with the fields that `own` (found under `key`) names in place of its own.

    A field that is a dataclass itself is overridden field by field.
    """
    given = read(type(base), own, key)
    changes = {}
    for field in dataclasses.fields(base):  # type: ignore[arg-type]
        if camel(field.name) in own:
            value, before = getattr(given, field.name), getattr(base, field.name)
            if dataclasses.is_dataclass(before) and value is not None:
                value = override(before, own[camel(field.name)], join(key, camel(field.name)))
            changes[field.name] = value
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def join(key: str, name: str) -> str:
    """Return the name of a key inside another; the outermost key has no name."""
    return f"{key}.{name}" if key else name


def check_known(names: typing.Iterable[str], known: typing.Collection[str], key: str) -> None:
    """Raise for the first of `names`, found under `key`, that is not among the `known` ones."""
    for name in names:
        if name not in known:
            raise SettingsError(f"{join(key, str(name))} is not a setting{_nearest(str(name), known)}")


def show(value: Any) -> str:
    """Return a short form of a value for an error sentence."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, (Mapping, list)):
        # Not what is in it: that may be long, or a password.
        return "an object" if isinstance(value, Mapping) else "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _convert(hint: Any, value: Any, key: str, metadata: Mapping[str, Any]) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _convert(inner, value, key, metadata)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise SettingsError(f"{key} is {show(value)}: it must be {_either(arguments)}.")
        return value
    if origin is tuple:
        return _sequence(arguments[0], value, key)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type, hint), value, key, metadata)
    if origin is dict:
        return _mapping(value, key)
    return _scalar(hint, value, key, metadata)


def _sequence(item: Any, value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise SettingsError(f"{key} is {show(value)}: it must be a list.")
    return tuple(_convert(item, entry, f"{key}[{index}]", {}) for index, entry in enumerate(value))


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} is {show(value)}: it must be an object.")
    return dict(value)


def _scalar(kind: Any, value: Any, key: str, metadata: Mapping[str, Any]) -> Any:
    accepted = (int, float) if kind is float else kind
    # bool is an int in Python, and a port of `true` would otherwise be port 1.
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise SettingsError(f"{key} is {_shown(value, metadata)}: it must be {_NAMES[kind]}.")
    if "minimum" in metadata and not metadata["minimum"] <= value <= metadata["maximum"]:
        low, high = metadata["minimum"], metadata["maximum"]
        raise SettingsError(f"{key} is {_shown(value, metadata)}: it must lie between {low} and {high}.")
    if "pattern" in metadata and not re.fullmatch(metadata["pattern"], str(value)):
        raise SettingsError(f"{key} is {_shown(value, metadata)}: it must be {metadata['meaning']}.")
    return value


def _shown(value: Any, metadata: Mapping[str, Any]) -> str:
    return "[secret]" if metadata.get("private") else show(value)


def _keys(kind: Any) -> str:
    return ", ".join(camel(field.name) for field in dataclasses.fields(kind))


def _nearest(name: str, known: typing.Iterable[str]) -> str:
    known = list(known)
    spelled = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f": did you mean {spelled[close[0]]}?" if close else f": the keys there are {', '.join(known)}."


def _either(choices: tuple[Any, ...]) -> str:
    names = [str(choice) for choice in choices]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
