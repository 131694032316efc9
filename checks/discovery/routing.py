"""What a sidecar does with a request, worked out from its configuration as Envoy does.

Pure functions of Envoy's messages. Only what istiod's configuration makes use of is modelled: routes that look at more
than the path are taken to be for other requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from checks.discovery.protos import EDS, unpacked

MUTUAL_TLS, TLS, PLAIN_TEXT = "mutual TLS", "TLS", "plain text"

_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 -- listeners that are looked for
_OUTBOUND, _INBOUND = "virtualOutbound", "virtualInbound"
_MATCHED_METADATA = "envoy.transport_socket_match"
# What a sidecar offers when it calls another one.
_MESH_PROTOCOLS = ("istio-http/1.1", "istio")
_HTTP = ("http/1.1",)


@dataclass(frozen=True)
class Configuration:
    """What a sidecar has from istiod; everything but the listeners by name."""

    listeners: tuple[Any, ...]
    routes: Mapping[str, Any]
    clusters: Mapping[str, Any]
    endpoints: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """A plain HTTP request that leaves a pod: where its connection goes, and what it says."""

    address: str
    port: int
    host: str
    path: str


@dataclass(frozen=True)
class Upstream:
    """What a sidecar does with a request: who decides, the clusters it goes to, and what protects it on its path.

    No cluster: the sidecar answers by itself. `security` has more than one entry where pods differ, none without pods.
    `host_header`, `host_literal`: the header, or the text, that takes the place of Host; empty where it stays.
    """

    listener: str
    route: str
    virtual_host: str
    clusters: tuple[str, ...]
    security: frozenset[str]
    host_header: str = ""
    host_literal: str = ""

    def __str__(self) -> str:
        """Return it for people."""
        decided = f"listener {self.listener}"
        if self.route:
            decided += f", route {self.route}, virtual host {self.virtual_host or 'none'}"
        if not self.clusters:
            return f"no cluster ({decided})"
        protected = " or ".join(sorted(self.security)) or "no pod behind it"
        return f"{' and '.join(self.clusters)} in {protected} ({decided})"


def route_names(listeners: Iterable[Any]) -> set[str]:
    """Return the names of the route configurations that listeners refer to."""
    managers = (_http_manager(chain) for listener in listeners for chain in _chains(listener))
    return {found.rds.route_config_name for found in managers if found is not None and found.HasField("rds")}


def endpoint_names(clusters: Iterable[Any]) -> set[str]:
    """Return the names of the endpoints that clusters refer to."""
    found = (cluster for cluster in clusters if cluster.type == EDS)
    return {cluster.eds_cluster_config.service_name or cluster.name for cluster in found}


def upstream_of(configuration: Configuration, request: Request) -> Upstream:
    """Return what the sidecar of the sending pod does with a request."""
    listener = _outbound_listener(configuration.listeners, request)
    if listener is None:
        return Upstream("none", "", "", (), frozenset())
    chain = chain_for(listener, request.address, request.port, "raw_buffer", _HTTP)
    manager = _http_manager(chain) if chain is not None else None
    if manager is None:
        clusters = _tcp_clusters(chain) if chain is not None else ()
        return Upstream(listener.name, "", "", clusters, _security(configuration, clusters))
    name, routes = _routes(manager, configuration)
    host = virtual_host(routes, request.host) if routes is not None else None
    action = _action(host, request.path) if host is not None else None
    clusters = _clusters(action) if action is not None else ()
    return Upstream(
        listener.name,
        name,
        host.name if host is not None else "",
        clusters,
        _security(configuration, clusters),
        host_header=action.host_rewrite_header if action is not None else "",
        host_literal=action.host_rewrite_literal if action is not None else "",
    )


def accepted(configuration: Configuration, address: str, port: int) -> str:
    """Return the mode in which the sidecar of the called pod takes connections to a port, as PeerAuthentication names it."""
    listener = next((found for found in configuration.listeners if found.name == _INBOUND), None)
    if listener is None:
        return "none"
    plain = chain_for(listener, address, port, "raw_buffer", _HTTP) is not None
    secured = chain_for(listener, address, port, "tls", _MESH_PROTOCOLS)
    mutual = secured is not None and _asks_for_certificate(secured)
    return {(True, True): "PERMISSIVE", (True, False): "STRICT", (False, True): "DISABLE"}.get((mutual, plain), "none")


def chain_for(listener: Any, address: str, port: int, transport: str, protocols: Sequence[str]) -> Any | None:
    """Return the filter chain that a listener hands a connection to, or None where it closes it.

    As in Envoy, criteria are taken one after another, and what one of them has ruled out does not come back.
    """
    found = list(listener.filter_chains)
    found = _narrowed(
        found, lambda match: match.HasField("destination_port"), lambda m: m.destination_port.value == port
    )
    found = _narrowed_by_range(found, address)
    found = [chain for chain in found if not chain.filter_chain_match.server_names]
    found = _narrowed(found, lambda m: bool(m.transport_protocol), lambda m: m.transport_protocol == transport)
    found = _narrowed(
        found,
        lambda match: bool(match.application_protocols),
        lambda match: any(protocol in match.application_protocols for protocol in protocols),
    )
    if found:
        return found[0]
    return listener.default_filter_chain if listener.HasField("default_filter_chain") else None


def virtual_host(routes: Any, host: str) -> Any | None:
    """Return the virtual host for a Host header: exact, then the longest *.suffix, then the longest prefix.*, then *."""
    expected = host.lower()
    if routes.ignore_port_in_host_matching:
        expected = re.sub(r":\d+$", "", expected)
    ranked = [(_rank(domain.lower(), expected), found) for found in routes.virtual_hosts for domain in found.domains]
    matching = [(rank, found) for rank, found in ranked if rank is not None]
    return max(matching, key=lambda entry: entry[0])[1] if matching else None


def _rank(domain: str, host: str) -> tuple[int, int] | None:
    """Return how well a domain matches a host; None where it does not."""
    if domain == host:
        return (3, 0)
    if domain == "*":
        return (0, 0)
    # A wildcard stands for something, never for nothing.
    if len(host) >= len(domain) and domain.startswith("*") and host.endswith(domain[1:]):
        return (2, len(domain))
    if len(host) >= len(domain) and domain.endswith("*") and host.startswith(domain[:-1]):
        return (1, len(domain))
    return None


def _outbound_listener(listeners: Iterable[Any], request: Request) -> Any | None:
    """Return the listener for the address that a connection was made for; what none waits for goes to the catch-all."""
    found = {}
    for listener in listeners:
        socket = listener.address.socket_address
        if listener.name not in (_OUTBOUND, _INBOUND):
            found[socket.address, socket.port_value] = listener
    catch_all = next((listener for listener in listeners if listener.name == _OUTBOUND), None)
    tried = (found.get((address, request.port)) for address in (request.address, *_ANY_ADDRESS))
    return next((listener for listener in tried if listener is not None), catch_all)


def _narrowed(chains: list[Any], says: Callable[[Any], bool], fits: Callable[[Any], bool]) -> list[Any]:
    """Return the chains whose match fits by what it says; where there is none, those that say nothing."""
    saying = [chain for chain in chains if says(chain.filter_chain_match)]
    fitting = [chain for chain in saying if fits(chain.filter_chain_match)]
    return fitting or [chain for chain in chains if not says(chain.filter_chain_match)]


def _narrowed_by_range(chains: list[Any], address: str) -> list[Any]:
    """Return the chains with the longest range of addresses that holds this one."""
    lengths = [
        max((_length(one, address) for one in chain.filter_chain_match.prefix_ranges), default=-1) for chain in chains
    ]
    longest = max(lengths, default=-1)
    if longest >= 0:
        return [chain for chain, length in zip(chains, lengths, strict=True) if length == longest]
    return [chain for chain in chains if not chain.filter_chain_match.prefix_ranges]


def _length(prefix_range: Any, address: str) -> int:
    network = ip_network(f"{prefix_range.address_prefix}/{prefix_range.prefix_len.value}", strict=False)
    return network.prefixlen if ip_address(address) in network else -1


def _chains(listener: Any) -> list[Any]:
    default = [listener.default_filter_chain] if listener.HasField("default_filter_chain") else []
    return [*listener.filter_chains, *default]


def _http_manager(chain: Any) -> Any | None:
    found = (unpacked(one.typed_config, "HttpConnectionManager") for one in chain.filters)
    return next((manager for manager in found if manager is not None), None)


def _tcp_clusters(chain: Any) -> tuple[str, ...]:
    found = (unpacked(one.typed_config, "TcpProxy") for one in chain.filters)
    proxy = next((one for one in found if one is not None), None)
    if proxy is None:
        return ()
    return (proxy.cluster,) if proxy.cluster else tuple(one.name for one in proxy.weighted_clusters.clusters)


def _routes(manager: Any, configuration: Configuration) -> tuple[str, Any | None]:
    if manager.HasField("rds"):
        name = manager.rds.route_config_name
        return name, configuration.routes.get(name)
    return manager.route_config.name or "inline", manager.route_config


def _action(host: Any, path: str) -> Any | None:
    """Return what a virtual host does with a path; None where it does not pass it on."""
    route = next((found for found in host.routes if _takes(found.match, path)), None)
    return route.route if route is not None and route.HasField("route") else None


def _clusters(action: Any) -> tuple[str, ...]:
    if action.cluster:
        return (action.cluster,)
    return tuple(one.name for one in action.weighted_clusters.clusters if one.weight.value)


def _takes(match: Any, path: str) -> bool:
    if match.headers or match.query_parameters or match.HasField("grpc"):
        return False
    kind = match.WhichOneof("path_specifier")
    if kind == "safe_regex":
        return re.fullmatch(match.safe_regex.regex, path) is not None
    heedless = match.HasField("case_sensitive") and not match.case_sensitive.value
    expected, given = str(getattr(match, kind or "prefix")), path
    if heedless:
        expected, given = expected.lower(), given.lower()
    if kind == "path":
        return given == expected
    if kind == "path_separated_prefix":
        return given == expected or given.startswith(f"{expected}/")
    return given.startswith(expected)


def _security(configuration: Configuration, names: Iterable[str]) -> frozenset[str]:
    """Return what protects requests to clusters: of each of their pods, by what istiod says of it."""
    found = (configuration.clusters[name] for name in names if name in configuration.clusters)
    return frozenset(kind for cluster in found for kind in _kinds(cluster, configuration.endpoints))


def _kinds(cluster: Any, endpoints: Mapping[str, Any]) -> set[str]:
    if cluster.type != EDS:
        return {_kind(cluster.transport_socket)}
    assigned = endpoints.get(cluster.eds_cluster_config.service_name or cluster.name)
    groups = assigned.endpoints if assigned is not None else ()
    return {_kind(_socket(cluster, endpoint)) for group in groups for endpoint in group.lb_endpoints}


def _socket(cluster: Any, endpoint: Any) -> Any:
    """Return the transport socket for an endpoint: the first whose labels it has, else the cluster's own."""
    # Looking up a key that is not there would add it to the message.
    known = endpoint.metadata.filter_metadata
    labels = dict(known[_MATCHED_METADATA]) if _MATCHED_METADATA in known else {}
    for found in cluster.transport_socket_matches:
        if all(labels.get(key) == value for key, value in dict(found.match).items()):
            return found.transport_socket
    return cluster.transport_socket


def _kind(socket: Any) -> str:
    context = unpacked(socket.typed_config, "UpstreamTlsContext")
    if context is None:
        return PLAIN_TEXT
    common = context.common_tls_context
    return MUTUAL_TLS if common.tls_certificate_sds_secret_configs or common.tls_certificates else TLS


def _asks_for_certificate(chain: Any) -> bool:
    context = unpacked(chain.transport_socket.typed_config, "DownstreamTlsContext")
    return context is not None and bool(context.require_client_certificate.value)
