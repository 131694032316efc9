"""When Kong has its first configuration, by the times of slow pods: nothing on a simulated cluster says it."""

from __future__ import annotations

import math
from functools import reduce

from names import KONG, KONG_NAMESPACE
from sandbox.slow_pods import SlowPods
from sandbox.slow_pods.times import CONTAINERS, SPREAD

#: What the chart calls Kong's Deployment; its pods' names begin with it.
WORKLOAD = f"{KONG_NAMESPACE}/{KONG}-kong"
# kwok's delays are told in jq, which Python can't ask: this is its `pace` (slow_pods/times.jq).
_FACTOR, _MODULUS = 48271, 2147483647


def pushed(pods: SlowPods) -> float:
    """Return the seconds from the start of Kong's containers until its proxy has a configuration."""
    letters = map(ord, f"{pods.seed}/{WORKLOAD}/")
    random = math.sin(reduce(lambda known, letter: (known * _FACTOR + letter) % _MODULUS, letters, 1)) * 10000
    return CONTAINERS["proxy"].up * (1 - SPREAD + 2 * SPREAD * (random - math.floor(random)))
