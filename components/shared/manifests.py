"""Reads an application's manifests, and works out what each object has to wait for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pulumi

from components.shared import kubernetes_yaml, kustomization, object_kinds, object_shape, placement
from components.shared.kubernetes_yaml import UnreadableError
from components.shared.kustomization import KustomizationError
from components.shared.object_kinds import Discovery, Manifest, group_of, is_custom
from components.shared.placement import Found, PlacementError
from workloads import TEMPLATES

__all__ = [
    "Manifest",
    "ManifestError",
    "group_of",
    "home_metadata",
    "is_custom",
    "is_home",
    "makes_pods",
    "needed_by",
    "read",
]

_SUFFIXES = (".yaml", ".yml", ".json")
_MOUNTED = {"ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim"}


class ManifestError(pulumi.RunError):
    """Manifests that cannot be deployed. Pulumi prints a RunError as its sentence."""


def read(
    path: Path, namespace: str, *, override_namespace: bool = False, discovery: Discovery = object_kinds.nobody
) -> list[Manifest]:
    """Return the objects in a file of YAML or JSON, or in a folder's such files, placed in `namespace`.

    Read as `kubectl apply` reads them; a folder with a kustomization is built with `kubectl kustomize`, or `kustomize`.
    A Namespace of that name may be among them, for the stack to make. `override_namespace`: objects of another one are
    moved. `discovery` is asked for kinds that nothing else tells. Raises `ManifestError`.
    """
    found = [one for source, content in _sources(path) for one in _objects(content, source)]
    is_namespaced = object_kinds.scopes([item for _, item in found], discovery)
    try:
        objects = placement.placed(found, namespace, is_namespaced, override=override_namespace)
    except PlacementError as error:
        raise ManifestError(str(error)) from None
    if all(is_home(item, namespace) for _, item in objects):
        raise ManifestError(f"{path} holds no Kubernetes object: give a YAML file, or a folder with some.")
    return _each_once(objects, namespace)


def _sources(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield what there is to read, and where it comes from."""
    try:
        if folder := kustomization.folder_of(path):
            yield folder, kustomization.build(folder)
            return
        is_folder = path.is_dir()
        for file in sorted(path.iterdir()) if is_folder else [path]:
            if not is_folder or (file.suffix in _SUFFIXES and not file.is_dir()):
                yield file, file.read_bytes()
    except KustomizationError as error:
        raise ManifestError(str(error)) from None
    except (OSError, ValueError) as error:
        file, why = getattr(error, "filename", None) or path, getattr(error, "strerror", None) or error
        raise ManifestError(f"{file} cannot be read ({why}): name a file or a folder that can.") from None


def is_home(manifest: Manifest, namespace: str) -> bool:
    """Return whether an object is the application's own Namespace."""
    return (manifest["kind"], manifest["metadata"]["name"]) == ("Namespace", namespace)


def home_metadata(objects: Iterable[Manifest], namespace: str, field: str) -> dict[str, str]:
    """Return the `labels` or the `annotations` that an application's Namespace has in its manifests."""
    homes = [item["metadata"].get(field) or {} for item in objects if is_home(item, namespace)]
    return {key: value for found in homes for key, value in found.items()}


def _each_once(objects: Sequence[Found], namespace: str) -> list[Manifest]:
    """Return the objects; one that is there twice, and the same both times, once."""
    known: dict[tuple[str, str, str], Found] = {}
    kept: list[Manifest] = []
    for one in objects:
        item = one.manifest
        # Istio and the Gateway API both have a Gateway: a kind alone names nothing.
        first = known.setdefault((group_of(item), item["kind"], item["metadata"]["name"]), one)
        if first is one or is_home(item, namespace):
            kept.append(item)
        elif first.manifest != item:
            raise ManifestError(
                f"{one.where} has {item['kind']} {item['metadata']['name']} once more, and not as in {first.where}: take "
                "one of them out."
            )
    return kept


def makes_pods(manifest: Manifest) -> bool:
    """Return whether pods start because of this object, and it has their template."""
    return manifest["kind"] in TEMPLATES and not is_custom(manifest)


def needed_by(manifest: Manifest, others: list[Manifest]) -> list[Manifest]:
    """Return those of `others` that a pod maker mounts or runs as, and the CRDs of a custom resource's kind."""
    if makes_pods(manifest):
        words = set(_words(manifest.get("spec")))
        return [other for other in others if other["kind"] in _MOUNTED and other["metadata"]["name"] in words]
    return object_kinds.crds_of(manifest, others)


def _objects(content: bytes, source: Path) -> Iterator[Found]:
    try:
        documents = kubernetes_yaml.read(content)
    except UnreadableError as error:
        where = f"{source}, document {error.document}, line {error.line}"
        raise ManifestError(f"{where} is not readable YAML ({error}): correct it, or name another file.") from None
    for document in documents:
        place = f"{source}, document {document.number}, line"
        for line, key, later in document.lost:
            pulumi.log.warn(
                f"{place} {line}: the key {json.dumps(key)} is there again in line {later}, and only that one counts."
            )
        if document.value is not None:
            for item in _listed(document.value):
                yield Found(f"{place} {document.line}", _checked(item, f"{place} {document.line}"))


def _listed(value: Any) -> Iterator[Any]:
    """Yield the objects of a list, at any depth; to kubectl what has items is one, and may say their kind for them."""
    if not isinstance(value, dict) or not ("items" in value or value.get("kind") == "List"):
        yield value
        return
    kind, items = value.get("kind"), value.get("items") or []
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, dict) and not item.get("kind") and not item.get("apiVersion"):
            item = {**item, "apiVersion": value.get("apiVersion"), "kind": str(kind).removesuffix("List")}
        yield from _listed(item)


def _checked(item: Any, where: str) -> Manifest:
    cleaned = _without_nothing(item)
    if isinstance(cleaned, dict) and all(_is_text(cleaned.get(field)) for field in ("apiVersion", "kind")):
        metadata = cleaned.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if _is_text(name) or (name and not isinstance(name, str)):
            if wrong := object_shape.misfit(cleaned):
                raise ManifestError(f"{where}: {wrong}: correct the file.")
            return cleaned
    raise ManifestError(
        f"{where} holds something that is no Kubernetes object: each document needs apiVersion, kind and metadata.name."
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _without_nothing(value: Any) -> Any:
    """Return the value without nulls: YAML leaves them where a key has nothing behind it, and they show as changes."""
    if isinstance(value, dict):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nothing(inner) for inner in value]
    return value


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
