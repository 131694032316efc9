"""The edge from Kong to an application, as Prometheus has it from the sidecars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from checks import mesh_edge, traffic
from checks.framework import Check, Failed
from checks.target import RoutedApplication, Target
from commands import http_client
from commands.http_client import Answer, NoAnswer
from names import ISTIO_NAMESPACE, KONG_DEPLOYMENT, KONG_NAMESPACE

_MTLS = "mutual_tls"


@dataclass(frozen=True)
class _Edge:
    """Requests that proxies reported, by who sent them to what, and how."""

    source: str
    source_namespace: str
    service: str
    security: str
    code: str
    requests: float

    def __str__(self) -> str:
        return f"{self.source} → {self.service} ({self.security}, {self.code}, {self.requests:.0f} requests)"


def _edge_is_measured(target: Target) -> str:
    return mesh_edge.shown(target, "prometheus", partial(_look, target))


def _look(target: Target, application: RoutedApplication, prometheus: str, seconds: int) -> str:
    sent = list(_sent_by_kong(target, prometheus, seconds))
    received = list(_received_by(target, prometheus, application, seconds))
    bypassing = [edge for edge in sent if edge.service == mesh_edge.BYPASS]
    strangers = [edge for edge in received if edge.source == mesh_edge.UNKNOWN]
    edges = [edge for edge in received if _is_kongs(edge)]
    if not edges and not bypassing and not strangers:
        raise _nothing_shown(target, application, prometheus, seconds)
    return mesh_edge.judge(
        target,
        application,
        [*bypassing, *strangers, *edges],
        bypassing=bool(bypassing),
        strangers=bool(strangers),
        plain=any(edge.security != _MTLS for edge in edges),
        cause_of_plain=mesh_edge.PLAIN,
        look=target.command("--namespace", application.namespace, "get", "service,ingress", "--output=yaml"),
    )


def _is_kongs(edge: _Edge) -> bool:
    return (edge.source_namespace, edge.source) == (KONG_NAMESPACE, KONG_DEPLOYMENT)


def _nothing_shown(target: Target, application: RoutedApplication, prometheus: str, seconds: int) -> Failed:
    scraped = _query(target, prometheus, "count(istio_requests_total)")
    return traffic.NothingShown(
        f"requests of {KONG_DEPLOYMENT} to {application.service}",
        f"none in {seconds} s",
        cause=(
            "Kong's requests do not reach the application's sidecar"
            if scraped
            else "Prometheus has no metric of any sidecar: it does not scrape them, or they have not been up for 15 s"
        ),
        look=target.command("--namespace", ISTIO_NAMESPACE, "port-forward", "service/prometheus", "9090"),
    )


def _sent_by_kong(target: Target, prometheus: str, seconds: int) -> Iterator[_Edge]:
    return _edges(target, prometheus, f'reporter="source",source_workload_namespace="{KONG_NAMESPACE}"', seconds)


def _received_by(target: Target, prometheus: str, application: RoutedApplication, seconds: int) -> Iterator[_Edge]:
    service = (
        f'destination_service_namespace="{application.namespace}",destination_service_name="{application.service}"'
    )
    return _edges(target, prometheus, f'reporter="destination",{service}', seconds)


def _edges(target: Target, prometheus: str, selector: str, seconds: int) -> Iterator[_Edge]:
    labels = (
        "source_workload",
        "source_workload_namespace",
        "destination_service_name",
        "connection_security_policy",
        "response_code",
    )
    query = f"sum by ({','.join(labels)}) (increase(istio_requests_total{{{selector}}}[{seconds}s])) > 0"
    for found, value in _query(target, prometheus, query):
        source, namespace, service, security, code = (found.get(label, "") for label in labels)
        yield _Edge(source, namespace, service, security, code, value)


def _query(target: Target, prometheus: str, query: str) -> list[tuple[dict[str, str], float]]:
    """Return what Prometheus answers to an instant query: labels and value of each series."""
    url = f"{prometheus}/api/v1/query?{urlencode({'query': query})}"
    try:
        answer = http_client.get(url)
        return _series(answer)
    except NoAnswer as reason:
        raise Failed(
            "an answer of Prometheus",
            str(reason),
            cause="Prometheus is still starting, or something else answers at its address",
            look=target.command("--namespace", ISTIO_NAMESPACE, "get", "pods,services"),
        ) from None


def _series(answer: Answer) -> list[tuple[dict[str, str], float]]:
    if answer.status != 200:
        raise NoAnswer(f"{answer.status}: {answer.excerpt}")
    found = answer.json()
    try:
        return [(dict(entry["metric"]), float(entry["value"][1])) for entry in found["data"]["result"]]
    except (KeyError, TypeError, IndexError, ValueError):
        raise NoAnswer(f"JSON that is not Prometheus's: {answer.excerpt}") from None


CHECKS = (
    Check(
        number="11",
        name="edge in Prometheus",
        statement="Sidecars measure Kong → application with mutual TLS, and nothing that bypasses the mesh.",
        how=f"istio_requests_total, its increase in {traffic.LONG} s, as Kong's sidecar and as the application's reports it",
        look=_edge_is_measured,
        seconds=traffic.SHOWN_SECONDS,
        data_path=True,
    ),
)
