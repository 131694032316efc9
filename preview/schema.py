"""Reads previews that a stranger's code wrote: within bounds, of one shape, without control characters."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from preview.changes import VERSION, Change, Difference, Finding, Part, Policies, Preview, Resource

FILE_BYTES = 512 * 1024
DEPTH = 6
RESOURCES = 1000
LINKS = 200
DIFFERENCES = 300
DIFF_CHARACTERS = 20_000
FINDINGS = 300
NAME_CHARACTERS = 253
SENTENCE_CHARACTERS = 1500
TIMES = 8

T = TypeVar("T")
_STACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


class SchemaError(ValueError):
    """A preview that is not taken, and why: a sentence that quotes nothing of it."""


def read(content: bytes) -> Preview:
    """Return the preview that a file holds; raise `SchemaError` for anything else."""
    return _preview(_parsed(content))


def clean(text: str) -> str:
    """Return text in which nothing is hidden: control, direction and zero-width characters are made visible."""
    return "".join(_visible(character) for character in text.replace("\r\n", "\n"))


def _visible(character: str) -> str:
    hidden = character not in "\n\t" and unicodedata.category(character) in _HIDDEN
    return f"[U+{ord(character):04X}]" if hidden else character


def _parsed(content: bytes) -> Any:
    if len(content) > FILE_BYTES:
        raise SchemaError(f"it is larger than {FILE_BYTES} bytes")
    # Before the parser sees it: Python's own would exhaust the stack.
    if _depth(content) > DEPTH:
        raise SchemaError(f"it is nested more than {DEPTH} deep")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except SchemaError:
        raise
    except (ValueError, RecursionError):
        raise SchemaError("it is not JSON in UTF-8") from None


def _depth(content: bytes) -> int:
    deepest = depth = 0
    for byte in re.findall(rb"[][{}]", _STRINGS.sub(b"", content)):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse_constant(_: str) -> NoReturn:
    raise SchemaError("it has a number that is none")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise SchemaError("it has a key twice")
    return dict(pairs)


# --- the shape ------------------------------------------------------------------------------------------------


def _preview(value: Any) -> Preview:
    names = (
        "version",
        "stack",
        "compared",
        "problem",
        "base_problem",
        "resources",
        "differences",
        "policies",
        "seconds",
    )
    found = _fields(value, *names)
    if type(found["version"]) is not int or found["version"] != VERSION:
        raise SchemaError(f"it is not of version {VERSION}")
    if not isinstance(found["stack"], str) or not _STACK.fullmatch(found["stack"]):
        raise SchemaError("its stack has no name of a stack")
    count = len(found["resources"]) if isinstance(found["resources"], list) else 0
    return Preview(
        stack=found["stack"],
        compared=_flag(found["compared"]),
        problem=_text(found["problem"], SENTENCE_CHARACTERS),
        base_problem=_text(found["base_problem"], SENTENCE_CHARACTERS),
        resources=_acyclic(_list(found["resources"], RESOURCES, lambda item: _resource(item, count))),
        differences=_list(found["differences"], DIFFERENCES, _difference),
        policies=_policies(found["policies"]),
        seconds=_seconds(found["seconds"]),
    )


def _resource(value: Any, count: int) -> Resource:
    found = _fields(value, "kind", "name", "change", "parent", "after")
    return Resource(
        kind=_line(found["kind"]),
        name=_line(found["name"]),
        change=_one_of(Change, found["change"]),
        parent=None if found["parent"] is None else _index(found["parent"], count),
        after=_list(found["after"], LINKS, lambda item: _index(item, count)),
    )


def _acyclic(resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Refuse parents in a circle, which whoever follows them would never leave."""
    for start in resources:
        seen, above = 0, start.parent
        while above is not None:
            seen, above = seen + 1, resources[above].parent
            if seen > DEPTH:
                raise SchemaError("its resources have too many parents")
    return resources


def _difference(value: Any) -> Difference:
    found = _fields(value, "part", "name", "text", "note")
    return Difference(
        part=_one_of(Part, found["part"]),
        name=_line(found["name"]),
        text=_text(found["text"], DIFF_CHARACTERS),
        note=_text(found["note"], SENTENCE_CHARACTERS),
    )


def _policies(value: Any) -> Policies:
    found = _fields(value, "asked", "findings", "problem")
    return Policies(
        asked=_flag(found["asked"]),
        findings=_list(found["findings"], FINDINGS, _finding),
        problem=_text(found["problem"], SENTENCE_CHARACTERS),
    )


def _finding(value: Any) -> Finding:
    found = _fields(value, "rule", "severity", "resource", "what", "remedy")
    return Finding(
        rule=_line(found["rule"]),
        severity=_line(found["severity"]),
        resource=_line(found["resource"]),
        what=_text(found["what"], SENTENCE_CHARACTERS),
        remedy=_text(found["remedy"], SENTENCE_CHARACTERS),
    )


def _seconds(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > TIMES:
        raise SchemaError("seconds is not a short object")
    for number in value.values():
        if type(number) not in (int, float) or not math.isfinite(number) or not 0 <= number < 1e6:
            raise SchemaError("seconds has something that is no time")
    return {_line(name): float(number) for name, number in value.items()}


# --- what shapes are made of ----------------------------------------------------------------------------------


def _fields(value: Any, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise SchemaError(f"something in it has not just the fields {', '.join(names)}")
    return value


def _list(value: Any, limit: int, item: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise SchemaError("something in it is not a list")
    if len(value) > limit:
        raise SchemaError(f"something in it has more than {limit} items")
    return tuple(item(each) for each in value)


def _text(value: Any, limit: int) -> str:
    if not isinstance(value, str):
        raise SchemaError("something in it is not text")
    if len(value) > limit:
        raise SchemaError(f"some text in it is longer than {limit} characters")
    return clean(value)


def _line(value: Any) -> str:
    return " ".join(_text(value, NAME_CHARACTERS).split())


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SchemaError("something in it is not true or false")
    return value


def _index(value: Any, count: int) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise SchemaError("it names a resource that is not there")
    return value


_Choice = TypeVar("_Choice", Change, Part)


def _one_of(choices: type[_Choice], value: Any) -> _Choice:
    if not isinstance(value, str) or value not in list(choices):
        raise SchemaError(f"something in it is none of {', '.join(choices)}")
    return choices(value)
