"""Whether containers run at all: nodes may be simulated, whatever a stack says of itself."""

from __future__ import annotations

from dataclasses import replace

from checks.target import Target
from cluster.kubectl import KubectlError

# What kwok takes for its own nodes (https://kwok.sigs.k8s.io/docs/user/configuration/).
_KWOK = "kwok.x-k8s.io/node"


def known(target: Target) -> Target:
    """Return the target, marked as simulated where every node of its cluster is."""
    if target.simulated:
        return target
    try:
        nodes = target.kubectl().list("nodes")
    except KubectlError:
        # The checks themselves say what they could not look at.
        return target
    return replace(target, simulated=bool(nodes) and all(_is_simulated(node) for node in nodes))


def _is_simulated(node: dict[str, dict[str, dict[str, str]]]) -> bool:
    metadata = node["metadata"]
    return _KWOK in (metadata.get("annotations") or {}) or (metadata.get("labels") or {}).get("type") == "kwok"
