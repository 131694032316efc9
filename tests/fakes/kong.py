"""Kong 3.9 with the plugin rate-limiting, in front of a sidecar and productpage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .clock import Clock
from .mesh import Mesh
from .server import FakeServer, Reply, Request

HOST = "bookinfo.test"
_WINDOWS = {"second": 1, "minute": 60, "hour": 3600}
_TAKES_SECONDS = 0.02
_DATE = "Wed, 25 Nov 2026 23:20:21 GMT"
_ID = "1382047a7eeefe13613aea0d901d1c5d"
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
    body: str = ""
    stops_at: int = 0
    served: int = 0

    def answer(self) -> Reply:
        self.served += 1
        headers = {"server": self.server, "x-envoy-upstream-service-time": "12", "date": _DATE, "vary": "Cookie"}
        if self.stops_at and self.served > self.stops_at:
            return Reply(429, "slow down", {**headers, "Retry-After": "30"})
        page = self.body or _PAGE.format(title=self.title, details=self.details)
        return Reply(self.status, page, {**headers, "Content-Type": "text/html; charset=utf-8"})


@dataclass
class RateLimit:
    """The plugin. `counts`: by how much a request counts; `late`: so many of the last requests are not counted yet.

    `stores`: it reaches its redis; where not, it is fault tolerant, lets all through and says nothing.
    """

    clock: Clock
    limits: Mapping[str, int]
    announced: Mapping[str, int]
    hidden: bool = False
    error_code: int = 429
    retry_after: bool = True
    enforced: bool = True
    counts: int = 1
    lifts: bool = True
    stores: bool = True
    late: int = 1
    used: dict[tuple[str, int], int] = field(default_factory=dict)
    pending: list[dict[str, int]] = field(default_factory=list)

    def pass_through(self) -> tuple[dict[str, str], bool]:
        """Count a request; return the headers about the limit, and whether it is refused."""
        # Kong's own clock has whole seconds here.
        now = int(self.clock.time())
        if not self.stores:
            return {}, False
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

    `login`: a plugin asks for one, before the limit counts. `bypassed`: what answers at its address is productpage itself.
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
        self.login = False
        self.bypassed = False

    def answer(self, request: Request) -> Reply:
        self.clock.wait(_TAKES_SECONDS)
        if self.bypassed:
            return self.upstream.answer()
        if request.method == "TRACE":
            # nginx passes no TRACE on, and Kong makes a page of its own for its errors.
            return self._own(405, "Method not allowed", connection="close")
        if not self.routed or (self.host and request.headers.get("Host") != self.host):
            return self._passed_on() if self.catch_all else self._own(404, "no Route matched with those values")
        if self.login:
            return self._own(401, "No API key found in request")
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
            reply.headers["Via"] = self.via
        reply.headers |= {"Connection": "keep-alive", "X-Kong-Upstream-Latency": "14", "X-Kong-Proxy-Latency": "1"}
        reply.headers["X-Kong-Request-Id"] = _ID
        return reply

    def _own(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, *, connection: str = "keep-alive"
    ) -> Reply:
        body = f'{{\n  "message":"{message}",\n  "request_id":"{_ID}"\n}}'
        own = {"Date": _DATE, "Content-Type": "application/json; charset=utf-8", "Connection": connection}
        own |= {**(headers or {}), "X-Kong-Response-Latency": "0", "Server": self.own_server, "X-Kong-Request-Id": _ID}
        return Reply(status, body, own)
