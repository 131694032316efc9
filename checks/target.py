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
from names import DASHBOARD_PORTS, KONG_NAMESPACE


@dataclass(frozen=True, kw_only=True)
class RoutedApplication:
    """An application behind Kong.

    `limits` holds what its route allows, window (second … year) -> requests; `policy` is where Kong counts them.
    """

    name: str
    namespace: str
    service: str
    port: int
    path: str = "/"
    host: str = ""
    limits: dict[str, int] = field(default_factory=dict)
    limit_headers_hidden: bool = False
    error_code: int = 429
    policy: str = "local"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A stack to check; plain data, so that it travels as JSON.

    `simulated`: no container runs, so nothing of the data path can be seen. `load`: checks may send load.
    `requests`: how many make up the traffic. `proxy_url`, `prometheus_url`, `grafana_url`, `kiali_url`, `istiod_address`:
    where each answers, if not through the cluster (empty: by load balancer, node port or port-forward).
    """

    kubeconfig: str = ""
    context: str = ""
    simulated: bool = False
    injection: bool = True
    routing: str = "mesh"
    # A target that was stored before there was the setting is one of a stack without it.
    client_host: str = "none"
    mtls: str = "PERMISSIVE"
    service_type: str = "LoadBalancer"
    applications: tuple[RoutedApplication, ...] = ()
    prometheus: bool = True
    grafana: bool = True
    grafana_anonymous: bool = False
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
        kubeconfig = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return shlex.join(["kubectl", *kubeconfig, "--context", self.context, *arguments])

    def logs(self, namespace: str, deployment: str, *options: str) -> str:
        """Return the command that shows what a Deployment logged last."""
        return self.command("--namespace", namespace, "logs", f"deployment/{deployment}", *options, "--tail=50")

    @property
    def namespaces(self) -> list[str]:
        """The namespaces whose pods are in the mesh, each once."""
        return list(dict.fromkeys([KONG_NAMESPACE, *(application.namespace for application in self.applications)]))

    @property
    def dashboards(self) -> list[str]:
        """The dashboards that the stack has."""
        return [name for name in DASHBOARD_PORTS if getattr(self, name)]


def to_json(target: Target) -> str:
    """Return a target as JSON."""
    return json.dumps(dataclasses.asdict(target), sort_keys=True)


def from_json(text: str) -> Target:
    """Return the target that `to_json` wrote."""
    found: Mapping[str, Any] = json.loads(text)
    applications = tuple(RoutedApplication(**one) for one in found.get("applications", ()))
    return Target(**{**found, "applications": applications})
