"""YAML whose differences people can read: the same content is the same text, and nothing secret is in it."""

from __future__ import annotations

import re
from typing import Any

import yaml

_HIDDEN = "[hidden]"
# Certificates that charts create anew each time.
_BUNDLE = re.compile(r"(caBundle:) *\S+")


def of_object(body: dict[str, Any]) -> str:
    """Return a Kubernetes object, without a Secret's values."""
    if body.get("kind") == "Secret":
        hidden = {field: dict.fromkeys(body[field], _HIDDEN) for field in ("data", "stringData") if body.get(field)}
        body = {**body, **hidden}
    return _BUNDLE.sub(rf"\1 {_HIDDEN}", as_yaml(body))


def as_yaml(value: Any) -> str:
    """Return values, sorted by their keys."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1000))


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, so that a difference shows the lines that differ."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The block style knows no space at the end of a line.
    lines = "\n".join(line.rstrip() for line in text.expandtabs().split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", lines, style="|" if "\n" in lines else None)


_Dumper.add_representer(str, _text)
