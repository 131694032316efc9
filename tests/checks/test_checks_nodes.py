"""Simulated nodes are known as such, whatever a stack says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checks import nodes
from checks.target import Target

KWOK: dict[str, Any] = {"metadata": {"name": "a", "annotations": {"kwok.x-k8s.io/node": "fake"}}}
LABELLED: dict[str, Any] = {"metadata": {"name": "b", "labels": {"type": "kwok"}}}
REAL: dict[str, Any] = {"metadata": {"name": "c", "labels": {"type": "worker"}}}


@pytest.mark.parametrize(
    ("found", "simulated"),
    [([KWOK, LABELLED], True), ([KWOK, REAL], False), ([REAL], False), ([], False), (None, False)],
)
def test_a_cluster_is_simulated_where_every_node_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]] | None, simulated: bool
) -> None:
    kubectl = tmp_path / "kubectl"
    answer = f"echo '{json.dumps({'items': found})}'" if found is not None else "echo refused >&2; exit 1"
    kubectl.write_text(f"#!/bin/sh\n{answer}\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert nodes.known(Target(context="one")).simulated is simulated


def test_a_stack_that_says_so_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert nodes.known(Target(context="one", simulated=True)).simulated
