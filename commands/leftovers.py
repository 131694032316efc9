"""Clears away what Helm leaves when Istio and Kong are uninstalled: resource definitions, and istiod's ConfigMaps.

A definition that somebody still has objects of is kept, and named: deleting it would delete the objects.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from commands import command_line
from commands.command_line import CommandError
from kube import Cluster

# istiod writes them into every namespace (istio: pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
CONFIG_MAPS = ("istio-ca-root-cert", "istio-ca-crl")
_ISTIO_OWNER = ("istio-base", "istio-system")
_KONG_GROUP = "configuration.konghq.com"
_GONE_SECONDS = 30


def main() -> None:
    """Clear up from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    for name in CONFIG_MAPS:
        _delete(cluster, cluster.list("configmaps", fields=f"metadata.name={name}"))
    if not options.keep_definitions:
        delete_definitions(cluster)


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--keep-definitions", action="store_true", help="leave the resource definitions")
    return parser.parse_args()


def delete_definitions(cluster: Cluster) -> None:
    """Delete the definitions that the stack's charts made, save those in use."""
    ours = [item for item in cluster.list("customresourcedefinitions") if is_ours(item)]
    with ThreadPoolExecutor() as pool:
        used = list(pool.map(lambda item: bool(cluster.list(item["metadata"]["name"])), ours))
    _delete(cluster, [item for item, is_used in zip(ours, used, strict=True) if not is_used])
    kept = {
        (item["spec"]["group"], item["spec"]["names"]["kind"])
        for item, is_used in zip(ours, used, strict=True)
        if is_used
    }
    for group, kind in sorted(kept):
        print(f"Kept the definition of {kind} ({group}): there are still objects of it.", file=sys.stderr)


def is_ours(definition: dict[str, Any]) -> bool:
    """Return whether a chart of the stack made a definition. Kong's carry no mark but their group."""
    annotations = definition["metadata"].get("annotations") or {}
    owner = (annotations.get("meta.helm.sh/release-name"), annotations.get("meta.helm.sh/release-namespace"))
    return owner == _ISTIO_OWNER or definition["spec"]["group"] == _KONG_GROUP


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
