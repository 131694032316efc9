"""Whether containers run at all: a cluster's nodes may be simulated."""

from __future__ import annotations

from kube import Cluster, ClusterError

# What kwok takes for its own nodes (https://kwok.sigs.k8s.io/docs/user/configuration/).
_KWOK = "kwok.x-k8s.io/node"


def simulated(cluster: Cluster) -> bool:
    """Return whether every node of a cluster is simulated; False where that cannot be asked."""
    try:
        nodes = cluster.list("nodes")
    except ClusterError:
        return False
    return bool(nodes) and all(_is_simulated(node) for node in nodes)


def _is_simulated(node: dict[str, dict[str, dict[str, str]]]) -> bool:
    metadata = node["metadata"]
    return _KWOK in (metadata.get("annotations") or {}) or (metadata.get("labels") or {}).get("type") == "kwok"
