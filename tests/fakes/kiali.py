"""Kiali 2.26 with the strategy `token`, which draws what the mesh's sidecars report."""

from __future__ import annotations

from typing import Any

from .clock import Clock
from .mesh import Labels, Mesh
from .server import FakeServer, Reply, Request, as_json

TOKEN = "eyJhbGciOiJSUzI1NiJ9.kiali"
_HEADERS = {
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Xss-Protection": "1; mode=block",
    "Date": "Wed, 25 Nov 2026 23:20:22 GMT",
}
_COOKIE = "kiali-token-Kubernetes=c2Vzc2lvbg"


class Kiali(FakeServer):
    """Its health, its login, its list of namespaces and its graph. `open`: it asks for no token. `blind`: it does not reach Prometheus."""

    def __init__(self, clock: Clock, mesh: Mesh) -> None:
        super().__init__()
        self.clock, self.mesh = clock, mesh
        self.open = False
        self.blind = False

    def answer(self, request: Request) -> Reply:
        if request.path == "/kiali/healthz":
            return Reply(200, "", dict(_HEADERS))
        if request.path == "/kiali/api/authenticate" and request.method == "POST":
            return self._login(request)
        # Under this strategy an Authorization header is not looked at.
        if not self.open and _COOKIE not in request.headers.get("Cookie", ""):
            return as_json(401, {"error": "Unauthorized"})
        if request.path == "/kiali/api/namespaces":
            return as_json(200, [{"name": name} for name in ("bookinfo", "kong-istio")])
        if request.path == "/kiali/api/status":
            return as_json(200, self._status())
        if request.path == "/kiali/api/namespaces/graph":
            return as_json(200, self._graph(request.query))
        return as_json(404, {"error": "not found"})

    def _login(self, request: Request) -> Reply:
        if request.form.get("token") != TOKEN:
            return as_json(401, {"error": "token is not valid or is expired"})
        cookie = f"{_COOKIE}; Path=/kiali; HttpOnly; SameSite=Strict"
        return as_json(200, {"username": "istio-system:kiali"}, Set_Cookie=cookie)

    def _status(self) -> dict[str, Any]:
        prometheus: dict[str, Any] = {"name": "Prometheus", "tempoConfig": {}}
        if not self.blind:
            prometheus["version"] = "3.14.0"
        cluster = {"name": "Kubernetes-Kubernetes", "version": "v1.37.2", "tempoConfig": {}}
        state = {
            "Disabled features": "",
            "Kiali commit hash": "e14a8c11583006ab949531181542db5fe279b36a",
            "Kiali container version": "v2.26.0",
            "Kiali state": "running",
            "Kiali version": "v2.26.0",
        }
        return {
            "status": state,
            "externalServices": [cluster, prometheus, {"name": "Grafana", "tempoConfig": {}}],
            "warningMessages": [],
            "istioEnvironment": {"istioAPIEnabled": True},
        }

    def _graph(self, query: dict[str, str]) -> dict[str, Any]:
        seconds = int(query["duration"].removesuffix("s"))
        since = self.clock.time() - seconds
        recent = [] if self.blind else [labels for time, labels in self.mesh.measured if time > since]
        nodes: dict[str, dict[str, Any]] = {}
        edges: dict[str, dict[str, Any]] = {}
        for labels in sorted(recent, key=lambda labels: labels["reporter"]):
            source, target = _node(nodes, _source(labels)), _node(nodes, _destination(labels))
            # Both reports are of one edge. The source's is the one that is drawn where it knows less of the destination.
            if (source, target) in {(edge["source"], edge["target"]) for edge in edges.values()}:
                _note_passthrough(edges[f"{source}-{target}"], labels)
            elif labels["reporter"] == "destination":
                edges[f"{source}-{target}"] = _edge(source, target, labels)
        for kind in (nodes, edges):
            for identity in kind:
                kind[identity]["traffic"] = _traffic(kind[identity], is_edge=kind is edges)
        elements = {name: [{"data": data} for data in found.values()] for name, found in _named(nodes, edges)}
        return {
            "timestamp": int(self.clock.time()),
            "duration": seconds,
            "graphType": "workload",
            "elements": elements,
        }


def _edge(source: str, target: str, labels: Labels) -> dict[str, Any]:
    found: dict[str, Any] = {"id": f"{source}-{target}", "source": source, "target": target}
    found |= {"sourcePrincipal": labels["source_principal"], "destPrincipal": labels["destination_principal"]}
    if labels["connection_security_policy"] == "mutual_tls":
        found["isMTLS"] = "100"
    return found | {"host": labels["destination_service"], "code": labels["response_code"]}


def _note_passthrough(edge: dict[str, Any], labels: Labels) -> None:
    if labels["destination_service_name"] == "PassthroughCluster":
        edge["host"] = labels["destination_service"]


def _traffic(data: dict[str, Any], *, is_edge: bool) -> Any:
    if not is_edge:
        direction = "httpOut" if data.get("isRoot") else "httpIn"
        return [{"protocol": "http", "rates": {direction: "0.25"}}]
    response = {"flags": {"-": "100.0"}, "hosts": {data.pop("host"): "100.0"}}
    rates = {"http": "0.25", "httpPercentReq": "100.0"}
    return {"protocol": "http", "rates": rates, "responses": {data.pop("code"): response}}


def _named(nodes: dict[str, Any], edges: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("nodes", nodes), ("edges", edges)]


def _node(nodes: dict[str, dict[str, Any]], data: dict[str, Any]) -> str:
    identity = f"{data['namespace']}/{data['workload']}"
    nodes[identity] = {"id": identity, "cluster": "Kubernetes", "healthData": None, **data}
    return identity


def _source(labels: Labels) -> dict[str, Any]:
    return {
        "nodeType": "workload",
        "namespace": labels["source_workload_namespace"],
        "workload": labels["source_workload"],
        "app": labels["source_canonical_service"],
        "version": labels["source_canonical_revision"],
        "isRoot": True,
    }


def _destination(labels: Labels) -> dict[str, Any]:
    service = {"cluster": "Kubernetes", "namespace": "bookinfo", "name": "productpage"}
    return {
        "nodeType": "workload",
        "namespace": labels["destination_workload_namespace"],
        "workload": labels["destination_workload"],
        "app": labels["destination_canonical_service"],
        "version": labels["destination_canonical_revision"],
        "destServices": [service],
    }
