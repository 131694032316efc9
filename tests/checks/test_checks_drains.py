"""Which nodes can be drained, and whom that interrupts."""

from __future__ import annotations

from typing import Any

import pytest

from checks import drains

Object = dict[str, Any]


def budget(expected: int, desired: int, **labels: str) -> Object:
    return {
        "metadata": {"name": "budget", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"expectedPods": expected, "desiredHealthy": desired},
    }


def deployment(name: str, replicas: int, namespace: str = "shop") -> Object:
    template = {"metadata": {"labels": {"app": name, "version": "v1"}}}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "template": template},
    }


@pytest.mark.parametrize(
    ("expected", "desired", "forbids"),
    # Unhealthy pods are no reason: they get well. A budget of no pods keeps nothing.
    [(2, 2, True), (2, 1, False), (1, 1, True), (3, 4, True), (0, 0, False), (0, 1, False)],
)
def test_a_budget_forbids_a_drain_if_it_keeps_as_many_pods_as_there_are(
    expected: int, desired: int, forbids: bool
) -> None:
    assert drains.forbids(budget(expected, desired)) is forbids


def test_a_budget_that_counts_nothing_yet_forbids_nothing() -> None:
    assert not drains.forbids({"metadata": {}, "spec": {}})


@pytest.mark.parametrize(
    ("deployments", "told"),
    [
        ([deployment("web", 1)], "a drain interrupts what has a single pod: shop/web"),
        ([deployment("web", 2)], ""),
        ([deployment("api", 2)], "it may take all pods at once where there is no budget: shop/api"),
        # A budget is for pods of its namespace; who has no pods is not interrupted.
        ([deployment("web", 2, "other")], "it may take all pods at once where there is no budget: other/web"),
        ([deployment("api", 0)], ""),
        ([deployment(f"d{n}", 1) for n in range(10)], f"{', '.join(f'shop/d{n}' for n in range(8))} and 2 more"),
    ],
)
def test_whom_a_drain_interrupts_is_named(deployments: list[Object], told: str) -> None:
    said = drains.judge(deployments, [budget(2, 1, app="web")])
    assert said.startswith("1 disruption budgets, and none forbids a drain")
    assert said.endswith(told)
    assert ("; " in said) is bool(told)
