"""What the checks look at: a stack, as its settings describe it, and how it is reached."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kube import Cluster
from names import (
    DASHBOARD_PORTS,
    GRAFANA_SECRET,
    INGRESS_CLASS,
    ISTIO_NAMESPACE,
    ISTIOD,
    KONG_NAMESPACE,
    is_kubeconfig,
    is_kubeconfig_path,
    of_revision,
)


@dataclass(frozen=True, kw_only=True)
class RoutedApplication:
    """A route of an application behind Kong; its name is the application's, but for the first one with the route's.

    `ingress`: empty for the Service's name. `tls`: Kong serves it over TLS alone. `guarded`: it has further plugins, which may
    ask for a login. `narrowed`: a plain GET is none of its requests. `limits` holds what it allows, window (second … year) ->
    requests; `policy` is where Kong counts them. `check_path`, `check_status`, `check_contains`: what is asked for and
    expected, where the settings say it.
    """

    name: str
    namespace: str
    service: str
    port: int
    ingress: str = ""
    path: str = "/"
    host: str = ""
    protocol: str = "http"
    tls: bool = False
    guarded: bool = False
    narrowed: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    limit_headers_hidden: bool = False
    error_code: int = 429
    policy: str = "local"
    check_path: str = ""
    check_status: int | None = None
    check_contains: str = ""

    @property
    def application(self) -> str:
        """The application whose route it is."""
        return self.name.partition("/")[0]

    @property
    def speaks_tls(self) -> bool:
        """Whether Kong speaks TLS with its Service: sidecars then see connections, and no requests."""
        return self.protocol in ("https", "grpcs")

    @property
    def is_grpc(self) -> bool:
        """Whether it speaks gRPC, which no check does."""
        return self.protocol in ("grpc", "grpcs")

    @property
    def ingress_name(self) -> str:
        """The name of its Ingress."""
        return self.ingress or self.service


@dataclass(frozen=True, kw_only=True)
class Target:
    """A stack to check; plain data, so that it travels as JSON.

    `simulated`: no container runs, so nothing of the data path can be seen. `load`: checks may send load.
    `applications`: their routes, all of them; `further_namespaces`: of applications without one.
    `revisions`: of the istiods that there are, the stable one's first; empty for Istio's default one. `kong_revision`: of the
    one that Kong's sidecars belong to.
    `chart_releases`: of applications from a chart, as namespace/name.
    `kong_crds`: the setting, `none` where they are not the stack's.
    `grafana_dashboards`: how many of the stack's are to be there at least.
    `requests`: how many make up the traffic. `proxy_url`, `prometheus_url`, `grafana_url`, `kiali_url`, `istiod_address`:
    where each answers, if not through the cluster (empty: by load balancer, node port or port-forward).
    """

    kubeconfig: str = field(default="", repr=False)
    context: str = ""
    simulated: bool = False
    injection: bool = True
    revisions: tuple[str, ...] = ("",)
    kong_revision: str = ""
    routing: str = "mesh"
    # A target that was stored before there was the setting is one of a stack without it.
    client_host: str = "none"
    mtls: str = "PERMISSIVE"
    service_type: str = "LoadBalancer"
    ingress_class: str = INGRESS_CLASS
    kong_crds: str = "none"
    applications: tuple[RoutedApplication, ...] = ()
    further_namespaces: tuple[str, ...] = ()
    chart_releases: tuple[str, ...] = ()
    prometheus: bool = True
    grafana: bool = True
    grafana_anonymous: bool = False
    grafana_secret: str = GRAFANA_SECRET
    grafana_dashboards: int = 0
    kiali: bool = True
    kiali_auth: str = "token"
    load: bool = False
    requests: int = 25
    proxy_url: str = ""
    prometheus_url: str = ""
    grafana_url: str = ""
    kiali_url: str = ""
    istiod_address: str = ""

    @cached_property
    def cluster(self) -> Cluster:
        """The stack's cluster, over one connection."""
        return Cluster(self.kubeconfig, self.context)

    def command(self, *arguments: str) -> str:
        """Return a kubectl command for people to paste."""
        kubeconfig = ["--kubeconfig", self.kubeconfig] if is_kubeconfig_path(self.kubeconfig) else []
        return shlex.join(["kubectl", *kubeconfig, "--context", self.context, *arguments])

    def logs(self, namespace: str, deployment: str, *options: str) -> str:
        """Return the command that shows what a Deployment logged last."""
        return self.command("--namespace", namespace, "logs", f"deployment/{deployment}", *options, "--tail=50")

    @property
    def namespaces(self) -> list[str]:
        """The namespaces whose pods are in the mesh, each once."""
        routed = [application.namespace for application in self.applications]
        return list(dict.fromkeys([KONG_NAMESPACE, *routed, *self.further_namespaces]))

    @property
    def istiod(self) -> str:
        """The Deployment of the istiod that Kong's sidecars belong to."""
        return of_revision(ISTIOD, self.kong_revision)

    @property
    def further_releases(self) -> list[str]:
        """The releases whose names the settings say, as namespace/name: applications' charts, and istiods with a revision."""
        istiods = [f"{ISTIO_NAMESPACE}/{of_revision(ISTIOD, revision)}" for revision in self.revisions if revision]
        return [*self.chart_releases, *istiods]

    @property
    def one_of_each(self) -> tuple[RoutedApplication, ...]:
        """One route of each application, for what takes long or is the same for all: the first that checks can ask best."""
        found: dict[str, list[RoutedApplication]] = {}
        for route in self.applications:
            found.setdefault(route.application, []).append(route)
        return tuple(
            min(routes, key=lambda route: (route.is_grpc or route.narrowed, route.guarded, route.speaks_tls))
            for routes in found.values()
        )

    @property
    def dashboards(self) -> list[str]:
        """The dashboards that the stack has."""
        return [name for name in DASHBOARD_PORTS if getattr(self, name)]


def to_json(target: Target) -> str:
    """Return a target as JSON, without the content of a kubeconfig: that is secret."""
    kubeconfig = "" if is_kubeconfig(target.kubeconfig) else target.kubeconfig
    return json.dumps({**dataclasses.asdict(target), "kubeconfig": kubeconfig}, sort_keys=True)


def from_json(text: str) -> Target:
    """Return the target that `to_json` wrote."""
    found: Mapping[str, Any] = json.loads(text)
    applications = tuple(RoutedApplication(**one) for one in found.get("applications", ()))
    lists = {name: tuple(found.get(name, ())) for name in ("further_namespaces", "chart_releases")}
    lists["revisions"] = tuple(found.get("revisions", ("",)))
    return Target(**{**found, "applications": applications, **lists})
