"""When Kong has its first configuration, by the times of slow pods: nothing on a simulated cluster says it."""

from __future__ import annotations

from names import KONG, KONG_NAMESPACE
from sandbox.slow_pods import SlowPods, pace
from sandbox.slow_pods.times import CONTAINERS

#: What the chart calls Kong's Deployment; its pods' names begin with it.
WORKLOAD = f"{KONG_NAMESPACE}/{KONG}-kong"


def pushed(pods: SlowPods) -> float:
    """Return the seconds from the start of Kong's containers until its proxy has a configuration."""
    return CONTAINERS["proxy"].up * pace(pods, WORKLOAD)
