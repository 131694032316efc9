"""The edge from Kong to an application, as Kiali draws it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from checks import kiali_api, mesh_edge, traffic
from checks.framework import Check
from checks.target import RoutedApplication, Target
from commands.http_client import NoAnswer
from names import ISTIO_NAMESPACE, KONG_DEPLOYMENT, KONG_NAMESPACE

_ALL = 100
# Where the report of the application's sidecar is drawn, it does not tell what the mesh knew on Kong's side.
_PLAIN = f"{mesh_edge.PLAIN}, or Kong's traffic bypasses the mesh: the check “edge in Prometheus” tells which"


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
        return self.destination.name == mesh_edge.BYPASS or mesh_edge.UNKNOWN in self.hosts

    def __str__(self) -> str:
        return f"{self.source} → {self.destination} ({self.mtls:.0f} % mutual TLS)"


def _edge_is_drawn(target: Target) -> str:
    return mesh_edge.shown(target, "kiali", partial(_look, target))


def _look(target: Target, application: RoutedApplication, url: str, seconds: int) -> str:
    session = kiali_api.session(target, url)
    edges = _edges(target, application, url, seconds, session)
    kongs = [edge for edge in edges if _is_kongs(edge.source) and _leads_to(edge, application)]
    strangers = [
        edge for edge in edges if edge.source.name == mesh_edge.UNKNOWN and _is_of(edge.destination, application)
    ]
    look = target.command("--namespace", ISTIO_NAMESPACE, "port-forward", "service/kiali", "20001")
    if not kongs and not strangers:
        raise traffic.NothingShown(
            f"{KONG_DEPLOYMENT} → {application.service}",
            f"no edge to {application.service} among {len(edges)}",
            cause=_cause_of_nothing(target, url, seconds, session),
            look=look,
        )
    return mesh_edge.judge(
        target,
        application,
        [*strangers, *kongs],
        bypassing=any(edge.bypasses for edge in kongs),
        strangers=bool(strangers),
        plain=any(edge.mtls < _ALL for edge in kongs),
        cause_of_plain=_PLAIN,
        look=look,
    )


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
    return edge.destination.name == mesh_edge.BYPASS or _is_of(edge.destination, application)


def _is_of(node: _Node, application: RoutedApplication) -> bool:
    return node.namespace == application.namespace and application.service in node.services


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
