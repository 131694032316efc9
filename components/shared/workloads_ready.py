"""Commands that wait until the workloads of a release, or of manifests, are ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_command import local

from commands import rollouts
from commands.cluster_access import Access
from components.shared import project_command
from components.shared.kubernetes_object import SKIP_AWAIT
from components.shared.manifests import Manifest

# Annotations of the provider, and its own limit.
_WAIT_FOR = "pulumi.com/waitFor"
_TIMEOUT = "pulumi.com/timeoutSeconds"
_SECONDS = 600
_MODULE = "commands.workloads_ready"


def of_release(
    name: str,
    installed: pulumi.Resource,
    namespace: str,
    opts: pulumi.ResourceOptions,
    *,
    access: Access,
    release: str,
    seconds: int,
    setting: str,
    looked_at: Sequence[Any],
) -> local.Command:
    """Wait until the workloads of a release are ready, and again when what is `looked_at` changes. `setting`: for the seconds."""
    arguments = ["--namespace", namespace, "--release", release, "--timeout", str(seconds), "--setting", setting]
    opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[installed]))
    return project_command.run(name, _MODULE, access, [*arguments, *project_command.digest(*looked_at)], opts)


def of_manifests(
    name: str,
    objects: Sequence[tuple[Manifest, pulumi.Resource]],
    namespace: str,
    opts: pulumi.ResourceOptions,
    *,
    access: Access,
) -> list[local.Command]:
    """Wait until those of the objects that `awaited_here` are ready, again whenever one changes; without any do nothing."""
    own = [(manifest, created) for manifest, created in objects if awaited_here(manifest)]
    if not own:
        return []
    workloads = [f"--workload={item['kind']}/{item['metadata']['name']}={_limit(item)}" for item, _ in own]
    arguments = ["--namespace", namespace, *workloads, "--setting", f"its annotation {_TIMEOUT}"]
    arguments += project_command.digest([item for item, _ in own])
    opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[created for _, created in own]))
    return [project_command.run(name, _MODULE, access, arguments, opts)]


def awaited_here(manifest: Manifest) -> bool:
    """Return whether the provider would wait for a workload, and nobody said how."""
    annotations = _annotations(manifest)
    said = annotations.get(SKIP_AWAIT) == "true" or annotations.get(_WAIT_FOR)
    return manifest["kind"] in rollouts.COMPLETE and manifest["apiVersion"] == "apps/v1" and not said


def left_to_the_command(manifest: Manifest) -> Manifest:
    """Return a workload with the provider told to wait for it until it is there, and no longer.

    The provider says after its time that one is not ready, and not why. When it deletes one it still waits for its pods,
    which it would not with `pulumi.com/skipAwait` (provider/pkg/metadata/overrides.go).
    """
    if not awaited_here(manifest):
        return manifest
    annotations = {**_annotations(manifest), _WAIT_FOR: "jsonpath={.metadata.uid}"}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def _annotations(manifest: Manifest) -> Mapping[str, Any]:
    return manifest["metadata"].get("annotations") or {}


def _limit(manifest: Manifest) -> int:
    said = str(_annotations(manifest).get(_TIMEOUT, ""))
    return int(said) if said.isdecimal() else _SECONDS
