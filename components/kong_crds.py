"""Kong's CRDs, which the stack has as resources of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from commands.when_deleted.leftovers import MARK
from components.shared import manifests
from components.shared.kubernetes_object import KubernetesObject
from components.shared.manifests import Manifest, ManifestError
from names import KONG
from settings import NOBODYS_CRDS
from settings.sentences import show

_FILE = "manifests/kong/crds.yaml"
_PLUGINS = "kongplugins.configuration.konghq.com"
# The names of all of Kong's groups end so.
_GROUPS = "konghq.com"
_VERSION = "kubernetes-configuration.konghq.com/version"


def read(root: Path, given: str) -> list[Manifest]:
    """Return the CRDs of the setting `kong.crds`: those that it names, the project's own, or none.

    Raises `ManifestError` for what is no CRD of Kong's.
    """
    if given == NOBODYS_CRDS:
        return []
    found = manifests.read(root / Path(given or _FILE).expanduser(), "")
    for item in found:
        if item["kind"] != "CustomResourceDefinition" or not str(item["spec"].get("group")).endswith(_GROUPS):
            raise ManifestError(
                f"kong.crds is {show(given)}, where {item['kind']} {item['metadata']['name']} is, which is no CRD of "
                "Kong's: name a file or folder with Kong's CRDs alone."
            )
    if _PLUGINS not in {item["metadata"]["name"] for item in found}:
        raise ManifestError(f"kong.crds is {show(given)}, where the CRD of KongPlugin is missing: name all of Kong's.")
    return found


def _brief(value: Any, *, names: bool = False) -> Any:
    """Return a CRD without what its fields say of themselves, which is more than half of it. `names`: of fields, as keys."""
    if isinstance(value, dict):
        return {
            key: _brief(inner, names=key == "properties" and not names)
            for key, inner in value.items()
            if names or key != "description"
        }
    return [_brief(inner) for inner in value] if isinstance(value, list) else value


def summary(crds: Sequence[Manifest]) -> str:
    """Return, as JSON, what the precheck compares with the cluster's: of each CRD its release and its API versions."""
    return json.dumps({item["metadata"]["name"]: _summarised(item) for item in crds}, sort_keys=True)


def _summarised(crd: Manifest) -> dict[str, Any]:
    annotations: Mapping[str, str] = crd["metadata"].get("annotations") or {}
    return {"of": annotations.get(_VERSION, ""), "versions": [version["name"] for version in crd["spec"]["versions"]]}


@dataclass(frozen=True, kw_only=True)
class KongCrdsArgs:
    """`crds`: whole, as in YAML."""

    crds: Sequence[Manifest]


@dataclass(frozen=True, kw_only=True)
class KongCrdsOutputs:
    """`ready`: to depend on where Kong's kinds are needed."""

    ready: Sequence[pulumi.Resource]


class KongCrds(pulumi.ComponentResource):
    """Kong's CRDs. Type `kong-istio:index:KongCrds`.

    Creates: a CustomResourceDefinitionPatch for each, which takes over a CRD that is there, such as one that Helm
    installed: the provider creates no object a second time. None is deleted with its resource, as all objects of it would
    go: `commands/when_deleted/leftovers.py` deletes those that nobody needs, which it knows by their label.
    Outputs: `KongCrdsOutputs`.
    """

    def __init__(self, name: str, args: KongCrdsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:KongCrds", name, {}, opts)
        own = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        created = [KubernetesObject(item["metadata"]["name"], _marked(item), own, adopt=True) for item in args.crds]
        self.outputs = KongCrdsOutputs(ready=created)
        self.register_outputs({})


def _marked(crd: Manifest) -> Manifest:
    metadata = crd["metadata"]
    return {**_brief(crd), "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), MARK: KONG}}}
