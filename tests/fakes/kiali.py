"""Kiali 2.26 with the strategy `token`, which draws what the mesh's sidecars report."""

from __future__ import annotations

from typing import Any

from .clock import Clock
from .mesh import Labels, Mesh
from .server import FakeServer, Reply, Request, as_json

TOKEN = "eyJhbGciOiJSUzI1NiJ9.kiali"
_COOKIE = "kiali-token-Kubernetes=c2Vzc2lvbg"


class Kiali(FakeServer):
    """Its health, its login, its list of namespaces and its graph. `open`: it asks for no token."""

    def __init__(self, clock: Clock, mesh: Mesh) -> None:
        super().__init__()
        self.clock, self.mesh = clock, mesh
        self.open = False

    def answer(self, request: Request) -> Reply:
        if request.path == "/kiali/healthz":
            return Reply(200)
        if request.path == "/kiali/api/authenticate" and request.method == "POST":
            return self._login(request)
        # Under this strategy an Authorization header is not looked at.
        if not self.open and _COOKIE not in request.headers.get("Cookie", ""):
            return as_json(401, {"error": "Unauthorized"})
        if request.path == "/kiali/api/namespaces":
            return as_json(200, [{"name": name} for name in ("bookinfo", "kong-istio")])
        if request.path == "/kiali/api/namespaces/graph":
            return as_json(200, self._graph(request.query))
        return as_json(404, {"error": "not found"})

    def _login(self, request: Request) -> Reply:
        if request.form.get("token") != TOKEN:
            return as_json(401, {"error": "token is not valid or is expired"})
        cookie = f"{_COOKIE}; Path=/kiali; HttpOnly; SameSite=Strict"
        return as_json(200, {"username": "istio-system:kiali"}, Set_Cookie=cookie)

    def _graph(self, query: dict[str, str]) -> dict[str, Any]:
        since = self.clock.time() - int(query["duration"].removesuffix("s"))
        recent = [labels for time, labels in self.mesh.seen if time > since]
        nodes: dict[str, dict[str, Any]] = {}
        edges: dict[str, dict[str, Any]] = {}
        for labels in recent:
            # A request within the mesh is taken from the report of its destination, one that leaves it from the other.
            if labels["reporter"] == "source" and labels["destination_service_name"] != "PassthroughCluster":
                continue
            source, target = _node(nodes, _source(labels)), _node(nodes, _destination(labels))
            edge: dict[str, Any] = {"id": f"{source}-{target}", "source": source, "target": target}
            edge["traffic"] = {"protocol": "http", "rates": {"http": "0.25", "httpPercentReq": "100.0"}}
            if labels["connection_security_policy"] == "mutual_tls":
                edge["isMTLS"] = "100"
            edges[edge["id"]] = edge
        elements = {name: [{"data": data} for data in found.values()] for name, found in _named(nodes, edges)}
        return {"timestamp": int(self.clock.time()), "duration": 120, "graphType": "workload", "elements": elements}


def _named(nodes: dict[str, Any], edges: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("nodes", nodes), ("edges", edges)]


def _node(nodes: dict[str, dict[str, Any]], data: dict[str, Any]) -> str:
    identity = f"{data['namespace']}/{data.get('workload') or data.get('service')}"
    nodes[identity] = {"id": identity, "cluster": "Kubernetes", **data}
    return identity


def _source(labels: Labels) -> dict[str, Any]:
    namespace, workload = labels["source_workload_namespace"], labels["source_workload"]
    return {"nodeType": "workload", "namespace": namespace, "workload": workload, "app": workload, "isRoot": True}


def _destination(labels: Labels) -> dict[str, Any]:
    namespace, service = labels["destination_service_namespace"], labels["destination_service_name"]
    if labels["destination_workload"] == "unknown":
        return {"nodeType": "service", "namespace": namespace, "service": service}
    services = [{"cluster": "Kubernetes", "namespace": namespace, "name": service}]
    workload = labels["destination_workload"]
    return {
        "nodeType": "workload",
        "namespace": namespace,
        "workload": workload,
        "app": "productpage",
        "version": "v1",
        "destServices": services,
    }
