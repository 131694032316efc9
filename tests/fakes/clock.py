"""A clock that moves only when somebody waits, or a request takes its time: no test sleeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from checks import framework, kong_programmed, limit, through_kong, traffic

#: Five seconds into a calendar minute.
START = 1_800_000_005.0


class Clock:
    """Stands in for the module `time` and for the event `model.stopping`."""

    def __init__(self) -> None:
        self._now = START
        self._lock = threading.Lock()

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def wait(self, seconds: float) -> bool:
        with self._lock:
            self._now += seconds
        return False

    def is_set(self) -> bool:
        return False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the checks live by this clock."""
        with ExitStack() as stack:
            for module in (framework, through_kong, limit, traffic, kong_programmed):
                stack.enter_context(mock.patch.object(module, "time", self))
            stack.enter_context(mock.patch.object(framework, "stopping", self))
            yield
