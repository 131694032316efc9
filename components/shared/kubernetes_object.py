"""Kubernetes objects as resources, straight from their manifest.

The engine and the provider know a resource by its type token alone, so one class serves all kinds, and previews need no
cluster. The SDK's typed classes register the same, take a third of a second to import, which every preview would wait for,
and cannot express it all: `CustomResource` takes only `spec`, and the fields of a KongPlugin stand at the top level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.shared.object_kinds import is_custom, is_kubernetes
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
        if is_kubernetes(dict(manifest), "Secret"):
            # As the SDK's class says: the provider answers with `data`, whichever of the two it was given.
            hidden = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
            opts = pulumi.ResourceOptions.merge(opts, hidden)
        super().__init__(token, name, sealed(_deleted_at_once(manifest)), opts)


class Secret(KubernetesObject):
    """A Secret of the stack's own. Type `kubernetes:core/v1:Secret`.

    Inputs: `values`, its fields in plain text, which are secret to Pulumi. Outputs: `resource_version` in the cluster.
    """

    def __init__(
        self,
        name: str,
        metadata: Mapping[str, Any],
        values: pulumi.Input[Mapping[str, str]],
        opts: pulumi.ResourceOptions,
        **further: str,
    ) -> None:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **further}
        super().__init__(name, {**manifest, "stringData": pulumi.Output.secret(values)}, opts)
        known: pulumi.Output[Mapping[str, Any]] = pulumi.get(self, "metadata")
        self.resource_version = known.apply(lambda now: str(now.get("resourceVersion") or ""))


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
