"""Where the pods of a Deployment run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spread(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return topology spread constraints that keep pods with these labels apart, on nodes and in zones.

    They are preferences: where there is one node or one zone, all pods run there.
    """
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(labels)},
            # Pods of the version that is being replaced would count as well, and leave the new ones lopsided.
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
