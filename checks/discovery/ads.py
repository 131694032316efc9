"""Asks istiod for configuration as the sidecar of a pod: ADS, Envoy's aggregated discovery service.

istiod's plain-text port asks for no certificate, and so hands out none: everything but secrets.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]

from checks.discovery import routing
from checks.discovery.protos import message, type_url
from commands.sidecars import SIDECAR

_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
_META = "ISTIO_META_"
# A large mesh's clusters exceed gRPC's own limit of 4 MB.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]


class NoIstiod(Exception):  # noqa: N818 -- an outcome, not an error
    """Why istiod gave no configuration, as one sentence without its full stop."""


@dataclass(frozen=True)
class Sidecar:
    """The sidecar of a pod, as istiod knows it."""

    node_id: str
    metadata: dict[str, Any]


def sidecar_of(pod: dict[str, Any]) -> Sidecar:
    """Return the sidecar of a pod, with the metadata that it would send itself."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    node_id = f"sidecar~{pod['status']['podIP']}~{name}.{namespace}~{namespace}.svc.cluster.local"
    metadata = {
        "CLUSTER_ID": "Kubernetes",
        **_given(pod),
        "NAME": name,
        "NAMESPACE": namespace,
        "SERVICE_ACCOUNT": pod["spec"].get("serviceAccountName", "default"),
        "LABELS": dict(pod["metadata"].get("labels") or {}),
    }
    return Sidecar(node_id, metadata)


def fetch(address: str, sidecar: Sidecar, *, seconds: float = 10) -> routing.Configuration:
    """Return what istiod at `host:port` has for a sidecar. Raises `NoIstiod`."""
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        stream = _Stream(channel, sidecar, seconds)
        try:
            clusters = stream.ask("Cluster")
            listeners = stream.ask("Listener")
            routes = stream.ask("RouteConfiguration", routing.route_names(listeners))
            endpoints = stream.ask("ClusterLoadAssignment", routing.endpoint_names(clusters))
        except grpc.RpcError as error:
            raise NoIstiod(_sentence(address, error, seconds)) from None
        finally:
            stream.close()
    return routing.Configuration(
        listeners=tuple(listeners),
        routes={found.name: found for found in routes},
        clusters={found.name: found for found in clusters},
        endpoints={found.cluster_name: found for found in endpoints},
    )


class _Stream:
    """One conversation with istiod."""

    def __init__(self, channel: Any, sidecar: Sidecar, seconds: float) -> None:
        self._requests: queue.Queue[Any] = queue.Queue()
        self._node = message("Node")(id=sidecar.node_id)
        self._node.metadata.update(sidecar.metadata)
        call = channel.stream_stream(
            _METHOD,
            request_serializer=message("DiscoveryRequest").SerializeToString,
            response_deserializer=message("DiscoveryResponse").FromString,
        )
        self._call = call(self._sent(), timeout=seconds)

    def ask(self, kind: str, names: Iterable[str] = ()) -> list[Any]:
        """Return the resources of a kind: those of these names, or all of a kind that has none to give."""
        names_asked = sorted(names)
        if not names_asked and kind in ("RouteConfiguration", "ClusterLoadAssignment"):
            return []
        url = type_url(kind)
        self._requests.put(message("DiscoveryRequest")(node=self._node, type_url=url, resource_names=names_asked))
        for answer in self._call:
            # Whatever changes meanwhile is sent again, also of kinds that were asked for before.
            if answer.type_url == url:
                self._accept(answer, names_asked)
                return [_unpack(packed, kind) for packed in answer.resources]
        raise NoIstiod("istiod ended the conversation")

    def close(self) -> None:
        """End the conversation."""
        self._requests.put(None)
        self._call.cancel()

    def _accept(self, answer: Any, names: list[str]) -> None:
        accepted = message("DiscoveryRequest")(
            type_url=answer.type_url,
            resource_names=names,
            version_info=answer.version_info,
            response_nonce=answer.nonce,
        )
        self._requests.put(accepted)

    def _sent(self) -> Iterator[Any]:
        yield from iter(self._requests.get, None)


def _unpack(packed: Any, kind: str) -> Any:
    found = message(kind)()
    packed.Unpack(found)
    return found


def _given(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that the injector put into the sidecar's environment."""
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    variables = next((one.get("env") or [] for one in containers if one["name"] == SIDECAR), [])
    plain = {one["name"]: one["value"] for one in variables if "value" in one}
    return {name.removeprefix(_META): value for name, value in plain.items() if name.startswith(_META)}


def _sentence(address: str, error: Any, seconds: float) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"istiod at {address} gave no complete answer within {seconds:g} s"
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"nothing at {address} speaks gRPC"
    return f"istiod at {address} refused: {error.details() or error.code().name}"
