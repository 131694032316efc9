"""Which cluster a stack is in, as a context may lead to another one than at the last `up`.

A cluster is known by the UID of its namespace kube-system, which is as old as the cluster. Every Command that works on
the cluster carries it in its environment, so the state says where it ran: in another cluster the engine makes it anew,
and a delete command never works on a cluster that it was not meant for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kube import Cluster, ClusterError

#: Of a Command: the UID of the cluster that it belongs to.
CLUSTER_UID: Final = "CLUSTER_UID"

# The Command that is the first to come into another cluster.
_FIRST = "precheck"
_COMMAND = "command:local:Command"
_PROVIDER = "pulumi:providers:kubernetes"


@dataclass(frozen=True, kw_only=True)
class LastUp:
    """What the stack's state says; nothing for a stack that was never brought up.

    `uids`: of the Commands that carry one, the UID of the cluster that each ran in. `provider`: the inputs of the
    Kubernetes provider. `objects`: how many objects and releases the stack has in its cluster. `reports`: component ->
    its outputs.
    """

    uids: Mapping[str, str] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict, repr=False)
    objects: int = 0
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, resources: Mapping[str, Mapping[str, Any]]) -> LastUp:
        """Read the outputs of all resources, by URN, as the engine tells them."""
        named = [(urn.rpartition("::")[2], one["type"], one["outputs"]) for urn, one in resources.items()]
        environments = {name: outputs.get("environment") or {} for name, kind, outputs in named if kind == _COMMAND}
        return cls(
            uids={name: known[CLUSTER_UID] for name, known in environments.items() if CLUSTER_UID in known},
            provider=next((outputs for _, kind, outputs in named if kind == _PROVIDER), {}),
            objects=sum(kind.startswith("kubernetes:") for _, kind, _ in named),
            reports={name: outputs for name, kind, outputs in named if kind.startswith("kong-istio:")},
        )

    @property
    def uid(self) -> str:
        """The UID of the cluster that the stack is in; empty where none is known."""
        return self.uids.get(_FIRST, "")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The cluster that an access leads to. `uid`: as far as is known. `version`: of Kubernetes, today.

    `version` is empty where the cluster was not asked, as in a preview without one.
    """

    uid: str = ""
    version: str = ""
    last: LastUp = field(default_factory=LastUp)

    @property
    def moved(self) -> bool:
        """Whether the stack was in another cluster at the last `up`."""
        return bool(self.version and self.last.uid) and self.uid != self.last.uid

    @property
    def has_nothing(self) -> bool:
        """Whether nothing of the stack is in this cluster yet."""
        return self.moved or not self.last.objects

    def is_new(self, component: str) -> bool:
        """Return whether a component that has outputs never came up in this cluster."""
        return self.moved or not self.last.reports.get(component)

    def replaces(self, command: str) -> bool:
        """Return whether a Command is made anew in another cluster: not if it is from before there were UIDs."""
        return command in self.last.uids


def in_another_cluster(cluster: Cluster) -> bool:
    """Return whether this Command's cluster is another one than it belongs to, as far as can be asked."""
    try:
        return os.environ.get(CLUSTER_UID, "") not in ("", cluster.uid())
    except ClusterError:
        return False
