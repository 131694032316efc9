"""Waits until Kong runs and has the address that its Service's type promises; prints them as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from commands import command_line, rollouts
from commands.command_line import CommandError
from kube import Cluster
from names import KONG_DEPLOYMENT, KONG_NAMESPACE, KONG_PROXY_PORT, KONG_PROXY_SERVICE, KONG_PROXY_TLS_PORT


def main() -> None:
    """Wait from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    kong = rollouts.wait(
        cluster, "Deployment", KONG_NAMESPACE, KONG_DEPLOYMENT, options.timeout, setting="kong.readyTimeoutSeconds"
    )
    address, port = (
        host_and_port(options.address)
        if options.address
        else command_line.patiently(lambda: _address(cluster, options.type, options.address_timeout))
    )
    print(json.dumps(_report(rollouts.images(kong), address, port)))


def report(cluster: Cluster, kind: str, address: str = "") -> dict[str, str]:
    """Return what the command prints, as it is now; nothing where Kong or its address is not there."""
    deployment = cluster.get("deployments", KONG_DEPLOYMENT, KONG_NAMESPACE)
    reached = host_and_port(address) if address else ("", 0) if kind == "ClusterIP" else outside(cluster, kind)
    return _report(rollouts.images(deployment), *reached) if deployment and reached else {}


def _report(images: Mapping[str, str], address: str, port: int) -> dict[str, str]:
    return {
        "address": address,
        "url": f"http://{bracketed(address)}{'' if port == 80 else f':{port}'}" if address else "",
        "kong": rollouts.version_of(images.get("proxy", "")),
        "controller": rollouts.version_of(images.get("ingress-controller", "")),
    }


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--type", required=True, choices=("LoadBalancer", "NodePort", "ClusterIP"))
    parser.add_argument("--address", default="", metavar="HOST:PORT", help="where clients reach it, if not there")
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait for Kong")
    parser.add_argument("--address-timeout", type=int, default=120, help="seconds to wait for a load balancer")
    return parser.parse_args()


def _address(cluster: Cluster, kind: str, seconds: int) -> tuple[str, int]:
    if kind == "LoadBalancer":
        return _balancer_address(cluster, seconds)
    service = cluster.get("services", KONG_PROXY_SERVICE, KONG_NAMESPACE)
    if kind == "NodePort" and service:
        return node_address(cluster.list("nodes")), _port(service, "nodePort")
    # A ClusterIP has no address outside the cluster, and needs none.
    return "", 0


def _balancer_address(cluster: Cluster, seconds: int) -> tuple[str, int]:
    def is_assigned(service: dict[str, Any]) -> bool:
        _check_type(service)
        return bool(balancer_address(service))

    service = cluster.wait_until("services", KONG_PROXY_SERVICE, KONG_NAMESPACE, is_assigned, seconds)
    if not service:
        raise CommandError(
            f"The Service {KONG_NAMESPACE}/{KONG_PROXY_SERVICE} has no load balancer address after {seconds} s, so this cluster seems to "
            "have nothing that gives one: install one (MetalLB, cloud-provider-kind, `minikube tunnel`), set "
            "kong.serviceType to NodePort or ClusterIP, or raise kong.addressTimeoutSeconds."
        )
    return balancer_address(service), _port(service, "port")


def _check_type(service: dict[str, Any]) -> None:
    kind = service["spec"].get("type", "LoadBalancer")
    if kind != "LoadBalancer":
        raise CommandError(
            f"The Service {KONG_NAMESPACE}/{KONG_PROXY_SERVICE} is of type {kind} while kong.serviceType is LoadBalancer: kong.values says "
            "otherwise; set the type by kong.serviceType alone."
        )


def outside(cluster: Cluster, kind: str, *, tls: bool = False) -> tuple[str, int] | None:
    """Return host and port of Kong's proxy, plain or for TLS, where its Service, of that type, has any outside the cluster."""
    service = cluster.get("services", KONG_PROXY_SERVICE, KONG_NAMESPACE) if kind != "ClusterIP" else None
    if not service:
        return None
    if kind == "NodePort":
        host, port = node_address(cluster.list("nodes")), _port(service, "nodePort", tls=tls)
    else:
        host, port = balancer_address(service), _port(service, "port", tls=tls)
    return (host, port) if host and port else None


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of a setting such as localhost:8000."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def balancer_address(service: dict[str, Any]) -> str:
    """Return the IP or host name that a load balancer gave a Service, or nothing."""
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return str(entries[0].get("ip") or entries[0].get("hostname") or "") if entries else ""


def node_address(nodes: list[dict[str, Any]]) -> str:
    """Return an address of some node: one from outside the cluster where there is one."""
    addresses = [
        (entry["type"], entry["address"])
        for node in nodes
        for entry in (node.get("status") or {}).get("addresses") or []
    ]
    for preferred in ("ExternalIP", "ExternalDNS", "InternalIP", "Hostname"):
        for kind, address in addresses:
            if kind == preferred:
                return str(address)
    return ""


def _port(service: dict[str, Any], field: str, *, tls: bool = False) -> int:
    ports = service["spec"].get("ports") or [{}]
    named = [port for port in ports if port.get("name") == (KONG_PROXY_TLS_PORT if tls else KONG_PROXY_PORT)]
    found = named or ([] if tls else ports)
    return int(found[0].get(field, 0)) if found else 0


def bracketed(address: str) -> str:
    """Return an address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


if __name__ == "__main__":
    command_line.run(main)
