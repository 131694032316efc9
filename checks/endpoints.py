"""Where Kong, and what is kept inside the cluster, answer, seen from this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from checks import portforward
from checks.framework import Failed
from checks.target import Target
from commands import http_client
from commands.kong_ready import bracketed, outside
from kube import Cluster, ClusterError
from names import DASHBOARD_PORTS, ISTIO_NAMESPACE, KONG_NAMESPACE, KONG_PROXY_SERVICE

T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """An address (without a slash at its end), and how it is reached, for people.

    `verify`: whether its certificate has to be for its name.
    """

    url: str
    how: str
    verify: bool = True


def ask(target: Target, question: Callable[[Cluster], T]) -> T:
    """Return what the cluster answers; its refusal is a failure of the check."""
    try:
        return question(target.cluster)
    except ClusterError as error:
        raise Failed(
            "an answer of the API server",
            str(error).rstrip("."),
            cause="the cluster does not answer, or this user may not ask that",
            look=target.command("auth", "can-i", "--list"),
            certain=not error.passing,
        ) from None


@contextmanager
def proxy(target: Target, *, tls: bool = False) -> Iterator[Endpoint]:
    """Give the endpoint of Kong's proxy: as named, else by load balancer or node port, else by a port-forward.

    `tls`: where it speaks TLS, with whatever certificate.
    """
    if target.proxy_url and tls <= target.proxy_url.startswith("https:"):
        yield Endpoint(target.proxy_url.rstrip("/"), target.proxy_url)
        return
    scheme = "https" if tls else "http"
    direct = ask(target, lambda _: outside(target.cluster, target.service_type, tls=tls))
    if direct and http_client.reachable(*direct):
        url = f"{scheme}://{bracketed(direct[0])}:{direct[1]}"
        yield Endpoint(url, f"{url} ({target.service_type})", verify=False)
        return
    missed = f", as {direct[0]}:{direct[1]} accepts no connection from here" if direct else ""
    with portforward.open_port(target, KONG_NAMESPACE, f"service/{KONG_PROXY_SERVICE}", 443 if tls else 80) as url:
        how = f"a port-forward to {KONG_NAMESPACE}/{KONG_PROXY_SERVICE}{missed}"
        yield Endpoint(f"{scheme}:{url.partition(':')[2]}".rstrip("/"), how, verify=False)


@contextmanager
def dashboard(target: Target, name: str) -> Iterator[str]:
    """Give the address of prometheus, grafana or kiali: as named, else by a port-forward."""
    named = {"prometheus": target.prometheus_url, "grafana": target.grafana_url, "kiali": target.kiali_url}[name]
    if named:
        yield named.rstrip("/")
        return
    with portforward.open_port(target, ISTIO_NAMESPACE, f"service/{name}", DASHBOARD_PORTS[name]) as url:
        yield url.rstrip("/")
