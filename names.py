"""Every fixed name of the stack, once: namespaces, releases, and the objects that the charts name after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

# --- namespaces ---------------------------------------------------------------------------------------------------

ISTIO_NAMESPACE: Final = "istio-system"
ISTIO_CNI_NAMESPACE: Final = "istio-cni"
INGRESS_GATEWAY_NAMESPACE: Final = "istio-ingress"
EGRESS_GATEWAY_NAMESPACE: Final = "istio-egress"
KONG_NAMESPACE: Final = "kong-istio"
#: Where a check starts a pod outside the mesh; it goes with the check.
PROBE_NAMESPACE: Final = "kong-istio-checks"

# --- sandboxes on this machine --------------------------------------------------------------------------------------

SANDBOX_FOLDER: Final = ".sandbox"
#: In the environment: which of a checkout's sandboxes is meant; the one without a name where it is empty.
SANDBOX_NAME: Final = "KONG_ISTIO_SANDBOX_NAME"


def sandbox_folder(name: str) -> str:
    """Return the folder of a sandbox, below its checkout."""
    return f"{SANDBOX_FOLDER}-{name}" if name else SANDBOX_FOLDER


# --- Helm releases ------------------------------------------------------------------------------------------------

ISTIO_BASE: Final = "istio-base"
ISTIOD: Final = "istiod"
ISTIO_CNI: Final = "istio-cni"
INGRESS_GATEWAY: Final = "istio-ingressgateway"
EGRESS_GATEWAY: Final = "istio-egressgateway"
# The chart names its objects `<release>-kong…`; the Service is then the guide's `kong-istio-kong-proxy`.
KONG: Final = "kong-istio"
PROMETHEUS: Final = "prometheus"
GRAFANA: Final = "grafana"
KIALI: Final = "kiali"

#: Release -> namespace: what the stack installs, and what Helm writes into the annotations of each release's objects.
RELEASES: Final[Mapping[str, str]] = {
    ISTIO_BASE: ISTIO_NAMESPACE,
    ISTIOD: ISTIO_NAMESPACE,
    ISTIO_CNI: ISTIO_CNI_NAMESPACE,
    INGRESS_GATEWAY: INGRESS_GATEWAY_NAMESPACE,
    EGRESS_GATEWAY: EGRESS_GATEWAY_NAMESPACE,
    KONG: KONG_NAMESPACE,
    PROMETHEUS: ISTIO_NAMESPACE,
    GRAFANA: ISTIO_NAMESPACE,
    KIALI: ISTIO_NAMESPACE,
}


def of_revision(name: str, revision: str) -> str:
    """Return what the chart istiod calls its objects, and the stack its release, for a revision of Istio."""
    return f"{name}-{revision}" if revision else name


def validator_of(revision: str) -> str:
    """Return the webhook of the chart istiod that validates what is labelled with its revision."""
    return f"{of_revision('istio-validator', revision)}-{ISTIO_NAMESPACE}"


def home_of(release: str) -> str:
    """Return the namespace of one of the stack's releases; empty where it has none of that name."""
    return RELEASES.get(release, ISTIO_NAMESPACE if release.startswith(f"{ISTIOD}-") else "")


# --- what the charts make -----------------------------------------------------------------------------------------

REVISION_TAG_WEBHOOK: Final = "istio-revision-tag"
INJECTOR_WEBHOOK: Final = "istio-sidecar-injector"
#: Of the chart base, and it leads to the stable control plane.
DEFAULT_VALIDATOR: Final = "istiod-default-validator"
#: Those of a stack whose control plane has no revision.
VALIDATOR_WEBHOOKS: Final = (validator_of(""), DEFAULT_VALIDATOR)
# The chart gives it this name whatever its release is called.
ISTIO_CNI_DAEMON_SET: Final = "istio-cni-node"
KONG_DEPLOYMENT: Final = "kong-istio-kong"
KONG_SERVICE_ACCOUNT: Final = "kong-istio-kong"
KONG_PROXY_SERVICE: Final = "kong-istio-kong-proxy"
KONG_PROXY_PORT: Final = "kong-proxy"
KONG_PROXY_TLS_PORT: Final = "kong-proxy-tls"
#: Unless `kong.ingressClass` says another.
INGRESS_CLASS: Final = "kong"
#: What the chart labels the release's pods with.
KONG_POD_LABELS: Final[Mapping[str, str]] = {"app.kubernetes.io/name": "kong", "app.kubernetes.io/instance": KONG}
#: The dashboards' Services in istio-system -> their ports.
DASHBOARD_PORTS: Final[Mapping[str, int]] = {PROMETHEUS: 9090, GRAFANA: 3000, KIALI: 20001}

# --- what the stack makes itself ----------------------------------------------------------------------------------

KONG_CERTIFICATE: Final = "kong-certificate"
#: Where Grafana shows the stack's dashboards.
GRAFANA_FOLDER: Final = "istio"
GRAFANA_SECRET: Final = "grafana-admin"  # noqa: S105 -- the Secret's name
KIALI_SECRET: Final = "kiali-signing-key"  # noqa: S105 -- the Secret's name
RATE_LIMIT_PLUGIN: Final = "rate-limit"
REDIS_SECRET: Final = "rate-limit-redis"  # noqa: S105 -- the Secret's name


def kiali_graph_path(namespaces: Sequence[str]) -> str:
    """Return the path of Kiali's graph of some namespaces, by workload, of the last ten minutes."""
    query = urlencode({"namespaces": ",".join(namespaces), "graphType": "workload", "duration": "600"}, safe=",")
    return f"/kiali/console/graph/namespaces?{query}"


#: In place of a kubeconfig: the service account of the pod that Pulumi runs in; also the name of its context.
IN_CLUSTER: Final = "in-cluster"


def is_kubeconfig(given: str) -> bool:
    """Return whether a text is a kubeconfig itself, and not the path of one."""
    return "\n" in given or given.lstrip().startswith("{")


def is_kubeconfig_path(given: str) -> bool:
    """Return whether a text is the path of a kubeconfig."""
    return bool(given) and given != IN_CLUSTER and not is_kubeconfig(given)
