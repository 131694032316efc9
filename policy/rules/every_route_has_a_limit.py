"""Every route has a limit, and several replicas of Kong count together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import limits
from policy.objects import Object, containers, pick
from policy.rule import Option, Options, Rule, Violation
from workloads import Image


def missing_rate_limits(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look at the plug-ins that routes name, and at how many pods Kong has."""
    plugins = {(item.namespace, item.name): item for item in objects if limits.is_limit(item.body)}
    everywhere = any(limits.is_global(item.body) for item in plugins.values())
    for item in objects:
        named = limits.named_plugins(item.body, item.namespace)
        excused = everywhere or f"{item.namespace}/{item.name}" in options["unlimited"]
        if item.kind in limits.ROUTES and not excused and not any(key in plugins for key in named):
            yield Violation(
                item,
                "this route has no rate limit",
                "name a KongPlugin rate-limiting with a window in the annotation konghq.com/plugins",
            )
    replicas = max((_replicas(item) for item in objects), default=1)
    for item in plugins.values():
        # Without one, the plug-in counts in Kong's own memory.
        if replicas > 1 and pick(item.body, "config", "policy") in (None, "local"):
            yield Violation(
                item,
                f"its policy is local and Kong has {replicas} replicas: each counts for itself",
                "set rateLimit.policy to redis, or kong.replicas to 1",
            )


def _replicas(item: Object) -> int:
    """Return how many pods of Kong an object may create; a release says so before its chart is rendered."""
    if item.kind == "Release" and str(pick(item.body, "spec", "chart")).rstrip("/").rpartition("/")[2] == "kong":
        values = pick(item.body, "spec", "values")
        scaled = pick(values, "autoscaling", "enabled") is True
        return _count(pick(values, "autoscaling", "maxReplicas") if scaled else pick(values, "replicaCount"))
    if item.kind == "Deployment" and _runs_kong(item):
        return _count(pick(item.body, "spec", "replicas"))
    if item.kind == "HorizontalPodAutoscaler" and "kong" in str(pick(item.body, "spec", "scaleTargetRef", "name")):
        return _count(pick(item.body, "spec", "maxReplicas"))
    return 1


def _runs_kong(item: Object) -> bool:
    names = [Image.parse(str(container.get("image"))).name for container in containers(item)]
    return any(name.endswith(("/library/kong", "/kong/kong")) for name in names)


def _count(value: Any) -> int:
    return int(value) if limits.is_positive(value) else 1


RULE = Rule(
    name="every-route-has-a-limit",
    description="Every route has a rate limit, and a limit that counts locally is on a Kong of one replica.",
    find=missing_rate_limits,
    scope="stack",
    options={"unlimited": Option([], "routes that are to have none, namespace/name")},
)
