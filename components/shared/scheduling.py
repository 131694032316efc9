"""Where the pods of a Deployment run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spread(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return topology spread constraints that keep pods with these labels apart: on nodes, and in zones if there are any.

    Nodes are demanded and zones preferred: the scheduler weighs no preference at all on a node that lacks one of the
    labels preferred by, and many clusters name no zones.
    """
    selector = {
        "maxSkew": 1,
        "labelSelector": {"matchLabels": dict(labels)},
        # Pods of the version that is being replaced would count as well, and leave the new ones lopsided.
        "matchLabelKeys": ["pod-template-hash"],
    }
    nodes = {
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        # A node that is drained, or gone, would count as an empty one, and nothing could move off it.
        "nodeTaintsPolicy": "Honor",
    }
    zones = {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    return [{**selector, **nodes}, {**selector, **zones}]
