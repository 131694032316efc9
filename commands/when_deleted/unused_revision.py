"""Fails while pods have sidecars of a revision of Istio."""

from __future__ import annotations

import json

from commands.when_deleted.api import Cluster, LeftoversError, Object, Objects, connect, namespace_of, parser, run

#: The annotation in which istiod says what it did to a pod.
STATUS = "sidecar.istio.io/status"
KONG_NAMESPACE, KONG_DEPLOYMENT = "kong-istio", "kong-istio-kong"
# Pods in a sentence.
_SHOWN = 5


def main() -> None:
    """Fail from the command line."""
    found = parser(__doc__)
    found.add_argument("--revision", required=True, help="of the Istio that is to go")
    options = found.parse_args()
    if api := connect(options):
        refuse_while_used(api, options.revision)


def refuse_while_used(api: Cluster, revision: str) -> None:
    """Raise while pods have sidecars of a revision of Istio. Where the stack's Kong has gone, the whole stack goes."""
    if not api.list("deployments", KONG_NAMESPACE, fields=f"metadata.name={KONG_DEPLOYMENT}"):
        return
    if used := users(api.list("pods"), revision):
        raise LeftoversError(still_used(revision, used))


def users(pods: Objects, revision: str) -> list[str]:
    """Return the pods that have a sidecar of a revision of Istio, as namespace/name, without those that end or have ended."""

    def is_one(pod: Object) -> bool:
        annotations, phase = pod["metadata"].get("annotations") or {}, (pod.get("status") or {}).get("phase")
        gone = "deletionTimestamp" in pod["metadata"] or phase in ("Succeeded", "Failed")
        return not gone and revision_of(annotations) == revision

    return [f"{namespace_of(pod)}/{pod['metadata']['name']}" for pod in pods if is_one(pod)]


def revision_of(annotations: dict[str, str]) -> str:
    """Return the revision of the istiod that injected a pod; empty where none did (istio/istio, pkg/kube/inject/webhook.go)."""
    if STATUS not in annotations:
        return ""
    try:
        found = json.loads(annotations[STATUS]).get("revision")
    except (ValueError, AttributeError):
        found = None
    return str(found or annotations.get("istio.io/rev") or "default")


def still_used(revision: str, used: list[str]) -> str:
    """Return the sentence for a revision of Istio that is to go, and that pods still use."""
    shown = f"{', '.join(used[:_SHOWN])}{f' and {len(used) - _SHOWN} more' if len(used) > _SHOWN else ''}"
    return (
        f"The revision {revision} of Istio is still used by {shown}: put it back into the settings (istio.revision, or "
        "istio.canary), move the stack's namespaces by istio.canary.namespaces and others by their label istio.io/rev and a restart "
        "of their pods, `pulumi up`, and take it out after that."
    )


if __name__ == "__main__":
    run(main)
