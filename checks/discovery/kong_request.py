"""What Kong sends for a route, by the annotations that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checks.discovery.routing import Request
from checks.target import RoutedApplication
from commands.kong_ready import balancer_address

# Only these spellings count (https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/).
SERVICE_UPSTREAM = "ingress.kubernetes.io/service-upstream"
PRESERVE_HOST = "konghq.com/preserve-host"

# Where nothing says by which name clients call Kong. It only has to be no name of the mesh.
_SOME_CLIENTS_HOST = "kong.example"


@dataclass(frozen=True)
class Route:
    """A route as it is in the cluster: its Ingress, the Service it leads to, and a pod behind that."""

    application: RoutedApplication
    ingress: dict[str, Any]
    service: dict[str, Any]
    pod: dict[str, Any]
    #: What brings the client's Host through the mesh (EnvoyFilter or ServiceEntry), as it is in the cluster; and Kong's pod.
    host_object: dict[str, Any] | None = None
    kong: dict[str, Any] | None = None

    @property
    def by_service(self) -> bool:
        """Whether Kong calls the Service, not its pods."""
        return _annotations(self.service).get(SERVICE_UPSTREAM) == "true"

    @property
    def keeps_host(self) -> bool:
        """Whether Kong passes on the client's Host; that is what it does unless told."""
        return _annotations(self.ingress).get(PRESERVE_HOST, "true") != "false"

    @property
    def selects_kong(self) -> bool:
        """Whether the EnvoyFilter is for Kong's pod: one without labels is for every pod of its namespace."""
        labels = (((self.host_object or {}).get("spec") or {}).get("workloadSelector") or {}).get("labels") or {}
        own = ((self.kong or {}).get("metadata") or {}).get("labels") or {}
        return all(own.get(key) == value for key, value in labels.items())

    @property
    def pod_port(self) -> int:
        """The port of the pod behind the Service's port."""
        expected = next(one for one in self.service["spec"]["ports"] if one["port"] == self.application.port)
        target = expected.get("targetPort", expected["port"])
        if isinstance(target, int):
            return target
        ports = [port for container in self.pod["spec"]["containers"] for port in container.get("ports") or []]
        return int(next((port["containerPort"] for port in ports if port.get("name") == target), expected["port"]))

    @property
    def request(self) -> Request:
        """What Kong sends, and where its connection goes."""
        named = self.application
        if self.by_service:
            address, port = self.service["spec"]["clusterIP"], named.port
            host = f"{named.service}.{named.namespace}.svc:{port}"
        else:
            address, port = self.pod["status"]["podIP"], self.pod_port
            host = f"{address}:{port}"
        # A headless Service has no address of its own: its name leads to its pods, at the Service's port.
        if address == "None":
            address = self.pod["status"]["podIP"]
        return Request(address, port, self._clients_host if self.keeps_host else host, named.path)

    @property
    def _clients_host(self) -> str:
        host = self.application.host.replace("*", "checks", 1)
        return host or balancer_address(self.ingress) or _SOME_CLIENTS_HOST


def _annotations(item: Mapping[str, Any]) -> Mapping[str, str]:
    return item["metadata"].get("annotations") or {}
