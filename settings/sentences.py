"""What cannot be used, as one sentence that names the key, the value and the remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

import annotated_types
import pulumi
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings.kinds import UNSHOWN, Hidden, Secret, Section
from settings.secret_parts import HIDDEN, SecretPart
from settings.sections import RENAMED

_KINDS = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "a whole number",
    "string_type": "text",
    "string_unicode": "text",
    "tuple_type": "a list",
}

# What pydantic's location ends with where an object's key is wrong, not its value.
_OF_KEY = "[key]"


class SettingsError(pulumi.RunError):
    """A setting that cannot be used. Pulumi prints a RunError as its sentence, without a traceback."""


def sentence(model: type[Section], errors: Sequence[ErrorDetails]) -> str:
    """Return what is wrong, by the first of pydantic's errors; a misspelled key goes before what it leaves missing."""
    error = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    kind, location = error["type"], error["loc"]
    section, fields = _fields_to(model, location)
    where = key_name(location)
    if location[-1] == _OF_KEY and kind == "literal_error":
        return unknown(key_name(location[:-1]), re.findall("'([^']+)'", error["ctx"]["expected"]))
    if location[-1] == _OF_KEY or kind == "invalid_key":
        *outer, name = [step for step in location if step != _OF_KEY]
        return f"The key {show(name)} in {key_name(outer) or 'the settings'} is not text: put it in quotes."
    if kind == "extra_forbidden":
        return unknown(where, keys(section))
    if kind == "missing":
        owner = key_name(location[:-1])
        return f"{where} is missing: {_every(owner)} must have it."
    shown = HIDDEN if kind == UNSHOWN else _shown(error["input"], fields)
    return f"{where} is {shown}: it must {_remedy(error, fields)}."


def unknown(where: str, known: Collection[str]) -> str:
    """Return the sentence for a key that is no setting, with the nearest of those that are."""
    name = where.rpartition(".")[2]
    if where in RENAMED:
        return f"{where} is now {RENAMED[where]}: give it that name in the stack file."
    spelled = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    nearest = f"did you mean {spelled[close[0]]}?" if close else f"the keys there are {', '.join(known)}."
    return f"{where} is not a setting: {nearest}"


def keys(section: type[Section]) -> list[str]:
    """Return the keys of a section as configuration spells them."""
    return [field.alias or name for name, field in section.model_fields.items()]


def key_name(location: Sequence[str | int]) -> str:
    """Return the full spelling of a key, such as `applications[0].route.port`."""
    name = ""
    for step in location:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            text = step if re.fullmatch(r"[\w-]+", step) else show(step)
            name += f".{text}" if name else text
    return name


def section_in(annotation: Any) -> type[Section] | None:
    """Return the section that a type is, may be, or is a list of."""
    candidates = (annotation, *get_args(annotation))
    return next((found for found in candidates if isinstance(found, type) and issubclass(found, Section)), None)


def bounds(field: FieldInfo) -> tuple[Any, Any] | None:
    """Return between which numbers a field has to lie, if it says so."""
    low = [entry.ge for entry in field.metadata if isinstance(entry, annotated_types.Ge)]
    high = [entry.le for entry in field.metadata if isinstance(entry, annotated_types.Le)]
    return (low[0], high[0]) if low else None


def show(value: Any) -> str:
    """Return a short form of a value for an error sentence."""
    if isinstance(value, SecretPart):
        return HIDDEN
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, (Mapping, list, tuple)):
        # Not what is in it: that may be long, or a password.
        return "an object" if isinstance(value, Mapping) else "a list"
    text = json.dumps(value, ensure_ascii=not value.isprintable()) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _fields_to(model: type[Section], location: Sequence[str | int]) -> tuple[type[Section], list[FieldInfo]]:
    """Return the innermost section around a place, and the fields that lead there."""
    section, fields = model, []
    inner: type[Section] | None = model
    for step in location:
        found = [field for field in inner.model_fields.values() if field.alias == step] if inner else []
        for field in found:
            fields.append(field)
            inner = section_in(field.annotation)
            section = inner or section
    return section, fields


def _shown(value: Any, fields: Sequence[FieldInfo]) -> str:
    secret = any(isinstance(entry, Secret) for field in fields for entry in field.metadata)
    hidden = any(isinstance(entry, Hidden) for entry in fields[-1].metadata)
    return HIDDEN if secret or hidden else show(value)


def _remedy(error: ErrorDetails, fields: Sequence[FieldInfo]) -> str:
    kind, field = error["type"], fields[-1]
    if kind == "literal_error":
        return f"be {error['ctx']['expected'].replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"be {field.title}"
    if kind == "model_type":
        section = section_in(field.annotation)
        return f"be an object with the keys {', '.join(keys(section) if section else [])}"
    if limits := bounds(field) if kind in ("greater_than_equal", "less_than_equal", "finite_number") else None:
        return "lie between {} and {}".format(*limits)
    return f"be {_KINDS.get(kind, error['msg'])}"


def _every(owner: str) -> str:
    return f"every entry of {owner.split('[')[0]}" if "[" in owner else owner
