"""Reads previews that a stranger's code wrote: within the bounds of `changes`, of its shape, without control characters."""

from __future__ import annotations

import json
import math
import re
from dataclasses import is_dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from display.printable import one_line, printable
from preview.changes import SENTENCE, VERSION, Bound, ChangedResource, Preview

FILE_BYTES = 512 * 1024
DEPTH = 6
_STACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class SchemaError(ValueError):
    """A preview that is not taken, and why: a sentence that quotes nothing of it."""


def read(content: bytes) -> Preview:
    """Return the preview that a file holds; raise `SchemaError` for anything else."""
    parsed = _parsed(content)
    version = parsed.pop("version", None) if isinstance(parsed, dict) else VERSION
    if type(version) is not int or version != VERSION:
        raise SchemaError(f"it is not of version {VERSION}")
    preview: Preview = _shaped(Preview, parsed)
    if not _STACK.fullmatch(preview.stack):
        raise SchemaError("its stack has no name of a stack")
    _refuse_bad_graph(preview.resources)
    return preview


def fitted(value: Any, kind: Any = Preview) -> Any:
    """Return a preview, or a part of it, of which each text and list is cut to what is read of it."""
    kind, bound = _bounded(kind)
    if hints := _hints(kind):
        return replace(value, **{name: fitted(getattr(value, name), hint) for name, hint in hints.items()})
    if get_origin(kind) is tuple:
        return tuple(fitted(item, get_args(kind)[0]) for item in value[: bound.most])
    return _clean(value, bound)[: bound.most] if kind is str else value


# --- JSON -----------------------------------------------------------------------------------------------------


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


def _shaped(kind: Any, value: Any) -> Any:
    """Return a JSON value as what it is declared to be: by a dataclass, and by the bounds and types of its fields."""
    kind, bound = _bounded(kind)
    if hints := _hints(kind):
        if not isinstance(value, dict) or value.keys() != hints.keys():
            raise SchemaError(f"something in it has not just the fields {', '.join(hints)}")
        return kind(**{name: _shaped(hint, value[name]) for name, hint in hints.items()})
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise SchemaError("something in it is not a list")
        if len(value) > bound.most:
            raise SchemaError(f"something in it has more than {bound.most} items")
        return tuple(_shaped(get_args(kind)[0], item) for item in value)
    if kind is str:
        return _text(value, bound)
    if kind is float:
        if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value < 1e6:
            raise SchemaError("it has something that is no time")
        return float(value)
    return _place(kind, value) if int in (kind, *get_args(kind)) else _one_of(kind, value)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Return the fields of a dataclass with their types, and nothing of anything else."""
    return get_type_hints(kind, include_extras=True) if is_dataclass(kind) else {}


def _bounded(kind: Any) -> tuple[Any, Bound]:
    bare, bound, *_ = get_args(kind) if get_origin(kind) is Annotated else (kind, SENTENCE)
    return bare, bound


def _text(value: Any, bound: Bound) -> str:
    if not isinstance(value, str):
        raise SchemaError("something in it is not text")
    if len(value) > bound.most:
        raise SchemaError(f"some text in it is longer than {bound.most} characters")
    return _clean(value, bound)


def _clean(text: str, bound: Bound) -> str:
    return printable(text.replace("\r\n", "\n")) if bound.lines else one_line(text)


def _place(kind: Any, value: Any) -> int | None:
    if value is None and kind is not int:
        return None
    if type(value) is not int or value < 0:
        raise SchemaError("it names a resource that is not there")
    return value


def _one_of(kind: Any, value: Any) -> Any:
    known = get_args(kind) if get_origin(kind) is Literal else list(kind)
    if not isinstance(value, str) or value not in known:
        raise SchemaError(f"something in it is none of {', '.join(known)}")
    return kind(value) if isinstance(kind, type) and issubclass(kind, StrEnum) else value


def _refuse_bad_graph(resources: tuple[ChangedResource, ...]) -> None:
    """Refuse places that are not there, and parents in a circle, which whoever follows them would never leave."""
    for resource in resources:
        if any(place >= len(resources) for place in (resource.parent or 0, *resource.after)):
            raise SchemaError("it names a resource that is not there")
    for start in resources:
        steps, above = 0, start.parent
        while above is not None:
            steps, above = steps + 1, resources[above].parent
            if steps > DEPTH:
                raise SchemaError("its resources have too many parents")
