"""Which chain of resources the time of a run went into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

T = TypeVar("T")


def critical_path(finished: Mapping[T, float], awaited: Callable[[T], Collection[T]]) -> list[T]:
    """Return what held up the end, first to last: from what was finished last to what that waited for last, and so on.

    `awaited` returns all that something waits for; what is not in `finished` took no time.
    """
    path: list[T] = []
    ahead: Collection[T] = finished.keys()
    while ended := [key for key in ahead if key in finished]:
        path.append(max(ended, key=lambda key: finished[key]))
        ahead = awaited(path[-1])
    return path[::-1]
