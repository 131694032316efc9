"""Waits until the pods of a namespace that end have ended, before the namespace is deleted.

Kubernetes looks at a namespace that goes, and whose pods still end, only after half of their grace period again
(kubernetes: pkg/controller/namespace/namespace_controller.go), and Prometheus' is five minutes.
"""

from __future__ import annotations

from commands.when_deleted.api import connect, parser, run, wait_for_pods


def main() -> None:
    """Wait from the command line."""
    found = parser(__doc__)
    found.add_argument("--namespace", required=True, help="where the pods are")
    options = found.parse_args()
    if api := connect(options):
        wait_for_pods(api, options.namespace)


if __name__ == "__main__":
    run(main)
