"""Waits until istiod injects sidecars: its Deployment is available, and the API server trusts its webhook and reaches it.

istiod writes its CA into the webhook only after it reports ready. A pod created before that is refused and tried
again ever more slowly, so everything with pods waits here instead.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from commands import command_line, rollouts
from commands.command_line import CommandError
from kube import Cluster, ClusterError, Object
from names import INJECTOR_WEBHOOK, ISTIO_NAMESPACE, ISTIOD

_UNANSWERED = ("failed calling webhook", "sidecar-injector.istio.io")
# A pod that asks for a sidecar by itself, whatever its namespace. It is asked for and never created.
_ASKED: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "injection-asked", "namespace": "default", "labels": {"sidecar.istio.io/inject": "true"}},
    "spec": {"containers": [{"name": "asked", "image": "none"}]},
}


def main() -> None:
    """Wait from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    started = time.monotonic()
    if options.injection:
        _wait_for_webhook(cluster, options.timeout)
    left = options.timeout - (time.monotonic() - started)
    istiod = rollouts.wait(
        cluster, "Deployment", ISTIO_NAMESPACE, ISTIOD, max(left, 0), setting="istio.readyTimeoutSeconds"
    )
    if options.injection:
        _wait_for_answer(cluster, max(options.timeout - (time.monotonic() - started), 0))
    print(json.dumps({"istiod": rollouts.version_of(rollouts.images(istiod).get("discovery", ""))}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait")
    parser.add_argument(
        "--no-injection", dest="injection", action="store_false", help="there is no webhook to wait for"
    )
    return parser.parse_args()


def _wait_for_webhook(cluster: Cluster, seconds: int) -> None:
    if not cluster.wait_until("mutatingwebhookconfigurations", INJECTOR_WEBHOOK, "", is_trusted, seconds):
        why = command_line.patiently(lambda: rollouts.trouble(cluster, ISTIO_NAMESPACE, ISTIOD))
        raise CommandError(
            f"istiod has not put its CA into the webhook {INJECTOR_WEBHOOK} within {seconds} s{why}: no pod of the mesh could "
            f"start; look at `kubectl --namespace {ISTIO_NAMESPACE} logs deployment/{ISTIOD}`, or raise istio.readyTimeoutSeconds."
        )


def _wait_for_answer(cluster: Cluster, seconds: float) -> None:
    """Wait until the API server gets an answer of the webhook: a firewall may be between it and istiod's pod."""
    said: list[str] = []

    def is_answered() -> bool | None:
        try:
            cluster.create(_ASKED, dry_run=True)
        except ClusterError as error:
            # A pod that something else refuses is none of this webhook's business.
            if all(part in str(error) for part in _UNANSWERED):
                said.append(str(error).rstrip("."))
                return None
        return True

    if not command_line.poll(is_answered, seconds):
        raise CommandError(
            f"The API server does not get an answer of istiod's webhook ({said[-1]}), so no pod of the mesh could start: let "
            "it reach port 15017 of istiod's pod (on private clusters that takes a rule of the firewall), then run "
            "`pulumi up` again."
        )


def is_trusted(configuration: dict[str, Any]) -> bool:
    """Return whether every webhook of a configuration has a CA to trust."""
    return bool(configuration.get("webhooks")) and not untrusted(configuration)


def untrusted(configuration: dict[str, Any]) -> list[str]:
    """Return the webhooks of a configuration that have no CA."""
    webhooks = configuration.get("webhooks") or []
    return [webhook["name"] for webhook in webhooks if not webhook["clientConfig"].get("caBundle")]


if __name__ == "__main__":
    command_line.run(main)
