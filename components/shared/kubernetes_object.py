"""Kubernetes objects of any kind as resources, straight from their manifest.

The typed classes of pulumi-kubernetes cannot express every object: its `CustomResource` takes only `spec`, and the
fields of a KongPlugin stand at the top level. The engine and the provider know a resource by its type token alone,
so one class serves all kinds, and previews need no cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pulumi

from components.shared.manifests import is_custom

# The provider's own annotations (https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/).
SKIP_AWAIT = "pulumi.com/skipAwait"
_PROPAGATION = "pulumi.com/deletionPropagationPolicy"


class KubernetesObject(pulumi.CustomResource):
    """One Kubernetes object. Type `kubernetes:<apiVersion>:<Kind>`.

    Inputs: `manifest`, the whole object as in YAML. The provider waits until it is ready, as it does for typed classes.
    """

    def __init__(self, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        token = type_token(manifest["apiVersion"], manifest["kind"])
        super().__init__(token, name, _deleted_at_once(manifest), opts)


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


def secret(name: str, namespace: str, values: pulumi.Input[Mapping[str, str]], *, kind: str = "") -> dict[str, Any]:
    """Return a Secret whose values the engine keeps encrypted; without a `kind` it is an opaque one."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        **({"type": kind} if kind else {}),
        "metadata": {"name": name, "namespace": namespace},
        "stringData": pulumi.Output.secret(values),
    }


def namespace(name: str, *, injected: bool, labels: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return a Namespace; `injected` has istiod add a sidecar to every pod that starts in it."""
    injection = {"istio-injection": "enabled"} if injected else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**injection, **labels}}}
