"""Finds the images in Kubernetes objects, among them those that istiod puts into pods by its template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from components.shared.images import pulled

_INJECTOR = ("ConfigMap", "istio-sidecar-injector")


def of_objects(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the images in the order of the objects; what only istiod's template names is among them."""
    return [image for item in objects for image in _of_object(dict(item))]


def _of_object(item: dict[str, Any]) -> list[str]:
    if (item["kind"], item["metadata"]["name"]) == _INJECTOR:
        return _injected(json.loads(item["data"]["values"])["global"])
    return pulled(item)


def _injected(values: Mapping[str, Any]) -> list[str]:
    """Return what sidecars and their initialisation run, put together as istiod does it."""
    names = [values["proxy_init"]["image"], values["proxy"]["image"]]
    # pkg/kube/inject/inject.go, ProxyImage: an image with a slash stands for itself.
    variant = f"-{values['variant']}" if values.get("variant") else ""
    return [name if "/" in name else f"{values['hub']}/{name}:{values['tag']}{variant}" for name in names]
