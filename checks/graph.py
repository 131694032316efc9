"""The edge from Kong to an application, as Kiali draws it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from checks import access, kiali, traffic
from checks.model import Check, Failed, NotChecked
from checks.target import RoutedApplication, Target
from cluster.gateway_ready import DEPLOYMENT, NAMESPACE
from cluster.http import NoAnswer

_DURATION = "120s"
_STRAYS = ("unknown", "PassthroughCluster")


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
    """Requests from one node to another; `mtls` is the share of them in mutual TLS, in per cent."""

    source: _Node
    destination: _Node
    mtls: float

    def __str__(self) -> str:
        return f"{self.source} → {self.destination} ({self.mtls:.0f} % mutual TLS)"


def _edge_is_drawn(target: Target) -> str:
    if not target.kiali:
        raise NotChecked("Kiali is switched off (observability.kiali.enabled)")
    if not target.injection:
        raise NotChecked("there are no sidecars, so the graph is empty (istio.injection)")

    return traffic.shown(target, "kiali", lambda application, url: _look(target, application, url))


def _look(target: Target, application: RoutedApplication, url: str) -> str:
    edges = _edges(target, application, url)
    kongs = [edge for edge in edges if _is_kongs(edge.source) and _is_of(edge.destination, application)]
    strays = [
        edge
        for edge in edges
        if (edge.source.name in _STRAYS and _is_of(edge.destination, application))
        or (_is_kongs(edge.source) and edge.destination.name in _STRAYS)
    ]
    if target.routing == "guide" and strays:
        return f"{_shown([*strays, *kongs])}: past the mesh, as the guide's way has it (kong.routing)"
    if strays or not kongs or any(edge.mtls < 100 for edge in kongs if target.routing != "guide"):
        raise Failed(
            f"{DEPLOYMENT} → {application.service}, 100 % mutual TLS, and nothing from or to {' or '.join(_STRAYS)}",
            _shown([*strays, *kongs]) or f"no edge to {application.service} among {len(edges)}",
            cause=_cause_of(strays, kongs),
            look=target.command("--namespace", access.DASHBOARDS_NAMESPACE, "port-forward", "service/kiali", "20001"),
        )
    return _shown(kongs)


def _cause_of(strays: list[_Edge], kongs: list[_Edge]) -> str:
    if strays:
        return "Kong's requests go past the mesh: service-upstream on the Service or preserve-host on the Ingress is missing"
    if kongs:
        return "Kong's sidecar or the application's does not speak mutual TLS with the other"
    return f"no request within {_DURATION}, or Kiali does not read Prometheus"


def _edges(target: Target, application: RoutedApplication, url: str) -> list[_Edge]:
    query = {
        # Kiali takes incoming and outgoing edges from each end's own reports, so both ends are asked for.
        "namespaces": f"{NAMESPACE},{application.namespace}",
        "graphType": "workload",
        "duration": _DURATION,
        "injectServiceNodes": "false",
        "appenders": "securityPolicy",
    }
    graph = kiali.get(target, url, f"namespaces/graph?{urlencode(query)}", kiali.session(target, url))
    try:
        return list(_read(graph))
    except (KeyError, TypeError, ValueError):
        raise kiali.unanswered(target, NoAnswer("JSON that is not Kiali's graph")) from None


def _read(graph: Any) -> Iterator[_Edge]:
    elements = graph["elements"]
    nodes = {node["data"]["id"]: _node(node["data"]) for node in elements["nodes"]}
    for edge in elements["edges"]:
        data = edge["data"]
        # A share of nothing is left out.
        yield _Edge(nodes[data["source"]], nodes[data["target"]], float(data.get("isMTLS") or 0))


def _node(data: dict[str, Any]) -> _Node:
    services = tuple(service["name"] for service in data.get("destServices") or ())
    name = data.get("workload") or data.get("app") or data.get("service") or ""
    return _Node(data.get("namespace", ""), name, (*services, data.get("app", ""), data.get("service", "")))


def _is_kongs(node: _Node) -> bool:
    return (node.namespace, node.name) == (NAMESPACE, DEPLOYMENT)


def _is_of(node: _Node, application: RoutedApplication) -> bool:
    return node.namespace == application.namespace and application.service in node.services


def _shown(edges: list[_Edge]) -> str:
    return ", ".join(map(str, edges))


CHECKS = (
    Check(
        number="12",
        name="edge in Kiali",
        statement="Kiali's graph has Kong → application with mutual TLS, and nothing that goes past the mesh.",
        how="Kiali's graph API, by workload, with a session of Kiali's own service account",
        look=_edge_is_drawn,
        seconds=traffic.SHOWN_SECONDS,
        data_path=True,
    ),
)
