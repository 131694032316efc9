"""No secret stands in plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plan.stack_config import PLACEHOLDER
from policy.objects import Object, containers, items, mapping, pick
from policy.rule import Options, Rule, Violation

# `passwordSecret`, `secretName`, `tokenFile` and the like say where one is.
_TELLING = re.compile(
    r"(?:.*[_.-])?(?:admin|root|client|signing|private|access|api|redis|db|auth|login|bearer)?[_.-]?"
    r"(?:passwords?|passwd|passphrase|secrets?|tokens?|(?:signing|private|secret|access|api)[_.-]?keys?|credentials?)",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"[\"'-]*([A-Za-z][\w.-]*)[\"']?\s*[:=]\s*[\"']?([^\s\"'#;,}]+)")
# Where one is to be found, or no value at all.
_ELSEWHERE = re.compile(
    r"secret:.*|\$[({_].*|<.*>|/.*|true|false|null|none|\d{1,5}|\*+|\[\]|\{\}?|\|-?|>-?", re.IGNORECASE
)
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_REMEDY = "keep it in a Secret and name that one, or mark it (`pulumi config set --secret`)"


def plain_text_secrets(objects: Sequence[Object], options: Options) -> Iterator[Violation]:  # noqa: ARG001 -- nothing is excused
    """Look at what is no Secret, and at Secrets whose values Pulumi would keep and show as they are."""
    for item in objects:
        for where in _found(item):
            yield Violation(item, f"{where} is a secret in plain text", _REMEDY)


def _found(item: Object) -> Iterator[str]:
    if item.kind == "Secret":
        yield from _unmarked(item)
    elif item.kind == "ConfigMap":
        for key, text in mapping(item.body.get("data")).items():
            if _discloses(key, text):
                yield f"data.{key}"
            yield from (f"{name} in data.{key}" for name in _assignments(text))
    elif item.kind in ("Release", "Command"):
        yield from _in_resource(item)
    elif item.kind in ("KongPlugin", "KongClusterPlugin"):
        yield from _fields(item.body.get("config"), ("config",))
    for container in containers(item):
        for entry in items(container.get("env")):
            if _discloses(str(entry.get("name")), entry.get("value")):
                yield f"the variable {entry.get('name')} of container {container.get('name')}"


def _in_resource(item: Object) -> Iterator[str]:
    # A policy pack is not told which of a release's values are secrets to Pulumi.
    if item.kind == "Command" or item.secret is not None:
        yield from _fields(item.body.get("spec"), ())
    for key in ("create", "update", "delete"):
        yield from _assignments(pick(item.body, "spec", key))


def _unmarked(item: Object) -> Iterator[str]:
    """Yield the fields of a Secret that Pulumi does not know for secrets; a chart's Secret has nobody marked."""
    if item.secret is None or item.release:
        return
    for key in ("data", "stringData"):
        # What a preview does not know yet is no text.
        texts = [value for value in mapping(item.body.get(key)).values() if isinstance(value, str)]
        if texts and key not in item.secret:
            yield key


def _fields(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths of telling names with a text behind them that the stack file does not keep encrypted."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _discloses(str(key), inner) and PLACEHOLDER not in inner:
                yield ".".join((*path, str(key)))
            else:
                yield from _fields(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _fields(inner, (*path, str(index)))
    elif isinstance(value, str) and _KEY_BLOCK.search(value) and PLACEHOLDER not in value:
        yield ".".join(path)


def _assignments(text: Any) -> Iterator[str]:
    """Yield the telling names that a file gives a value to."""
    if not isinstance(text, str):
        return
    for line in text.splitlines():
        for name, value in _ASSIGNED.findall(line):
            if _discloses(name, value):
                yield str(name)


def _discloses(name: str, value: Any) -> bool:
    if not isinstance(value, str) or not value.strip():
        return False
    return bool(_KEY_BLOCK.search(value) or (_TELLING.fullmatch(name) and not _ELSEWHERE.fullmatch(value.strip())))


RULE = Rule(
    name="no-secret-in-plain-text",
    description="Secrets stand in Secrets: not in values, files, variables, plug-ins or commands.",
    find=plain_text_secrets,
)
