"""What the cluster says of a step of an upgrade of Istio: which istiods run, and which pods have sidecars of them.

What settings alone tell, `settings/istio_upgrades.py` looks at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from commands import ownership, rollouts
from commands.command_line import CommandError
from commands.when_deleted import unused_revision
from kube import Cluster, Object
from names import ISTIO_NAMESPACE, ISTIOD


def check(cluster: Cluster, wanted: Mapping[str, str]) -> None:
    """Raise for a step that would skip one. `wanted`: revision -> version, empty where that is not known."""
    there = _there(cluster)
    gone = [revision for revision in there if revision not in wanted]
    pods = cluster.list("pods") if gone else []
    for revision in gone:
        if used := unused_revision.users(pods, revision):
            raise CommandError(unused_revision.still_used(revision, used))
    # The stable one is the first.
    for key, (revision, version) in zip(("istio.version", "istio.canary.version"), wanted.items(), strict=False):
        if revision in there:
            _check_in_place(rollouts.version_of(rollouts.images(there[revision]).get("discovery", "")), version, key)


def _there(cluster: Cluster) -> dict[str, Object]:
    """Return the Deployments of the stack's istiods by their revisions."""
    return {
        item["metadata"]["labels"].get("istio.io/rev", "default"): item
        for item in cluster.list("deployments", ISTIO_NAMESPACE, labels="app=istiod")
        if ownership.release_of(item).startswith(ISTIOD)
    }


def _check_in_place(now: str, wanted: str, key: str) -> None:
    found, next_one = _minor(now), _minor(wanted)
    if not found or not next_one or abs(next_one[1] - found[1]) <= 1:
        return
    between = found[1] + (1 if next_one > found else -1)
    raise CommandError(
        f"{key} would take istiod from {now} to {wanted} in place: Istio supports one minor at a time; set {key} to the "
        f"newest {found[0]}.{between} first, or go by a second control plane (istio.canary)."
    )


def _minor(version: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)\.", version)
    return (int(found[1]), int(found[2])) if found else None
