"""Waits until each istiod injects sidecars: its Deployment is available, and the API server trusts its webhook and reaches it.

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
from names import INJECTOR_WEBHOOK, ISTIO_NAMESPACE, ISTIOD, of_revision

_UNANSWERED = ("failed calling webhook", "sidecar-injector.istio.io")


def main() -> None:
    """Wait from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    started = time.monotonic()
    versions = {
        of_revision(ISTIOD, revision): _wait(cluster, revision, options, started)
        for revision in options.revision or [""]
    }
    print(json.dumps(versions))


def _wait(cluster: Cluster, revision: str, options: argparse.Namespace, started: float) -> str:
    """Wait until the istiod of a revision injects; return its version."""

    def left() -> float:
        return max(started + float(options.timeout) - time.monotonic(), 0)

    istiod = of_revision(ISTIOD, revision)
    if options.injection:
        _wait_for_webhook(cluster, revision, left(), options.timeout)
    found = rollouts.wait(
        cluster,
        "Deployment",
        ISTIO_NAMESPACE,
        istiod,
        left(),
        limit=options.timeout,
        setting="istio.readyTimeoutSeconds",
    )
    if options.injection:
        _wait_for_answer(cluster, revision, left())
    return rollouts.version_of(rollouts.images(found).get("discovery", ""))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait")
    parser.add_argument("--revision", action="append", default=[], help="of an istiod; without it the default one's")
    parser.add_argument(
        "--no-injection", dest="injection", action="store_false", help="there is no webhook to wait for"
    )
    return parser.parse_args()


def _wait_for_webhook(cluster: Cluster, revision: str, seconds: float, limit: int) -> None:
    istiod, webhook = of_revision(ISTIOD, revision), of_revision(INJECTOR_WEBHOOK, revision)
    if not cluster.wait_until("mutatingwebhookconfigurations", webhook, "", is_trusted, seconds):
        why = command_line.patiently(lambda: rollouts.trouble(cluster, ISTIO_NAMESPACE, istiod))
        raise CommandError(
            f"{istiod} has not put its CA into the webhook {webhook} within {limit} s{why}: no pod of the mesh could "
            f"start; look at `kubectl --namespace {ISTIO_NAMESPACE} logs deployment/{istiod}`, or raise istio.readyTimeoutSeconds."
        )


def _wait_for_answer(cluster: Cluster, revision: str, seconds: float) -> None:
    """Wait until the API server gets an answer of the webhook: a firewall may be between it and istiod's pod."""
    said: list[str] = []

    def is_answered() -> bool | None:
        try:
            cluster.create(_asked(revision), dry_run=True)
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


def _asked(revision: str) -> Object:
    """Return a pod that asks for a sidecar by itself, whatever its namespace. It is asked for and never created."""
    labels = {"sidecar.istio.io/inject": "true", **({"istio.io/rev": revision} if revision else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "injection-asked", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "asked", "image": "none"}]},
    }


def is_trusted(configuration: dict[str, Any]) -> bool:
    """Return whether every webhook of a configuration has a CA to trust."""
    return bool(configuration.get("webhooks")) and not untrusted(configuration)


def untrusted(configuration: dict[str, Any]) -> list[str]:
    """Return the webhooks of a configuration that have no CA."""
    webhooks = configuration.get("webhooks") or []
    return [webhook["name"] for webhook in webhooks if not webhook["clientConfig"].get("caBundle")]


if __name__ == "__main__":
    command_line.run(main)
