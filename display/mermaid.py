"""Graphs in Mermaid's language, which GitHub draws: whatever a label says, it stays a label."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

# All else could end a label, or mean something to Mermaid.
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._/:,+~±()-]")
_LONGEST = 60


class Flowchart:
    """A graph from left to right as it grows. `styles` says how the nodes of a class look, in Mermaid's CSS."""

    def __init__(self, styles: Mapping[str, str]) -> None:
        self._styles = styles
        self._lines: list[str] = []
        self._arrows: list[str] = []
        self._indent = "  "
        self._classes: defaultdict[str, list[str]] = defaultdict(list)

    def node(self, name: str, *label: str, style: str = "") -> None:
        """Add a node, with a line of its label for each of `label`."""
        self._lines.append(f"{self._indent}{self._labelled(name, label, style)}")

    @contextmanager
    def box(self, name: str, *label: str, style: str = "") -> Iterator[None]:
        """Add a box round what is added within."""
        self._lines.append(f"{self._indent}subgraph {self._labelled(name, label, style)}")
        self._indent += "  "
        # What is in no order stands below each other so.
        self._lines.append(f"{self._indent}direction LR")
        yield
        self._indent = self._indent[:-2]
        self._lines.append(f"{self._indent}end")

    def arrow(self, first: str, then: str) -> None:
        """Add an arrow."""
        self._arrows.append(f"  {first} --> {then}")

    def __str__(self) -> str:
        styled = [
            line
            for style, names in self._classes.items()
            for line in (f"  classDef {style} {self._styles[style]}", f"  class {','.join(names)} {style}")
        ]
        return "\n".join(["flowchart LR", *self._lines, *self._arrows, *styled])

    def _labelled(self, name: str, label: Iterable[str], style: str) -> str:
        if style:
            self._classes[style].append(name)
        return f'{name}["{"<br/>".join(map(safe, label))}"]'


def safe(label: str) -> str:
    """Return a label that ends nothing and starts nothing."""
    return _UNSAFE.sub("_", label)[:_LONGEST] or "_"


def arrows(awaited: Mapping[T, Collection[T]]) -> list[tuple[T, T]]:
    """Return (first, then) for whatever is waited for, without what follows from others; circles are kept whole."""
    left = {key: set(before) for key, before in awaited.items()}
    for then, before in awaited.items():
        for first in before:
            left[then].remove(first)
            if first not in _reached(left, left[then]):
                left[then].add(first)
    return [(first, then) for then, before in awaited.items() for first in before if first in left[then]]


def _reached(awaited: Mapping[T, Collection[T]], start: Iterable[T]) -> set[T]:
    """Return `start`, and all that is reached from it."""
    found: set[T] = set()
    ahead = list(start)
    while ahead:
        here = ahead.pop()
        if here not in found:
            found.add(here)
            ahead += awaited.get(here, ())
    return found
