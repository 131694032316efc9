"""The pods that objects make: their specification, containers and images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import workloads
from policy.rule import Object, items, mapping, pick
from workloads import INJECTED, Image

__all__ = ["INJECTED", "Image", "containers", "images", "injection", "template"]


def template(item: Object) -> Mapping[str, Any]:
    """Return the template of an object's pods, or nothing where it makes none."""
    return workloads.template(item.body) or {}


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
