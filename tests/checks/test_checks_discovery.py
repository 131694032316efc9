"""Istiod, asked: what a sidecar does with a request, by hand-built configuration and by the real istiod's."""

from __future__ import annotations

import importlib
import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from stack import Object, Stack, wait_for

from checks.discovery import ads, kong_route, protos, routing, sync
from checks.discovery.kong_request import Route
from checks.discovery.protos import message
from checks.discovery.routing import MUTUAL_TLS, PLAIN_TEXT, Configuration, Request
from checks.framework import Check, Failed, Outcome, Result, perform
from checks.target import RoutedApplication, Target
from sandbox.facts import DEFAULT_REVISION
from sandbox.paths import CONTEXT

BOOKINFO = RoutedApplication(name="bookinfo", namespace="bookinfo", service="productpage", port=9080)
TARGET = Target(context="somewhere", applications=(BOOKINFO,))
CLUSTER = "outbound|9080||productpage.bookinfo.svc.cluster.local"
PASSTHROUGH = "PassthroughCluster"
ANY = "0.0.0.0"  # noqa: S104 -- an address in istiod's listeners
NAMES = ["productpage.bookinfo.svc.cluster.local", "productpage.bookinfo", "productpage.bookinfo.svc", "10.96.0.7"]


# --- configuration by hand, as istiod sends it -----------------------------------------------------------------


def packed(into: Any, kind: str, **fields: Any) -> None:
    into.Pack(message(kind)(**fields))


def chain(*, rds: str = "", cluster: str = "", certificate: bool = False, **match: Any) -> Any:
    made = message("FilterChain")()
    if "port" in match:
        made.filter_chain_match.destination_port.value = match["port"]
    if "range" in match:
        made.filter_chain_match.prefix_ranges.add(address_prefix=match["range"]).prefix_len.value = 32
    made.filter_chain_match.transport_protocol = match.get("transport", "")
    made.filter_chain_match.application_protocols.extend(match.get("protocols", []))
    made.filter_chain_match.server_names.extend(match.get("servers", []))
    made.filters.add(name="istio.stats")
    if rds:
        packed(made.filters.add().typed_config, "HttpConnectionManager", rds={"route_config_name": rds})
    if cluster:
        packed(made.filters.add().typed_config, "TcpProxy", cluster=cluster)
    if certificate:
        packed(made.transport_socket.typed_config, "DownstreamTlsContext", require_client_certificate={"value": True})
    return made


def listener(name: str, address: str, port: int, *chains: Any, default: Any = None) -> Any:
    made = message("Listener")(name=name, filter_chains=chains)
    made.address.socket_address.address, made.address.socket_address.port_value = address, port
    if default is not None:
        made.default_filter_chain.CopyFrom(default)
    return made


def outbound() -> tuple[Any, ...]:
    http = chain(rds="9080", transport="raw_buffer", protocols=["http/1.1", "h2c"])
    return (
        listener("0.0.0.0_9080", ANY, 9080, http, default=chain(cluster=PASSTHROUGH)),
        listener("10.96.0.9_443", "10.96.0.9", 443, default=chain(cluster="outbound|443||some.where")),
        listener(
            "virtualOutbound",
            ANY,
            15001,
            chain(cluster="BlackHoleCluster", port=15001),
            default=chain(cluster=PASSTHROUGH),
        ),
    )


def routes(*hosts: tuple[list[str], list[Object]]) -> Any:
    made = message("RouteConfiguration")(name="9080", ignore_port_in_host_matching=True)
    for domains, found in hosts:
        made.virtual_hosts.add(name=domains[0], domains=domains, routes=found)
    return made


def to(cluster: str, **match: Any) -> Object:
    return {"match": match or {"prefix": "/"}, "route": {"cluster": cluster}}


def mesh_cluster(*, tls: bool = True) -> Any:
    made = message("Cluster")(name=CLUSTER, type=protos.EDS)
    if tls:
        found = made.transport_socket_matches.add(name="tlsMode-istio")
        found.match.update({"tlsMode": "istio"})
        certificate = {"tls_certificate_sds_secret_configs": [{"name": "default"}]}
        packed(found.transport_socket.typed_config, "UpstreamTlsContext", common_tls_context=certificate)
        made.transport_socket_matches.add(name="tlsMode-disabled").match.update({})
    return made


def endpoints(*modes: str) -> Any:
    made = message("ClusterLoadAssignment")(cluster_name=CLUSTER)
    group = made.endpoints.add()
    for mode in modes:
        endpoint = group.lb_endpoints.add()
        if mode:
            endpoint.metadata.filter_metadata["envoy.transport_socket_match"].update({"tlsMode": mode})
    return made


def configuration(
    *hosts: tuple[list[str], list[Object]], modes: tuple[str, ...] = ("istio",), **changes: Any
) -> Configuration:
    passthrough = message("Cluster")(name=PASSTHROUGH, type=protos.ORIGINAL_DST)
    given = hosts or ((NAMES, [to(CLUSTER)]), (["*"], [to(PASSTHROUGH)]))
    return Configuration(
        listeners=changes.get("listeners", outbound()),
        routes={"9080": routes(*given)},
        clusters={CLUSTER: changes.get("cluster", mesh_cluster()), PASSTHROUGH: passthrough},
        endpoints={CLUSTER: endpoints(*modes)},
    )


def request(host: str, *, address: str = "10.96.0.7", port: int = 9080, path: str = "/productpage") -> Request:
    return Request(address, port, host, path)


# --- the upstream of a request ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["productpage.bookinfo.svc:9080", "productpage.bookinfo", "PRODUCTPAGE.bookinfo:80"])
def test_a_name_of_the_mesh_takes_its_cluster_in_mutual_tls(host: str) -> None:
    found = routing.upstream_of(configuration(), request(host))
    assert (found.clusters, found.security) == ((CLUSTER,), frozenset({MUTUAL_TLS}))
    assert str(found).startswith(f"{CLUSTER} in mutual TLS (listener 0.0.0.0_9080, route 9080")


@pytest.mark.parametrize("host", ["192.0.2.1", "www.example.com", "10.244.0.6:9080", "productpage"])
def test_any_other_host_is_passed_through_in_plain_text(host: str) -> None:
    found = routing.upstream_of(configuration(), request(host, address="10.244.0.6"))
    assert (found.clusters, found.security) == ((PASSTHROUGH,), frozenset({PLAIN_TEXT}))


@pytest.mark.parametrize(
    ("modes", "security"),
    [
        (("istio", "istio"), {MUTUAL_TLS}),
        (("istio", ""), {MUTUAL_TLS, PLAIN_TEXT}),
        (("disabled",), {PLAIN_TEXT}),
        ((), set()),
    ],
)
def test_each_pod_decides_on_its_tls(modes: tuple[str, ...], security: set[str]) -> None:
    assert routing.upstream_of(configuration(modes=modes), request(NAMES[0])).security == security


def test_a_cluster_without_tls_is_plain_text_whatever_its_pods_offer() -> None:
    found = routing.upstream_of(configuration(cluster=mesh_cluster(tls=False)), request(NAMES[0]))
    assert found.security == {PLAIN_TEXT}


def test_tls_without_a_certificate_of_ones_own_is_not_mutual() -> None:
    cluster = mesh_cluster(tls=False)
    packed(cluster.transport_socket.typed_config, "UpstreamTlsContext", sni="somewhere")
    assert routing.upstream_of(configuration(cluster=cluster), request(NAMES[0])).security == {"TLS"}


def test_the_listener_of_the_very_address_comes_first_and_the_catch_all_last() -> None:
    own = routing.upstream_of(configuration(), request("any", address="10.96.0.9", port=443))
    assert (own.listener, own.clusters) == ("10.96.0.9_443", ("outbound|443||some.where",))
    unknown = routing.upstream_of(configuration(), request("any", port=7777))
    assert (unknown.listener, unknown.clusters) == ("virtualOutbound", (PASSTHROUGH,))


def test_a_sidecar_that_lets_nothing_out_has_no_cluster() -> None:
    found = routing.upstream_of(configuration((NAMES, [to(CLUSTER)])), request("www.example.com"))
    assert found.clusters == ()
    assert str(found).startswith("no cluster")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.b.example.com", "a.b.example.com"),
        ("x.b.example.com", "*.b.example.com"),
        ("x.example.com", "*.example.com"),
        ("a.elsewhere", "a.*"),
        ("a.b.elsewhere", "a.b.*"),
        ("A.B.Example.COM:8080", "a.b.example.com"),
        (".example.com", "*"),
        ("none", "*"),
    ],
)
def test_hosts_match_as_in_envoy(host: str, expected: str) -> None:
    domains = ["*", "a.*", "*.example.com", "a.b.*", "*.b.example.com", "a.b.example.com"]
    found = routing.virtual_host(routes(*[([domain], []) for domain in domains]), host)
    assert found is not None
    assert found.name == expected


def test_the_port_of_a_host_counts_where_it_is_not_ignored() -> None:
    given = routes((["productpage:9080"], []))
    given.ignore_port_in_host_matching = False
    assert routing.virtual_host(given, "productpage:9080") is not None
    assert routing.virtual_host(given, "productpage") is None


@pytest.mark.parametrize(
    ("match", "path", "taken"),
    [
        ({"prefix": "/product"}, "/productpage", True),
        ({"prefix": "/Product"}, "/productpage", False),
        ({"prefix": "/Product", "case_sensitive": {"value": False}}, "/productpage", True),
        ({"path": "/product"}, "/productpage", False),
        ({"path": "/productpage"}, "/productpage", True),
        ({"path_separated_prefix": "/product"}, "/productpage", False),
        ({"path_separated_prefix": "/product"}, "/product/1", True),
        ({"safe_regex": {"regex": "/product.*"}}, "/productpage", True),
        ({"safe_regex": {"regex": "/product"}}, "/productpage", False),
        ({"prefix": "/", "headers": [{"name": "end-user"}]}, "/productpage", False),
    ],
)
def test_the_first_route_that_takes_the_path_counts(match: Object, path: str, taken: bool) -> None:
    given = configuration((["*"], [to(PASSTHROUGH, **match), to(CLUSTER)]))
    found = routing.upstream_of(given, request("any", path=path))
    assert found.clusters == ((PASSTHROUGH,) if taken else (CLUSTER,))


def test_a_split_route_shows_all_that_get_a_share() -> None:
    shares = [{"name": name, "weight": {"value": weight}} for name, weight in ((CLUSTER, 90), ("b", 10), ("c", 0))]
    split = {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": shares}}}
    assert routing.upstream_of(configuration((["*"], [split])), request("any")).clusters == (CLUSTER, "b")


def test_a_range_of_addresses_narrows_and_does_not_come_back() -> None:
    own = chain(cluster="own", range="10.244.0.6")
    found = listener("some", ANY, 80, own, chain(cluster="rest"))
    assert clusters_of(routing.chain_for(found, "10.244.0.6", 80, "raw_buffer", ["http/1.1"])) == "own"
    assert clusters_of(routing.chain_for(found, "10.244.0.7", 80, "raw_buffer", ["http/1.1"])) == "rest"


def clusters_of(found: Any) -> str:
    proxy = protos.unpacked(found.filters[-1].typed_config, "TcpProxy")
    assert proxy is not None
    return str(proxy.cluster)


# --- what a sidecar takes -------------------------------------------------------------------------------------


def inbound(*chains: Any) -> Configuration:
    any_port = (
        chain(rds="catch-all", transport="raw_buffer"),
        chain(rds="catch-all", transport="tls", certificate=True),
    )
    return Configuration((listener("virtualInbound", ANY, 15006, *any_port, *chains),), {}, {}, {})


MUTUAL = {"port": 9080, "transport": "tls", "protocols": ["istio", "istio-http/1.1"], "certificate": True}
PLAIN = {"port": 9080, "transport": "raw_buffer"}


@pytest.mark.parametrize(
    ("chains", "mode"),
    [
        ([MUTUAL, PLAIN], "PERMISSIVE"),
        ([MUTUAL], "STRICT"),
        ([PLAIN], "DISABLE"),
        ([{"port": 9080, "transport": "tls", "certificate": True}], "STRICT"),
        ([MUTUAL, {**PLAIN, "protocols": ["http/1.1"]}], "PERMISSIVE"),
        ([{**MUTUAL, "certificate": False}], "none"),
    ],
)
def test_the_chains_of_a_port_tell_the_mode(chains: list[Object], mode: str) -> None:
    found = inbound(*(chain(rds="inbound", **fields) for fields in chains))
    assert routing.accepted(found, "10.244.0.6", 9080) == mode


def test_a_mode_other_than_the_settings_fails() -> None:
    assert "STRICT" in kong_route.judge_mode("STRICT", replace(TARGET, mtls="STRICT"), BOOKINFO)
    with pytest.raises(Failed, match=r"to take mutual TLS only .*, saw .* and plain text"):
        kong_route.judge_mode("PERMISSIVE", replace(TARGET, mtls="STRICT"), BOOKINFO)


# --- what Kong sends ------------------------------------------------------------------------------------------


def route(
    upstream: str = "true", preserve: str = "false", *, host: str = "", target_port: Any = 9080, ip: str = "10.96.0.7"
) -> Route:
    def annotations(name: str, value: str) -> Object:
        return {"annotations": {name: value} if value else {}}

    ingress = {
        "metadata": annotations("konghq.com/preserve-host", preserve),
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }
    service = {
        "metadata": annotations("ingress.kubernetes.io/service-upstream", upstream),
        "spec": {"clusterIP": ip, "ports": [{"port": 9080, "targetPort": target_port}]},
    }
    container = {"name": "app", "ports": [{"name": "web", "containerPort": 8080}]}
    pod = {"status": {"podIP": "10.244.0.6"}, "spec": {"containers": [container]}, "metadata": {"name": "p"}}
    return Route(replace(BOOKINFO, host=host), ingress, service, pod)


@pytest.mark.parametrize(
    ("given", "address", "port", "host"),
    [
        (route(), "10.96.0.7", 9080, "productpage.bookinfo.svc:9080"),
        (route("", ""), "10.244.0.6", 9080, "192.0.2.1"),
        (route("", "", host="*.example.com"), "10.244.0.6", 9080, "checks.example.com"),
        (route("true", ""), "10.96.0.7", 9080, "192.0.2.1"),
        (route("", "false", target_port="web"), "10.244.0.6", 8080, "10.244.0.6:8080"),
        (route("True", "false"), "10.244.0.6", 9080, "10.244.0.6:9080"),
        (route(ip="None", target_port=8080), "10.244.0.6", 9080, "productpage.bookinfo.svc:9080"),
    ],
)
def test_annotations_decide_what_kong_sends(given: Route, address: str, port: int, host: str) -> None:
    assert given.request == Request(address, port, host, "/")


def judged(given: Route, mode: str, **changes: Any) -> str:
    found = routing.upstream_of(configuration(**changes), given.request)
    return kong_route.judge_upstream(found, given, replace(TARGET, routing=mode))


FILTER: Object = {"spec": {"workloadSelector": {"labels": {"app": "kong"}}}}
KONG: Object = {"metadata": {"labels": {"app": "kong"}}}
SHOP = "shop.example"
SHOPS = f"outbound|9080||{SHOP}"


def kept(client_host: str, given: Route, *, header: str = "", literal: str = "", known: bool = False) -> str:
    """Return what the check says, with a Host that a sidecar takes from elsewhere, and one more that the mesh knows."""
    rewritten = to(CLUSTER)
    rewritten["route"] |= {"host_rewrite_header": header} if header else {}
    rewritten["route"] |= {"host_rewrite_literal": literal} if literal else {}
    hosts: list[tuple[list[str], list[Object]]] = [(NAMES, [rewritten]), (["*"], [to(PASSTHROUGH)])]
    if known:
        hosts.insert(0, ([SHOP], [to(SHOPS)]))
    found = configuration(*hosts)
    shop = mesh_cluster()
    shop.name = SHOPS
    found = replace(
        found,
        clusters={**found.clusters, SHOPS: shop},
        endpoints={**found.endpoints, SHOPS: endpoints("istio")},
    )
    target = replace(TARGET, client_host=client_host)
    return kong_route.judge_upstream(routing.upstream_of(found, given.request), given, target)


def test_the_clients_host_is_kept_by_a_filter_or_by_an_entry() -> None:
    by_filter = kept("envoyFilter", replace(route(), host_object=FILTER, kong=KONG), header="x-forwarded-host")
    by_entry = kept("serviceEntry", replace(route("true", "true", host=SHOP), host_object={}), known=True)
    assert f"{CLUSTER} in mutual TLS" in by_filter
    assert f"{SHOPS} in mutual TLS" in by_entry
    for actual in (by_filter, by_entry):
        assert actual.endswith("the application sees the client's Host")
    assert kept("none", route()).endswith("the application sees Host productpage.bookinfo.svc:9080")


@pytest.mark.parametrize(
    ("client_host", "given", "literal", "cause"),
    [
        ("envoyFilter", route(), "", "there is no EnvoyFilter client-host.productpage.bookinfo in kong-istio"),
        ("envoyFilter", replace(route(), host_object=FILTER, kong={"metadata": {}}), "", "does not select Kong's pods"),
        ("envoyFilter", replace(route(), host_object=FILTER, kong=KONG), "a.b", "another object of Istio"),
        ("envoyFilter", route("true", "true"), "", 'has no annotation konghq.com/preserve-host: "false"'),
        ("serviceEntry", route("true", "false", host=SHOP), "", 'has the annotation konghq.com/preserve-host: "false"'),
        ("serviceEntry", route("true", "true", host=SHOP), "", f"there is no ServiceEntry for {SHOP}"),
    ],
)
def test_a_lost_host_fails_with_the_cause(client_host: str, given: Route, literal: str, cause: str) -> None:
    with pytest.raises(Failed, match="with the client's Host") as failure:
        kept(client_host, given, literal=literal)
    assert cause in failure.value.cause


def test_each_routing_passes_as_what_it_is() -> None:
    assert f"{CLUSTER} in mutual TLS" in judged(route(), "mesh")
    actual = judged(route("", ""), "guide")
    assert "PassthroughCluster in plain text" in actual
    assert "as the guide's routing does" in actual


@pytest.mark.parametrize(
    ("given", "expected", "cause"),
    [
        (
            route(""),
            "mesh",
            "the Service bookinfo/productpage has no annotation ingress.kubernetes.io/service-upstream",
        ),
        (route("true", ""), "mesh", "the Ingress bookinfo/productpage has no annotation konghq.com/preserve-host"),
        (route(), "guide", "annotations of the other routing are still there"),
    ],
)
def test_a_route_that_is_not_what_it_says_fails_with_the_cause(given: Route, expected: str, cause: str) -> None:
    with pytest.raises(Failed) as failure:
        judged(given, expected)
    assert cause in failure.value.cause


@pytest.mark.parametrize(
    ("modes", "actual", "cause"),
    [
        (("",), "plain text", "without sidecar"),
        (("istio", ""), "mutual TLS or plain text", "without sidecar"),
        ((), "no pod behind it", "no pod of the Service is ready"),
    ],
)
def test_the_right_cluster_without_mutual_tls_fails(modes: tuple[str, ...], actual: str, cause: str) -> None:
    with pytest.raises(Failed) as failure:
        judged(route(), "mesh", modes=modes)
    assert actual in failure.value.actual
    assert cause in failure.value.cause


# --- where istiod cannot be asked -----------------------------------------------------------------------------


def test_without_sidecars_or_istiod_nothing_is_checked() -> None:
    for target in (replace(TARGET, injection=False), replace(TARGET, simulated=True)):
        results = [perform(check, target) for check in (*sync.CHECKS, *kong_route.CHECKS)]
        assert {result.outcome for result in results} == {Outcome.NOT_CHECKED}


def test_checks_that_ask_at_once_have_the_same_messages() -> None:
    protos._pool.cache_clear()
    together = threading.Barrier(8, timeout=5)

    def first(_: int) -> Any:
        together.wait()
        return message("DiscoveryRequest")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first, range(8)))) == 1


@pytest.mark.parametrize(("package", "name", "fields"), [pytest.param(*one, id=one[1]) for one in protos.table()])
def test_messages_are_envoys(package: str, name: str, fields: list[re.Match[str]]) -> None:
    pytest.importorskip("envoy", reason="the package xds-protos, Envoy's whole API, is not installed")
    modules = [importlib.import_module(f"{package}.{one}_pb2") for one in ENVOYS_FILES[package]]
    nested = [f"{package}.{name.replace('_', '.')}", f"{package}.{name.replace('_', '.WeightedCluster.')}"]
    known = {path: found for module in modules for path, found in messages(module.DESCRIPTOR.message_types_by_name)}
    envoys = next(known[path] for path in nested if path in known)
    for field in fields:
        theirs = envoys.fields_by_name[field["name"]]
        assert theirs.number == int(field["number"])
        assert (theirs.containing_oneof.name if theirs.containing_oneof else None) == field["oneof"]
        if theirs.message_type and "map" not in field["type"]:
            assert field["type"].rpartition("_")[2] == theirs.message_type.name


def messages(found: Any) -> Iterator[tuple[str, Any]]:
    for message_type in found.values():
        yield message_type.full_name, message_type
        yield from messages(message_type.nested_types_by_name)


ENVOYS_FILES = {
    "envoy.config.core.v3": ["base", "address"],
    "envoy.type.matcher.v3": ["regex"],
    "envoy.config.route.v3": ["route", "route_components"],
    "envoy.config.listener.v3": ["listener", "listener_components"],
    "envoy.extensions.filters.network.http_connection_manager.v3": ["http_connection_manager"],
    "envoy.extensions.filters.network.tcp_proxy.v3": ["tcp_proxy"],
    "envoy.config.cluster.v3": ["cluster"],
    "envoy.extensions.transport_sockets.tls.v3": ["tls", "common", "secret"],
    "envoy.config.endpoint.v3": ["endpoint", "endpoint_components"],
    "envoy.service.discovery.v3": ["discovery"],
}


def test_an_istiod_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ads.NoIstiod, match=r"nothing at 127\.0\.0\.1:1 speaks gRPC"):
        ads.fetch("127.0.0.1:1", ads.Sidecar("sidecar~10.0.0.1~p.n~n.svc.cluster.local", {}), seconds=5)


# --- proxies in sync ------------------------------------------------------------------------------------------


def status(proxy: str, **changes: str) -> Object:
    synced = {
        f"{kind}_{side}": "1" for kind in ("cluster", "listener", "route", "endpoint") for side in ("sent", "acked")
    }
    return {"proxy": proxy, **synced, **changes}


def test_proxies_that_accepted_everything_are_in_sync() -> None:
    no_routes = status("b.ns", route_sent="", route_acked="")
    reconnected = [status("a.ns", cluster_acked="0"), status("a.ns")]
    assert sync.judge([*reconnected, no_routes, status("stranger.ns", cluster_acked="")], ["a.ns", "b.ns"], TARGET)


@pytest.mark.parametrize(
    ("statuses", "actual"),
    [
        ([], "a.ns is not connected"),
        ([status("a.ns", route_acked="0")], "a.ns has not accepted its newest routes"),
        ([status("a.ns", cluster_sent="", cluster_acked="")], "a.ns has not accepted its newest clusters"),
    ],
)
def test_a_proxy_that_lags_is_named(statuses: list[Object], actual: str) -> None:
    with pytest.raises(Failed) as failure:
        sync.judge(statuses, ["a.ns"], TARGET)
    assert failure.value.actual == actual


def test_a_mesh_without_proxies_is_not_in_sync() -> None:
    with pytest.raises(Failed, match="no pod that runs"):
        sync.judge([], [], TARGET)


@pytest.mark.parametrize(("revision", "name"), [("", "istiod"), ("1-31-0", "istiod-1-31-0")])
def test_what_to_look_at_is_the_log_of_an_istiod_that_is_there(revision: str, name: str) -> None:
    with pytest.raises(Failed) as failure:
        sync.judge([], [], replace(TARGET, revisions=(revision,), kong_revision=revision))
    assert f"logs deployment/{name} " in failure.value.look


@contextmanager
def serving(code: int, body: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("code", "body"), [(200, "<html>"), (200, "{}"), (200, "[1]"), (401, "[]"), (404, "")])
def test_a_debug_api_that_answers_otherwise_is_one_sentence(code: int, body: str) -> None:
    with serving(code, body) as url, pytest.raises(Failed, match="as JSON"):
        sync.read(url, TARGET)


# --- on the sandbox, with the real istiod ---------------------------------------------------------------------

on_the_sandbox = [pytest.mark.sandbox, pytest.mark.timeout(3600)]
ROUTE, MODE = kong_route.CHECKS


@pytest.fixture
def target(live: Stack, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return the live stack as a target; what fails there shall fail soon."""
    monkeypatch.setenv("PATH", f"{live.paths.programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(kong_route, "_SECONDS", 2)
    address = f"127.0.0.1:{live.facts.istiods[DEFAULT_REVISION]['grpc']}"
    return replace(
        TARGET,
        kubeconfig=str(live.paths.kubeconfig),
        context=CONTEXT,
        simulated=True,
        istiod_address=address,
        client_host="envoyFilter",
    )


@contextmanager
def without(live: Stack, kind: str, annotation: str) -> Iterator[None]:
    """Take an annotation of productpage's away, and give it back."""
    value = live.get(kind, "productpage", "bookinfo")["metadata"]["annotations"][annotation]
    where = (kind, "productpage", "--namespace=bookinfo", "--overwrite")
    live.kubectl("annotate", *where, f"{annotation}-")
    try:
        yield
    finally:
        live.kubectl("annotate", *where, f"{annotation}={value}")


UPSTREAM = ("service", "ingress.kubernetes.io/service-upstream")
HOST = ("ingress", "konghq.com/preserve-host")


def passed(check: Check, target: Target) -> Result:
    result = perform(check, target)
    assert result.outcome is Outcome.PASSED, f"expected {result.expected}, saw {result.actual}: {result.cause}"
    return result


def failed(check: Check, target: Target) -> Result:
    result = perform(check, target)
    assert result.outcome is Outcome.FAILED, f"it was overlooked: {result.outcome}, {result.actual}"
    return result


class TestOnTheSandbox:
    pytestmark = on_the_sandbox

    def test_kong_reaches_the_page_through_the_mesh(self, target: Target) -> None:
        actual = passed(ROUTE, target).actual
        assert f"Host productpage.bookinfo.svc:9080 takes {CLUSTER} in mutual TLS" in actual

    def test_the_clients_host_is_lost_without_its_filter(self, live: Stack, target: Target) -> None:
        where = ("envoyfilters.networking.istio.io", "client-host.productpage.bookinfo", "kong-istio")
        assert "the application sees the client's Host" in passed(ROUTE, target).actual
        found = live.get(*where)
        stranger = json.dumps({"spec": {"workloadSelector": {"labels": {"app.kubernetes.io/name": "stranger"}}}})
        live.kubectl("patch", *where[:2], f"--namespace={where[2]}", "--type=merge", f"--patch={stranger}")
        try:
            wait_for(lambda: "not select Kong" in perform(ROUTE, target).cause, "the filter to be seen as another's")
            live.kubectl("delete", *where[:2], f"--namespace={where[2]}")
            wait_for(lambda: "no EnvoyFilter" in perform(ROUTE, target).cause, "the filter to be missed")
            assert (
                "sees Host productpage.bookinfo.svc:9080" in passed(ROUTE, replace(target, client_host="none")).actual
            )
        finally:
            live.kubectl("delete", *where[:2], f"--namespace={where[2]}", "--ignore-not-found")
            kept = ("name", "namespace", "labels", "annotations")
            bare = {key: found["metadata"][key] for key in kept if key in found["metadata"]}
            file = live.paths.state / "client-host.json"
            file.write_text(json.dumps({**found, "metadata": bare}))
            live.kubectl("create", f"--filename={file}")
        wait_for(lambda: perform(ROUTE, target).outcome is Outcome.PASSED, "the client's Host again")

    @pytest.mark.parametrize("annotation", [UPSTREAM, HOST], ids=lambda annotation: annotation[1])
    def test_a_lost_annotation_fails_with_its_name(
        self, annotation: tuple[str, str], live: Stack, target: Target
    ) -> None:
        with without(live, *annotation):
            result = failed(ROUTE, target)
        assert "PassthroughCluster in plain text" in result.actual
        assert annotation[1] in result.cause
        passed(ROUTE, target)

    def test_the_guides_routing_is_reported_as_such(self, live: Stack, target: Target) -> None:
        guide = replace(target, routing="guide")
        with without(live, *UPSTREAM), without(live, *HOST):
            actual = passed(ROUTE, guide).actual
        assert "PassthroughCluster in plain text" in actual
        assert "annotations of the other routing" in failed(ROUTE, guide).cause

    def test_a_page_without_a_sidecar_is_reached_in_plain_text(self, live: Stack, target: Target) -> None:
        restart = ("delete", "pods", "--namespace=bookinfo", "--selector=app=productpage", "--timeout=60s")
        live.kubectl("label", "namespace", "bookinfo", "istio-injection-")
        try:
            live.kubectl(*restart)
            wait_for(lambda: runs(live), "a new pod of productpage")
        finally:
            live.kubectl("label", "namespace", "bookinfo", "istio-injection=enabled")
        try:
            result = failed(ROUTE, target)
        finally:
            live.kubectl(*restart)
            wait_for(lambda: runs(live), "the next pod of productpage")
        assert f"{CLUSTER} in plain text" in result.actual
        assert "without sidecar" in result.cause
        wait_for(lambda: perform(ROUTE, target).outcome is Outcome.PASSED, "mutual TLS again")

    def test_the_mode_is_the_live_one(self, live: Stack, target: Target) -> None:
        def set_mode(mode: str) -> None:
            patch = json.dumps({"spec": {"mtls": {"mode": mode}}})
            where = ("peerauthentication", "default", "--namespace=istio-system", "--type=merge")
            live.kubectl("patch", *where, f"--patch={patch}")

        strict = replace(target, mtls="STRICT")
        assert "PERMISSIVE" in passed(MODE, target).actual
        assert "PERMISSIVE" in failed(MODE, strict).actual
        set_mode("STRICT")
        try:
            # istiod passes a rule on some time after the API server has it.
            wait_for(lambda: perform(MODE, strict).outcome is Outcome.PASSED, "mutual TLS only")
            assert "STRICT" in passed(MODE, strict).actual
            assert "STRICT" in failed(MODE, target).actual
        finally:
            set_mode("PERMISSIVE")
        wait_for(lambda: perform(MODE, target).outcome is Outcome.PASSED, "plain text as well")

    def test_an_istiod_that_does_not_answer_fails(self, target: Target) -> None:
        result = failed(ROUTE, replace(target, istiod_address="127.0.0.1:1"))
        assert result.actual == "nothing at 127.0.0.1:1 speaks gRPC"

    def test_istiod_says_which_proxies_are_in_sync(self, live: Stack, target: Target) -> None:
        url = f"http://127.0.0.1:{live.facts.istiods[DEFAULT_REVISION]['monitoring']}"
        proxies = sync._proxies(target)
        assert len(proxies) == 7, f"pods of the mesh: {proxies}"
        with pytest.raises(Failed, match="is not connected"):
            sync.judge(sync.read(url, target), proxies, target)
        with ExitStack() as connections:
            for namespace in target.namespaces:
                for pod in live.list("pods", namespace):
                    connections.enter_context(connected(target.istiod_address, pod))
            wait_for(lambda: in_sync(url, proxies, target), "all proxies in sync")


def runs(live: Stack) -> bool:
    """Return whether productpage has exactly one pod, and that one runs."""
    pods = [pod for pod in live.list("pods", "bookinfo") if pod["metadata"]["labels"].get("app") == "productpage"]
    return len(pods) == 1 and pods[0]["status"].get("phase") == "Running" and bool(pods[0]["status"].get("podIP"))


def in_sync(url: str, proxies: list[str], target: Target) -> bool:
    try:
        return bool(sync.judge(sync.read(url, target), proxies, target))
    except Failed:
        return False


@contextmanager
def connected(address: str, pod: Object) -> Iterator[None]:
    """Stay connected to istiod in a sidecar's stead, and accept what it sends at first."""
    with grpc.insecure_channel(address) as channel:
        stream = ads._Stream(channel, ads.sidecar_of(pod), 60)
        for kind in ("Cluster", "Listener"):
            stream.ask(kind)
        try:
            yield
        finally:
            stream.close()
