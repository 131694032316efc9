"""An API server: objects in memory, discovery, watches, port-forwards, and the troubles that a real one can have."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from .server import cut, serving

Object = dict[str, Any]

# group/version -> kind, plural, is in a namespace, short names.
KINDS: dict[str, list[tuple[str, str, bool, list[str]]]] = {
    "v1": [
        ("Event", "events", True, ["ev"]),
        ("Namespace", "namespaces", False, ["ns"]),
        ("Pod", "pods", True, ["po"]),
        ("Service", "services", True, ["svc"]),
        ("ServiceAccount", "serviceaccounts", True, ["sa"]),
    ],
    "apps/v1": [("Deployment", "deployments", True, ["deploy"])],
    "events.k8s.io/v1": [("Event", "events", True, ["ev"])],
    "authorization.k8s.io/v1": [("SelfSubjectAccessReview", "selfsubjectaccessreviews", False, [])],
    "configuration.konghq.com/v1": [("KongPlugin", "kongplugins", True, ["kp"])],
}

# What a request may meet instead of an answer: an HTTP status, or what happens to the connection.
Trouble = int | str


class ApiServer:
    """Speaks plain HTTP. `token`: who has another one is refused. `ports`: pod, port -> the port here that it is."""

    def __init__(self) -> None:
        self.kinds = {version: list(kinds) for version, kinds in KINDS.items()}
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.token = ""
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.troubles: list[Trouble] = []
        # Watches from before this version are too old.
        self.oldest = 0
        self.ports: dict[tuple[str, int], int] = {}
        self._version = 0
        self._lock = threading.RLock()
        self._watches: list[tuple[Callable[[Object], bool], queue.Queue[Object | None]]] = []

    def put(self, plural: str, item: Object) -> Object:
        """Create or change an object, and tell the watches."""
        with self._lock:
            metadata = item["metadata"]
            key = (plural, metadata.get("namespace", ""), metadata["name"])
            before = self.objects.get(key)
            self._version += 1
            uid = before["metadata"]["uid"] if before else f"uid-{self._version}"
            kept = {**item, "metadata": {"uid": uid, **metadata, "resourceVersion": str(self._version)}}
            self.objects[key] = kept
            self._tell("MODIFIED" if before else "ADDED", plural, kept)
            return kept

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object, and tell the watches."""
        with self._lock:
            self._version += 1
            self._tell("DELETED", plural, self.objects.pop((plural, namespace, name)))

    def expire(self) -> None:
        """End all watches, and refuse to take up where they were."""
        with self._lock:
            self._version += 1
            self.oldest = self._version
            for _, events in self._watches:
                events.put({"type": "ERROR", "object": _status(410, "too old resource version")})

    def hang_up(self) -> None:
        """End all watches as a connection ends that is cut."""
        with self._lock:
            for _, events in self._watches:
                events.put(None)

    def watching(self) -> int:
        """Return how many watches there are."""
        return len(self._watches)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve, and give the URL."""
        with serving(type("Handler", (_Handler,), {"fake": self})) as url:
            try:
                yield url
            finally:
                self.hang_up()

    def _tell(self, change: str, plural: str, item: Object) -> None:
        for concerns, events in self._watches:
            if concerns({"plural": plural, **item["metadata"]}):
                events.put({"type": change, "object": item})

    def listed(self, plural: str, namespace: str, query: dict[str, str]) -> tuple[list[Object], str]:
        """Return the objects that a list request asks for, and the version."""
        with self._lock:
            found = [
                item for (kind, inside, _), item in self.objects.items() if kind == plural and namespace in ("", inside)
            ]
            if name := query.get("fieldSelector", "").partition("metadata.name=")[2]:
                found = [item for item in found if item["metadata"]["name"] == name]
            for each in filter(None, query.get("labelSelector", "").split(",")):
                key, _, value = each.partition("=")
                found = [item for item in found if item["metadata"].get("labels", {}).get(key) == value]
            return found, str(self._version)

    @contextmanager
    def watch(self, concerns: Callable[[Object], bool]) -> Iterator[queue.Queue[Object | None]]:
        """Give what changes."""
        entry = (concerns, queue.Queue[Object | None]())
        with self._lock:
            self._watches.append(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._watches.remove(entry)


def write_kubeconfig(path: Path, contexts: dict[str, str], user: Object | None = None, **cluster: Any) -> Path:
    """Write a kubeconfig: context -> server."""
    options = {name.replace("_", "-"): value for name, value in cluster.items()}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, **options}} for name, url in contexts.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in contexts],
        "users": [{"name": name, "user": {"token": "secret-token"} if user is None else user} for name in contexts],
        "current-context": "",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def _status(code: int, message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


class _Handler(BaseHTTPRequestHandler):
    fake: ApiServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(text) if text else None
        self.fake.requests.append((self.command, parts.path, query, body))
        if self.fake.troubles and not self._get_past(self.fake.troubles.pop(0)):
            return
        if self.fake.token and self.headers.get("Authorization") != f"Bearer {self.fake.token}":
            self._answer(401, _status(401, "Unauthorized"))
            return
        self._route(parts.path, query, body)

    def _get_past(self, trouble: Trouble) -> bool:
        if isinstance(trouble, int):
            if trouble:
                self._answer(trouble, _status(trouble, f"trouble {trouble}"))
            return not trouble
        if trouble.startswith("slow "):
            time.sleep(float(trouble.removeprefix("slow ")))
            return True
        if trouble == "page":
            self._text(200, "<html>Please log in to the company's network</html>", "text/html")
        elif trouble == "bad gateway":
            self._text(502, "<html>502</html>", "text/html")
        elif trouble == "cut":
            cut(self.connection)
            self.close_connection = True
        return False

    def _route(self, path: str, query: dict[str, str], body: Any) -> None:
        if path in ("/api", "/apis"):
            self._answer(200, _discovery(self.fake, path))
        elif path == "/version":
            self._answer(200, {"major": "1", "minor": "37", "gitVersion": "v1.37.2"})
        elif path == "/readyz":
            self._text(200, "ok", "text/plain")
        elif path.endswith("/portforward"):
            self._forward(path.split("/")[-2], int(query["ports"]))
        else:
            self._objects(path, query, body)

    def _objects(self, path: str, query: dict[str, str], body: Any) -> None:
        version, namespace, plural, rest = _parsed(path)
        if plural not in [each[1] for each in self.fake.kinds.get(version, [])]:
            self._text(404, "404 page not found", "text/plain")
        elif query.get("watch"):
            self._watch(plural, namespace, query)
        elif rest[1:] == ["token"]:
            self._answer(201, {"status": {"token": f"token-of-{rest[0]}"}})
        elif self.command == "POST":
            self._create(plural, namespace, query, body)
        elif not rest:
            self._list(plural, namespace, query)
        else:
            self._one(plural, namespace, rest[0], query, body)

    def _create(self, plural: str, namespace: str, query: dict[str, str], body: Object) -> None:
        item = {**body, "metadata": {**body.get("metadata", {})}}
        if namespace:
            item["metadata"]["namespace"] = namespace
        name = item["metadata"].get("name", "")
        if (plural, namespace, name) in self.fake.objects:
            self._answer(409, _status(409, f'{plural} "{name}" already exists'))
        elif plural == "selfsubjectaccessreviews":
            self._answer(201, {**item, "status": {"allowed": True}})
        else:
            self._answer(201, item if query.get("dryRun") else self.fake.put(plural, item))

    def _list(self, plural: str, namespace: str, query: dict[str, str]) -> None:
        items, version = self.fake.listed(plural, namespace, query)
        first, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(items)
        metadata = {"resourceVersion": version}
        if first + limit < len(items):
            metadata["continue"] = str(first + limit)
        # As a real one, it does not say in each item what the kind of all is.
        bare = [{key: each[key] for key in each if key not in ("kind", "apiVersion")} for each in items]
        self._answer(200, {"kind": "List", "metadata": metadata, "items": bare[first : first + limit]})

    def _one(self, plural: str, namespace: str, name: str, query: dict[str, str], body: Any) -> None:
        found = self.fake.objects.get((plural, namespace, name))
        if self.command == "PATCH":
            item = {
                **(found or {}),
                **body,
                "metadata": {**(found or body)["metadata"], **body.get("metadata", {})},
            }
            self._answer(200, item if query.get("dryRun") else self.fake.put(plural, item))
        elif not found:
            self._answer(404, _status(404, f'{plural} "{name}" not found'))
        elif self.command == "DELETE":
            if body and body["preconditions"]["uid"] != found["metadata"]["uid"]:
                self._answer(409, _status(409, "the UID in the precondition is another"))
            elif found["metadata"].get("finalizers"):
                leaving = {**found["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}
                self._answer(200, self.fake.put(plural, {**found, "metadata": leaving}))
            else:
                self.fake.remove(plural, name, namespace)
                self._answer(200, {"kind": "Status", "status": "Success"})
        else:
            self._answer(200, found)

    def _watch(self, plural: str, namespace: str, query: dict[str, str]) -> None:
        name = query.get("fieldSelector", "").partition("metadata.name=")[2]
        since, end = int(query["resourceVersion"]), time.monotonic() + float(query["timeoutSeconds"])

        def concerns(item: Object) -> bool:
            here = item["plural"] == plural and namespace in ("", item.get("namespace", ""))
            return here and name in ("", item["name"])

        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.fake.watch(concerns) as events:
            if since < self.fake.oldest:
                events.put({"type": "ERROR", "object": _status(410, "too old resource version")})
            while (left := end - time.monotonic()) > 0:
                try:
                    event = events.get(timeout=left)
                except queue.Empty:
                    break
                if event is None:
                    cut(self.connection)
                    self.close_connection = True
                    return
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def _forward(self, pod: str, port: int) -> None:
        if "Upgrade" not in self.headers:
            self._answer(400, _status(400, "Upgrade request required"))
            return
        _serve_forward(self, self.fake.ports.get((pod, port)), port)
        self.close_connection = True

    def _answer(self, status: int, content: Any) -> None:
        self._text(status, json.dumps(content), "application/json")

    def _text(self, status: int, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 -- http.server's names

    def log_message(self, *arguments: object) -> None:
        pass

    def handle(self) -> None:
        # A client that is gone is none of the server's business.
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()


def _parsed(path: str) -> tuple[str, str, str, list[str]]:
    """Return the version, namespace, plural, and what follows."""
    parts = path.strip("/").split("/")
    version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    return version, namespace, rest[0], rest[1:]


def _discovery(server: ApiServer, root: str) -> Object:
    groups = []
    for version, kinds in server.kinds.items():
        if ("/" in version) != (root == "/apis"):
            continue
        group, _, short = version.rpartition("/")
        resources = [
            {
                "resource": plural,
                "singularResource": kind.lower(),
                "responseKind": {"group": group, "version": "", "kind": kind},
                "scope": "Namespaced" if inside else "Cluster",
                "shortNames": names,
            }
            for kind, plural, inside, names in kinds
        ]
        versions = [{"version": short, "resources": resources, "freshness": "Current"}]
        groups.append({"metadata": {"name": group} if group else {}, "versions": versions})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": groups}


def _serve_forward(handler: BaseHTTPRequestHandler, local: int | None, port: int) -> None:
    """Speak the port-forward protocol of WebSockets: the first byte of a message is the channel."""
    import base64
    import hashlib

    from websocket import ABNF, WebSocket, WebSocketException

    key = handler.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    handler.send_response_only(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())  # noqa: S324
    handler.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
    handler.end_headers()
    client = WebSocket(enable_multithread=True)
    client.sock = handler.connection
    client.connected = True

    def send(channel: int, data: bytes) -> None:
        frame = ABNF.create_frame(bytes([channel]) + data, ABNF.OPCODE_BINARY)
        # A server does not mask.
        frame.mask_value = 0
        client.send_frame(frame)

    with suppress(OSError, WebSocketException):
        for channel in (0, 1):
            send(channel, port.to_bytes(2, "little"))
        try:
            pod = socket.create_connection(("127.0.0.1", local or 9))
        except OSError:
            send(1, b"error forwarding port: connection refused")
            client.recv_data_frame(control_frame=True)
            return
        with pod:
            threading.Thread(target=_answers, args=(pod, send, client), daemon=True).start()
            while True:
                kind, frame = client.recv_data_frame(control_frame=True)
                if kind == ABNF.OPCODE_CLOSE:
                    return
                if kind == ABNF.OPCODE_BINARY:
                    pod.sendall(frame.data[1:])


def _answers(pod: socket.socket, send: Callable[[int, bytes], None], client: Any) -> None:
    from websocket import WebSocketException

    with suppress(OSError, WebSocketException):
        while data := pod.recv(1 << 16):
            send(0, data)
        client.send_close()
