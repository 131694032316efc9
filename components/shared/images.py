"""Where images come from: a mirror, references in place of single images, and the Secrets that open registries.

Each `*_images` function returns the values of one chart that say so, and nothing where the settings say nothing. The
names are those under which the charts pull by default, with their registry.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from components.shared.manifests import Manifest
from components.shared.merging import merged
from settings import Images, Kong, SettingsError
from settings.sentences import show
from workloads import INJECTED, TEMPLATES, Image, mirrored, template

PILOT = "registry.istio.io/release/pilot"
PROXY = "registry.istio.io/release/proxyv2"
CNI = "registry.istio.io/release/install-cni"
KONG = "docker.io/library/kong"
KONG_CONTROLLER = "docker.io/kong/kubernetes-ingress-controller"
PROMETHEUS = "quay.io/prometheus/prometheus"
CONFIG_RELOADER = "quay.io/prometheus-operator/prometheus-config-reloader"
GRAFANA = "docker.io/grafana/grafana"
CURL = "docker.io/curlimages/curl"
KIALI = "quay.io/kiali/kiali"

OF_CHARTS = (PILOT, PROXY, CNI, KONG, KONG_CONTROLLER, PROMETHEUS, CONFIG_RELOADER, GRAFANA, CURL, KIALI)

# A whole one, with its registry, and with a tag, a digest or both.
_REFERENCE = re.compile(
    r"(?:[\w-]+(?:\.[\w-]+)+|localhost|[\w-]+(?=:\d))(?::\d+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
    r"(?=[:@])(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def check_references(images: Images, objects: Iterable[Manifest], kong: Kong, canary: str = "") -> None:
    """Raise `SettingsError` for a reference that no pull can use, or that is for no image of the stack.

    An image of a component that is switched off counts as the stack's. `objects`: of all applications. `kong`: whose
    images may have another version by a setting of their own. `canary`: the version of a second istiod, which would run the
    first one's image.
    """
    versions = {
        **dict.fromkeys((PILOT, PROXY), ("istio.canary.version", canary)),
        KONG: ("kong.version", kong.version),
        KONG_CONTROLLER: ("kong.controllerVersion", kong.controller_version),
    }
    known = sorted({*OF_CHARTS, *(canonical(image) for item in objects for image in pulled(item))})
    meant: dict[str, str] = {}
    for image, given in images.references.items():
        full = canonical(image)
        # A tag or a digest is left out: whatever the stack would pull is replaced.
        if full not in known or not full.endswith(image):
            raise SettingsError(
                f"images.references names {image}, which is no image of this stack{_nearest(full, known)}"
            )
        if full in meant:
            raise SettingsError(f"images.references names {meant[full]} and {image}, the same image: keep one of them.")
        meant[full] = image
        key, version = versions.get(full, ("", ""))
        if version:
            raise SettingsError(f"{key} is {version} while images.references has another {image}: keep one of them.")
        if not isinstance(given, str) or not _REFERENCE.fullmatch(given):
            raise SettingsError(
                f"images.references has {show(given)} for {image}: it must be a whole reference with a tag or a "
                "digest, such as registry.example.com/name:1.2 or registry.example.com/name@sha256:…"
            )


def canonical(image: str) -> str:
    """Return an image's name with its registry and without tag and digest: `kong:3.9` is `docker.io/library/kong`."""
    return Image.parse(image).name


def reference(image: str, images: Images) -> str:
    """Return what to pull in place of an image: the reference that the settings have for it, else from the mirror."""
    if image == INJECTED:
        return image
    found = _parts(canonical(image), images)
    return str(found) if found else mirrored(image, images.registry)


def pulled(manifest: Manifest) -> list[str]:
    """Return the images that the pods of an object pull."""
    found: list[str] = []

    def note(image: str) -> str:
        found.append(image)
        return image

    spec = pod_spec(manifest)
    if spec is not None:
        _with_images(spec, note)
    return [image for image in found if image != INJECTED]


def pod_spec(manifest: Manifest) -> dict[str, Any] | None:
    """Return the specification of the pods that an object makes, or None where it makes none."""
    spec = (template(manifest) or {}).get("spec")
    return spec if isinstance(spec, dict) else None


def in_manifest(manifest: Manifest, images: Images) -> Manifest:
    """Return an application's object with its images as the settings say, and with the pull Secrets beside its own."""
    spec = pod_spec(manifest)
    if spec is None:
        return manifest
    changed = _with_images(spec, lambda image: reference(image, images))
    own = changed.get("imagePullSecrets") or []
    names = {secret.get("name") for secret in own}
    further = [{"name": name} for name in images.pull_secrets if name not in names]
    if further:
        changed["imagePullSecrets"] = [*own, *further]
    for step in reversed((*TEMPLATES[manifest["kind"]], "spec")):
        changed = {step: changed}
    return merged(manifest, changed)


def istiod_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart istiod; they hold for the sidecars and for Istio's gateways as well."""
    values: dict[str, Any] = _istio(images)
    # The chart takes an image with a slash in it as it is, and puts hub and tag to a bare name.
    if _parts(PILOT, images):
        values["image"] = reference(PILOT, images)
    if _parts(PROXY, images):
        proxy = {"image": reference(PROXY, images)}
        values = merged(values, {"global": {"proxy": proxy, "proxy_init": dict(proxy)}})
    return values


def cni_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart cni."""
    own = {"image": reference(CNI, images)} if _parts(CNI, images) else {}
    return {**_istio(images), **own}


def gateway_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart gateway, whose image is the sidecars': istiod puts it in."""
    return {"imagePullSecrets": _named(images)} if images.pull_secrets else {}


def kong_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart kong. It tells Kong's abilities by the tag, so that stays beside a reference."""
    gateway = {**_of_kong(KONG, "kong", images), "pullSecrets": list(images.pull_secrets)}
    controller = _of_kong(KONG_CONTROLLER, "kong/kubernetes-ingress-controller", images)
    return _without_empty({"image": gateway, "ingressController": {"image": controller}})


def prometheus_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart prometheus."""
    values = {
        "server": {"image": _of_prometheus(PROMETHEUS, images)},
        "configmapReload": {"prometheus": {"image": _of_prometheus(CONFIG_RELOADER, images)}},
        "imagePullSecrets": _named(images),
    }
    return _without_empty(values)


def grafana_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart grafana.

    Each image has its registry: the chart's global one would win over a reference. The chart always writes a tag, its
    own before a digest without one; what is pulled is what the digest says.
    """
    grafana = {**_of_grafana(GRAFANA, images), "pullSecrets": list(images.pull_secrets)}
    return _without_empty({"image": grafana, "downloadDashboardsImage": _of_grafana(CURL, images)})


def kiali_images(images: Images) -> dict[str, Any]:
    """Return the values of the chart kiali-server, to which a digest is a version of the kind `sha256`."""
    found = _parts(KIALI, images)
    if found and found.digest:
        image = {"image_name": found.tagged, "image_digest": "sha256", "image_version": _hash(found)}
    elif found:
        image = {"image_name": found.name, "image_version": found.tag}
    else:
        image = {"image_name": mirrored(KIALI, images.registry)} if images.registry else {}
    return _without_empty({"deployment": {**image, "image_pull_secrets": list(images.pull_secrets)}})


def _istio(images: Images) -> dict[str, Any]:
    hub = f"{images.registry}/release" if images.registry else ""
    return _without_empty({"global": {"hub": hub, "imagePullSecrets": list(images.pull_secrets)}})


def _of_kong(image: str, own: str, images: Images) -> dict[str, Any]:
    if _parts(image, images):
        return {"unifiedRepoTag": reference(image, images)}
    return {"repository": mirrored(own, images.registry)} if images.registry else {}


def _of_prometheus(image: str, images: Images) -> dict[str, Any]:
    found = _parts(image, images)
    if found and found.digest:
        return {"repository": found.tagged, "digest": found.digest}
    if found:
        return {"repository": found.name, "tag": found.tag}
    return {"repository": mirrored(image, images.registry)} if images.registry else {}


def _of_grafana(image: str, images: Images) -> dict[str, Any]:
    found = _parts(image, images)
    if found:
        return {"registry": found.registry, "repository": found.path, "tag": found.tag, "sha": _hash(found)}
    return {"registry": images.registry} if images.registry else {}


def _parts(image: str, images: Images) -> Image | None:
    """Return the reference that the settings have for an image, named with its registry; None where they have none."""
    given = (text for name, text in images.references.items() if canonical(name) == image)
    return next((Image.parse(text) for text in given), None)


def _hash(image: Image) -> str:
    """Return a digest as charts want it that write its algorithm themselves."""
    return image.digest.removeprefix("sha256:")


def _with_images(spec: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a pod's specification with another image in place of each."""
    result = dict(spec)
    for key in ("initContainers", "containers"):
        if isinstance(spec.get(key), list):
            result[key] = [_with_image(container, "image", change) for container in spec[key]]
    if isinstance(spec.get("volumes"), list):
        # A volume may be an image as well.
        result["volumes"] = [
            {**volume, "image": _with_image(volume["image"], "reference", change)} if "image" in volume else volume
            for volume in spec["volumes"]
        ]
    return result


def _with_image(holder: Mapping[str, Any], key: str, change: Callable[[str], str]) -> dict[str, Any]:
    image = holder.get(key)
    return {**holder, key: change(image)} if isinstance(image, str) else dict(holder)


def _named(images: Images) -> list[dict[str, str]]:
    return [{"name": name} for name in images.pull_secrets]


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _without_empty(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key: value for key, value in inner.items() if value}


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else f": those are {', '.join(known)}."
