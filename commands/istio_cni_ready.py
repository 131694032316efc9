"""Waits until istio-cni runs on every node: a pod that starts without it has its traffic redirected by nobody.

Helm would not wait for all of them: it takes a DaemonSet for ready with one node less, as an update may have.
"""

from __future__ import annotations

import argparse
import json

from commands import command_line, rollouts
from commands.command_line import CommandError
from kube import Cluster
from names import ISTIO_CNI_DAEMON_SET, ISTIO_CNI_NAMESPACE


def main() -> None:
    """Wait from the command line."""
    options = _options()
    print(json.dumps({"nodes": wait(command_line.connect(options), options.timeout)}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait")
    return parser.parse_args()


def wait(cluster: Cluster, seconds: float) -> int:
    """Wait until istio-cni runs on every node that it is for; return how many those are. Raises `CommandError`."""
    found = None
    for found in cluster.follow("daemonsets", ISTIO_CNI_DAEMON_SET, ISTIO_CNI_NAMESPACE, seconds):
        if found and rollouts.is_everywhere(found):
            return rollouts.nodes_of(found)
    available = ((found or {}).get("status") or {}).get("numberAvailable", 0)
    where = f"on {available} of {rollouts.nodes_of(found)} nodes" if found else "nowhere: there is no such DaemonSet"
    why = (
        command_line.patiently(
            lambda: rollouts.trouble(cluster, ISTIO_CNI_NAMESPACE, ISTIO_CNI_DAEMON_SET, "DaemonSet")
        )
        if found
        else ""
    )
    raise CommandError(
        f"istio-cni's DaemonSet {ISTIO_CNI_NAMESPACE}/{ISTIO_CNI_DAEMON_SET} runs {where} after {seconds:.0f} s{why}: look at "
        f"`kubectl --namespace {ISTIO_CNI_NAMESPACE} describe daemonset {ISTIO_CNI_DAEMON_SET}` and at its pods, or raise "
        "istio.readyTimeoutSeconds."
    )


if __name__ == "__main__":
    command_line.run(main)
