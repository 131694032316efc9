"""What rules look at: Kubernetes objects, and a program's other resources in the same shape, with the pods of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import names
import workloads

_RELEASE = "kubernetes:helm.sh/v3:Release"
_COMMANDS = "command:"
_KUBERNETES = "kubernetes:"


@dataclass(frozen=True, kw_only=True)
class Object:
    """A Kubernetes object, or another resource in the same shape: kind, metadata, and its inputs as `spec`.

    `resource`: the Pulumi resource that brings it. `release`: the Helm release that it is rendered from.
    `secret`: the top-level fields that are secrets to Pulumi; None where that is not known, as in a policy pack.
    """

    body: Mapping[str, Any]
    resource: str = ""
    release: str = ""
    secret: frozenset[str] | None = None

    @property
    def kind(self) -> str:
        """Its kind; `Release` is a Helm release, `Command` a command of pulumi-command."""
        return str(self.body.get("kind", ""))

    @property
    def group(self) -> str:
        """Its API group; the core group is empty."""
        group, slash, _ = str(self.body.get("apiVersion", "")).partition("/")
        return group if slash else ""

    @property
    def name(self) -> str:
        """Its name."""
        return str(pick(self.body, "metadata", "name") or "")

    @property
    def namespace(self) -> str:
        """Its namespace; empty for what is in none."""
        return str(pick(self.body, "metadata", "namespace") or "")

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Its annotations."""
        return mapping(pick(self.body, "metadata", "annotations"))

    @property
    def labels(self) -> Mapping[str, Any]:
        """Its labels."""
        return mapping(pick(self.body, "metadata", "labels"))

    @property
    def label(self) -> str:
        """What people call it."""
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}" + (f" (release {self.release})" if self.release else "")


def of_resource(
    type_: str, name: str, inputs: Mapping[str, Any], resource: str, secret: frozenset[str] | None = None
) -> Object | None:
    """Return a resource as an object; None for what rules have no business with, such as components and providers."""
    if type_ == _RELEASE:
        metadata = {"name": inputs.get("name") or name, "namespace": inputs.get("namespace")}
        body: Mapping[str, Any] = {"kind": "Release", "metadata": metadata, "spec": inputs}
    elif type_.startswith(_COMMANDS):
        body = {"kind": "Command", "metadata": {"name": name}, "spec": _without(inputs, secret)}
    elif type_.startswith(_KUBERNETES) and mapping(inputs.get("metadata")):
        version, _, kind = type_.removeprefix(_KUBERNETES).rpartition(":")
        # A typed class of the SDK says these two in its type alone, and only there that it is a patch.
        body = {"apiVersion": version.removeprefix("core/"), **inputs, "kind": kind}
    else:
        return None
    return Object(body=body, resource=resource, secret=secret)


def _without(inputs: Mapping[str, Any], secret: frozenset[str] | None) -> dict[str, Any]:
    """Return a command's inputs that are not secret to Pulumi."""
    return {key: value for key, value in inputs.items() if key not in (secret or ())}


# --- their pods -------------------------------------------------------------------------------------------------------


def template(item: Object) -> Mapping[str, Any]:
    """Return the template of an object's pods, or nothing where it has none."""
    return workloads.template(item.body) or {}


def containers(item: Object) -> list[Mapping[str, Any]]:
    """Return the containers of an object's pods, those that run first included."""
    spec = pick(template(item), "spec")
    return [container for key in ("initContainers", "containers") for container in items(pick(spec, key))]


def sidecar(item: Object) -> str:
    """Return what an object's pods say of a sidecar, `true` or `false`; empty where they leave it to their namespace."""
    metadata = pick(template(item), "metadata")
    told = {**mapping(pick(metadata, "annotations")), **mapping(pick(metadata, "labels"))}
    return str(told.get("sidecar.istio.io/inject", "")).lower()


def images(item: Object) -> Iterator[tuple[str, str]]:
    """Yield who pulls what: containers, volumes, and the sidecars that istiod is told to put in."""
    for container in containers(item):
        yield f"container {container.get('name')}", str(container.get("image") or "")
    for volume in items(pick(template(item), "spec", "volumes")):
        if "image" in volume:
            yield f"volume {volume.get('name')}", str(pick(volume, "image", "reference") or "")
    told = injection(item)
    if told:
        proxy = str(pick(told, "proxy", "image") or "proxyv2")
        # A whole reference stands for itself; a name is one of the hub's.
        yield "the sidecar", proxy if "/" in proxy else f"{told.get('hub')}/{proxy}:{told.get('tag')}"


def injection(item: Object) -> Mapping[str, Any]:
    """Return the part `global` of what istiod is told about sidecars, of the object that tells it."""
    if item.kind != "ConfigMap" or not item.name.startswith(names.INJECTOR_WEBHOOK):
        return {}
    text = pick(item.body, "data", "values")
    try:
        return mapping(pick(json.loads(text), "global")) if isinstance(text, str) else {}
    except ValueError:
        # istiod would inject nothing with it.
        return {}


# --- values, which a preview may not know -------------------------------------------------------------------------------


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping, an empty one in place of anything else: values may be unknown in a preview."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list, and nothing for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def pick(value: Any, *path: str) -> Any:
    """Go down into mappings; None where the path ends early."""
    for step in path:
        value = mapping(value).get(step)
    return value
