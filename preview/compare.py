"""Two previews of a stack, before and after a change, made into what is said of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preview import chart_changes
from preview.changes import Change, Difference, Part, Resource
from preview.chart_changes import ChartError, Helm
from preview.pulumi_preview import State
from preview.schema import DIFF_CHARACTERS, LINKS, NAME_CHARACTERS, clean

_CONTEXT = 2
# Of the engine's words; with an empty state there is hardly any but the first.
_OPS = {
    "create": Change.CREATE,
    "update": Change.UPDATE,
    "delete": Change.DELETE,
    "same": Change.SAME,
    "read": Change.SAME,
    "import": Change.CREATE,
}


@dataclass(frozen=True, kw_only=True)
class Side:
    """The project before or after a change, and what a preview of it found."""

    root: Path
    states: Mapping[str, State]


def resources(head: Side, base: Side | None) -> tuple[Resource, ...]:
    """Return the resources of both sides, with what happens to each.

    Without a base the engine's words count. With one, a resource changes when the program asks for it otherwise than
    before; whether the provider then replaces it, only the state of a real stack tells.
    """
    states = {**(base.states if base else {}), **head.states}
    place = {urn: number for number, urn in enumerate(states)}
    return tuple(
        Resource(
            kind=_kind(state)[:NAME_CHARACTERS],
            name=clean(state.name)[:NAME_CHARACTERS],
            change=_change(urn, head, base),
            parent=place.get(state.parent),
            after=tuple(sorted(place[other] for other in state.dependencies if other in place))[:LINKS],
        )
        for urn, state in states.items()
    )


def _kind(state: State) -> str:
    return "Provider" if state.type.startswith("pulumi:providers:") else state.type.rsplit(":", 1)[-1]


def _change(urn: str, head: Side, base: Side | None) -> Change:
    if base is None:
        op = head.states[urn].op
        return Change.REPLACE if "replace" in op else _OPS.get(op, Change.UPDATE)
    if urn not in base.states:
        return Change.CREATE
    if urn not in head.states:
        return Change.DELETE
    return Change.UPDATE if _differs(base.states[urn], head.states[urn]) else Change.SAME


def _differs(before: State, after: State) -> bool:
    """Whether anything is changed by a resource's inputs; a component is nothing but those below it."""
    return after.custom and before.inputs != after.inputs


def differences(head: Side, base: Side, helm: Helm | ChartError) -> Iterator[Difference]:
    """Yield how the values of charts, what they render, and the other objects differ."""
    for urn in sorted({**base.states, **head.states}):
        before, after = base.states.get(urn), head.states.get(urn)
        known = after or before
        if known is None:
            continue
        if chart_changes.is_release(known):
            yield from _release(known.name, (base, before), (head, after), helm)
        elif before and after and _differs(before, after):
            text = unified(chart_changes.as_yaml(before.inputs), chart_changes.as_yaml(after.inputs))
            yield difference(Part.OBJECTS, f"{_kind(known)} {known.name}", text)


def _release(
    name: str, before: tuple[Side, State | None], after: tuple[Side, State | None], helm: Helm | ChartError
) -> Iterator[Difference]:
    old, new = before[1], after[1]
    if old and new:
        if (text := unified(chart_changes.values(old), chart_changes.values(new))) or old.inputs != new.inputs:
            text = text or unified(chart_changes.as_yaml(old.inputs), chart_changes.as_yaml(new.inputs))
            yield difference(Part.VALUES, name, text)
        if chart_changes.fingerprint(old, before[0].root) == chart_changes.fingerprint(new, after[0].root):
            return
    yield from _manifests(name, before, after, helm)


def _manifests(
    name: str, before: tuple[Side, State | None], after: tuple[Side, State | None], helm: Helm | ChartError
) -> Iterator[Difference]:
    try:
        if isinstance(helm, ChartError):
            raise helm
        old, new = (
            {} if state is None else chart_changes.rendered(state, side.root, helm) for side, state in (before, after)
        )
    except ChartError as problem:
        yield Difference(part=Part.MANIFESTS, name=name, note=clean(str(problem))[:1000])
        return
    for key in sorted({**old, **new}):
        if key not in old or key not in new:
            yield Difference(part=Part.MANIFESTS, name=_named(name, key), note="created" if key in new else "deleted")
        elif old[key] != new[key]:
            yield difference(Part.MANIFESTS, _named(name, key), unified(old[key], new[key]))


def _named(release: str, key: str) -> str:
    return clean(f"{release}: {key}")[:NAME_CHARACTERS]


def unified(before: str, after: str) -> str:
    """Return the lines of a unified diff, without the heads that would name files."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=_CONTEXT)
    return "\n".join(list(lines)[2:])


def difference(part: Part, name: str, text: str) -> Difference:
    """Return a difference that is no longer than what is taken; a note says what was left off."""
    lines = clean(text).splitlines()
    kept: list[str] = []
    room = DIFF_CHARACTERS - 1
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    note = f"{left} more lines are left off" if left else ""
    return Difference(part=part, name=clean(name)[:NAME_CHARACTERS], text="\n".join(kept), note=note)
