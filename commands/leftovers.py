"""Clears away what Helm leaves when Istio and Kong are uninstalled: CRDs, and istiod's ConfigMaps.

A CRD that somebody still has objects of is kept, and named: deleting it would delete the objects.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from commands import command_line, ownership
from commands.command_line import CommandError
from kube import Cluster

_GONE_SECONDS = 30


def main() -> None:
    """Clear up from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    _delete(cluster, ownership.config_maps(cluster))
    if not options.keep_crds:
        delete_crds(cluster)


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    # States of former versions have the first name.
    parser.add_argument(
        "--keep-crds", "--keep-definitions", dest="keep_crds", action="store_true", help="leave the CRDs"
    )
    return parser.parse_args()


def delete_crds(cluster: Cluster) -> None:
    """Delete the CRDs that the stack's charts installed, save those in use."""
    own = ownership.crds(cluster)
    with ThreadPoolExecutor() as pool:
        used = list(pool.map(lambda item: bool(cluster.list(item["metadata"]["name"])), own))
    _delete(cluster, [item for item, is_used in zip(own, used, strict=True) if not is_used])
    kept = {
        (item["spec"]["group"], item["spec"]["names"]["kind"])
        for item, is_used in zip(own, used, strict=True)
        if is_used
    }
    for group, kind in sorted(kept):
        print(f"Kept the CRD of {kind} ({group}): there are still objects of it.", file=sys.stderr)


def _delete(cluster: Cluster, items: list[dict[str, Any]]) -> None:
    def delete(item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        if not cluster.delete(item["kind"], metadata["name"], metadata.get("namespace", ""), seconds=_GONE_SECONDS):
            raise CommandError(
                f"The {item['kind']} {metadata['name']} is not gone {_GONE_SECONDS} s after its deletion: look at what waits "
                "in its metadata.finalizers."
            )

    with ThreadPoolExecutor() as pool:
        list(pool.map(delete, items))


if __name__ == "__main__":
    command_line.run(main)
