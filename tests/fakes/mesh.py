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

_KONG_PRINCIPAL = "spiffe://cluster.local/ns/kong-istio/sa/kong-istio-kong"
_PRODUCTPAGE_PRINCIPAL = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"
_KONG = {
    "source_app": "kong-istio-kong",
    "source_canonical_revision": "3.9",
    "source_canonical_service": "kong",
    "source_cluster": "Kubernetes",
    "source_version": "3.9",
    "source_workload": "kong-istio-kong",
    "source_workload_namespace": "kong-istio",
}
_UNKNOWN = dict.fromkeys(_KONG, "unknown")
_PODS = {
    "destination_app": "productpage",
    "destination_canonical_revision": "v1",
    "destination_canonical_service": "productpage",
    "destination_cluster": "Kubernetes",
    "destination_version": "v1",
    "destination_workload": "productpage-v1",
    "destination_workload_namespace": "bookinfo",
}
_SERVICE = {
    "destination_service": "productpage.bookinfo.svc.cluster.local",
    "destination_service_name": "productpage",
    "destination_service_namespace": "bookinfo",
}
_PASSTHROUGH = {
    "destination_service": "unknown",
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
    measured: list[tuple[float, Labels]] = field(default_factory=list)

    def carry(self, status: int) -> None:
        """Carry one request of Kong's to productpage; both sidecars report it."""
        encrypted = not (self.plain or self.past_it or self.source_lost)
        principals = {
            "source_principal": _KONG_PRINCIPAL if encrypted else "unknown",
            "destination_principal": _PRODUCTPAGE_PRINCIPAL if encrypted else "unknown",
        }
        code = {"response_code": str(status), "response_flags": "-", "request_protocol": "http"}
        common, now = {**principals, **_PODS, **code}, self.clock.time()
        # A source's report never knows the policy; who calls tells so itself, in plain text too.
        sent = {
            "reporter": "source",
            "connection_security_policy": "unknown",
            **_KONG,
            **(_PASSTHROUGH if self.past_it else _SERVICE),
            **common,
        }
        received = {
            "reporter": "destination",
            "connection_security_policy": "mutual_tls" if encrypted else "none",
            **(_UNKNOWN if self.source_lost else _KONG),
            **_SERVICE,
            **common,
        }
        self.measured += [(now, sent), (now, received)]

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
