"""The previews in an artefact: read in memory, each within bounds."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from preview import schema
from preview.changes import Preview
from preview.schema import FILE_BYTES, SchemaError

FILES = 20


@dataclass(frozen=True, kw_only=True)
class Previews:
    """What could be read, by stack, and a sentence on each file that could not."""

    readable: tuple[Preview, ...]
    problems: tuple[str, ...]


def from_zip(content: bytes) -> Previews:
    """Read an artefact. Nothing is unpacked, so no name in it leads anywhere."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            return _read(_member(archive, entry) for entry in entries[: FILES + 1])
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        return Previews(readable=(), problems=("The artefact is not a ZIP archive.",))


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the start of a member: what the archive says of its size need not be true."""
    try:
        with archive.open(entry) as file:
            return file.read(FILE_BYTES + 1)
    # A member that is damaged, encrypted or packed as nobody knows is no JSON either.
    except (zipfile.BadZipFile, RuntimeError, zlib.error, EOFError, OSError, ValueError):
        return b""


def _read(files: Iterable[bytes]) -> Previews:
    readable: dict[str, Preview] = {}
    problems: list[str] = []
    for number, content in enumerate(files, start=1):
        if number > FILES:
            problems.append(f"There are more than {FILES} files; the rest is not read.")
            break
        try:
            preview = schema.read(content)
        except SchemaError as problem:
            problems.append(f"File {number} is no preview: {problem}.")
            continue
        if preview.stack in readable:
            problems.append(f"File {number} is no preview: its stack is another file's.")
        else:
            readable[preview.stack] = preview
    return Previews(readable=tuple(readable[stack] for stack in sorted(readable)), problems=tuple(problems))
