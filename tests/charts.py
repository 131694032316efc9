"""What the tests of charts and manifests share: reading, tidying, and the reference data beside the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.paths import CHECKOUT

STAND_INS = CHECKOUT.root / "sandbox" / "charts"
_REFERENCE = CHECKOUT.root.parent / "shared"
#: Far faster than PyYAML's own.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Identity = tuple[str, str, str]


def reference(name: str) -> Path:
    """Return a file of the reference data; skip the test where there is none."""
    path = _REFERENCE / name
    if not path.exists():
        pytest.skip(f"nothing to compare with: {name} is not beside the checkout")
    return path


def documents(text: str) -> list[dict[str, Any]]:
    """Parse a stream of YAML documents, leaving out the empty ones."""
    return [document for document in yaml.load_all(text, Loader=LOADER) if document]


def tidy(value: Any) -> Any:
    """Drop, at every depth, what means the same as its absence: nulls, and empty strings, lists and mappings."""
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := tidy(item)) not in (None, "", [], {})}
    if isinstance(value, list):
        return [tidy(item) for item in value]
    return value


def by_identity(objects: list[dict[str, Any]]) -> dict[Identity, dict[str, Any]]:
    """Index objects by kind, namespace and name; the same identity twice is an error."""
    index: dict[Identity, dict[str, Any]] = {}
    for item in objects:
        identity = (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        assert identity not in index, f"{identity} is there twice"
        index[identity] = item
    return index


def pick(value: Any, *path: str | int) -> Any:
    """Go down into an object; a word picks the list item of that name (or mount path). None where there is no such."""
    for step in path:
        if isinstance(value, list) and isinstance(step, str):
            value = next((item for item in value if step in (item.get("name"), item.get("mountPath"))), None)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
