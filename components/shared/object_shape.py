"""What Kubernetes would refuse in an object, and only once the stack is half up: fields of a type that they cannot be of.

The fields are those that the stack looks into, and those that people most often forget the quotes in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from components.shared.object_kinds import Manifest, is_custom, is_kubernetes
from workloads import TEMPLATES

_SAID = {dict: "an object", list: "a list", int: "a whole number", str: "text (a number, yes or no needs quotes)"}
# Whatever the keys are, the values are text.
_TEXTS: dict[Any, Any] = {...: str}
_METADATA: dict[str, Any] = {"name": str, "namespace": str, "labels": _TEXTS, "annotations": _TEXTS}
_CONTEXT: dict[str, Any] = {"capabilities": {"add": [str], "drop": [str]}, "seccompProfile": {}}
_CONTAINER: dict[str, Any] = {
    "image": str,
    "command": [str],
    "args": [str],
    "env": [{"name": str, "value": str}],
    "ports": [{}],
    "securityContext": _CONTEXT,
}
_POD: dict[str, Any] = {
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [{"image": {"reference": str}}],
    "imagePullSecrets": [{"name": str}],
    "nodeSelector": _TEXTS,
    "securityContext": _CONTEXT,
}
_BINDING: dict[str, Any] = {"subjects": [{"name": str, "namespace": str}]}
_SHAPES: dict[str, dict[str, Any]] = {
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": {"data": _TEXTS, "binaryData": _TEXTS},
    "CustomResourceDefinition": {"spec": {"group": str, "scope": str, "names": {"kind": str}}},
    "RoleBinding": _BINDING,
    "Secret": {"data": _TEXTS, "stringData": _TEXTS},
    "Service": {"spec": {"selector": _TEXTS, "ports": list}},
}


def misfit(manifest: Manifest) -> str:
    """Return what of an object is of the wrong type, and which type it has to be of; empty where all is right."""
    found = next(_misfits(manifest, _shape("" if is_custom(manifest) else manifest["kind"]), ""), None) or _unnumbered(
        manifest
    )
    if not found:
        return ""
    field, kind = found
    return f"{field} of {manifest['kind']} {manifest['metadata']['name']} is not {_SAID[kind]}"


def _shape(kind: str) -> dict[str, Any]:
    """Return fields of a kind, each with the type that it has to be of."""
    shape = _SHAPES.get(kind, {})
    if kind in TEMPLATES:
        shape = {"metadata": _METADATA, "spec": _POD}
        for step in reversed(TEMPLATES[kind]):
            shape = {step: shape}
    return {**shape, "metadata": _METADATA}


def _misfits(value: Any, shape: Any, path: str) -> Iterator[tuple[str, type]]:
    kind = shape if isinstance(shape, type) else type(shape)
    fits = type(value) is kind
    if not fits:
        yield path, kind
    elif isinstance(shape, dict):
        for field, inner in value.items():
            if (expected := shape.get(field, shape.get(...))) is not None:
                shown = field if field.isprintable() else json.dumps(field)
                yield from _misfits(inner, expected, f"{path}.{shown}".lstrip("."))
    elif isinstance(shape, list):
        for inner in value:
            yield from _misfits(inner, shape[0], f"{path}[]")


def _unnumbered(manifest: Manifest) -> tuple[str, type] | None:
    """Return the one field that must be there, where it is not."""
    ports = manifest.get("spec", {}).get("ports", []) if is_kubernetes(manifest, "Service") else []
    numbered = all(isinstance(port, dict) and type(port.get("port")) is int for port in ports)
    return None if numbered else ("spec.ports[].port", int)
