"""The pods that Kubernetes objects make, and the references of images that they pull, taken apart.

Nothing but the standard library is imported: the policy pack's environment reads this as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

#: What makes pods, and where it has their template. A Pod is its own.
TEMPLATES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
#: What a pod says in place of an image that istiod's webhook puts in.
INJECTED = "auto"
_DOCKER = "docker.io"


def template(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the template of the pods that an object makes, or None where it makes none."""
    path = TEMPLATES.get(str(manifest.get("kind")))
    if path is None:
        return None
    found: Any = manifest
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


@dataclass(frozen=True)
class Image:
    """An image's reference in parts: `docker.io/library/kong`, `1.2`, `sha256:…`; what it does not have is empty."""

    name: str
    tag: str = ""
    digest: str = ""

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

    @property
    def registry(self) -> str:
        """Where it is published."""
        return self.name.partition("/")[0]

    @property
    def path(self) -> str:
        """Its name within the registry."""
        return self.name.partition("/")[2]

    @property
    def tagged(self) -> str:
        """The whole but for the digest."""
        return f"{self.name}:{self.tag}" if self.tag else self.name

    @property
    def version(self) -> str:
        """What tells it from others of its name: the tag, or the digest where it has none."""
        return self.tag or self.digest or "latest"

    def __str__(self) -> str:
        return f"{self.tagged}@{self.digest}" if self.digest else self.tagged


def mirrored(image: str, registry: str) -> str:
    """Return an image's reference on a mirror, with the path that it has in its own registry.

    Docker's short forms are spelled out: `kong` is `docker.io/library/kong`.
    """
    if not registry:
        return image
    own = Image.parse(image)
    return str(replace(own, name=f"{registry}/{own.path}"))
