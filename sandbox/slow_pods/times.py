"""How long each container takes, and where each number is from.

"Recorded": a real node of two cores on which everything started at once (Kubernetes 1.37, Istio 1.30.3, Kong 3.9.1 with its
controller 3.5.13, images there already); its times are whole seconds. "Estimated": nothing was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Container:
    """Seconds: `creates`, until one that may start runs; `ends`, from SIGTERM until it has ended.

    `up`: from when it runs until its probes are answered; of an init container, until it has ended.
    """

    creates: float = 0.7
    up: float = 1
    ends: float = 1


@dataclass(frozen=True, kw_only=True)
class Node:
    """Seconds until a Pod's sandbox is there, and until kubelet notices that a container runs or has ended."""

    sandbox: float = 1
    # It looks every second.
    notices: float = 0.5


#: Recorded: 0, 1, 1 and 6 s from a Pod's start to PodReadyToStartContainers.
NODE = Node()

#: A workload's times are up to so much shorter or longer, by the seed. Estimated.
SPREAD = 0.15

# Kong's proxy is ready with its first configuration, as its controller is. Recorded: its Pod is Ready 15 s after its
# containers' start where it is asked every second; and the controller's first of 25 events "successfully applied Kong
# configuration", which come every 3 s, was 14 s after its start. In that are its own waits of 5 s and 3 s.
# From the last init container's end to the containers' start passed 0 s and 4 to 5 s.
_KONG = {"creates": 2.3, "up": 14}

#: `*`: any other container. Estimated, as is each `ends`.
CONTAINERS = {
    "*": Container(),
    # Recorded: it ended in the second in which it began, four times.
    "istio-init": Container(up=0.3),
    "istio-validation": Container(up=0.3),
    # Recorded: 1 to 3 s from its start until the next container's. It ends at once, as it drains from its hook on
    # (Istio's pkg/envoy/agent.go).
    "istio-proxy": Container(up=0.7, ends=0.5),
    # Recorded: 1 and 2 s from its start until all init containers had ended.
    "clear-stale-pid": Container(up=1),
    "ingress-controller": Container(**_KONG),
    "proxy": Container(**_KONG),
    # Estimated: a few seconds until it has read the cluster.
    "discovery": Container(up=3),
    # Recorded for productpage: it has no probe, and is Ready within the second. The rest is estimated.
    "productpage": Container(),
    "details": Container(),
    "ratings": Container(),
    "reviews": Container(ends=2),
    "prometheus-server": Container(up=2, ends=2),
    "prometheus-server-configmap-reload": Container(up=0.3, ends=0.3),
    "download-dashboards": Container(up=3),
    "grafana": Container(up=8),
    "kiali": Container(up=5),
}
