"""Merges nested mappings: chart values, settings, manifests."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any


def merged(values: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with `further` ones merged in, key by key; lists and plain values are replaced."""
    result = deepcopy(dict(values))
    for key, value in further.items():
        before = result.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[key] = merged(before, value) if both else deepcopy(value)  # type: ignore[arg-type]
    return result
