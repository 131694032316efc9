"""Users' manifests and custom resources as resources, straight from their manifest.

What the stack creates itself of Kubernetes' own kinds are the SDK's typed classes. They cannot express the rest: the
SDK's `CustomResource` takes only `spec`, and the fields of a KongPlugin stand at the top level. The engine and the
provider know a resource by its type token alone, so one class serves all kinds, and previews need no cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.shared.manifests import is_custom
from settings.secret_parts import sealed

# The provider's own annotations (https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/).
SKIP_AWAIT = "pulumi.com/skipAwait"
_EVERYWHERE = {("ServiceAccount", "default")}
_PROPAGATION = "pulumi.com/deletionPropagationPolicy"


class KubernetesObject(pulumi.CustomResource):
    """One Kubernetes object. Type `kubernetes:<apiVersion>:<Kind>`.

    Inputs: `manifest`, the whole object as in YAML. The provider waits until it is ready, as it does for typed classes.
    An object that every namespace has already, or that is to be taken over where it is there (`adopt`), is patched instead
    (`<Kind>Patch`): the provider would not create it.
    """

    def __init__(
        self, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions, *, adopt: bool = False
    ) -> None:
        there = adopt or (manifest["kind"], manifest["metadata"]["name"]) in _EVERYWHERE
        token = type_token(manifest["apiVersion"], f"{manifest['kind']}{'Patch' if there else ''}")
        super().__init__(token, name, sealed(_deleted_at_once(manifest)), opts)


def _deleted_at_once(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a custom object with the provider told not to wait for what it owns: it owns nothing.

    The garbage collector, which ends such a wait, takes up to 30 s to learn of a kind that is new to the cluster.
    """
    if not is_custom(dict(manifest)):
        return dict(manifest)
    metadata = manifest["metadata"]
    annotations = {_PROPAGATION: "background", **(metadata.get("annotations") or {})}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def type_token(api_version: str, kind: str) -> str:
    """Return the provider's type for a kind; it calls the core group `core`."""
    return f"kubernetes:{api_version if '/' in api_version else f'core/{api_version}'}:{kind}"
