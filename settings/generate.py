"""`python -m settings.generate` writes the settings for people and for Pulumi, as `sections` has them.

The page `docs/settings.md` has every setting with its type, default and meaning; `Pulumi.yaml` declares every key, below
the line that says so. A test sees that both are current.
"""

from __future__ import annotations

import json
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from settings.kinds import Section
from settings.sections import Settings
from settings.sentences import bounds, keys, section_in

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"
PROJECT_FILE = ROOT / "Pulumi.yaml"

_HEAD = """\
# Settings

<!-- Written by `python -m settings.generate`; a test sees that it is current. -->

A key goes into `Pulumi.<stack>.yaml` below `config`, as `kong-istio:<key>`, and a field inside its key; `[]` stands for each
entry of a list. What a stack does not say has the default. `pulumi config set --path 'kong-istio:kong.replicas' 2` sets one
field. What each environment sets, and why: [sandbox](environments/sandbox.md), [dev](environments/dev.md),
[staging](environments/staging.md), [prod](environments/prod.md).

| key | type | default | meaning |
| --- | --- | --- | --- |
"""
_MARK = "  # From here on written by `python -m settings.generate`; every field's meaning: docs/settings.md.\n"
_TYPES = {str: "string", bool: "boolean"}
_NUMBERS = {int: "whole number", float: "number"}


def main() -> None:
    """Write the page and the declarations."""
    PAGE.write_text(page(), encoding="utf-8")
    PROJECT_FILE.write_text(project_file(), encoding="utf-8")


def page() -> str:
    """Return the page."""
    lines: list[str] = []
    for key, field in _by_key(Settings):
        below = dict(_below(key, field))
        default = "" if below else _default(field)
        lines.append(_row(f"**`{key}`**", _kind(field), default, _about(field)))
        lines += [_row(f"`{name}`", _kind(inner), _default(inner), _about(inner)) for name, inner in below.items()]
    return _HEAD + "\n".join(lines) + "\n"


def project_file() -> str:
    """Return `Pulumi.yaml` with what stands above the mark as it is."""
    above = PROJECT_FILE.read_text(encoding="utf-8").partition(_MARK)[0]
    declared = yaml.safe_dump(declarations(), sort_keys=False, allow_unicode=True, width=110)
    return above + _MARK + textwrap.indent(declared, "  ")


def declarations() -> dict[str, dict[str, Any]]:
    """Return what `Pulumi.yaml` declares of each key."""
    return {key: _declaration(field) for key, field in _by_key(Settings)}


def fields() -> dict[str, FieldInfo]:
    """Return every field within a key by its full name, such as `applications[].route.port`."""
    return {name: inner for key, field in _by_key(Settings) for name, inner in _below(key, field)}


def _declaration(field: FieldInfo) -> dict[str, Any]:
    default = to_jsonable_python(field.default, exclude_none=True)
    about = _about(field)
    if unsaid := _without_default(section_in(field.annotation), default):
        about = f"{about} Without a default: {unsaid}."
    if isinstance(default, list):
        return {"type": "array", "items": {"type": "object"}, "default": default, "description": about}
    return {"type": _TYPES.get(type(default), "object"), "default": default, "description": about}


def _without_default(section: type[Section] | None, default: Any) -> str:
    """Return the keys that a declared default does not show, with those inside them."""
    if section is None or not default or isinstance(default, list):
        return ""
    names = []
    for key, field in _by_key(section):
        inner = section_in(field.annotation)
        if key not in default:
            names.append(f"{key} ({', '.join(keys(inner))})" if inner else key)
    return ", ".join(names)


def _below(key: str, field: FieldInfo) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every field below a key, however deep, but not once more what has a key of its own, or one beside it."""
    section = section_in(field.annotation)
    if section is None:
        return
    origin = get_origin(field.annotation)
    where = f"{key}[]" if origin is tuple else f"{key}.<chart>" if origin is dict else key
    elsewhere = {section_in(other.annotation) for _, other in _by_key(Settings)}
    for name, inner in _by_key(section):
        nested = section_in(inner.annotation)
        if nested and nested not in elsewhere:
            elsewhere.add(nested)
            yield from _below(f"{where}.{name}", inner)
        else:
            yield f"{where}.{name}", inner


def _by_key(section: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    return zip(keys(section), section.model_fields.values(), strict=True)


def _about(field: FieldInfo) -> str:
    """Return what a field means; a key with fields is about what the first sentence of its class says."""
    section = section_in(field.annotation)
    return field.description or f"{str(section.__doc__).partition('. ')[0].partition(chr(10))[0].rstrip('.')}."


def _kind(field: FieldInfo) -> str:
    hint: Any = field.annotation
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(argument for argument in get_args(hint) if argument is not type(None))
    if field.title:
        return field.title
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return "list of objects" if section_in(hint) else "list of text"
    if get_origin(hint) is dict or section_in(hint):
        return "object"
    if limits := bounds(field):
        return "{}, {} to {}".format(_NUMBERS[hint], *limits)
    return {str: "text", bool: "`true`, `false`"}[hint]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    # What a section has by default, its own fields say.
    default = {} if isinstance(field.default, Section) else field.default
    return "" if default is None else f"`{json.dumps(default)}`"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    main()
