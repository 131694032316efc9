"""The pods that objects make: their specification, containers and images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy.model import Object, items, mapping, pick

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
}
#: What a pod says in place of an image that istiod's webhook puts in.
INJECTED = "auto"
_DOCKER = "docker.io"


@dataclass(frozen=True)
class Image:
    """An image's reference in parts: `docker.io/library/kong`, `3.9.1`, `sha256:…`; what it does not have is empty."""

    name: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Take a reference apart, with Docker's short forms spelled out."""
        named, _, digest = reference.partition("@")
        path, slash, last = named.rpartition("/")
        short, _, tag = last.partition(":")
        host, _, rest = f"{path}{slash}{short}".partition("/")
        if not rest:
            return cls(f"{_DOCKER}/library/{host}", tag, digest)
        registry = "." in host or ":" in host or host == "localhost"
        return cls(f"{host}/{rest}" if registry else f"{_DOCKER}/{host}/{rest}", tag, digest)


def template(item: Object) -> Mapping[str, Any]:
    """Return the template of an object's pods, or nothing where it makes none."""
    path = _TEMPLATES.get(item.kind)
    return {} if path is None else mapping(pick(item.body, *path))


def containers(item: Object) -> list[Mapping[str, Any]]:
    """Return the containers of an object's pods, those that run first included."""
    spec = pick(template(item), "spec")
    return [container for key in ("initContainers", "containers") for container in items(pick(spec, key))]


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
    if item.kind != "ConfigMap" or not item.name.startswith("istio-sidecar-injector"):
        return {}
    text = pick(item.body, "data", "values")
    try:
        return mapping(pick(json.loads(text), "global")) if isinstance(text, str) else {}
    except ValueError:
        # istiod would inject nothing with it.
        return {}
