"""Grafana 13: its health, and what a visitor without a login may do."""

from __future__ import annotations

from .server import FakeServer, Reply, Request, as_json

_VIEWER = {"dashboards:read": ["folders:uid:general"], "datasources:query": ["datasources:*"], "orgs:read": [""]}
_ADMIN = {**_VIEWER, "dashboards:create": ["folders:uid:general"], "datasources:write": ["datasources:*"]}


class Grafana(FakeServer):
    """`role` is what visitors without a login are; empty where they are nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.role = ""
        self.database = "ok"

    def answer(self, request: Request) -> Reply:
        if request.path == "/api/health":
            healthy = self.database == "ok"
            return as_json(200 if healthy else 503, {"database": self.database, "version": "13.0.1", "commit": "abc"})
        if not self.role:
            return as_json(401, {"message": "Unauthorized", "messageId": "session.token.missing", "statusCode": 401})
        if request.path == "/api/access-control/user/permissions":
            return as_json(200, _ADMIN if self.role == "Admin" else _VIEWER)
        return as_json(404, {"message": "Not found"})
