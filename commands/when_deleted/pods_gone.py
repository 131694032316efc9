"""Waits until the pods of a namespace that end have ended."""

from __future__ import annotations

import time

from commands.when_deleted.api import PAUSE_SECONDS, Cluster, connect, parser, run

# The longest grace period of the stack's pods, which is Prometheus'.
_PODS_SECONDS = 300
# So soon after a Deployment the garbage collector has begun with its pods.
_COLLECTED_SECONDS = 3


def main() -> None:
    """Wait from the command line."""
    found = parser(__doc__)
    found.add_argument("--namespace", required=True, help="where the pods are")
    options = found.parse_args()
    if api := connect(options):
        wait_for_pods(api, options.namespace)


def wait_for_pods(api: Cluster, namespace: str) -> None:
    """Wait until the pods of a namespace that end have ended, before the namespace is deleted.

    Kubernetes looks at a namespace that goes, and whose pods still end, only after half of their grace period again
    (kubernetes: pkg/controller/namespace/namespace_controller.go), and Prometheus' is five minutes.
    """
    started = seen = time.monotonic()
    while (now := time.monotonic()) < started + _PODS_SECONDS:
        pods = api.list("pods", namespace)
        if any("deletionTimestamp" in pod["metadata"] for pod in pods):
            seen = now
        elif not pods or now > seen + _COLLECTED_SECONDS:
            return
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    run(main)
