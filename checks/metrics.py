"""The edge from Kong to an application, as Prometheus has it from the sidecars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from checks import access, traffic
from checks.model import Check, Failed, NotChecked
from checks.target import RoutedApplication, Target
from cluster import http
from cluster.gateway_ready import DEPLOYMENT, NAMESPACE
from cluster.http import Answer, NoAnswer

# A rate needs two scrapes, 15 s apart; older traffic is out of sight before the check gives up.
_RANGE = "2m"

_BYPASS = "PassthroughCluster"
_UNKNOWN = "unknown"
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
    if not target.prometheus:
        raise NotChecked("Prometheus is switched off (observability.prometheus.enabled)")
    if not target.injection:
        raise NotChecked("there are no sidecars, so nothing is measured (istio.injection)")

    return traffic.shown(target, "prometheus", lambda application, url: _look(target, application, url))


def _look(target: Target, application: RoutedApplication, prometheus: str) -> str:
    sent = list(_sent_by_kong(target, prometheus))
    received = list(_received_by(target, prometheus, application))
    if target.routing == "guide":
        return _guides_way(target, application, prometheus, sent, received)
    return _meshs_way(target, application, prometheus, sent, received)


def _meshs_way(
    target: Target, application: RoutedApplication, prometheus: str, sent: list[_Edge], received: list[_Edge]
) -> str:
    expected = f"{DEPLOYMENT} → {application.service} with mutual TLS, and nothing past the mesh"
    astray = [edge for edge in sent if edge.service == _BYPASS] + [edge for edge in received if edge.source == _UNKNOWN]
    edges = [edge for edge in received if _is_kongs(edge)]
    if not edges and not astray:
        raise _nothing_seen(target, application, prometheus, expected)
    plain = [edge for edge in edges if edge.security != _MTLS]
    if astray or plain:
        raise Failed(
            expected,
            ", ".join(map(str, [*astray, *plain])),
            cause=(
                "Kong calls pods or sends the client's Host, which the mesh does not know: the Service's annotation "
                "service-upstream or the Ingress's preserve-host is missing"
                if astray
                else "Kong's sidecar or the application's does not speak mutual TLS with the other"
            ),
            look=target.command("--namespace", application.namespace, "get", "service,ingress", "--output=yaml"),
        )
    return f"{', '.join(map(str, edges))}; nothing to {_BYPASS}, nothing from {_UNKNOWN}"


def _guides_way(
    target: Target, application: RoutedApplication, prometheus: str, sent: list[_Edge], received: list[_Edge]
) -> str:
    astray = [edge for edge in sent if edge.service == _BYPASS] + [edge for edge in received if edge.source == _UNKNOWN]
    edges = [edge for edge in received if _is_kongs(edge)]
    if not edges and not astray:
        expected = f"requests of {DEPLOYMENT}, past the mesh as in the guide"
        raise _nothing_seen(target, application, prometheus, expected)
    seen = ", ".join(map(str, [*astray, *edges]))
    return f"{seen}: past the mesh, as the guide's way has it (kong.routing)" if astray else seen


def _is_kongs(edge: _Edge) -> bool:
    return (edge.source_namespace, edge.source) == (NAMESPACE, DEPLOYMENT)


def _nothing_seen(target: Target, application: RoutedApplication, prometheus: str, expected: str) -> Failed:
    scraped = _query(target, prometheus, "count(istio_requests_total)")
    return Failed(
        expected,
        f"no request to {application.service} in {_RANGE}",
        cause=(
            "Kong's requests do not reach the application's sidecar"
            if scraped
            else "Prometheus has no metric of any sidecar: it does not scrape them, or they have not been up for 15 s"
        ),
        look=target.command("--namespace", access.DASHBOARDS_NAMESPACE, "port-forward", "service/prometheus", "9090"),
    )


def _sent_by_kong(target: Target, prometheus: str) -> Iterator[_Edge]:
    return _edges(target, prometheus, f'reporter="source",source_workload_namespace="{NAMESPACE}"')


def _received_by(target: Target, prometheus: str, application: RoutedApplication) -> Iterator[_Edge]:
    service = (
        f'destination_service_namespace="{application.namespace}",destination_service_name="{application.service}"'
    )
    return _edges(target, prometheus, f'reporter="destination",{service}')


def _edges(target: Target, prometheus: str, selector: str) -> Iterator[_Edge]:
    labels = (
        "source_workload",
        "source_workload_namespace",
        "destination_service_name",
        "connection_security_policy",
        "response_code",
    )
    query = f"sum by ({','.join(labels)}) (increase(istio_requests_total{{{selector}}}[{_RANGE}])) > 0"
    for found, value in _query(target, prometheus, query):
        source, namespace, service, security, code = (found.get(label, "") for label in labels)
        yield _Edge(source, namespace, service, security, code, value)


def _query(target: Target, prometheus: str, query: str) -> list[tuple[dict[str, str], float]]:
    """Return what Prometheus answers to an instant query: labels and value of each series."""
    url = f"{prometheus}/api/v1/query?{urlencode({'query': query})}"
    try:
        answer = http.get(url)
        return _series(answer)
    except NoAnswer as reason:
        raise Failed(
            "an answer of Prometheus",
            str(reason),
            cause="Prometheus is still starting, or something else answers at its address",
            look=target.command("--namespace", access.DASHBOARDS_NAMESPACE, "get", "pods,services"),
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
        statement="Sidecars measure Kong → application with mutual TLS, and nothing that goes past the mesh.",
        how=f"istio_requests_total, its increase in {_RANGE}, as Kong's sidecar and as the application's reports it",
        look=_edge_is_measured,
        seconds=traffic.SHOWN_SECONDS,
        data_path=True,
    ),
)
