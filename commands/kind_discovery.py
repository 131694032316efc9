"""Asks the cluster of a stack about kinds whose CRDs somebody else installed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from commands import cluster_access
from commands.cluster_access import Access
from kube import Cluster, ClusterError, Object


class KindDiscovery:
    """Says whether the objects of a manifest's kind are in a namespace; None where there is no cluster that answers.

    It is asked only for kinds that nothing else tells, and nothing is connected before. Raises `AccessError` for a
    cluster that must not be used.
    """

    def __init__(self, access: Access, root: Path) -> None:
        self._access, self._root = access, root

    def is_namespaced(self, manifest: Object) -> bool | None:
        """Return whether objects of the manifest's kind are in a namespace, or None where no cluster says it."""
        if not self._cluster:
            return None
        try:
            known = self._cluster.is_namespaced(manifest)
        except ClusterError:
            # One that is not there is not waited for again.
            self._cluster = None
            return None
        # A kind that is yet to come may be of either sort. The API server takes a namespace out of an object that is in
        # none; an object that lacks one would go into `default`.
        return True if known is None else known

    @cached_property
    def _cluster(self) -> Cluster | None:
        missing = cluster_access.check_access(self._access, self._root, preview=True)
        return None if missing else Cluster(self._access.kubeconfig, self._access.context)
