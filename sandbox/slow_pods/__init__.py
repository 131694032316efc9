"""Simulated Pods that start and end as slowly as real ones do, for `make bench`.

A Pod's containers run after those before them; it is Ready at the first probe after it is up, by the probe's own
delay and period; and it is gone when its hooks and containers have ended, within its grace period. So what a chart's
values say of probes, hooks and grace has its effect.

What it does not show: Pods do not fight for the processor. How long a container takes is what was seen on a real node
of two cores that started everything at once (`times.py`), however little or much else is started. Images are there
already. A probe is asked for one success, whatever its successThreshold. A change of a Pod, such as a label, makes the
wait for its next step begin anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.slow_pods.times import CONTAINERS, NODE, SPREAD

#: Those of Pods that are ready at once, and of everything else.
STAGES = Path(__file__).parent.parent / "stages.yaml"


@dataclass(frozen=True)
class SlowPods:
    """`seed`: makes every workload's times a little longer or shorter; the same in each sandbox with that seed."""

    seed: int


def pace(pods: SlowPods, workload: str) -> float:
    """Return by what the times of a workload, `NAMESPACE/NAME`, are longer or shorter: `pace` of `times.jq`."""
    known = 1
    for letter in f"{pods.seed}/{workload}/":
        known = (known * 48271 + ord(letter)) % 2147483647
    return 1 - SPREAD + 2 * SPREAD * (math.sin(known) * 10000 % 1)


def stages(pods: SlowPods) -> str:
    """Return kwok's stages in which Pods are as slow as real ones."""
    slow = list(yaml.safe_load_all(Path(__file__).with_name("stages.yaml").read_text()))
    for stage in slow:
        stage["spec"]["delay"]["durationFrom"]["jq"]["expression"] = expression(pods, _delay(stage))
    replaced = {stage["metadata"]["name"] for stage in slow}
    return yaml.safe_dump_all([*slow, *_others(replaced)], sort_keys=False)


def expression(pods: SlowPods, name: str) -> str:
    """Return a jq program that tells a delay of a Pod, such as `until_ready`, as kwok reads it."""
    known = {
        "times": {container: asdict(times) for container, times in CONTAINERS.items()},
        "node": asdict(NODE),
        "seed": pods.seed,
        "spread": SPREAD,
    }
    definitions = "".join(f"def {key}: {json.dumps(value)};\n" for key, value in known.items())
    return f"{definitions}{Path(__file__).with_name('times.jq').read_text()}{name}\n"


def _delay(stage: dict[str, Any]) -> str:
    return str(stage["spec"]["delay"]["durationFrom"]["jq"]["expression"])


def _others(replaced: set[str]) -> Iterator[dict[str, Any]]:
    return (stage for stage in yaml.safe_load_all(STAGES.read_text()) if stage["metadata"]["name"] not in replaced)
