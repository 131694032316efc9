"""Starts anew what has sidecars of another istiod than it should have, or of another version: one workload after the other.

Each gets an annotation on its pods' template, as by `kubectl rollout restart`, that names its istiod. The next one is not
touched before all pods of the last are available. Who was cut off goes on with what is still behind.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from commands import command_line, rollouts, sidecars
from commands.command_line import CommandError
from kube import Cluster

Object = dict[str, Any]

#: On the template of pods that were started anew: the revision and version of their istiod.
ANNOTATION = "kong-istio/istio"
# A Deployment's own, where it does not say (progressDeadlineSeconds).
_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Place:
    """A namespace, and the istiod that its sidecars should be of: its revision, as pods have it, and its version."""

    namespace: str
    revision: str
    version: str


@dataclass(kw_only=True)
class Behind:
    """What is behind in a namespace. `workloads`: kind and name -> why. `others`: what nothing here would start anew."""

    workloads: dict[tuple[str, str], str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def main() -> None:
    """Start anew from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    given = [pair.partition("=")[::2] for pair in options.namespace]
    versions = command_line.patiently(lambda: sidecars.versions(cluster, {revision for _, revision in given}))
    restarted: list[str] = []
    left: list[str] = []
    for namespace, revision in given:
        label = revision or sidecars.DEFAULT
        # Where there is no injector there are no sidecars.
        if label in versions:
            _bring_up_to_date(
                cluster, Place(namespace=namespace, revision=label, version=versions[label]), restarted, left
            )
    for sentence in left:
        print(f"warning: {sentence}", file=sys.stderr)
    print(json.dumps({"restarted": restarted, "left": left}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "--namespace", action="append", default=[], metavar="NAME=REVISION", help="with the revision of its istiod"
    )
    return parser.parse_args()


def _bring_up_to_date(cluster: Cluster, place: Place, restarted: list[str], left: list[str]) -> None:
    found = command_line.patiently(lambda: behind(cluster, place))
    left += found.others
    for (kind, name), why in sorted(found.workloads.items()):
        what = f"{kind} {place.namespace}/{name}"
        workload = command_line.patiently(lambda: cluster.get(f"{kind.lower()}s", name, place.namespace))  # noqa: B023
        if not workload:
            continue
        if reason := _why_not(workload):
            left.append(f"{what} has a sidecar of {why} and {reason}: start its pods anew yourself.")
            continue
        if reason := _why_a_gap(workload):
            print(f"warning: {what} answers nobody while it starts anew, as {reason}.", file=sys.stderr)
        _start_anew(cluster, place, kind, name)
        restarted.append(what)


def behind(cluster: Cluster, place: Place) -> Behind:
    """Return what has sidecars of another istiod; a Job's pods end by themselves."""
    found = Behind()
    for pod in cluster.list("pods", place.namespace):
        why = sidecars.lag(pod, {place.revision: place.version}, place.revision)
        if not why or not sidecars.stays(pod) or sidecars.is_of_job(pod):
            continue
        kind, name = _owner(cluster, pod)
        if kind in rollouts.COMPLETE:
            found.workloads.setdefault((kind, name), why)
        else:
            pod_name = f"pod {place.namespace}/{pod['metadata']['name']}, which nothing would make again,"
            what = f"{kind} {place.namespace}/{name}" if kind else pod_name
            sentence = f"{what} has a sidecar of {why}: start it anew yourself."
            found.others += [] if sentence in found.others else [sentence]
    return found


def _owner(cluster: Cluster, pod: Object) -> tuple[str, str]:
    """Return kind and name of what makes a pod, empty for nothing; of a ReplicaSet what makes that."""
    kind, name = _controller(pod)
    made_by = cluster.get("replicasets", name, pod["metadata"]["namespace"]) if kind == "ReplicaSet" else None
    above = _controller(made_by) if made_by else ("", "")
    return above if above[0] else (kind, name)


def _controller(item: Object) -> tuple[str, str]:
    owners = [owner for owner in item["metadata"].get("ownerReferences") or [] if owner.get("controller")]
    return (owners[0]["kind"], owners[0]["name"]) if owners else ("", "")


def _why_not(workload: Object) -> str:
    """Return why another template would not start all of a workload's pods anew."""
    spec = workload["spec"]
    strategy = spec.get("updateStrategy") or {}
    if spec.get("paused"):
        return "is paused"
    if strategy.get("type") == "OnDelete":
        return "waits until somebody deletes its pods (OnDelete)"
    return "keeps some of them back by a partition" if (strategy.get("rollingUpdate") or {}).get("partition") else ""


def _why_a_gap(workload: Object) -> str:
    """Return why no pod of a workload may be there for a while; empty where one always is."""
    spec, replicas = workload["spec"], workload["spec"].get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return "its strategy is Recreate"
    missing = str((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "0"))
    share = replicas * int(missing[:-1]) // 100 if missing.endswith("%") else int(missing)
    if workload["kind"] == "Deployment" and share >= replicas:
        return f"its strategy lets {missing} of {replicas} pods be unavailable"
    return "it is a StatefulSet of one pod" if workload["kind"] == "StatefulSet" and replicas == 1 else ""


def _start_anew(cluster: Cluster, place: Place, kind: str, name: str) -> None:
    """Start the pods of a workload anew, and wait until all are available. Raises `CommandError`."""
    value = f"{place.revision}/{place.version}"
    # With the annotation there already, nothing would start, unless an `up` before this one was cut off.
    for stamp in (value, f"{value} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"):
        patch = {"spec": {"template": {"metadata": {"annotations": {ANNOTATION: stamp}}}}}
        found = cluster.patch(f"{kind.lower()}s", name, place.namespace, patch)
        _wait(cluster, kind, place.namespace, name, found["spec"].get("progressDeadlineSeconds") or _SECONDS)
        why = command_line.patiently(lambda: behind(cluster, place)).workloads.get((kind, name))
        if not why:
            return
    raise CommandError(
        f"The {kind} {place.namespace}/{name} was started anew and still has a sidecar of {why}, in place of {place.version} of "
        f"revision {place.revision}: look which webhook injects there (`kubectl get mutatingwebhookconfigurations`), then run "
        "`pulumi up` again."
    )


def _wait(cluster: Cluster, kind: str, namespace: str, name: str, seconds: float) -> None:
    """Wait until all pods of a workload are new; as long as more of them are, they have their time again."""
    renewed = 0
    while True:
        try:
            rollouts.wait(cluster, kind, namespace, name, seconds)
        except CommandError:
            found = command_line.patiently(lambda: cluster.get(f"{kind.lower()}s", name, namespace))
            before, renewed = renewed, rollouts.renewed(found) if found else 0
            if renewed <= before:
                raise
        else:
            return


if __name__ == "__main__":
    command_line.run(main)
