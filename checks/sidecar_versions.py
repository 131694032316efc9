"""Sidecars of the version of their istiod: all of the cluster's, also those of pods that the stack does not own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks import endpoints
from checks.framework import Check, Failed, NotChecked, eventually
from checks.target import Target
from commands import sidecars
from commands.when_deleted.unused_revision import revision_of

Object = dict[str, Any]

_SECONDS = 30
_PAUSE = 3


def look(target: Target) -> str:
    """Return how many sidecars there are of each istiod."""
    if not target.injection:
        raise NotChecked("not shown: sidecar injection is switched off for this stack (istio.injection)")
    return eventually(lambda: _look_once(target), _SECONDS, _PAUSE)


def _look_once(target: Target) -> str:
    current = endpoints.ask(target, lambda cluster: sidecars.versions(cluster, target.revisions))
    return judge(endpoints.ask(target, lambda cluster: cluster.list("pods")), current, target)


def judge(pods: list[Object], current: Mapping[str, str], target: Target) -> str:
    """Return how many sidecars each istiod has; `current`: the version of each. A Job's pods end by themselves."""
    counts, behind = dict.fromkeys(current, 0), []
    for pod in pods:
        annotations = sidecars.annotations_of(pod)
        revision = revision_of(annotations)
        if not revision or not sidecars.stays(pod) or sidecars.is_of_job(pod):
            continue
        place = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        if why := sidecars.lag(pod, current):
            behind.append(f"{place} has {why}")
        else:
            counts[revision] += 1
    if behind:
        raise Failed(
            f"every sidecar of the version of its istiod ({_shown(current)})",
            "; ".join(behind),
            cause="its pod started before istiod was upgraded: an `up` starts the stack's own anew, and others are their owners'",
            look=target.command("rollout", "restart", "--namespace", behind[0].partition("/")[0], "deployment"),
            certain=True,
        )
    return "; ".join(f"{count} of {revision} {current[revision]}" for revision, count in counts.items())


def _shown(current: Mapping[str, str]) -> str:
    return ", ".join(f"{version} of revision {revision}" for revision, version in current.items())


CHECKS = (
    Check(
        number="2b",
        name="sidecar versions",
        statement="Every sidecar in the cluster is of the version of its istiod, also of pods that the stack does not own.",
        how="the image of each sidecar, against what the injector of its revision gives",
        look=look,
        seconds=_SECONDS,
    ),
)
