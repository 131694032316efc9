"""Simulated nodes are known as such, whatever a stack says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from checks import nodes
from checks.target import Target
from kube import Cluster, ClusterError

KWOK: dict[str, Any] = {"metadata": {"name": "a", "annotations": {"kwok.x-k8s.io/node": "fake"}}}
LABELLED: dict[str, Any] = {"metadata": {"name": "b", "labels": {"type": "kwok"}}}
REAL: dict[str, Any] = {"metadata": {"name": "c", "labels": {"type": "worker"}}}


@pytest.mark.parametrize(
    ("found", "simulated"),
    [([KWOK, LABELLED], True), ([KWOK, REAL], False), ([REAL], False), ([], False), (None, False)],
)
def test_a_cluster_is_simulated_where_every_node_is(
    monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]] | None, simulated: bool
) -> None:
    class Nodes(Cluster):
        def list(self, kind: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
            assert kind == "nodes"
            if found is None:
                raise ClusterError("refused")
            return found

    monkeypatch.setattr(Target, "cluster", Nodes("", "one"))
    assert nodes.known(Target(context="one")).simulated is simulated


def test_a_stack_that_says_so_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "cluster", None)
    assert nodes.known(Target(context="one", simulated=True)).simulated
