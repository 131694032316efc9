"""A whole stack of fakes, and everything that can be wrong with it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from unittest import mock

from checks.target import RoutedApplication, Target

from .clock import Clock
from .cluster import Cluster
from .grafana import Grafana
from .kiali import Kiali
from .kong import HOST, Kong, RateLimit
from .mesh import Mesh
from .prometheus import Prometheus
from .server import FakeServer

LIMITS = {"minute": 30}


class World:
    """A stack that has nothing wrong with it: STRICT, limited to 30 a minute, with an AuthorizationPolicy."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.mesh = Mesh(self.clock)
        self.limit = RateLimit(self.clock, LIMITS, dict(LIMITS))
        self.kong = Kong(self.clock, self.mesh, self.limit)
        self.prometheus = Prometheus(self.clock, self.mesh)
        self.kiali = Kiali(self.clock, self.mesh)
        self.grafana = Grafana()
        self.cluster = Cluster()
        self.cluster.put("authorizationpolicies.security.istio.io", "bookinfo", {"metadata": {"name": "only-kong"}})
        self.application = RoutedApplication(
            name="bookinfo", namespace="bookinfo", service="productpage", port=9080, host=HOST, limits=dict(LIMITS)
        )
        data = {"admin-user": "YWRtaW4=", "admin-password": b64encode(self.grafana.password.encode()).decode()}
        self.cluster.put("secrets", "istio-system", {"metadata": {"name": "grafana-admin"}, "data": data})
        self.settings: dict[str, object] = {"mtls": "STRICT", "load": True, "grafana_dashboards": 7}

    @property
    def servers(self) -> tuple[FakeServer, ...]:
        return self.kong, self.prometheus, self.kiali, self.grafana

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Serve it all, and give the target that leads to it."""
        with ExitStack() as stack:
            urls = [stack.enter_context(server.running()) for server in self.servers]
            self.cluster.stranger = ("127.0.0.1", stack.enter_context(self.mesh.sidecar()))
            stack.enter_context(self.clock.installed())
            stack.enter_context(mock.patch.object(Target, "cluster", self.cluster))
            names = ("proxy_url", "prometheus_url", "kiali_url", "grafana_url")
            given = {**dict(zip(names, urls, strict=True)), "applications": (self.application,), **self.settings}
            yield Target(context="fake", **given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Mutant:
    """One thing that is wrong, and the numbers of the checks that have to notice."""

    name: str
    spoil: Callable[[World], None]
    noticed_by: frozenset[str]


def _all(**values: object) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        for server in world.servers:
            _set(server, values)

    return spoil


def _in(part: str, **values: object) -> Callable[[World], None]:
    """Set attributes of a part of the world, which may itself be a part of a part."""

    def spoil(world: World) -> None:
        place: object = world
        for name in part.split("."):
            place = getattr(place, name)
        _set(place, values)

    return spoil


def _set(place: object, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if not hasattr(place, name):
            raise AttributeError(f"{place} has no {name}")
        setattr(place, name, value)


def _open_service(world: World) -> None:
    world.cluster.put("services", "istio-system", {"metadata": {"name": "kiali"}, "spec": {"type": "LoadBalancer"}})


def _ingress_to_grafana(world: World) -> None:
    backend = {"service": {"name": "grafana", "port": {"number": 3000}}}
    rule = {"http": {"paths": [{"path": "/", "backend": backend}]}}
    world.cluster.put("ingresses", "istio-system", {"metadata": {"name": "oops"}, "spec": {"rules": [rule]}})


def _budget_keeps_all(world: World) -> None:
    status = {"expectedPods": 2, "currentHealthy": 2, "desiredHealthy": 2, "disruptionsAllowed": 0}
    budget = {"metadata": {"name": "all", "namespace": "bookinfo"}, "spec": {"minAvailable": 2}, "status": status}
    world.cluster.put("poddisruptionbudgets", "bookinfo", budget)


def _redis_out_of_reach(world: World) -> None:
    world.limit.stores = False
    world.application = replace(world.application, policy="redis")


def _refused(kind: str, namespace: str, name: str) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.cluster.refuse(kind, namespace, name)

    return spoil


def _others_route_refused(world: World) -> None:
    """Kong takes a configuration as a whole: a new limit is not in force while another route is wrong."""
    world.limit.announced = {"minute": 60}
    world.cluster.refuse("Ingress", "shop", "front")


def _no_annotation(world: World) -> None:
    world.cluster.objects["ingresses", "bookinfo"]["productpage"]["metadata"]["annotations"].pop("konghq.com/plugins")


def _plugin_changed(world: World) -> None:
    plugins = world.cluster.objects["kongplugins.configuration.konghq.com", "bookinfo"]
    plugins["rate-limit"]["config"]["minute"] = 3000


def _no_ingress(world: World) -> None:
    world.cluster.objects.pop(("ingresses", "bookinfo"))


def _garbled(world: World) -> None:
    for server in (world.prometheus, world.kiali, world.grafana):
        server.garbled = True


def _empty_dashboard(world: World) -> None:
    world.grafana.dashboards["Dashboard 3"] = 0


def _visitors_are_admins(world: World) -> None:
    world.settings["grafana_anonymous"] = True
    world.grafana.role = "Admin"


def _mutant(name: str, spoil: Callable[[World], None], noticed_by: str = "") -> Mutant:
    return Mutant(name, spoil, frozenset(noticed_by.split()))


_NOTHING_ANSWERS = "4 5 6 6b 7 8 9 10 11 12 13 14 15 15b 15d"

MUTANTS = (
    _mutant("none", _in("clock")),
    _mutant("slow start", _all(asleep=2)),
    _mutant("connection reset", _all(reset=True), _NOTHING_ANSWERS),
    _mutant("body is not JSON", _garbled, "11 12 15 15b 15d"),
    _mutant("no route", _in("kong", routed=False), "4 5 6 8 9 10 11 12 13 14"),
    _mutant("no Kong in front", _in("kong", bypassed=True), "4 5 6 6b 7 8 9 10 11 12 13 14"),
    _mutant("application broken", _in("kong.upstream", status=500), "5 9 10 13 14"),
    _mutant("refused by a policy", _in("kong.upstream", status=403, body="RBAC: access denied"), "5 10 13 14"),
    _mutant("own route refused", _refused("Ingress", "bookinfo", "productpage"), "4"),
    _mutant("somebody else's route refused", _others_route_refused, "4 8"),
    _mutant("no annotation for the plugin", _no_annotation, "4"),
    _mutant("KongPlugin changed", _plugin_changed, "4"),
    _mutant("Ingress removed", _no_ingress, "4"),
    _mutant("a budget of which no pod may go", _budget_keeps_all, "4b"),
    _mutant("another page", _in("kong.upstream", title="Welcome"), "5"),
    _mutant("no details", _in("kong.upstream", details="Error fetching product details"), "5"),
    _mutant("no via header", _in("kong", via=""), "6"),
    _mutant("no sidecar answers", _in("kong.upstream", server="gunicorn"), "6"),
    _mutant("Kong hides its name", _in("kong", own_server="gateway"), "6b 7 9"),
    _mutant("another route takes all", _in("kong", catch_all=True), "6b 7"),
    _mutant("other limit announced", _in("limit", announced={"minute": 60}), "4 8"),
    _mutant("limit headers missing", _in("limit", hidden=True), "4 8 9"),
    _mutant("redis out of reach", _redis_out_of_reach, "4 8 9"),
    _mutant("limit ignored", _in("limit", enforced=False), "9"),
    _mutant("limit counted wrong", _in("limit", counts=2), "9"),
    _mutant("limit does not lift", _in("limit", lifts=False), "9"),
    _mutant("no Retry-After", _in("limit", retry_after=False), "9"),
    _mutant("refused by the upstream", _in("kong.upstream", stops_at=20), "9 10"),
    _mutant("passthrough edge", _in("mesh", past_it=True), "11 12"),
    _mutant("source unknown", _in("mesh", source_lost=True), "11 12"),
    _mutant("plain text", _in("mesh", plain=True), "11 12 13 14"),
    _mutant("sidecars not scraped", _in("prometheus", scrapes=False), "11"),
    _mutant("Kiali does not reach Prometheus", _in("kiali", blind=True), "12"),
    _mutant("Grafana's database broken", _in("grafana", database="failing"), "15"),
    _mutant("Grafana without a dashboard", _in("grafana", dashboards={"Dashboard 1": 2}), "15d"),
    _mutant("a dashboard of Grafana's is empty", _empty_dashboard, "15d"),
    _mutant("Grafana keeps another password", _in("grafana", password="of-before"), "15d"),
    _mutant("Kiali open without a token", _in("kiali", open=True), "15b"),
    _mutant("Grafana open without a login", _in("grafana", role="Viewer"), "15b"),
    _mutant("Grafana's visitors are admins", _visitors_are_admins, "15b"),
    _mutant("Kiali on a load balancer", _open_service, "15c"),
    _mutant("Ingress to Grafana", _ingress_to_grafana, "15c"),
)
