"""A stranger's artefact: read within bounds, or refused."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from previews import FINDING, PREVIEW, render, zipped

from preview import (
    artifact,
    schema,
)
from preview.schema import SchemaError


def test_what_is_written_is_what_is_read() -> None:
    assert schema.read(PREVIEW.to_json().encode()) == PREVIEW


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(PREVIEW.to_json()), **fields}).encode()


def resources_(**fields: Any) -> bytes:
    one: dict[str, Any] = {"kind": "K", "name": "n", "change": "same", "parent": None, "after": []}
    return changed(resources=[{**one, **fields}])


CHAIN = [{"kind": "K", "name": "n", "change": "same", "parent": (n + 1) % 9, "after": []} for n in range(9)]
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "not JSON"),
    "a list": (b"[]", "just the fields"),
    "too large": (b" " * (schema.FILE_BYTES + 1), "larger"),
    "too deep": (b"[" * 100_000, "deep"),
    "deep behind a string": (b'["]]]]",' + b"[" * 50, "deep"),
    "deep behind a quote": (b'["\\"]]]]",' + b"[" * 50, "deep"),
    "a number with too many digits": (b"1" * 5000, "not JSON"),
    "infinite": (changed(seconds=float("inf")), "number"),
    "not a number": (changed(seconds=float("nan")), "number"),
    "a key twice": (b'{"version": 2, "version": 2}', "twice"),
    "another version": (changed(version=1), "version"),
    "a field more": (changed(pull_request=7), "just the fields"),
    "a stack like a path": (changed(stack="../../x"), "stack"),
    "a stack like markup": (changed(stack="dev|`"), "stack"),
    "a parent that is not there": (resources_(parent=1), "not there"),
    "its own parent": (resources_(parent=0), "parents"),
    "parents in a circle": (changed(resources=CHAIN), "parents"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_preview_is_refused_in_words_of_our_own(case: str) -> None:
    content, fragment = BAD[case]
    with pytest.raises(SchemaError, match=fragment) as error:
        schema.read(content)
    assert not re.search(r"[<>`\n]", str(error.value))


FULL = json.loads(replace(PREVIEW, findings=(FINDING,)).to_json())
JUNK: tuple[Any, ...] = (None, True, -1, 10**9, 1.5, "\ud800<b>", "x" * 30_000, [], [0] * 2000, {}, {"a": 1})


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of all values in a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(inner, (*place, key))


@pytest.mark.parametrize("place", list(places(FULL)), ids=lambda place: ".".join(map(str, place)))
def test_junk_in_any_place_is_refused_or_harmless(place: tuple[str | int, ...]) -> None:
    for junk in JUNK:
        content = copy.deepcopy(FULL)
        holder = functools.reduce(lambda value, key: value[key], place[:-1], content)
        before, holder[place[-1]] = holder[place[-1]], junk
        try:
            found = schema.read(json.dumps(content).encode())
        except SchemaError as error:
            refusal = str(error)
        else:
            refusal = ""
            assert type(junk) is type(before) or (place[-1], junk) == ("parent", None)
            assert schema.read(found.to_json().encode()) == found
            assert "\ud800" not in render(found)
        assert not re.search(r"[<>`\n]", refusal)


def test_one_bad_file_does_not_hide_the_good_ones() -> None:
    found = artifact.from_zip(zipped(a=b"{", b=PREVIEW.to_json().encode()))
    assert found.readable == (PREVIEW,)
    assert [problem.split(":")[0] for problem in found.problems] == ["File 1 is no preview"]


def test_names_in_an_artefact_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = artifact.from_zip(zipped(**{"../evil.json": PREVIEW.to_json().encode(), "/tmp/evil.json": b"{"}))  # noqa: S108
    assert [preview.stack for preview in found.readable] == ["dev"]
    assert list(tmp_path.rglob("*.json")) == []


def test_a_bomb_is_read_no_further_than_a_file_may_be_long() -> None:
    bomb = zipped(a=b" " * (50 * 1024 * 1024))
    assert len(bomb) < 100_000
    assert "larger" in artifact.from_zip(bomb).problems[0]


@pytest.mark.parametrize("content", [b"", b"no archive", zipped(a=PREVIEW.to_json().encode())[:-30]])
def test_what_is_no_archive_is_a_sentence(content: bytes) -> None:
    assert artifact.from_zip(content).problems == ("The artefact is not a ZIP archive.",)


def test_a_damaged_member_is_no_preview() -> None:
    content = bytearray(zipped(a=PREVIEW.to_json().encode()))
    content[60:80] = bytes(20)
    assert artifact.from_zip(bytes(content)).problems


def test_too_many_files_and_the_same_stack_twice() -> None:
    found = artifact.from_zip(zipped(**{f"{n}": PREVIEW.to_json().encode() for n in range(30)}))
    assert len(found.readable) == 1
    assert sum("another file's" in problem for problem in found.problems) == artifact.FILES - 1
    assert "more than 20 files" in found.problems[-1]
