"""Reads an application's manifests, and works out what each object has to wait for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

Manifest = dict[str, Any]

_POD_MAKERS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Pod"}
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


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a date, and a time such as 12:30:45, are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag.rpartition(":")[2] not in ("timestamp", "int", "float")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# PyYAML's own patterns, without the numbers to the base of 60.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][\d_]*|0x[\da-fA-F_]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"([-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\.\d[\d_]*([eE][-+]?\d+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN))$"),
    list("-+0123456789."),
)


class ManifestError(pulumi.RunError):
    """Manifests that cannot be deployed. Pulumi prints a RunError as its sentence."""


def read(path: Path, namespace: str) -> list[Manifest]:
    """Return the objects in a YAML file, or in a folder's YAML files, placed in `namespace`.

    A Namespace of that name is left out: the stack makes it. Raises `ManifestError`.
    """
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    found = [_placed(item, namespace, file) for file in files for item in _documents(file)]
    objects = [item for item in found if (item["kind"], item["metadata"]["name"]) != ("Namespace", namespace)]
    if not objects:
        raise ManifestError(f"{path} holds no Kubernetes object: give a YAML file, or a folder with some.")
    seen: set[tuple[str, str, str]] = set()
    for item in objects:
        # Istio and the Gateway API both have a Gateway: a kind alone names nothing.
        identity = (group_of(item), item["kind"], item["metadata"]["name"])
        if identity in seen:
            raise ManifestError(f"{path} has {identity[1]} {identity[2]} twice: take one of them out.")
        seen.add(identity)
    return objects


def makes_pods(manifest: Manifest) -> bool:
    """Return whether pods start because of this object."""
    return manifest["kind"] in _POD_MAKERS


def is_custom(manifest: Manifest) -> bool:
    """Return whether the object's kind has to be defined in the cluster first."""
    group = group_of(manifest)
    return "." in group and not group.endswith(".k8s.io")


def group_of(manifest: Manifest) -> str:
    """Return the API group of an object; the core group is empty."""
    group, slash, _ = str(manifest["apiVersion"]).partition("/")
    return group if slash else ""


def needed_by(manifest: Manifest, others: list[Manifest]) -> list[Manifest]:
    """Return those of `others` that a pod maker mounts or runs as, and the definitions of a custom object's kind."""
    if makes_pods(manifest):
        words = set(_words(manifest.get("spec")))
        return [other for other in others if other["kind"] in _MOUNTED and other["metadata"]["name"] in words]
    if is_custom(manifest):
        return [
            other
            for other in others
            if other["kind"] == "CustomResourceDefinition" and _defined_group(other) == group_of(manifest)
        ]
    return []


def _defined_group(definition: Manifest) -> Any:
    spec = definition.get("spec")
    return spec.get("group") if isinstance(spec, Mapping) else None


def _documents(file: Path) -> Iterator[Manifest]:
    try:
        documents = list(yaml.load_all(file.read_text(encoding="utf-8"), _Loader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ManifestError(f"{file}{line} is not readable YAML: mend it, or name another file.") from None
    for document in documents:
        if document is None:
            continue
        listed = isinstance(document, Mapping) and document.get("kind") == "List"
        items = (document.get("items") or []) if listed else [document]
        yield from (_checked(item, file) for item in (items if isinstance(items, list) else [items]))


def _checked(item: Any, file: Path) -> Manifest:
    cleaned = _without_nothing(item)
    if isinstance(cleaned, dict) and cleaned.get("apiVersion") and cleaned.get("kind"):
        metadata = cleaned.get("metadata")
        if isinstance(metadata, dict) and metadata.get("name"):
            _check_shape(cleaned, file)
            return cleaned
    raise ManifestError(
        f"{file} holds something that is no Kubernetes object: each document needs apiVersion, kind and metadata.name."
    )


def _check_shape(manifest: Manifest, file: Path) -> None:
    """Raise for what Kubernetes would refuse and the stack looks into: fields that are not of the kind they have to be."""
    spec = manifest.get("spec")
    service = manifest["kind"] == "Service"
    shapes: list[tuple[str, Any, type]] = [
        (f"metadata.{field}", manifest["metadata"].get(field), dict) for field in ("labels", "annotations")
    ]
    if service or makes_pods(manifest):
        shapes.append(("spec", spec, dict))
    if service and isinstance(spec, dict):
        shapes += [("spec.selector", spec.get("selector"), dict), ("spec.ports", spec.get("ports"), list)]
        ports = spec["ports"] if isinstance(spec.get("ports"), list) else []
        shapes += [
            ("spec.ports[].port", port.get("port", "") if isinstance(port, dict) else port, int) for port in ports
        ]
    shapes += _pod_shapes(manifest)
    for field, value, kind in shapes:
        if value is not None and not isinstance(value, kind):
            raise ManifestError(
                f"{file}: {field} of {manifest['kind']} {manifest['metadata']['name']} is not {_SHAPES[kind]}: mend the file."
            )


_SHAPES = {dict: "an object", list: "a list", int: "a whole number"}


def _pod_shapes(manifest: Manifest) -> Iterator[tuple[str, Any, type]]:
    if not makes_pods(manifest) or not isinstance(manifest.get("spec"), dict):
        return
    steps = {"CronJob": ("jobTemplate", "spec", "template", "spec"), "Pod": ()}.get(
        manifest["kind"], ("template", "spec")
    )
    found, path = manifest["spec"], "spec"
    for step in steps:
        found, path = found.get(step), f"{path}.{step}"
        yield path, found, dict
        if not isinstance(found, dict):
            return
    for field in ("containers", "initContainers", "volumes", "imagePullSecrets"):
        yield f"{path}.{field}", found.get(field), list
        entries = found[field] if isinstance(found.get(field), list) else []
        yield from ((f"{path}.{field}[]", entry, dict) for entry in entries)
    yield f"{path}.securityContext", found.get("securityContext"), dict


def _placed(manifest: Manifest, namespace: str, file: Path) -> Manifest:
    metadata = manifest["metadata"]
    if manifest["kind"] in _CLUSTER_SCOPED:
        return manifest
    named = metadata.get("namespace", namespace)
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
