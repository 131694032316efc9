"""Kong 3.9 with the plugin rate-limiting, in front of a sidecar and productpage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .clock import Clock
from .mesh import Mesh
from .server import FakeServer, Reply, Request, as_json

HOST = "bookinfo.test"
_WINDOWS = {"second": 1, "minute": 60, "hour": 3600}
_TAKES_SECONDS = 0.02
_PAGE = """<meta charset="utf-8">
<title>{title}</title>
<h1>The Comedy of Errors</h1>
{details}
<h4 class="text-3xl font-semibold">Book Reviews</h4>
"""


@dataclass
class Upstream:
    """productpage, and how its answers look to Kong. `stops_at`: it refuses requests itself, after so many."""

    title: str = "Simple Bookstore App"
    details: str = '<h4 class="text-3xl font-semibold">Book Details</h4>'
    server: str = "envoy"
    status: int = 200
    stops_at: int = 0
    served: int = 0

    def answer(self) -> Reply:
        self.served += 1
        headers = {"server": self.server, "x-envoy-upstream-service-time": "12"}
        if self.stops_at and self.served > self.stops_at:
            return Reply(429, "slow down", {**headers, "Retry-After": "30"})
        page = _PAGE.format(title=self.title, details=self.details)
        return Reply(self.status, page, {**headers, "Content-Type": "text/html; charset=utf-8"})


@dataclass
class RateLimit:
    """The plugin. `counts`: by how much a request counts; `late`: so many of the last requests are not counted yet."""

    clock: Clock
    limits: Mapping[str, int]
    announced: Mapping[str, int]
    hidden: bool = False
    error_code: int = 429
    retry_after: bool = True
    enforced: bool = True
    counts: int = 1
    lifts: bool = True
    late: int = 1
    used: dict[tuple[str, int], int] = field(default_factory=dict)
    pending: list[dict[str, int]] = field(default_factory=list)

    def pass_through(self) -> tuple[dict[str, str], bool]:
        """Count a request; return the headers about the limit, and whether it is refused."""
        # Kong's own clock has whole seconds here.
        now = int(self.clock.time())
        begun = {name: now // _WINDOWS[name] if self.lifts else 0 for name in self.limits}
        left = {name: limit - self.used.get((name, begun[name]), 0) for name, limit in self.limits.items()}
        refused = self.enforced and any(number <= 0 for number in left.values())
        left = {name: max(0, number - self.counts) for name, number in left.items()}
        tightest = min(left, key=lambda name: (left[name], -_WINDOWS[name]))
        reset = max(1, _WINDOWS[tightest] - now % _WINDOWS[tightest])
        headers: dict[str, str] = {}
        if not self.hidden:
            for name in self.limits:
                headers[f"X-RateLimit-Limit-{name.title()}"] = str(self.announced[name])
                headers[f"X-RateLimit-Remaining-{name.title()}"] = str(left[name])
            headers["RateLimit-Limit"] = str(self.announced[tightest])
            headers["RateLimit-Remaining"] = str(left[tightest])
            headers["RateLimit-Reset"] = str(reset)
            if refused and self.retry_after:
                headers["Retry-After"] = str(reset)
        if not refused:
            self._count(begun)
        return headers, refused

    def _count(self, begun: dict[str, int]) -> None:
        """Count after the fact, as Kong's timer does."""
        self.pending.append(begun)
        while len(self.pending) > self.late:
            for key in self.pending.pop(0).items():
                self.used[key] = self.used.get(key, 0) + self.counts


class Kong(FakeServer):
    """Kong's proxy. `routed`: it has the route. `catch_all`: another Ingress takes what has no route.

    `bypassed`: what answers at its address is productpage itself.
    """

    def __init__(self, clock: Clock, mesh: Mesh, limit: RateLimit) -> None:
        super().__init__()
        self.clock, self.mesh, self.limit = clock, mesh, limit
        self.upstream = Upstream()
        self.host = HOST
        self.via = "1.1 kong/3.9.1"
        self.own_server = "kong/3.9.1"
        self.routed = True
        self.catch_all = False
        self.bypassed = False

    def answer(self, request: Request) -> Reply:
        self.clock.wait(_TAKES_SECONDS)
        if self.bypassed:
            return self.upstream.answer()
        if request.method == "TRACE":
            # nginx passes no TRACE on, and Kong makes a page of its own for its errors.
            return self._own(405, "Method not allowed")
        if not self.routed or (self.host and request.headers.get("Host") != self.host):
            return self._passed_on() if self.catch_all else self._own(404, "no Route matched with those values")
        headers, refused = self.limit.pass_through()
        if refused:
            return self._own(self.limit.error_code, "API rate limit exceeded", headers)
        reply = self._passed_on()
        reply.headers.update(headers)
        return reply

    def sleepy(self) -> Reply:
        return self._through(Reply(503, "upstream connect error", {"server": "envoy"}))

    def _passed_on(self) -> Reply:
        reply = self.upstream.answer()
        self.mesh.carry(reply.status)
        return self._through(reply)

    def _through(self, reply: Reply) -> Reply:
        if self.via:
            reply.headers["via"] = self.via
        reply.headers |= {"x-kong-upstream-latency": "14", "x-kong-proxy-latency": "1", "x-kong-request-id": "1f2e"}
        return reply

    def _own(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
        reply = as_json(status, {"message": message, "request_id": "1f2e"})
        reply.headers |= {"server": self.own_server, "x-kong-response-latency": "0", **(headers or {})}
        return reply
