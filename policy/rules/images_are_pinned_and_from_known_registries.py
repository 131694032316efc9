"""Every image is pinned, and comes from a registry that is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policy.objects import Object, images, sidecar
from policy.rule import Option, Options, Rule, Violation
from workloads import INJECTED, Image

# Where the images of the stack are published.
_REGISTRIES = [
    "registry.istio.io/release",
    "docker.io/library/kong",
    "docker.io/kong",
    "docker.io/grafana",
    "docker.io/curlimages",
    "quay.io/prometheus",
    "quay.io/prometheus-operator",
    "quay.io/kiali",
]
# Three numbers: `3.9` is what the newest patch is called, and moves.
_FULL_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.+_-][\w.-]+)?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def unpinned_or_unknown_images(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look at every image that pods pull, sidecars included."""
    for item in objects:
        for who, reference in images(item):
            if reference == INJECTED and sidecar(item) == "true":
                continue
            image = Image.parse(reference)
            if not _pinned(image):
                yield Violation(
                    item,
                    f"{who} has the image {reference or 'none'}, which may be another one tomorrow",
                    "name a whole version (1.2.3) or a digest (@sha256:…), for charts by images.references",
                )
            if not any(_below(image.name, allowed) for allowed in options["registries"]):
                yield Violation(
                    item,
                    f"{who} has the image {reference or 'none'} from a registry that is not allowed",
                    "take it from an allowed one (images.registry), or add it to registries in policy/config.<stack>.json",
                )


def _pinned(image: Image) -> bool:
    return bool(_DIGEST.fullmatch(image.digest) or _FULL_VERSION.fullmatch(image.tag))


def _below(name: str, allowed: str) -> bool:
    # Not a mere prefix: quay.io/kiali is not quay.io/kiali-of-somebody.
    return name == allowed.rstrip("/") or name.startswith(f"{allowed.rstrip('/')}/")


RULE = Rule(
    name="images-are-pinned-and-from-known-registries",
    description="Every image has a whole version or a digest, and comes from a registry that is allowed.",
    find=unpinned_or_unknown_images,
    options={"registries": Option(_REGISTRIES, "Registries, with a path")},
)
