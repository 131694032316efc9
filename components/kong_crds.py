"""Kong's CRDs, which the stack brings itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from commands.cluster_access import Access
from commands.when_deleted.leftovers import MARK
from components.shared import manifests, project_command
from components.shared.manifests import Manifest, ManifestError
from components.shared.releases import REPAIR, repaired_at
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
    """`crds`: whole, as in YAML; without any nothing is created. `access`: the cluster."""

    crds: Sequence[Manifest]
    access: Access


@dataclass(frozen=True, kw_only=True)
class KongCrdsOutputs:
    """`ready`: to depend on where Kong's kinds are needed."""

    ready: Sequence[pulumi.Resource]


class KongCrds(pulumi.ComponentResource):
    """Kong's CRDs. Type `kong-istio:index:KongCrds`.

    Creates: Command `kong-crds-applied` (`python -m commands.kong_crds`), which creates the CRDs, or brings those that are
    there, such as Helm's, up to date in place, and waits until the API server serves them. It runs again when one changes.
    Nothing is deleted with it, as all objects of a CRD would go: `commands/when_deleted/leftovers.py` deletes those that
    nobody needs, which it knows by their label.
    Outputs: `KongCrdsOutputs`.
    Raises in `up`: a CRD that somebody is deleting, or that the API server does not take.
    """

    def __init__(self, name: str, args: KongCrdsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:KongCrds", name, {}, opts)
        applied = [self._applied(name, args)] if args.crds else []
        self.outputs = KongCrdsOutputs(ready=applied)
        self.register_outputs({})

    def _applied(self, name: str, args: KongCrdsArgs) -> pulumi.Resource:
        given = args.access.arguments()
        line = project_command.command_line("commands.kong_crds", given)
        # Another time of a repair is a reason to run again.
        repair = {REPAIR: pulumi.Output.from_input(now)} if (now := repaired_at()) else {}
        return project_command.on_cluster(
            f"{name}-applied",
            args.access,
            pulumi.ResourceOptions(parent=self, ignore_changes=[] if repair else [f"environment.{REPAIR}"]),
            create=line,
            update=line,
            stdin=json.dumps([marked(crd) for crd in args.crds], sort_keys=True),
            environment={**(project_command.secret_environment(given) or {}), **repair},
        )


def marked(crd: Manifest) -> Manifest:
    """Return a CRD as the stack brings it: with the label by which it is known, and without descriptions."""
    metadata = crd["metadata"]
    return {**_brief(crd), "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), MARK: KONG}}}
