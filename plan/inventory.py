"""Every image and every chart that a stack needs, with where each comes from and where the stack takes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import workloads
from components.shared.images import pulled
from components.shared.releases import ChartSource, chart_source
from names import INJECTOR_WEBHOOK
from plan import rendering
from plan.program import record_stack
from plan.recording import Recording, Resource
from plan.stack_config import Project, StackConfig
from settings import restore
from versions import CHARTS


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image. `source`: where it is published. `pulled_as`: what the stack pulls. `needed_by`: releases, components."""

    source: str
    pulled_as: str
    needed_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart. `source`: where it is published. `taken_from`: where this stack has it from, in which version."""

    name: str
    version: str
    source: str
    taken_from: str
    taken_version: str


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All that a stack takes from elsewhere."""

    images: tuple[Image, ...]
    charts: tuple[Chart, ...]


def images_in(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the images in the order of the objects, with those that istiod puts into pods by its template."""
    return [image for item in objects for image in _images_of(dict(item))]


def _images_of(item: dict[str, Any]) -> list[str]:
    # That of an istiod with a revision is called after it.
    if item["kind"] == "ConfigMap" and f"{item['metadata']['name']}-".startswith(f"{INJECTOR_WEBHOOK}-"):
        return _injected(json.loads(item["data"]["values"])["global"])
    return pulled(item)


def _injected(values: Mapping[str, Any]) -> list[str]:
    """Return what sidecars and their initialisation run, put together as istiod does it."""
    names = [values["proxy_init"]["image"], values["proxy"]["image"]]
    # pkg/kube/inject/inject.go, ProxyImage: an image with a slash stands for itself.
    variant = f"-{values['variant']}" if values.get("variant") else ""
    return [name if "/" in name else f"{values['hub']}/{name}:{values['tag']}{variant}" for name in names]


def take(config: StackConfig, root: Path) -> Inventory:
    """Return what a stack needs; renders its charts. Raises `RunError`."""
    recording = record_stack(config, root=root)
    return Inventory(images=_images(config, recording, root), charts=_charts(config, recording, root))


def _images(config: StackConfig, recording: Recording, root: Path) -> tuple[Image, ...]:
    pulled = _by_source(recording, root)
    plain = replace(config, values=_without_images(config.values, root))
    published = pulled if plain == config else _by_source(record_stack(plain, root=root), root)
    needed: dict[tuple[str, str], set[str]] = {}
    for key, (name, references) in pulled.items():
        # The order in which resources register differs from run to run; that of one resource's objects does not.
        for source, reference in zip(published[key][1], references, strict=True):
            needed.setdefault((_spelled_out(source), _spelled_out(reference)), set()).add(name)
    return tuple(
        Image(source=source, pulled_as=reference, needed_by=tuple(sorted(names)))
        for (source, reference), names in sorted(needed.items())
    )


def _by_source(recording: Recording, root: Path) -> dict[str, tuple[str, list[str]]]:
    """Return for each resource the name of what it belongs to, and its images."""
    return {key: (source.name, images_in(source.objects)) for key, source in rendering.sources(recording, root).items()}


def _without_images(values: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return a stack's configuration with the default of the setting `images`."""
    key = Project(root).full_key("images")
    return {**values, key: Project(root).configure({}).values[key]}


def _spelled_out(image: str) -> str:
    """Return a reference with its registry, whatever tag and digest it has."""
    return str(workloads.Image.parse(image))


def _charts(config: StackConfig, recording: Recording, root: Path) -> tuple[Chart, ...]:
    given = json.loads(config.values.get(Project(root).full_key("charts"), "{}"))
    # A setting may name another version of the same chart.
    sources = restore({"charts": given}).charts
    names = {replace(chart_source(name, sources), version=None): name for name in CHARTS}
    used = {_source(resource) for resource in recording.resources.values() if resource.kind == "Release"}
    return tuple(
        _chart(names.get(replace(source, version=None)), source, root)
        for source in sorted(used, key=lambda source: source.chart)
    )


def _source(release: Resource) -> ChartSource:
    return ChartSource(
        chart=release.inputs["chart"],
        version=release.inputs.get("version"),
        repository=(release.inputs.get("repositoryOpts") or {}).get("repo"),
    )


def _chart(name: str | None, source: ChartSource, root: Path) -> Chart:
    """Return a chart of the table of versions; without a name in it, one of an application's, which is published there."""
    where, version = source.repository or source.chart, source.version or _version_in(root / source.chart)
    published = CHARTS[name] if name else None
    return Chart(
        name=published.name if published else source.chart.rpartition("/")[2],
        version=source.version or (published.version if published else version),
        source=published.repository if published else where,
        taken_from=where,
        taken_version=version,
    )


def _version_in(folder: Path) -> str:
    """Return the version that a chart's folder has; an archive is not opened for it."""
    file = folder / "Chart.yaml"
    if not file.is_file():
        return ""
    described: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return str(described.get("version", ""))
