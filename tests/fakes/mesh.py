"""The mesh behind Kong: what sidecars make of its requests, and what they report of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .clock import Clock
from .server import cut

Labels = dict[str, str]

_KONG = {"source_workload": "kong-istio-kong", "source_workload_namespace": "kong-istio"}
_UNKNOWN = {"source_workload": "unknown", "source_workload_namespace": "unknown"}
_PRODUCTPAGE = {
    "destination_workload": "productpage-v1",
    "destination_workload_namespace": "bookinfo",
    "destination_service_name": "productpage",
    "destination_service_namespace": "bookinfo",
}
_PASSTHROUGH = {
    "destination_workload": "unknown",
    "destination_workload_namespace": "unknown",
    "destination_service_name": "PassthroughCluster",
    "destination_service_namespace": "unknown",
}


@dataclass
class Mesh:
    """`past_it`: Kong's requests take PassthroughCluster. `source_lost`: productpage does not know who calls.

    `plain`: sidecars speak and take plain text. `guarded`: what they take, an AuthorizationPolicy forbids to strangers.
    """

    clock: Clock
    past_it: bool = False
    source_lost: bool = False
    plain: bool = False
    guarded: bool = False
    seen: list[tuple[float, Labels]] = field(default_factory=list)

    def carry(self, status: int) -> None:
        """Carry one request of Kong's to productpage; both sidecars report it."""
        target = _PASSTHROUGH if self.past_it else _PRODUCTPAGE
        source = _UNKNOWN if self.past_it or self.source_lost else _KONG
        security = "none" if self.plain or self.past_it or self.source_lost else "mutual_tls"
        now, code = self.clock.time(), {"response_code": str(status)}
        # A source's report never knows the policy.
        sent = {"reporter": "source", "connection_security_policy": "unknown", **_KONG, **target, **code}
        received = {
            "reporter": "destination",
            "connection_security_policy": security,
            **source,
            **_PRODUCTPAGE,
            **code,
        }
        self.seen += [(now, sent), (now, received)]

    @contextmanager
    def sidecar(self) -> Iterator[int]:
        """Serve as productpage's sidecar to a stranger: STRICT cuts what is not TLS. Gives the port."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            thread.start()
            yield listener.getsockname()[1]
            # Wakes the thread, which a closed listener would not.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(4096)
            if self.plain:
                status = b"403 Forbidden" if self.guarded else b"200 OK"
                connection.sendall(b"HTTP/1.1 %b\r\nserver: istio-envoy\r\ncontent-length: 0\r\n\r\n" % status)
                connection.close()
            else:
                cut(connection)
