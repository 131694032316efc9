"""Prometheus, Grafana and Kiali: that they answer, and that they answer nobody who may not ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from checks import endpoints, kiali_api
from checks.framework import Check, Failed, NotChecked, at_once, eventually
from checks.target import Target
from commands import http_client
from commands.http_client import Answer, NoAnswer
from names import DASHBOARD_PORTS, ISTIO_NAMESPACE

_HEALTH = {"prometheus": "/-/ready", "grafana": "/api/health", "kiali": f"{kiali_api.ROOT}/healthz"}
_SECONDS = 60

# What a visitor with the role Viewer may not do.
_ABOVE_VIEWER = ("dashboards:create", "datasources:write", "datasources:read", "users:read")


def _are_healthy(target: Target) -> str:
    return _each(target, target.dashboards, _is_healthy)


def _is_healthy(target: Target, name: str, url: str) -> str:
    answer = _get(target, name, url + _HEALTH[name])
    state = f"{_HEALTH[name]} {answer.status}"
    if name == "grafana" and answer.status == 200:
        database = _field(target, answer, "database")
        state += f", database {database}"
        if database == "ok":
            return state
    elif answer.status == 200:
        return state
    raise Failed(
        f"{_HEALTH[name]} of {name}: 200{', database ok' if name == 'grafana' else ''}",
        f"{state}: {answer.excerpt}",
        cause=f"{name} is still starting, or something that it needs is missing",
        look=_pods(target, name),
    )


def _are_closed(target: Target) -> str:
    looks = {"grafana": _grafana_lets_in, "kiali": _kiali_lets_in}
    return _each(target, [name for name in target.dashboards if name in looks], lambda *asked: looks[asked[1]](*asked))


def _kiali_lets_in(target: Target, name: str, url: str) -> str:
    answer = _get(target, name, f"{url}{kiali_api.ROOT}/api/namespaces")
    if target.kiali_auth == "anonymous":
        if answer.status != 200:
            raise _lets_in_others(target, name, "200 without a token, as observability.kiali.auth is anonymous", answer)
        return "open to whoever reaches it, as observability.kiali.auth is anonymous"
    if answer.status != 401:
        raise _lets_in_others(target, name, "401 for Kiali's API without a token", answer)
    return "401 without a token"


def _grafana_lets_in(target: Target, name: str, url: str) -> str:
    answer = _get(target, name, f"{url}/api/access-control/user/permissions")
    if not target.grafana_anonymous:
        if answer.status != 401:
            raise _lets_in_others(target, name, "401 for Grafana's API without a login", answer)
        return "401 without a login"
    if answer.status != 200:
        raise _lets_in_others(target, name, "200 without a login, as observability.grafana.anonymous is true", answer)
    above = [action for action in _ABOVE_VIEWER if action in _json(target, name, answer)]
    if above:
        raise Failed(
            "visitors without a login in the role Viewer",
            f"visitors who may do {', '.join(above)}",
            cause="grafana.values raise the role of anonymous visitors (grafana.ini, auth.anonymous.org_role)",
            look=_pods(target, name),
        )
    return "visitors without a login are Viewers"


def _lets_in_others(target: Target, name: str, expected: str, answer: Answer) -> Failed:
    return Failed(
        expected,
        f"{answer.status}: {answer.excerpt}",
        cause=f"observability.{name}.values change how visitors are let in, or the settings are not deployed yet",
        look=target.command("--namespace", ISTIO_NAMESPACE, "get", "configmap", name, "--output=yaml"),
    )


def _stay_inside(target: Target) -> str:
    names = target.dashboards
    if not names:
        raise NotChecked("Prometheus, Grafana and Kiali are switched off")
    return eventually(lambda: _is_inside(target, names), 10)


def _is_inside(target: Target, names: list[str]) -> str:
    found = endpoints.ask(target, lambda cluster: cluster.list("services", ISTIO_NAMESPACE))
    services = {item["metadata"]["name"]: item for item in found}
    for name in names:
        _check_service(target, name, services.get(name))
    for ingress in endpoints.ask(target, lambda cluster: cluster.list("ingresses", ISTIO_NAMESPACE)):
        led_to = sorted(set(_backends(ingress)) & set(names))
        if led_to:
            raise Failed(
                f"no Ingress that leads to {', '.join(names)}",
                f"Ingress {ingress['metadata']['name']} leads to {', '.join(led_to)}",
                cause="somebody, or the values of a chart, opened it to the world",
                look=target.command("--namespace", ISTIO_NAMESPACE, "describe", "ingress"),
                certain=True,
            )
    return f"{', '.join(names)}: ClusterIP, and no Ingress leads to any"


def _check_service(target: Target, name: str, service: dict[str, Any] | None) -> None:
    spec = (service or {}).get("spec") or {}
    kind = spec.get("type") if service else "no such Service"
    opened = spec.get("externalIPs")
    if kind != "ClusterIP" or opened:
        raise Failed(
            f"Service {name} of type ClusterIP, without external addresses",
            f"{kind}{f', externalIPs {opened}' if opened else ''}",
            cause=f"observability.{name}.values change the Service, or it was changed by hand"
            if service
            else f"{name} was removed",
            look=target.command("--namespace", ISTIO_NAMESPACE, "get", "services", "--output=wide"),
            certain=True,
        )


def _backends(ingress: dict[str, Any]) -> Iterator[str]:
    spec = ingress.get("spec") or {}
    backends = [spec.get("defaultBackend") or {}]
    for rule in spec.get("rules") or []:
        backends += [path.get("backend") or {} for path in (rule.get("http") or {}).get("paths") or []]
    for backend in backends:
        if name := (backend.get("service") or {}).get("name"):
            yield str(name)


def _each(target: Target, names: list[str], look: Callable[[Target, str, str], str]) -> str:
    if not names:
        raise NotChecked("Prometheus, Grafana and Kiali are switched off")
    return "; ".join(at_once(lambda name: f"{name}: {_at(target, name, look)}", names))


def _at(target: Target, name: str, look: Callable[[Target, str, str], str]) -> str:
    def once() -> str:
        # Anew for each look: which pod answers may have changed.
        with endpoints.dashboard(target, name) as url:
            return look(target, name, url)

    return eventually(once, _SECONDS, pause=2)


def _get(target: Target, name: str, url: str) -> Answer:
    try:
        return http_client.get(url)
    except NoAnswer as reason:
        raise _unanswered(target, name, reason) from None


def _json(target: Target, name: str, answer: Answer) -> Any:
    try:
        return answer.json()
    except NoAnswer as reason:
        raise _unanswered(target, name, reason) from None


def _field(target: Target, answer: Answer, field: str) -> str:
    found = _json(target, "grafana", answer)
    return str(found.get(field, "not said")) if isinstance(found, dict) else "not said"


def _unanswered(target: Target, name: str, reason: NoAnswer) -> Failed:
    return Failed(
        f"an answer of {name} on port {DASHBOARD_PORTS[name]}",
        str(reason),
        cause=f"{name} is still starting, or something else answers at its address",
        look=_pods(target, name),
    )


def _pods(target: Target, name: str) -> str:
    selector = f"--selector=app.kubernetes.io/name={name}"
    return target.command("--namespace", ISTIO_NAMESPACE, "describe", "pods", selector)


CHECKS = (
    Check(
        number="15",
        name="dashboards",
        statement="Prometheus, Grafana and Kiali are healthy.",
        how="GET /-/ready, /api/health (database ok) and /kiali/healthz",
        look=_are_healthy,
        seconds=_SECONDS,
        data_path=True,
    ),
    Check(
        number="15b",
        name="dashboards closed",
        statement="Grafana and Kiali let in nobody whom the settings do not.",
        how="their APIs without a login or token: 401, or where visitors are allowed, Grafana's permissions of a Viewer",
        look=_are_closed,
        seconds=_SECONDS,
        data_path=True,
    ),
    Check(
        number="15c",
        name="dashboards inside",
        statement="Prometheus, Grafana and Kiali are not open to the world.",
        how="their Services are of type ClusterIP, and no Ingress leads to them",
        look=_stay_inside,
        seconds=10,
    ),
)
