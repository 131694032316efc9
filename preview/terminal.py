"""What the comment says, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from preview.changes import Change, Difference, Preview, Resource
from preview.markdown import shortened

_STYLES = {"+": "green", "-": "red", "@": "cyan", "~": "yellow", "±": "magenta", "x": "red", "!": "yellow"}
_SIGNS = {Change.CREATE: "+", Change.UPDATE: "~", Change.REPLACE: "±", Change.DELETE: "-"}
_LINES = 40
_PLACES = 5


def show(previews: Sequence[Preview], to: Console) -> None:
    """Print one paragraph after another, stack by stack."""
    for preview in previews:
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
    counts = [f"{preview.count(change)} {word}" for change, word in _words() if preview.count(change)]
    yield f"{preview.stack}: {', '.join(counts) or 'nothing'}"
    if preview.base_problem:
        yield f"  Nothing to compare with, the base's preview failed: {preview.base_problem}"
    yield from (
        f"  {_SIGNS[each.change]} {_label(preview, each)}" for each in preview.resources if each.change in _SIGNS
    )
    for difference in preview.differences:
        yield from _difference(difference)
    yield from _policies(preview)
    yield "  " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in preview.seconds.items())


def _words() -> tuple[tuple[Change, str], ...]:
    return (
        (Change.CREATE, "created"),
        (Change.UPDATE, "changed"),
        (Change.REPLACE, "replaced"),
        (Change.DELETE, "deleted"),
        (Change.SAME, "unchanged"),
    )


def _label(preview: Preview, resource: Resource) -> str:
    above = "" if resource.parent is None else f"{preview.resources[resource.parent].name} / "
    return f"{above}{resource.kind} {resource.name}"


def _difference(difference: Difference) -> Iterator[str]:
    lines = difference.text.splitlines()
    yield f"  {difference.part}: {difference.name}{f' ({difference.note})' if difference.note else ''}"
    yield from (f"  {shortened(line, 200)}" for line in lines[:_LINES])
    if len(lines) > _LINES:
        yield f"  … {len(lines) - _LINES} more lines"


def _policies(preview: Preview) -> Iterator[str]:
    if preview.policies.problem:
        yield f"  x policies: {preview.policies.problem}"
    for mandatory, sign in ((True, "x"), (False, "!")):
        for places in preview.policies.by_rule(mandatory=mandatory):
            yield f"  {sign} {places[0].rule} ({places[0].severity}): {places[0].remedy}"
            yield from (f"      {each.resource}: {each.what}" for each in places[:_PLACES])
            if len(places) > _PLACES:
                yield f"      … and {len(places) - _PLACES} more"
