"""A real Kubernetes control plane on this machine, for trying the stack without a cluster.

etcd, API server, controller-manager and scheduler are the real programs, run by kwokctl; the nodes, and thus
the containers, are simulated. Everything that belongs to it lives in `.sandbox/` of the checkout.
"""

from __future__ import annotations


class SandboxError(Exception):
    """Something could not be obtained or done; the message says what, why, and what to do about it."""
