"""Envoy's messages: the fields of them that a question to istiod needs.

Names, numbers and types are those of Envoy's API (https://www.envoyproxy.io/docs/envoy/latest/api-v3/api); fields that are
left out are skipped when a message is read. Envoy's whole API is on PyPI (xds-protos), but that package brings files of
googleapis-common-protos and opentelemetry-proto with it, installs them over the ones that Pulumi's SDK needs, and with
tracing on the SDK then fails to import. `tests/checks/test_checks_discovery.py` compares this table with it where it is installed.

The messages have no type hints, so they are `Any` to the type checker.
"""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    struct_pb2,
    wrappers_pb2,
)

# Package -> messages and their fields: name, number, [repeated] type, [in oneof]. What Envoy nests stands beside what it is nested in, as
# Outer_Inner: a message's own name counts only where it is packed. An enumeration is an int32 on the wire.
PACKAGES = {
    "envoy.config.core.v3": """
        Node
          id 1 string
          metadata 3 Struct
        Metadata
          filter_metadata 1 map<string,Struct>
        TransportSocket
          name 1 string
          typed_config 3 Any in config_type
        Address
          socket_address 1 SocketAddress in address
        SocketAddress
          address 2 string
          port_value 3 uint32 in port_specifier
        CidrRange
          address_prefix 1 string
          prefix_len 2 UInt32Value
    """,
    "envoy.type.matcher.v3": """
        RegexMatcher
          regex 2 string
    """,
    "envoy.config.route.v3": """
        RouteConfiguration
          name 1 string
          virtual_hosts 2 repeated VirtualHost
          ignore_port_in_host_matching 14 bool
        VirtualHost
          name 1 string
          domains 2 repeated string
          routes 3 repeated Route
        Route
          name 14 string
          match 1 RouteMatch
          route 2 RouteAction in action
        RouteMatch
          prefix 1 string in path_specifier
          path 2 string in path_specifier
          safe_regex 10 RegexMatcher in path_specifier
          path_separated_prefix 14 string in path_specifier
          case_sensitive 4 BoolValue
          headers 6 repeated HeaderMatcher
          query_parameters 7 repeated QueryParameterMatcher
          grpc 8 RouteMatch_GrpcRouteMatchOptions
        RouteMatch_GrpcRouteMatchOptions
        HeaderMatcher
          name 1 string
        QueryParameterMatcher
          name 1 string
        RouteAction
          cluster 1 string in cluster_specifier
          weighted_clusters 3 WeightedCluster in cluster_specifier
          host_rewrite_literal 6 string in host_rewrite_specifier
          host_rewrite_header 29 string in host_rewrite_specifier
        WeightedCluster
          clusters 1 repeated WeightedCluster_ClusterWeight
        WeightedCluster_ClusterWeight
          name 1 string
          weight 2 UInt32Value
    """,
    "envoy.config.listener.v3": """
        Listener
          name 1 string
          address 2 Address
          filter_chains 3 repeated FilterChain
          default_filter_chain 25 FilterChain
        FilterChain
          filter_chain_match 1 FilterChainMatch
          filters 3 repeated Filter
          transport_socket 6 TransportSocket
          name 7 string
        FilterChainMatch
          destination_port 8 UInt32Value
          prefix_ranges 3 repeated CidrRange
          server_names 11 repeated string
          transport_protocol 9 string
          application_protocols 10 repeated string
        Filter
          name 1 string
          typed_config 4 Any in config_type
    """,
    "envoy.extensions.filters.network.http_connection_manager.v3": """
        HttpConnectionManager
          rds 3 Rds in route_specifier
          route_config 4 RouteConfiguration in route_specifier
        Rds
          route_config_name 2 string
    """,
    "envoy.extensions.filters.network.tcp_proxy.v3": """
        TcpProxy
          cluster 2 string in cluster_specifier
          weighted_clusters 10 TcpProxy_WeightedCluster in cluster_specifier
        TcpProxy_WeightedCluster
          clusters 1 repeated TcpProxy_ClusterWeight
        TcpProxy_ClusterWeight
          name 1 string
          weight 2 uint32
    """,
    "envoy.config.cluster.v3": """
        Cluster
          name 1 string
          type 2 int32 in cluster_discovery_type
          eds_cluster_config 3 Cluster_EdsClusterConfig
          transport_socket 24 TransportSocket
          transport_socket_matches 43 repeated Cluster_TransportSocketMatch
        Cluster_EdsClusterConfig
          service_name 2 string
        Cluster_TransportSocketMatch
          name 1 string
          match 2 Struct
          transport_socket 3 TransportSocket
    """,
    "envoy.extensions.transport_sockets.tls.v3": """
        UpstreamTlsContext
          common_tls_context 1 CommonTlsContext
          sni 2 string
        DownstreamTlsContext
          common_tls_context 1 CommonTlsContext
          require_client_certificate 2 BoolValue
        CommonTlsContext
          tls_certificates 2 repeated TlsCertificate
          tls_certificate_sds_secret_configs 6 repeated SdsSecretConfig
        TlsCertificate
        SdsSecretConfig
          name 1 string
    """,
    "envoy.config.endpoint.v3": """
        ClusterLoadAssignment
          cluster_name 1 string
          endpoints 2 repeated LocalityLbEndpoints
        LocalityLbEndpoints
          lb_endpoints 2 repeated LbEndpoint
        LbEndpoint
          metadata 3 Metadata
    """,
    "envoy.service.discovery.v3": """
        DiscoveryRequest
          version_info 1 string
          node 2 Node
          resource_names 3 repeated string
          type_url 4 string
          response_nonce 5 string
        DiscoveryResponse
          version_info 1 string
          resources 2 repeated Any
          type_url 4 string
          nonce 5 string
    """,
}

# Two of the ways in which Envoy finds a cluster's endpoints (envoy.config.cluster.v3.Cluster.DiscoveryType).
EDS, ORIGINAL_DST = 3, 4

_WELL_KNOWN = (any_pb2, struct_pb2, wrappers_pb2)
_FIELD = re.compile(
    r"(?P<name>\w+) (?P<number>\d+) (?P<repeated>repeated )?(?P<type>\w+|map<string,\w+>)(?: in (?P<oneof>\w+))?"
)
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "uint32": _Field.TYPE_UINT32,
    "int32": _Field.TYPE_INT32,
}

_lock = threading.Lock()


def message(name: str) -> Any:
    """Return the class of a message, by its name without the package."""
    # Two checks may ask first at once; each would get classes of its own, which do not take each other's messages.
    with _lock:
        return message_factory.GetMessageClass(_pool().FindMessageTypeByName(_full_names()[name]))


def type_url(name: str) -> str:
    """Return how a message is named where it is packed."""
    return f"type.googleapis.com/{_full_names()[name]}"


def unpacked(packed: Any, name: str) -> Any | None:
    """Return a packed message, or None where something else is packed there."""
    found = message(name)()
    return found if packed.Unpack(found) else None


def table() -> Iterator[tuple[str, str, list[re.Match[str]]]]:
    """Yield package, message and fields of what is described above."""
    for package, text in PACKAGES.items():
        for described in re.split(r"\n(?=\w)", textwrap.dedent(text).strip()):
            name, *lines = described.splitlines()
            yield package, name, [_field(line.strip()) for line in lines]


def _field(text: str) -> re.Match[str]:
    found = _FIELD.fullmatch(text)
    assert found, text  # noqa: S101 -- the text stands in this file
    return found


@cache
def _full_names() -> dict[str, str]:
    known = {name: one.full_name for file in _WELL_KNOWN for name, one in file.DESCRIPTOR.message_types_by_name.items()}
    return known | {name: f"{package}.{name}" for package, name, _ in table()}


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    """Return the messages, in a pool of their own: another package may bring Envoy's whole API."""
    pool = descriptor_pool.DescriptorPool()
    for known in _WELL_KNOWN:
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    # In the order of the table, packages stand behind those that they use.
    for package in PACKAGES:
        file = descriptor_pb2.FileDescriptorProto(name=package, package=package, syntax="proto3")
        file.dependency.extend([known.DESCRIPTOR.name for known in _WELL_KNOWN])
        file.dependency.extend(list(PACKAGES)[: list(PACKAGES).index(package)])
        for of, name, fields in table():
            if of == package:
                _describe(file.message_type.add(name=name), fields)
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _describe(described: Any, fields: list[re.Match[str]]) -> None:
    for found in fields:
        field = described.field.add(name=found["name"], number=int(found["number"]))
        mapped = re.fullmatch(r"map<string,(\w+)>", found["type"])
        field.label = _Field.LABEL_REPEATED if found["repeated"] or mapped else _Field.LABEL_OPTIONAL
        if mapped:
            _describe_map(described, field, mapped[1])
        else:
            _describe_type(field, found["type"])
        if found["oneof"]:
            _put_into(described, field, found["oneof"])


def _describe_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_full_names()[kind]}"


def _describe_map(described: Any, field: Any, kind: str) -> None:
    """Describe a map as protobuf has it on the wire: entries with a key and a value, of a nested type."""
    entry = described.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    _describe(entry, [_field("key 1 string"), _field(f"value 2 {kind}")])
    field.type, field.type_name = _Field.TYPE_MESSAGE, entry.name


def _put_into(described: Any, field: Any, oneof: str) -> None:
    names = [one.name for one in described.oneof_decl]
    if oneof not in names:
        described.oneof_decl.add(name=oneof)
        names.append(oneof)
    field.oneof_index = names.index(oneof)
