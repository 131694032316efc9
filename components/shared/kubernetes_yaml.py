"""Reads YAML and JSON as `kubectl apply` does.

kubectl reads with sigs.k8s.io/yaml over goyaml v2, a port of libyaml: text that libyaml takes, with the booleans and octal
numbers of YAML 1.1, without its dates and its numbers to the base of 60, and with keys made text (yaml.go; goyaml.v2:
resolve.go, decode.go). So libyaml parses here as well, which PyYAML's wheels bring, and this module says what its events
mean. kubectl puts a mark in place of bytes that are no text. Here they are refused: they lose something that somebody wrote.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import ctypes
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Far more than a CRD has, and far less than Python's stack.
_DEEPEST = 100
# What goyaml starts to count from, so that a few lines of anchors do not fill the memory.
_MOST_ALIASED = 400_000

_TAG = "tag:yaml.org,2002:"
_MEANS: dict[str, Any] = {
    text: value
    for value, words in {
        True: "y Y yes Yes YES true True TRUE on On ON",
        False: "n N no No NO false False FALSE off Off OFF",
        None: "~ null Null NULL",
        math.inf: ".inf .Inf .INF +.inf +.Inf +.INF",
        -math.inf: "-.inf -.Inf -.INF",
        math.nan: ".nan .NaN .NAN",
    }.items()
    for text in words.split()
} | {"": None}
_INTEGER = re.compile(r"[-+]?(0[bB][01]+|0[xX][\da-fA-F]+|0[oO]?[0-7]+|0|[1-9]\d{0,19})")
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")
_OCTAL = re.compile(r"([-+]?)0([0-7]+)")
# An explicit tag -> the types that a value may then have.
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "null": (type(None),),
    "timestamp": (str,),
}
_NOT_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_MARKED = re.compile(r"(?m)^(---[ \t\r]*\n)\ufeff")
_SPACE = re.compile(r"\s*")
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})")


class UnreadableError(ValueError):
    """Why a text cannot be read, and in which document and line, counted from 1."""

    def __init__(self, why: str, document: int, line: int) -> None:
        super().__init__(why)
        self.document, self.line = document, line


@dataclass(frozen=True)
class Document:
    """A document's value: what JSON has. `number`: which of the file's it is. `line`: where it starts, from 1.

    `lost`: the lines of values that do not count, each with their key and the line of the one that does.
    """

    number: int
    line: int
    value: Any
    lost: list[tuple[int, str, int]] = field(default_factory=list)


def read(content: bytes) -> list[Document]:
    """Return the documents of a file in UTF-8, or in UTF-16 with its mark. Raises `UnreadableError`."""
    # PowerShell writes the latter, and kubectl reads it.
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _behind(content[: error.start].decode(encoding, "ignore"), "it is not text in UTF-8") from None
    # kubectl reads line by line, and ends each; a document of files that were joined may begin with the mark of its file.
    text = _MARKED.sub(r"\1", text if text.endswith("\n") else f"{text}\n")
    found: list[Document] = []
    for start, piece in _pieces(text):
        found += _Reader(piece, number=len(found), lines=text.count("\n", 0, start)).documents()
    return found


def _pieces(text: str) -> list[tuple[int, str]]:
    """Return a text's parts with where they start: one JSON value after the other, and what is not JSON as a whole."""
    decoder, found, end = json.JSONDecoder(parse_int=float), [], 0
    while text.startswith("{", start := _SPACE.match(text, end).end()):  # type: ignore[union-attr]  # matches nothing, too
        try:
            _, stop = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            break
        found.append((start, text[start:stop]))
        end = stop
    rest = text[end:]
    pieces = [(start, _json_as_yaml(piece)) for start, piece in found]
    return [*pieces, (end, rest)] if rest.strip() or not found else pieces


def _json_as_yaml(text: str) -> str:
    """Return JSON without what YAML reads otherwise: characters of two escapes, and line ends that JSON does not know."""
    text = _PAIR.sub(lambda pair: pair[1] + json.loads(f'"{pair[2]}"'), text)
    return _NOT_YAML.sub(lambda character: f"\\u{ord(character[0]):04x}", text)


class _Reader:
    """Gives libyaml's events their meaning. `number`, `lines`: how many documents and lines there are before the text."""

    def __init__(self, text: str, *, number: int = 0, lines: int = 0) -> None:
        self._text, self.number, self._lines = text, number, lines
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._lost: list[tuple[int, str, int]] = []
        # Values so far, those behind aliases as often as they are named, and how many of them are behind aliases.
        self._values = self._aliased = 0

    def documents(self) -> list[Document]:
        first, found = self.number, []
        try:
            self._events = yaml.parse(self._text, Loader=_PARSER)
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    self.number += 1
                    self._anchors, self._lost = {}, []
                    start = next(self._events)
                    value = self._value(start, 0)
                    found.append(Document(self.number, self._line(start.start_mark), value, self._lost))
        except yaml.MarkedYAMLError as error:
            why = ", ".join(part for part in (error.context, error.problem) if part)
            mark = error.problem_mark or error.context_mark
            raise UnreadableError(why, max(self.number, first + 1), self._line(mark)) from None
        except yaml.reader.ReaderError as error:
            head = self._text.encode()[: error.position].decode(errors="ignore")
            why = f"{error.reason}: #x{error.character:04x}"
            raise _behind(head, why, number=first, lines=self._lines) from None
        return found

    def _line(self, mark: Any) -> int:
        return int(mark.line) + 1 + self._lines

    def _error(self, why: str, event: Any) -> UnreadableError:
        return UnreadableError(why, self.number, self._line(event.start_mark))

    def _value(self, event: Any, depth: int) -> Any:
        """Return the value that an event starts; a number as it is written, so that it can still be a key."""
        if depth > _DEEPEST:
            raise self._error(f"it is nested more than {_DEEPEST} levels deep", event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before, self._values = self._values, self._values + 1
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                value.append(self._plain(item, depth + 1))
        else:
            value = self._mapping(depth + 1)
        if event.anchor:
            self._anchors[event.anchor] = value, self._values - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(f"nothing has the anchor {event.anchor}", event)
        named = self._anchors[event.anchor]
        if named is None:
            raise self._error(f"the value of the anchor {event.anchor} contains itself", event)
        value, size = named
        self._values += size
        self._aliased += size
        if self._aliased > _MOST_ALIASED:
            raise self._error("its aliases make it too large", event)
        return value

    def _plain(self, event: Any, depth: int) -> Any:
        """Return a value as JSON has it: Go writes a whole float as an integer."""
        value = self._value(event, depth)
        if not isinstance(value, float):
            return value
        if not math.isfinite(value):
            raise self._error("JSON has no such number", event)
        return int(value) if value.is_integer() and abs(value) < 2**63 else value

    def _mapping(self, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if _merges(event):
                # In the order that they are written in: goyaml lets a merge win over the keys before it.
                self._merge(result, next(self._events), depth)
                continue
            key, line = self._key(event, depth), self._line(event.start_mark)
            if key in own:
                self._lost.append((own[key], key, line))
            own[key] = line
            result[key] = self._plain(next(self._events), depth)
        return result

    def _merge(self, into: dict[str, Any], event: Any, depth: int) -> None:
        value = self._value(event, depth)
        for part in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(part, dict):
                raise self._error("only an object, or a list of objects, can be merged", event)
            into.update(part)

    def _key(self, event: Any, depth: int) -> str:
        key = self._value(event, depth)
        if isinstance(key, str):
            return key
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, int | float):
            return _number_key(key)
        raise self._error("a key is nothing, a list or an object", event)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None:
            return _resolved(text) if event.implicit[0] else text
        kind = event.tag.removeprefix(_TAG)
        if kind == "binary":
            return self._binary(event)
        if kind not in _TYPES:
            # Of other tags goyaml takes no notice.
            return text
        value = _resolved(text)
        if type(value) not in _TYPES[kind]:
            raise self._error(f"{json.dumps(text)} is no {kind}", event)
        return float(value) if kind == "float" else value

    def _binary(self, event: Any) -> str:
        try:
            return base64.b64decode(event.value.replace("\n", "").replace("\r", ""), validate=True).decode()
        except ValueError:
            raise self._error(
                "what is behind !!binary is not text in base64: write the base64 without it", event
            ) from None


def _behind(head: str, why: str, *, number: int = 0, lines: int = 0) -> UnreadableError:
    """Return the error for what is behind a part of a text: libyaml reads ahead, and knows no document there."""
    reader = _Reader(head, number=number, lines=lines)
    with contextlib.suppress(UnreadableError):
        reader.documents()
    return UnreadableError(why, max(reader.number, number + 1), head.count("\n") + 1 + lines)


def _merges(event: Any) -> bool:
    scalar = isinstance(event, yaml.ScalarEvent) and event.value == "<<"
    return scalar and (event.implicit[0] or event.tag == f"{_TAG}merge")


def _resolved(text: str) -> Any:
    """Return what a plain scalar means."""
    if text in _MEANS:
        return _MEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    # Behind a point Go's own rule holds: between digits only.
    digits = _BETWEEN_DIGITS.sub("", text) if text[0] == "." else text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        octal = _OCTAL.fullmatch(digits)
        number = int(octal[1] + octal[2], 8) if octal else int(digits, 0)
        if -(2**63) <= number < 2**63:
            return number
        if number < 2**64:
            return float(number)
    fraction = float(digits) if _FLOAT.fullmatch(digits) else math.inf
    return fraction if math.isfinite(fraction) else text


def _number_key(number: float) -> str:
    """Return a number as a key: a float as Go's strconv.FormatFloat(number, 'g', -1, 32) has it."""
    if isinstance(number, int):
        return str(number)
    single = ctypes.c_float(number).value
    if not math.isfinite(single):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(single), ".nan")
    # The fewest digits that tell it from its neighbours.
    digits = next((d for d in range(1, 9) if ctypes.c_float(float(f"{single:.{d}g}")).value == single), 9)
    shortest = float(f"{single:.{digits}g}")
    return f"{shortest:.{digits - 1}e}" if digits > 6 and abs(shortest) >= 1e6 else f"{shortest:.{max(digits, 6)}g}"
