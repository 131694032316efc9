"""Resources of a Pulumi program in the shape that rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy.rule import Object, mapping

_RELEASE = "kubernetes:helm.sh/v3:Release"
_COMMANDS = "command:"
_KUBERNETES = "kubernetes:"


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
        # A typed class of the SDK says these two in its type alone.
        body = {"apiVersion": version.removeprefix("core/"), "kind": kind, **inputs}
    else:
        return None
    return Object(body=body, resource=resource, secret=secret)


def _without(inputs: Mapping[str, Any], secret: frozenset[str] | None) -> dict[str, Any]:
    """Return a command's inputs that are not secret to Pulumi."""
    return {key: value for key, value in inputs.items() if key not in (secret or ())}
