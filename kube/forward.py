"""Port-forwards: connections to a port of this machine go on, each as a WebSocket, to a port of a pod."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kube.connection import Connection
from kube.errors import ClusterError
from kube.resource_kinds import label_selector

if TYPE_CHECKING:
    from websocket import WebSocket

    from kube.cluster import Cluster

_CHUNK = 1 << 16
# The first byte of a message is its channel (kubernetes: kubelet/pkg/cri/streaming/portforward/websocket.go).
_DATA = 0


@contextmanager
def forwarding(
    cluster: Cluster, connection: Connection, namespace: str, resource: str, port: int, local_port: int
) -> Iterator[str]:
    """Forward a port of this machine for as long as the block runs; see `Cluster.port_forward`."""
    forward = _Forward(cluster, connection, namespace, resource, port)
    # Whoever opens it is told at once that it cannot be.
    forward.dial().close()
    with _listener(local_port) as listener:
        thread = threading.Thread(target=forward.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            # A thread that waits in `accept` would hold the port: closing alone does not wake it.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
            forward.end()


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ClusterError(f"Port {port} of this machine cannot be used: {os.strerror(error.errno or 0)}.") from None


class _Forward:
    def __init__(self, cluster: Cluster, connection: Connection, namespace: str, resource: str, port: int) -> None:
        self._cluster = cluster
        self._connection = connection
        self._namespace = namespace
        self._resource = resource
        self._port = port
        self._open: set[socket.socket] = set()

    def dial(self) -> WebSocket:
        """Open a WebSocket to a pod that runs. Raises `ClusterError`."""
        pod, port = _pod_port(self._cluster, self._namespace, self._resource, self._port)
        return self._connection.websocket(
            f"/api/v1/namespaces/{self._namespace}/pods/{pod}/portforward", {"ports": port}
        )

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def end(self) -> None:
        """End the connections that are open still."""
        for client in list(self._open):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _connect(self, client: socket.socket) -> None:
        from websocket import WebSocketException

        self._open.add(client)
        try:
            # Where no pod is reached, it is to the client as if nothing listened.
            with client, suppress(ClusterError, WebSocketException, OSError, ValueError), closing(self.dial()) as pod:
                _pump(client, pod)
        finally:
            self._open.discard(client)


def _pump(client: socket.socket, pod: WebSocket) -> None:
    """Carry data both ways until one side ends. In one thread: a TLS connection may not be read and written at once."""
    begun: set[int] = set()
    while True:
        there = isinstance(pod.sock, ssl.SSLSocket) and pod.sock.pending()
        readable = [pod.sock] if there else select.select([client, pod.sock], [], [])[0]
        if pod.sock in readable and not _receive(pod, client, begun):
            return
        if client in readable:
            if not (data := client.recv(_CHUNK)):
                return
            pod.send_binary(bytes([_DATA]) + data)


def _receive(pod: WebSocket, client: socket.socket, begun: set[int]) -> bool:
    """Pass one message on; return whether there may be another."""
    from websocket import ABNF

    kind, frame = pod.recv_data_frame(control_frame=True)
    if kind != ABNF.OPCODE_BINARY or not frame.data:
        return bool(kind != ABNF.OPCODE_CLOSE)
    channel, data = frame.data[0], frame.data[1:]
    if channel not in begun:
        # Each channel begins with the number of its port.
        begun.add(channel)
        return True
    if channel == _DATA:
        client.sendall(data)
    # On the other is said what went wrong.
    return bool(channel == _DATA)


def _pod_port(cluster: Cluster, namespace: str, resource: str, port: int) -> tuple[str, int]:
    """Return a pod, a ready one where there is any, and the port of it that is meant."""
    kind, _, name = resource.partition("/")
    found = cluster.get(kind, name, namespace)
    if not found:
        raise ClusterError(f"There is no {resource} in {namespace}.")
    if found["kind"] == "Pod":
        return name, port
    selector = found["spec"].get("selector") or {}
    labels = selector.get("matchLabels", {}) if found["kind"] != "Service" else selector
    pods = cluster.list("pods", namespace, labels=label_selector(labels))
    running = [pod for pod in pods if labels and (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        raise ClusterError(f"No pod of {resource} in {namespace} runs.")
    pod = max(running, key=_fitness)
    target = _target_port(found, port) if found["kind"] == "Service" else port
    return pod["metadata"]["name"], _number(pod, target, resource)


def _fitness(pod: dict[str, Any]) -> tuple[bool, bool]:
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions") or [])
    return not pod["metadata"].get("deletionTimestamp"), ready


def _target_port(service: dict[str, Any], port: int) -> int | str:
    spec = service["spec"]
    for each in spec.get("ports") or []:
        if each["port"] == port:
            # Behind a headless Service, its port is the pods'.
            return port if spec.get("clusterIP") == "None" else each.get("targetPort", port)
    raise ClusterError(f"The Service {service['metadata']['name']} has no port {port}.")


def _number(pod: dict[str, Any], port: int | str, resource: str) -> int:
    if isinstance(port, int):
        return port
    for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]:
        for each in container.get("ports") or []:
            if each.get("name") == port:
                return int(each["containerPort"])
    raise ClusterError(f"No container of {resource}'s pod {pod['metadata']['name']} has a port named {port}.")
