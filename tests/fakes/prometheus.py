"""Prometheus 3, which has scraped the mesh's sidecars every 15 s."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .clock import Clock
from .mesh import Labels, Mesh
from .server import FakeServer, Reply, Request, as_json

_SCRAPE_SECONDS = 15
_INCREASE = re.compile(
    r"sum by \((?P<by>[\w,]+)\) \(increase\(istio_requests_total\{(?P<where>.*)\}\[(?P<seconds>\d+)s\]\)\) > 0"
)
_COUNT = "count(istio_requests_total)"


class Prometheus(FakeServer):
    """Its health, and instant queries, as far as the checks ask them."""

    def __init__(self, clock: Clock, mesh: Mesh) -> None:
        super().__init__()
        self.clock, self.mesh = clock, mesh
        self.scrapes = True

    def answer(self, request: Request) -> Reply:
        if request.path == "/-/ready":
            return Reply(200, "Prometheus Server is Ready.\n")
        if request.path != "/api/v1/query":
            return Reply(404, "404 page not found\n")
        query = request.query.get("query", "")
        asked = _INCREASE.fullmatch(query)
        if asked:
            return self._vector(list(self._increases(asked["by"].split(","), asked["where"], int(asked["seconds"]))))
        if query == _COUNT:
            series = {str(labels) for labels, _ in self._series()} if self.scrapes else set()
            return self._vector([({}, len(series))] if series else [])
        return as_json(400, {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query"'})

    def _increases(self, by: list[str], where: str, seconds: int) -> Iterator[tuple[Labels, float]]:
        expected = dict(re.findall(r'(\w+)="([^"]*)"', where))
        sums: dict[tuple[str, ...], float] = {}
        for labels, times in self._series():
            if expected.items() <= labels.items():
                group = tuple(labels[name] for name in by)
                sums[group] = sums.get(group, 0) + self._increase(times, seconds)
        for group, value in sums.items():
            if value > 0:
                yield dict(zip(by, group, strict=True)), value

    def _series(self) -> Iterator[tuple[Labels, list[float]]]:
        found: dict[str, tuple[Labels, list[float]]] = {}
        for time, labels in self.mesh.measured:
            found.setdefault(str(labels), (labels, []))[1].append(time)
        yield from found.values()

    def _increase(self, times: list[float], seconds: int) -> float:
        """Return the last sample less the first: a counter that appears with 5 has not increased by 5."""
        if not self.scrapes:
            return 0
        now = self.clock.time()
        last = int(now // _SCRAPE_SECONDS)
        first = int((now - seconds) // _SCRAPE_SECONDS) + 1
        counts = (sum(1 for time in times if time <= scrape * _SCRAPE_SECONDS) for scrape in range(first, last + 1))
        samples = [count for count in counts if count]
        return samples[-1] - samples[0] if samples else 0

    def _vector(self, found: list[tuple[Labels, float]]) -> Reply:
        result = [{"metric": labels, "value": [self.clock.time(), str(value)]} for labels, value in found]
        return as_json(200, {"status": "success", "data": {"resultType": "vector", "result": result}})
