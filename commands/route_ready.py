"""Waits until Kong serves a route with its limit: its controller takes over what changed every 3 s, and tells nobody when.

Asked are the load balancer or the node port, where that answers from this machine and Kong has one pod; else every pod of
Kong by a port-forward, as each has a configuration of its own. What no answer can show, the controller's events tell:
that a limit is in force whose headers are hidden, and what a Kong holds that expects the PROXY protocol. Each request
asks one of the limit, so there is one a second at most.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from commands import command_line, http_client, kong_events, kong_ready, rollouts, simulated_nodes
from commands.command_line import CommandError
from commands.http_client import Answer, NoAnswer
from kube import Cluster, ClusterError
from names import KONG_DEPLOYMENT, KONG_NAMESPACE

PAUSE_SECONDS = 1.0
# Ten times what the controller takes; then Kong answers, and will go on to answer otherwise than it should.
LIMIT_SECONDS = 30
# Five pushes of the controller's.
_UNSEEN_SECONDS = 15
_REQUEST_SECONDS = 10
_PORT, _TLS_PORT = 8000, 8443
# Another plugin, such as one for a login, has answered before the limit's.
_REFUSED_BEFORE = (401, 403)
# Kong takes what follows for a regular expression.
_EXPRESSION = "/~"
_LIMIT_HEADER = "x-ratelimit-limit-"


@dataclass(frozen=True, kw_only=True)
class Route:
    """What Kong is to serve: an Ingress with its KongPlugin, if it is limited.

    `limits`: window -> requests; `redis`: host:port; `tls`: Kong serves it over TLS alone; `grpc`: it speaks gRPC;
    `narrowed`: a plain GET is none of its requests.
    """

    namespace: str
    ingress: str
    plugin: str
    host: str
    path: str
    limits: dict[str, int]
    hidden: bool
    redis: str
    tls: bool = False
    grpc: bool = False
    narrowed: bool = False

    @property
    def where(self) -> str:
        """Host and path, and the Ingress that they are in, for people."""
        return f"{self.host}{self.path} of the Ingress {self.namespace}/{self.ingress}"


class _NotYet(Exception):  # noqa: N818 -- an outcome, not an error
    """What is not yet as it should be: no `route`, one that is `open`, another `limit`, or that either is `unseen`."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        self.what = what


def main() -> None:
    """Wait from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    route = Route(
        namespace=options.namespace,
        ingress=options.ingress,
        plugin=options.plugin,
        host=options.host,
        path=options.path,
        limits=dict(options.limit),
        hidden=options.hidden,
        redis=options.redis,
        tls=options.tls,
        grpc=options.grpc,
        narrowed=options.narrowed,
    )
    if simulated_nodes.simulated(cluster):
        _say(f"Every node is simulated, so no Kong runs: {route.where} was not asked for.")
        print(json.dumps({"seen": "nothing"}))
        return
    wait = Wait(cluster, route, options.type, options.address, proxy_protocol=options.proxy_protocol)
    print(json.dumps({"seen": wait.until_served(options.timeout)}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--ingress", required=True)
    parser.add_argument("--plugin", default="", help="the KongPlugin that limits the route, if one does")
    parser.add_argument("--host", default="", help="of the route; empty for any")
    parser.add_argument("--path", default="/")
    parser.add_argument("--limit", type=_limit, action="append", default=[], metavar="WINDOW=REQUESTS")
    parser.add_argument("--hidden", action="store_true", help="the limit's headers are hidden from clients")
    parser.add_argument("--redis", default="", metavar="HOST:PORT", help="where the limit is counted, if there")
    parser.add_argument("--tls", action="store_true", help="Kong serves the route over TLS alone")
    parser.add_argument("--grpc", action="store_true", help="the route speaks gRPC")
    parser.add_argument("--narrowed", action="store_true", help="the route is for other requests than a plain GET")
    parser.add_argument("--type", required=True, choices=("LoadBalancer", "NodePort", "ClusterIP"))
    parser.add_argument("--address", default="", metavar="HOST:PORT", help="where clients reach Kong, if not there")
    parser.add_argument("--proxy-protocol", action="store_true", help="Kong takes no request without its header")
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait for the route")
    return parser.parse_args()


def _limit(text: str) -> tuple[str, int]:
    window, _, requests = text.partition("=")
    return window, int(requests)


@dataclass
class Wait:
    """One wait for one route. `kind`: the type of Kong's Service. `address`: where clients reach its plain port, if not by that."""

    cluster: Cluster
    route: Route
    kind: str
    address: str = ""
    proxy_protocol: bool = False
    _served: set[str] = field(default_factory=set)
    _since: dict[str, float] = field(default_factory=dict)

    def until_served(self, seconds: int) -> str:
        """Wait; return by what it was seen. Raises `CommandError` for a route or a limit that is not there."""
        started, last = time.monotonic(), _NotYet("route", "Kong was not asked")

        def look() -> str | None:
            nonlocal last
            try:
                return self._look()
            except _NotYet as reason:
                last = reason
            now = time.monotonic()
            if not self._is_over(last.what, now - self._since.setdefault(last.what, now), seconds):
                return None
            if last.what != "unseen":
                raise CommandError(self._sentence(last, time.monotonic() - started))
            _say(
                f"warning: whether Kong serves {self.route.where} with its limit was not seen, as {last}, and its "
                "controller wrote no event since the change, which it seldom does once it has run for a minute: look "
                "with a request of your own."
            )
            return "nothing"

        seen = command_line.poll(look, seconds + LIMIT_SECONDS, pause=PAUSE_SECONDS)
        if not seen:
            raise CommandError(self._sentence(last, time.monotonic() - started))
        return seen

    def _is_over(self, what: str, lasted: float, seconds: int) -> bool:
        """Return whether something that has lasted so long will not change by itself."""
        if what == "unseen":
            return lasted >= _UNSEEN_SECONDS
        # What the controller has refused, it refuses again.
        return lasted >= min(seconds, LIMIT_SECONDS) and (what != "route" or lasted >= seconds or bool(self._refusal()))

    def _look(self) -> str:
        """Return by what all of Kong was seen to serve the route with its limit. Raises `_NotYet`."""
        names = self._pods()
        try:
            for name, answer in self._answers(names):
                self._judge(answer)
                self._served.add(name)
        except _NotYet as reason:
            if reason.what != "unseen" or not self._taken_over(names):
                raise
            return "events"
        return "answers"

    def _pods(self) -> list[str]:
        deployment = self.cluster.get("deployments", KONG_DEPLOYMENT, KONG_NAMESPACE)
        pods = rollouts.pods(self.cluster, deployment) if deployment else []
        running = [
            str(pod["metadata"]["name"])
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"] and (pod.get("status") or {}).get("phase") == "Running"
        ]
        if not running:
            raise _NotYet("route", f"no pod of the Deployment {KONG_NAMESPACE}/{KONG_DEPLOYMENT} runs")
        return running

    def _answers(self, names: list[str]) -> Iterator[tuple[str, Answer]]:
        """Yield what each pod of Kong answers that has not served the route yet."""
        if self.route.path.startswith(_EXPRESSION):
            raise _NotYet("unseen", "its path is a regular expression")
        if self.route.narrowed:
            raise _NotYet("unseen", "its annotations keep it for other requests than a plain GET")
        if len(names) == 1 and (answer := self._direct()):
            yield names[0], answer
            return
        if self.proxy_protocol:
            raise _NotYet("unseen", "Kong expects the PROXY protocol, which a port-forward does not speak")
        for name in names:
            if name not in self._served:
                yield name, self._forwarded(name)

    def _direct(self) -> Answer | None:
        """Return what Kong's load balancer or node port answers, if anything does."""
        # On a node port, nobody speaks the PROXY protocol.
        if self.proxy_protocol and self.kind == "NodePort":
            return None
        if self.address and not self.route.tls:
            outside: tuple[str, int] | None = kong_ready.host_and_port(self.address)
        else:
            outside = kong_ready.outside(self.cluster, self.kind, tls=self.route.tls)
        if not outside or not http_client.reachable(*outside):
            return None
        try:
            return self._ask(f"http://{kong_ready.bracketed(outside[0])}:{outside[1]}")
        except NoAnswer:
            return None

    def _forwarded(self, name: str) -> Answer:
        try:
            port = _TLS_PORT if self.route.tls else _PORT
            with self.cluster.port_forward(KONG_NAMESPACE, f"pod/{name}", port) as url:
                return self._ask(url)
        except ClusterError as problem:
            raise _NotYet("unseen", f"no port-forward to {name} can be opened ({problem})") from None
        except NoAnswer as problem:
            # Kong itself is quick to say what it does not serve: the application may be slow.
            raise _NotYet("unseen", str(problem)) from None

    def _ask(self, url: str) -> Answer:
        # Any name will do for a wildcard.
        host = {"Host": self.route.host.replace("*", "any", 1)} if self.route.host else {}
        path = quote(self.route.path, safe="/%:@!$&'()*+,;=~")
        # The certificate may be Kong's own, or for another name than this one.
        scheme = "https" if self.route.tls else "http"
        return http_client.get(f"{scheme}:{url.partition(':')[2]}{path}", host, seconds=_REQUEST_SECONDS, verify=False)

    def _judge(self, answer: Answer) -> None:
        """Raise `_NotYet` for an answer that is not the route's with its limit."""
        if answer.status == 404 and "no Route matched" in answer.text:
            raise _NotYet("route", "Kong answers 404, no Route matched")
        actual = limits_of(answer)
        if self.route.grpc and not actual:
            raise _NotYet("unseen", f"it speaks gRPC, and a request without that gets {answer.status}")
        if self.route.hidden and not actual:
            raise _NotYet("unseen", "its headers are hidden (hideClientHeaders)")
        if self.route.limits and not actual and answer.status in _REFUSED_BEFORE:
            raise _NotYet("unseen", f"the request was refused with {answer.status} before it was counted")
        if self.route.hidden or actual != self.route.limits:
            shown = ", which is to be hidden" if self.route.hidden else ""
            raise _NotYet("limit" if actual else "open", f"its answer, {answer.status}, tells {said(actual)}{shown}")

    def _taken_over(self, names: list[str]) -> bool:
        """Return whether each pod's controller has pushed since the Ingress and the KongPlugin changed last."""
        return kong_events.taken_over(self._events(KONG_NAMESPACE), names, self._changed()) is not None

    def _changed(self) -> datetime:
        """Return when the Ingress or the KongPlugin was last changed by anybody but who reports a status."""
        named = (
            ("ingresses", self.route.ingress),
            *([("kongplugins", self.route.plugin)] if self.route.plugin else []),
        )
        found = [self.cluster.get(kind, name, self.route.namespace) for kind, name in named]
        return max((kong_events.last_change(item) for item in found if item), default=kong_events.NEVER)

    def _refusal(self) -> str:
        """Return what Kong or its controller refuses of the route's objects; empty for nothing."""
        changed = self._changed()
        for event in self._events(self.route.namespace):
            about = event.get("involvedObject") or {}
            ours = about.get("name") in (self.route.ingress, self.route.plugin)
            if ours and event.get("reason") in kong_events.FAILURES and kong_events.when(event) >= changed:
                return f"{about.get('kind')} {about.get('name')}: {' '.join(str(event.get('message')).split())}"
        return ""

    def _events(self, namespace: str) -> list[dict[str, Any]]:
        try:
            return self.cluster.list("events", namespace)
        except ClusterError:
            # Not everyone may read them, and they only help.
            return []

    def _sentence(self, last: _NotYet, seconds: float) -> str:
        look = f"look at `kubectl --namespace {KONG_NAMESPACE} logs deployment/{KONG_DEPLOYMENT} --all-containers`"
        refused = f", which refuses {refusal}" if (refusal := self._refusal()) else ""
        if last.what == "route":
            return (
                f"Kong does not serve {self.route.where} after {seconds:.0f} s ({last}): its controller has not taken the "
                f"route over{refused}; {look}, or raise kong.readyTimeoutSeconds."
            )
        causes = [f"its controller has not taken the limit over{refused}"]
        if last.what == "open":
            causes.append("another plugin or proxy answers")
            if self.route.redis:
                causes.insert(
                    0, f"redis at {self.route.redis}, where Kong counts, is out of reach or refuses its login"
                )
        return (
            f"Kong serves {self.route.where} after {seconds:.0f} s, but not with its limit of "
            f"{said(self.route.limits)} ({last}): {', or '.join(causes)}; {look}."
        )


def limits_of(answer: Answer) -> dict[str, int]:
    """Return the limit that an answer of Kong's tells: window -> requests."""
    found = {name.lower().removeprefix(_LIMIT_HEADER): value for name, value in answer.headers if _is_limit(name)}
    return {window: int(value) for window, value in found.items() if value.isdigit()}


def _is_limit(name: str) -> bool:
    return name.lower().startswith(_LIMIT_HEADER)


def said(limits: Mapping[str, int]) -> str:
    """Return a limit for people."""
    return ", ".join(f"{requests} per {window}" for window, requests in limits.items()) or "no limit"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    command_line.run(main)
