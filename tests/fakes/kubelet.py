"""A kubelet that lives through a Pod's start, a tenth of a second at a time.

After Kubernetes 1.37, pkg/kubelet: prober/worker.go (`run`, `doProbe`) and prober/prober_manager.go (`UpdatePodStatus`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.slow_pods.times import Container, Node

Object = dict[str, Any]
TENTHS = 10


def _period(probe: Object) -> int:
    return int(probe.get("periodSeconds", 10) * TENTHS)


class _Running:
    """A container that runs; all times in tenths of a second."""

    def __init__(self, spec: Object, up: float, now: int) -> None:
        self.startup, self.readiness = spec.get("startupProbe"), spec.get("readinessProbe")
        self.up, self.began = round(up * TENTHS), now
        self.started = self.ready = False
        self.next_ask = -1

    def _answers(self, probe: Object, now: int) -> bool:
        return bool(now - self.began >= max(self.up, probe.get("initialDelaySeconds", 0) * TENTHS))

    def has_news(self, now: int, notices: int) -> bool:
        """Tell whether kubelet learns now that it has started, or has become ready by a probe whose time it is."""
        if not self.started:
            seen = now == self.began + notices
            asked = self.startup and now % _period(self.startup) == 0
            self.started = bool(asked and self._answers(self.startup, now)) if self.startup else seen
            return self.started
        if not self.ready and self.readiness and self.next_ask == now:
            self.next_ask += _period(self.readiness)
            return self._answers(self.readiness, now)
        return False

    def look(self, now: int) -> None:
        """Do what kubelet does when it looks at a Pod: ask what is not ready at once, and every period from now on."""
        if self.started and not self.ready:
            self.ready = self.readiness is None or self._answers(self.readiness, now)
            self.next_ask = now + _period(self.readiness or {})


class Kubelet:
    """`run` and `ready`: the seconds until a Pod's containers ran, and from then until it was Ready."""

    def __init__(self, spec: Object, takes: Mapping[str, Container], node: Node) -> None:
        self._takes, self._notices = takes, round(node.notices * TENTHS)
        self._inits, self._others = list(spec["initContainers"]), list(spec["containers"])
        #: When the next one may be created; none may while a sidecar has not started.
        self._free = round(node.sandbox * TENTHS)
        self._sidecar: _Running | None = None
        self._running: list[_Running] = []
        now = began = -1
        while self._others or not all(one.ready for one in self._running):
            now += 1
            self._probe(now)
            if self._sidecar and self._sidecar.started:
                self._free, self._sidecar = now, None
            if self._begins(now):
                began = now
        self.run, self.ready = began / TENTHS, (now - began) / TENTHS

    def _probe(self, now: int) -> None:
        news = [one.has_news(now, self._notices) for one in self._running]
        if any(news):
            for one in self._running:
                one.look(now)

    def _begins(self, now: int) -> bool:
        """Start what is created by now; tell whether that were the Pod's containers."""
        wanted = self._inits[:1] or self._others
        if self._sidecar or not wanted or now < self._free + max(self._seconds(one).creates for one in wanted) * TENTHS:
            return False
        if not self._inits:
            self._running += [_Running(one, self._seconds(one).up, now) for one in wanted]
            self._others = []
            return True
        first = self._inits.pop(0)
        if first.get("restartPolicy") == "Always":
            self._sidecar = _Running(first, self._seconds(first).up, now)
            self._running.append(self._sidecar)
        else:
            self._free = now + round(self._seconds(first).up * TENTHS) + self._notices
        return False

    def _seconds(self, container: Object) -> Container:
        return self._takes.get(container["name"], self._takes["*"])
