"""Pods of the simulated sandbox that are as slow as real ones."""

from __future__ import annotations

import yaml

from sandbox.slow_pods import STAGES, SlowPods, stages


def test_slow_pods_replace_the_stages_of_pods_alone() -> None:
    """Nodes, Jobs, load balancers and Ingresses change as they do without."""
    usual = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(STAGES.read_text())}
    slow = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(stages(SlowPods(1)))}
    assert {name for name in slow if slow[name] != usual.get(name)} == {"pod-running", "pod-ready", "pod-delete"}
    assert usual.keys() <= slow.keys()
