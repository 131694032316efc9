"""The one client of the API server: for the commands, the checks, the sandbox and the rehearsal."""

from kube.cluster import Cluster
from kube.errors import ClusterError, Patience
from kube.resource_kinds import Object, label_selector

__all__ = ["Cluster", "ClusterError", "Object", "Patience", "label_selector"]
