"""Two previews of a stack, before and after a change: what differs between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plan import helm, rendering
from plan.recording import Resource
from preview.changes import DIFFERENCE, RESOURCES, Change, ChangedResource, Difference, Part
from preview.readable_yaml import as_yaml, of_object

_CONTEXT = 2


@dataclass(frozen=True, kw_only=True)
class Side:
    """The project before or after a change, and the resources that a preview of it found, by URN."""

    root: Path
    resources: Mapping[str, Resource]


def resources(head: Side, base: Side | None) -> tuple[ChangedResource, ...]:
    """Return the resources of both sides, with what happens to each; without a base all are created.

    A resource changes when the program asks for it otherwise than before; whether the provider then replaces it, only
    the state of a real stack tells.
    """
    before = base.resources if base else {}
    found = dict(list({**before, **head.resources}.items())[: RESOURCES.most])
    place = {urn: number for number, urn in enumerate(found)}
    return tuple(
        ChangedResource(
            kind=resource.kind,
            name=resource.name,
            change=_change(before.get(urn), head.resources.get(urn)),
            parent=place.get(resource.parent or ""),
            after=tuple(sorted(place[other] for other in resource.dependencies if other in place)),
        )
        for urn, resource in found.items()
    )


def _change(before: Resource | None, after: Resource | None) -> Change:
    if before is None:
        return Change.CREATE
    if after is None:
        return Change.DELETE
    # A component is nothing but the resources below it.
    return Change.UPDATE if after.custom and before.inputs != after.inputs else Change.SAME


def differences(head: Side, base: Side) -> Iterator[Difference]:
    """Yield how the values of charts, what they render to, and the other objects differ."""
    for urn in sorted({**base.resources, **head.resources}):
        before, after = base.resources.get(urn), head.resources.get(urn)
        known = after or before
        if known and known.kind == "Release":
            yield from _values(before, after)
            yield from _manifests(known.name, (base.root, before), (head.root, after))
        elif before and after and _change(before, after) is Change.UPDATE:
            yield difference(Part.OBJECTS, f"{after.kind} {after.name}", as_yaml(before.inputs), as_yaml(after.inputs))


def _values(before: Resource | None, after: Resource | None) -> Iterator[Difference]:
    if before and after and before.inputs != after.inputs:
        old, new = _chart_and_values(before.inputs), _chart_and_values(after.inputs)
        # Where those are the same, something else of the release is not.
        texts = (old, new) if old != new else (before.inputs, after.inputs)
        yield difference(Part.VALUES, after.name, *map(as_yaml, texts))


def _chart_and_values(inputs: Mapping[str, Any]) -> dict[str, Any]:
    repository = (inputs.get("repositoryOpts") or {}).get("repo")
    said = {"chart": inputs.get("chart"), "version": inputs.get("version"), "values": inputs.get("values") or {}}
    return {**said, "repository": repository} if repository else said


def _manifests(
    name: str, before: tuple[Path, Resource | None], after: tuple[Path, Resource | None]
) -> Iterator[Difference]:
    if before[1] and after[1] and before[1].inputs == after[1].inputs and _files(*before) == _files(*after):
        return
    try:
        program = helm.find()
        old, new = _rendered(program, *before), _rendered(program, *after)
    except helm.HelmError as problem:
        yield Difference(part=Part.MANIFESTS, name=name, note=str(problem))
        return
    for key in sorted({**old, **new}):
        if key not in old or key not in new:
            note = "created" if key in new else "deleted"
            yield Difference(part=Part.MANIFESTS, name=f"{name}: {key}", note=note)
        elif old[key] != new[key]:
            yield difference(Part.MANIFESTS, f"{name}: {key}", old[key], new[key])


def _files(root: Path, release: Resource | None) -> dict[Path, bytes]:
    """Return the files of a chart that lies in the project: nothing for one from a repository."""
    chart = root / str(release.inputs.get("chart") if release else "")
    return {file.relative_to(root): file.read_bytes() for file in (chart, *chart.rglob("*")) if file.is_file()}


def _rendered(program: Path, root: Path, release: Resource | None) -> dict[str, str]:
    """Return a release's objects by kind and name."""
    if release is None:
        return {}
    objects = rendering.rendered(release, program, root, include_crds=not release.inputs.get("skipCrds"))
    return {_name(body): of_object(body) for body in objects}


def _name(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata") or {}
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{body.get('kind', '?')} {namespace}{metadata.get('name', '?')}"


def difference(part: Part, name: str, before: str, after: str) -> Difference:
    """Return a unified diff that is no longer than what is read; a note says what was left off."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=_CONTEXT)
    # The first two would name files.
    lines = list(found)[2:]
    kept, room = 0, DIFFERENCE.most - 1
    while kept < len(lines) and (room := room - len(lines[kept]) - 1) >= 0:
        kept += 1
    note = f"{len(lines) - kept} more lines are left off" if kept < len(lines) else ""
    return Difference(part=part, name=name, text="\n".join(lines[:kept]), note=note)
