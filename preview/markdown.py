"""Text of strangers in GitHub's Markdown: only ever in code, where neither markup nor mentions nor links work."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: A comment's limit is 65,536 characters; in bytes nothing counts for less than GitHub might take it for.
LIMIT = 65_000


def size(text: str) -> int:
    """Return how much of the limit a text takes."""
    return len(text.encode("utf-8", "replace"))


def code(text: str, limit: int = 300) -> str:
    """Return text as code within a line, also within a table's cell."""
    line = shortened(" ".join(text.split()), limit)
    if not line:
        return ""
    # A bar ends a cell, in code too, and what a backslash does to it depends on what stands before the backslash.
    line = line.replace("|", "¦")
    ticks = "`" * (_longest_run(line) + 1)
    # Of a space on both sides nothing is shown, and between it and the text no backtick is counted in.
    room = " " if "`" in (line[0], line[-1]) else ""
    return f"{ticks}{room}{line}{room}{ticks}"


def fenced(text: str, language: str) -> str:
    """Return text as a block that none of its lines can end."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, content: str) -> str:
    """Return a section that is closed until somebody opens it; the summary is HTML."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def shortened(text: str, limit: int) -> str:
    """Return text of at most so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
