"""What the charts of releases make, which a release hides from Pulumi's engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plan import rendering
from plan.recording import Recording
from policy.rule import Object, mapping


def objects(recording: Recording, root: Path) -> Iterator[Object]:
    """Yield the objects of every release, rendered with the values that the program gives. Raises `RunError`."""
    for key, source in rendering.sources(recording, root).items():
        release = recording.resources[key]
        if release.kind == "Release":
            yield from (_placed(body, key, release.inputs["namespace"], source.name) for body in source.objects)


def _placed(body: dict[str, object], key: str, namespace: str, release: str) -> Object:
    """Return an object of a release, which puts it into its own namespace unless the chart names one."""
    metadata = {"namespace": namespace, **mapping(body.get("metadata"))}
    return Object(body={**body, "metadata": metadata}, resource=key, release=release)
