"""Reads an application's manifests, and works out what each object has to wait for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi

from components.shared import kubernetes_yaml
from components.shared.kubernetes_yaml import UnreadableError
from workloads import TEMPLATES

Manifest = dict[str, Any]

_SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# It may fetch what it builds on.
_KUSTOMIZE_SECONDS = 120
_MOUNTED = {"ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim"}
_CLUSTER_SCOPED = {
    *("Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
    *(
        "StorageClass",
        "PriorityClass",
        "IngressClass",
        "RuntimeClass",
        "APIService",
        "CSIDriver",
        "VolumeSnapshotClass",
    ),
    *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy"),
    *("ValidatingAdmissionPolicyBinding", "ClusterIssuer", "GatewayClass", "KongClusterPlugin", "KongVault"),
}


class ManifestError(pulumi.RunError):
    """Manifests that cannot be deployed. Pulumi prints a RunError as its sentence."""


def read(path: Path, namespace: str) -> list[Manifest]:
    """Return the objects in a file of YAML or JSON, or in a folder's such files, placed in `namespace`.

    Read as `kubectl apply` reads them; a folder with a kustomization is built with `kubectl kustomize`, or `kustomize`.
    A Namespace of that name may be among them, for the stack to make. Raises `ManifestError`.
    """
    folder = path.parent if path.name in _KUSTOMIZATIONS else path
    if any((folder / name).is_file() for name in _KUSTOMIZATIONS) and (path.is_dir() or folder != path):
        sources = [(folder, _kustomized(folder))]
    else:
        files = sorted(file for file in path.glob("*") if file.suffix in _SUFFIXES) if path.is_dir() else [path]
        sources = [(file, _content(file)) for file in files if file.is_file() or file == path]
    objects = [_placed(item, namespace, file) for file, content in sources for item in _objects(content, file)]
    if all(is_home(item, namespace) for item in objects):
        raise ManifestError(f"{path} holds no Kubernetes object: give a YAML file, or a folder with some.")
    known: set[tuple[str, str, str]] = set()
    for item in (item for item in objects if not is_home(item, namespace)):
        # Istio and the Gateway API both have a Gateway: a kind alone names nothing.
        identity = (group_of(item), item["kind"], item["metadata"]["name"])
        if identity in known:
            raise ManifestError(f"{path} has {identity[1]} {identity[2]} twice: take one of them out.")
        known.add(identity)
    return objects


def is_home(manifest: Manifest, namespace: str) -> bool:
    """Return whether an object is the application's own Namespace."""
    return (manifest["kind"], manifest["metadata"]["name"]) == ("Namespace", namespace)


def home_metadata(objects: Iterable[Manifest], namespace: str, field: str) -> dict[str, str]:
    """Return the `labels` or the `annotations` that an application's Namespace has in its manifests."""
    homes = [item["metadata"].get(field) or {} for item in objects if is_home(item, namespace)]
    return {key: value for found in homes for key, value in found.items()}


def makes_pods(manifest: Manifest) -> bool:
    """Return whether pods start because of this object."""
    return manifest["kind"] in TEMPLATES


def is_custom(manifest: Manifest) -> bool:
    """Return whether the object's kind has to be defined in the cluster first."""
    group = group_of(manifest)
    return "." in group and not group.endswith(".k8s.io")


def group_of(manifest: Manifest) -> str:
    """Return the API group of an object; the core group is empty."""
    group, slash, _ = str(manifest["apiVersion"]).partition("/")
    return group if slash else ""


def needed_by(manifest: Manifest, others: list[Manifest]) -> list[Manifest]:
    """Return those of `others` that a pod maker mounts or runs as, and the CRDs of a custom resource's kind."""
    if makes_pods(manifest):
        words = set(_words(manifest.get("spec")))
        return [other for other in others if other["kind"] in _MOUNTED and other["metadata"]["name"] in words]
    if is_custom(manifest):
        return [
            other
            for other in others
            if other["kind"] == "CustomResourceDefinition" and _group_of_crd(other) == group_of(manifest)
        ]
    return []


def _group_of_crd(crd: Manifest) -> Any:
    spec = crd.get("spec")
    return spec.get("group") if isinstance(spec, Mapping) else None


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        raise ManifestError(f"{file} is not readable YAML: correct it, or name another file.") from None


def _kustomized(folder: Path) -> bytes:
    """Return what a kustomization makes."""
    programs = (("kubectl", "kustomize"), ("kustomize", "build"))
    command = next(((found, verb) for name, verb in programs if (found := shutil.which(name))), None)
    if not command:
        raise ManifestError(
            f"{folder} has a kustomization, and neither kubectl nor kustomize is on PATH to build it: install one of them "
            "(https://kubernetes.io/docs/tasks/tools/), or name a file with what `kubectl kustomize` prints."
        )
    try:
        done = subprocess.run([*command, str(folder)], capture_output=True, timeout=_KUSTOMIZE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"no answer within {_KUSTOMIZE_SECONDS} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
    else:
        if not done.returncode:
            return done.stdout
        why = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("error: ")
    raise ManifestError(f"{folder} has a kustomization that cannot be built ({why}): correct it.")


def _objects(content: bytes, file: Path) -> Iterator[Manifest]:
    try:
        documents = kubernetes_yaml.read(content)
    except UnreadableError as error:
        where = f"{file}, document {error.document}, line {error.line}"
        raise ManifestError(f"{where} is not readable YAML ({error}): correct it, or name another file.") from None
    for document in documents:
        if document.value is not None:
            for item in _listed(document.value):
                yield _checked(item, file, f"{file}, document {document.number}, line {document.line}")


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


def _checked(item: Any, file: Path, where: str) -> Manifest:
    cleaned = _without_nothing(item)
    if isinstance(cleaned, dict) and all(_is_text(cleaned.get(field)) for field in ("apiVersion", "kind")):
        metadata = cleaned.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if _is_text(name) or (name and not isinstance(name, str)):
            _check_shape(cleaned, file)
            return cleaned
    raise ManifestError(
        f"{where} holds something that is no Kubernetes object: each document needs apiVersion, kind and metadata.name."
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _check_shape(manifest: Manifest, file: Path) -> None:
    """Raise for what Kubernetes would refuse and the stack looks into: fields that are not of the kind they have to be."""
    misfit = next(_misfits(manifest, _shape(manifest["kind"]), ""), None) or _unnumbered(manifest)
    if misfit:
        field, kind = misfit
        raise ManifestError(
            f"{file}: {field} of {manifest['kind']} {manifest['metadata']['name']} is not {_KINDS[kind]}: correct the file."
        )


_KINDS = {dict: "an object", list: "a list", int: "a whole number", str: "text"}
_METADATA: dict[str, Any] = {"name": str, "namespace": str, "labels": {}, "annotations": {}}
_CONTEXT: dict[str, Any] = {"capabilities": {"add": [str], "drop": [str]}, "seccompProfile": {}}
_CONTAINER: dict[str, Any] = {"image": str, "ports": [{}], "securityContext": _CONTEXT}
_POD: dict[str, Any] = {
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [{"image": {"reference": str}}],
    "imagePullSecrets": [{"name": str}],
    "securityContext": _CONTEXT,
}


def _shape(kind: str) -> dict[str, Any]:
    """Return the fields of a kind that the stack looks into, each with the type that it has to be of."""
    shape: dict[str, Any] = {}
    if kind == "Service":
        shape = {"spec": {"selector": {}, "ports": list}}
    if kind in TEMPLATES:
        shape = {"spec": _POD}
        for step in reversed(TEMPLATES[kind]):
            shape = {step: shape}
    return {"metadata": _METADATA, **shape}


def _misfits(value: Any, shape: Any, path: str) -> Iterator[tuple[str, type]]:
    kind = shape if isinstance(shape, type) else type(shape)
    fits = type(value) is kind
    if not fits:
        yield path, kind
    elif isinstance(shape, dict):
        for field in (field for field in shape if field in value):
            yield from _misfits(value[field], shape[field], f"{path}.{field}".lstrip("."))
    elif isinstance(shape, list):
        for inner in value:
            yield from _misfits(inner, shape[0], f"{path}[]")


def _unnumbered(manifest: Manifest) -> tuple[str, type] | None:
    """Return the one field that must be there, where it is not."""
    ports = manifest.get("spec", {}).get("ports", []) if manifest["kind"] == "Service" else []
    numbered = all(isinstance(port, dict) and type(port.get("port")) is int for port in ports)
    return None if numbered else ("spec.ports[].port", int)


def _placed(manifest: Manifest, namespace: str, file: Path) -> Manifest:
    metadata = manifest["metadata"]
    if manifest["kind"] in _CLUSTER_SCOPED:
        return manifest
    named = " ".join(metadata.get("namespace", namespace).split())
    if named != namespace:
        raise ManifestError(
            f"{file} puts {manifest['kind']} {metadata['name']} into the namespace {named}: the application's is "
            f"{namespace}; take the namespace out of the file, or set the application's to {named}."
        )
    return {**manifest, "metadata": {**metadata, "namespace": namespace}}


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
