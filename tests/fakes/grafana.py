"""Grafana 13: its health, what a visitor without a login may do, and its dashboards."""

from __future__ import annotations

from base64 import b64encode

from .server import FakeServer, Reply, Request, as_json

_VIEWER = {"dashboards:read": ["folders:uid:general"], "datasources:query": ["datasources:*"], "orgs:read": [""]}
_ADMIN = {**_VIEWER, "dashboards:create": ["folders:uid:general"], "datasources:write": ["datasources:*"]}


class Grafana(FakeServer):
    """`role` is what visitors without a login are; empty where they are nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.role = ""
        self.database = "ok"
        self.password = "of-grafana"
        #: Title -> how many panels are on it.
        self.dashboards = {f"Dashboard {number}": 2 for number in range(7)}

    def answer(self, request: Request) -> Reply:
        if request.path == "/api/health":
            healthy = self.database == "ok"
            return as_json(200 if healthy else 503, {"database": self.database, "version": "13.0.1", "commit": "abc"})
        login = b64encode(f"admin:{self.password}".encode()).decode()
        if not self.role and request.headers.get("Authorization") != f"Basic {login}":
            return as_json(401, {"message": "Unauthorized", "messageId": "session.token.missing", "statusCode": 401})
        if request.path == "/api/access-control/user/permissions":
            return as_json(200, _ADMIN if self.role == "Admin" else _VIEWER)
        if request.path == "/api/search":
            listed = [{"uid": title[-1], "title": title, "folderTitle": "istio"} for title in self.dashboards]
            return as_json(200, [*listed, {"uid": "x", "title": "Somebody's", "folderTitle": "other"}])
        if request.path.startswith("/api/dashboards/uid/"):
            panels = [{"id": number} for number in range(self.dashboards[f"Dashboard {request.path[-1]}"])]
            return as_json(200, {"dashboard": {"panels": panels}, "meta": {"provisioned": True}})
        return as_json(404, {"message": "Not found"})
