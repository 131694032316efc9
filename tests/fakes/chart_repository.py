"""A repository of charts over HTTPS, whose certificate a private authority signed, and which wants a login."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from fakes.server import certified, serving

USERNAME, PASSWORD = "reader", "pa:ss wörd/@hunter2"


@contextmanager
def chart_repository(folder: Path, chart: Path) -> Iterator[tuple[str, Path]]:
    """Serve the archive of a chart; give the URL, and the file of the authority's certificate."""
    name, version = chart.stem.rsplit("-", 1)
    archive = chart.read_bytes()
    entry = {"name": name, "version": version, "urls": [chart.name], "digest": hashlib.sha256(archive).hexdigest()}
    index = {"apiVersion": "v1", "entries": {name: [entry]}}
    files = {"/charts/index.yaml": json.dumps(index).encode(), f"/charts/{chart.name}": archive}
    context, authority = certified(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {login}":
                self.send_response(401)
                self.end_headers()
                return
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler, context) as url:
        yield f"{url}/charts", authority
