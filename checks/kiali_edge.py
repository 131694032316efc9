"""The edge from Kong to an application, as Kiali draws it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from checks import kiali_api, prometheus_edge, traffic
from checks.framework import Check, Failed, NotChecked
from checks.target import RoutedApplication, Target
from commands.http_client import NoAnswer
from names import ISTIO_NAMESPACE, KONG_DEPLOYMENT, KONG_NAMESPACE

_UNKNOWN = "unknown"
_BYPASS = "PassthroughCluster"
_ALL = 100
# Where the report of the application's sidecar is drawn, it does not tell what the mesh knew on Kong's side.
_PLAIN = f"{prometheus_edge.PLAIN}, or Kong's traffic bypasses the mesh: the check “edge in Prometheus” tells which"


@dataclass(frozen=True)
class _Node:
    """What Kiali draws an edge from or to."""

    namespace: str
    name: str
    services: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class _Edge:
    """Requests from one node to another; `mtls` is the share of them in mutual TLS, in per cent.

    `hosts` are what they were sent to, as the sidecar that reports them knows it.
    """

    source: _Node
    destination: _Node
    mtls: float
    hosts: frozenset[str]

    @property
    def bypasses(self) -> bool:
        """Whether it is of requests that the mesh does not know: Kiali draws those to a pod that it knows, all the same."""
        return self.destination.name == _BYPASS or _UNKNOWN in self.hosts

    def __str__(self) -> str:
        return f"{self.source} → {self.destination} ({self.mtls:.0f} % mutual TLS)"


def _edge_is_drawn(target: Target) -> str:
    if not target.kiali:
        raise NotChecked("Kiali is switched off (observability.kiali.enabled)")
    if not target.injection:
        raise NotChecked("there are no sidecars, so the graph is empty (istio.injection)")

    return traffic.shown(target, "kiali", lambda application, url, seconds: _look(target, application, url, seconds))


def _look(target: Target, application: RoutedApplication, url: str, seconds: int) -> str:
    session = kiali_api.session(target, url)
    edges = _edges(target, application, url, seconds, session)
    kongs = [edge for edge in edges if _is_kongs(edge.source) and _leads_to(edge, application)]
    strangers = [edge for edge in edges if edge.source.name == _UNKNOWN and _is_of(edge.destination, application)]
    found = [*strangers, *kongs]
    look = target.command("--namespace", ISTIO_NAMESPACE, "port-forward", "service/kiali", "20001")
    if not found:
        raise traffic.NothingShown(
            f"{KONG_DEPLOYMENT} → {application.service}",
            f"no edge to {application.service} among {len(edges)}",
            cause=_cause_of_nothing(target, url, seconds, session),
            look=look,
        )
    bypassing = any(edge.bypasses for edge in kongs)
    if target.routing == "guide":
        actual = _shown(found)
        return f"{actual}: bypasses the mesh, as the guide's routing does (kong.routing)" if bypassing else actual
    if bypassing or strangers or any(edge.mtls < _ALL for edge in kongs):
        raise Failed(
            f"{KONG_DEPLOYMENT} → {application.service}, 100 % mutual TLS, and nothing that bypasses the mesh",
            _shown(found),
            cause=prometheus_edge.BYPASSES if bypassing else prometheus_edge.STRANGER if strangers else _PLAIN,
            look=look,
            certain=True,
        )
    return _shown(kongs)


def _cause_of_nothing(target: Target, url: str, seconds: int, session: dict[str, str]) -> str:
    """Return why the graph is empty; where Kiali does not reach Prometheus it has no version of it to tell."""
    told = kiali_api.get(target, url, "status", session)
    services = told.get("externalServices") if isinstance(told, dict) else None
    known = {service.get("name"): service.get("version") for service in services or () if isinstance(service, dict)}
    if not known.get("Prometheus"):
        return "Kiali does not reach Prometheus (its status tells no version of it)"
    return f"no request of Kong's within {seconds} s that a sidecar measured and Prometheus has scraped twice"


def _edges(
    target: Target, application: RoutedApplication, url: str, seconds: int, session: dict[str, str]
) -> list[_Edge]:
    query = {
        # Kiali takes incoming and outgoing edges from each end's own reports, so both ends are asked for.
        "namespaces": f"{KONG_NAMESPACE},{application.namespace}",
        "graphType": "workload",
        "duration": f"{seconds}s",
        "injectServiceNodes": "false",
        "appenders": "securityPolicy",
    }
    graph = kiali_api.get(target, url, f"namespaces/graph?{urlencode(query)}", session)
    try:
        return list(read(graph))
    except (KeyError, TypeError, ValueError):
        raise kiali_api.unanswered(target, NoAnswer("JSON that is not Kiali's graph")) from None


def read(graph: Any) -> Iterator[_Edge]:
    """Yield the edges of Kiali's graph."""
    elements = graph["elements"]
    nodes = {node["data"]["id"]: _node(node["data"]) for node in elements["nodes"]}
    for edge in elements["edges"]:
        data = edge["data"]
        responses = (data.get("traffic") or {}).get("responses") or {}
        hosts = frozenset(host for response in responses.values() for host in response.get("hosts") or ())
        # A share of nothing is left out.
        yield _Edge(nodes[data["source"]], nodes[data["target"]], float(data.get("isMTLS") or 0), hosts)


def _node(data: dict[str, Any]) -> _Node:
    services = tuple(service["name"] for service in data.get("destServices") or ())
    name = data.get("workload") or data.get("app") or data.get("service") or ""
    return _Node(data.get("namespace", ""), name, (*services, data.get("app", ""), data.get("service", "")))


def _is_kongs(node: _Node) -> bool:
    return (node.namespace, node.name) == (KONG_NAMESPACE, KONG_DEPLOYMENT)


def _leads_to(edge: _Edge, application: RoutedApplication) -> bool:
    return edge.destination.name == _BYPASS or _is_of(edge.destination, application)


def _is_of(node: _Node, application: RoutedApplication) -> bool:
    return node.namespace == application.namespace and application.service in node.services


def _shown(edges: list[_Edge]) -> str:
    return ", ".join(map(str, edges))


CHECKS = (
    Check(
        number="12",
        name="edge in Kiali",
        statement="Kiali's graph has Kong → application with mutual TLS, and nothing that bypasses the mesh.",
        how="Kiali's graph API, by workload, with a session of Kiali's own service account",
        look=_edge_is_drawn,
        seconds=traffic.SHOWN_SECONDS,
        data_path=True,
    ),
)
