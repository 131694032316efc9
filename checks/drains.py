"""Whether the nodes of the stack's pods can be drained, and whom that would interrupt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from checks import endpoints
from checks.framework import Check, Failed, eventually
from checks.target import Target
from kube import Cluster
from names import ISTIO_NAMESPACE

Object = Mapping[str, Any]

_SECONDS = 10
_SHOWN = 8


def look(target: Target) -> str:
    """Return what a drain of every node would interrupt, if no disruption budget forbids one."""
    return eventually(lambda: _look_once(target), _SECONDS)


def _look_once(target: Target) -> str:
    namespaces = [ISTIO_NAMESPACE, *target.namespaces]
    budgets = [
        one for name in namespaces for one in endpoints.ask(target, partial(_list, "poddisruptionbudgets", name))
    ]
    if stuck := [_place(one) for one in budgets if forbids(one)]:
        raise Failed(
            "disruption budgets that let one pod go at a time",
            f"{_named(stuck)} of which no pod may go",
            cause="the budget keeps as many pods as there are: no node with one of them can be drained, and a node pool never "
            "moves; have it keep one less, or have more replicas",
            look=target.command("get", "poddisruptionbudgets", "--all-namespaces"),
            certain=True,
        )
    deployments = [
        one for name in target.namespaces for one in endpoints.ask(target, partial(_list, "deployments", name))
    ]
    return judge(deployments, budgets)


def _list(kind: str, namespace: str, cluster: Cluster) -> Sequence[Object]:
    return cluster.list(kind, namespace)


def forbids(budget: Object) -> bool:
    """Return whether a budget never lets one of its pods go, however healthy they all are."""
    status = budget.get("status") or {}
    pods = status.get("expectedPods") or 0
    return 0 < pods <= (status.get("desiredHealthy") or 0)


def judge(deployments: Iterable[Object], budgets: Sequence[Object]) -> str:
    """Return whom a drain interrupts: who has one pod, or several that no budget keeps from going together."""
    running = [one for one in deployments if one["spec"].get("replicas", 1)]
    single = [_place(one) for one in running if one["spec"].get("replicas", 1) == 1]
    loose = [_place(one) for one in running if _place(one) not in single and not any(keeps(b, one) for b in budgets)]
    told = [f"{len(budgets)} disruption budgets, and none forbids a drain"]
    if single:
        told.append(f"a drain interrupts what has a single pod: {_named(single)}")
    if loose:
        told.append(f"it may take all pods at once where there is no budget: {_named(loose)}")
    return "; ".join(told)


def keeps(budget: Object, deployment: Object) -> bool:
    """Return whether a budget is for the pods of a Deployment."""
    selector = budget["spec"].get("selector") or {}
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    same = budget["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    # An expression is taken for one that selects: who wrote it knows these pods.
    return same and (selector.get("matchLabels") or {}).items() <= labels.items()


def _place(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _named(places: Sequence[str]) -> str:
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


CHECKS = (
    Check(
        number="4b",
        name="drains",
        statement="No disruption budget forbids the drain of a node.",
        how="the budgets of the stack's namespaces; Deployments that a drain would interrupt are named",
        look=look,
        seconds=_SECONDS,
    ),
)
