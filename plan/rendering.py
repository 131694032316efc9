"""Renders a stack's releases with Helm, as the stack would install them, and without a cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plan import helm
from plan.recording import Recording, Resource


@dataclass(frozen=True)
class Source:
    """What creates objects, a release or an application's manifest, and the objects."""

    name: str
    objects: list[dict[str, Any]]


def sources(recording: Recording, root: Path) -> dict[str, Source]:
    """Return every object of a stack, by the key of the resource that creates it. Raises `RunError`."""
    releases = {key: resource for key, resource in recording.resources.items() if resource.kind == "Release"}
    program = helm.find()
    with ThreadPoolExecutor(4) as pool:
        manifests = pool.map(lambda release: rendered(release, program, root), releases.values())
    found = {key: Source(releases[key].name, objects) for key, objects in zip(releases, manifests, strict=True)}
    for key, resource in recording.resources.items():
        if resource.type.startswith("kubernetes:") and {"kind", "metadata"} <= resource.inputs.keys():
            found[key] = Source(_component(recording, key), [resource.inputs])
    return found


def _component(recording: Recording, key: str) -> str:
    """Return the name of the component that an object belongs to."""
    parent = recording.resources[key].parent
    return recording.resources[parent].name if parent else key


def rendered(release: Resource, program: Path, root: Path, *, include_crds: bool = False) -> list[dict[str, Any]]:
    """Return the objects of a release's chart. Raises `helm.HelmError`."""
    given = release.inputs
    repository = dict(given.get("repositoryOpts") or {})
    text = helm.template(
        program,
        root,
        name=given.get("name") or release.name,
        chart=given["chart"],
        version=given.get("version"),
        repository=repository.pop("repo", None),
        access=repository,
        namespace=given.get("namespace") or "default",
        values=given.get("values"),
        include_crds=include_crds,
    )
    return helm.objects(text)
