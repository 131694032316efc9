"""What a measurement prints while it runs: which run of what, the ratios so far, and about how long it all still takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from sandbox.bench.rows import Figure


class Progress:
    """`planned`: each measurement's name, about how many seconds a run takes, and how many runs there are to be."""

    def __init__(self, planned: Sequence[tuple[str, float, int]]) -> None:
        self._expected = {name: seconds for name, seconds, _ in planned}
        self._runs = {name: runs for name, _, runs in planned}
        self._made: Counter[str] = Counter()
        self._last = time.monotonic()
        print(f"{sum(self._runs.values())} runs, about {_minutes(self._left())}", flush=True)

    def done(self, name: str, figures: Sequence[Figure]) -> None:
        """Tell of a run that came to its end."""
        self._made[name] += 1
        self._pass(name)
        so_far = ", ".join(f"{each.name} {each.value:.2f}" for each in figures)
        left = f"about {_minutes(self._left())} left"
        print(f"{name}, run {self._made[name]} of {self._runs[name]}: {so_far}; {left}", flush=True)

    def failed(self, name: str, problem: str) -> None:
        """Tell of a measurement that cannot go on."""
        print(f"{name} failed: {problem}", flush=True)
        self._pass(name)
        self._made[name] = self._runs[name]

    def _pass(self, name: str) -> None:
        now = time.monotonic()
        # What a run of this measurement took is what the next will.
        self._expected[name], self._last = now - self._last, now

    def _left(self) -> float:
        return sum((runs - self._made[name]) * self._expected[name] for name, runs in self._runs.items())


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
