"""What the comment says, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from preview.changes import Change, ChangedResource, Difference, Preview
from preview.markdown import shortened

_STYLES = {"+": "green", "-": "red", "@": "cyan", "~": "yellow", "x": "red", "!": "yellow"}
_LINES = 40
_PLACES = 5


def show(preview: Preview, to: Console) -> None:
    """Print what is to be said of a stack."""
    to.print()
    for line in _stack(preview):
        style = _STYLES.get(line.strip()[:1], "") if line.startswith("  ") else "bold"
        # A line of a difference stays one, to be copied or searched for.
        to.print(line, style=style, soft_wrap=True)


def _stack(preview: Preview) -> Iterator[str]:
    if preview.problem:
        yield f"{preview.stack}: the preview failed"
        yield f"  x {preview.problem}"
        return
    counts = [f"{preview.count(change)} {change.word}" for change in Change if preview.count(change)]
    yield f"{preview.stack}: {', '.join(counts) or 'nothing'} ({preview.seconds:.1f} s)"
    if preview.base_problem:
        yield f"  Nothing to compare with, the base's preview failed: {preview.base_problem}"
    yield from (f"  {each.change.sign} {_label(preview, each)}" for each in preview.resources if each.change.sign)
    for difference in preview.differences:
        yield from _difference(difference)
    if preview.policy_problem:
        yield f"  x policies: {preview.policy_problem}"
    for mandatory, sign in ((True, "x"), (False, "!")):
        for places in preview.by_rule(mandatory=mandatory):
            yield f"  {sign} {places[0].rule} ({places[0].severity}): {places[0].remedy}"
            yield from _first([f"{each.resource}: {each.what}" for each in places], _PLACES, "      ")


def _label(preview: Preview, resource: ChangedResource) -> str:
    above = "" if resource.parent is None else f"{preview.resources[resource.parent].name} / "
    return f"{above}{resource.kind} {resource.name}"


def _difference(difference: Difference) -> Iterator[str]:
    yield f"  {difference.part}: {difference.name}{f' ({difference.note})' if difference.note else ''}"
    yield from _first([shortened(line, 200) for line in difference.text.splitlines()], _LINES, "  ")


def _first(lines: list[str], most: int, indent: str) -> Iterator[str]:
    yield from (indent + line for line in lines[:most])
    if len(lines) > most:
        yield f"{indent}… {len(lines) - most} more"
