"""Clears away what Helm leaves when Istio and Kong are uninstalled: resource definitions, and istiod's ConfigMaps.

A definition that somebody still has objects of is kept, and named: deleting it would delete the objects.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from cluster import command
from cluster.kubectl import Kubectl

# istiod writes them into every namespace (istio: pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
CONFIG_MAPS = ("istio-ca-root-cert", "istio-ca-crl")
_ISTIO_OWNER = ("istio-base", "istio-system")
_KONG_GROUP = "configuration.konghq.com"


def main() -> None:
    """Clear up from the command line."""
    options = _options()
    kubectl = command.kubectl(options)
    for name in CONFIG_MAPS:
        _delete(kubectl, kubectl.list("configmaps", "--all-namespaces", f"--field-selector=metadata.name={name}"))
    if not options.keep_definitions:
        delete_definitions(kubectl)


def _options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--keep-definitions", action="store_true", help="leave the resource definitions")
    return parser.parse_args()


def delete_definitions(kubectl: Kubectl) -> None:
    """Delete the definitions that the stack's charts made, save those in use."""
    ours = [item for item in kubectl.list("customresourcedefinitions") if is_ours(item)]
    if not ours:
        return
    kinds = ",".join(item["metadata"]["name"] for item in ours)
    used = {(item["apiVersion"].partition("/")[0], item["kind"]) for item in kubectl.list(kinds, "--all-namespaces")}
    free = [item for item in ours if (item["spec"]["group"], item["spec"]["names"]["kind"]) not in used]
    _delete(kubectl, free)
    for group, kind in sorted(used):
        print(f"Kept the definition of {kind} ({group}): there are still objects of it.", file=sys.stderr)


def is_ours(definition: dict[str, Any]) -> bool:
    """Return whether a chart of the stack made a definition. Kong's carry no mark but their group."""
    annotations = definition["metadata"].get("annotations") or {}
    owner = (annotations.get("meta.helm.sh/release-name"), annotations.get("meta.helm.sh/release-namespace"))
    return owner == _ISTIO_OWNER or definition["spec"]["group"] == _KONG_GROUP


def _delete(kubectl: Kubectl, items: list[dict[str, Any]]) -> None:
    if not items:
        return
    named = [
        {
            "apiVersion": item["apiVersion"],
            "kind": item["kind"],
            "metadata": {key: item["metadata"][key] for key in ("name", "namespace") if key in item["metadata"]},
        }
        for item in items
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": named})
    kubectl.run("delete", "--filename=-", "--ignore-not-found", stdin=document)


if __name__ == "__main__":
    command.run(main)
