"""The one table of versions of what the stack installs: charts and images, each with its public source.

Nothing else in the project states a version of these. Python's packages are pinned in `requirements.in`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A Helm chart: its name and version in a public repository."""

    name: str
    version: str
    repository: str


# Of all four charts.
# renovate: datasource=helm depName=istiod registryUrl=https://istio-release.storage.googleapis.com/charts
_ISTIO = "1.30.3"
_ISTIO_REPOSITORY = "https://istio-release.storage.googleapis.com/charts"

# Keys are the names that the setting `charts` takes.
# The pair Kong 3.9 / controller 3.5 / chart 3.4.1 with Istio 1.30 is the one that the Kong Ingress
# Controller's own Istio test runs (its .github/test_dependencies.yaml).
CHARTS: dict[str, Chart] = {
    "base": Chart(name="base", version=_ISTIO, repository=_ISTIO_REPOSITORY),
    "istiod": Chart(name="istiod", version=_ISTIO, repository=_ISTIO_REPOSITORY),
    "gateway": Chart(name="gateway", version=_ISTIO, repository=_ISTIO_REPOSITORY),
    "cni": Chart(name="cni", version=_ISTIO, repository=_ISTIO_REPOSITORY),
    # renovate: datasource=helm depName=kong registryUrl=https://charts.konghq.com
    "kong": Chart(name="kong", version="3.4.1", repository="https://charts.konghq.com"),
    # renovate: datasource=helm depName=prometheus registryUrl=https://prometheus-community.github.io/helm-charts
    "prometheus": Chart(
        name="prometheus", version="29.27.0", repository="https://prometheus-community.github.io/helm-charts"
    ),
    # grafana.github.io/helm-charts is frozen; the community repository is the maintained one.
    # renovate: datasource=helm depName=grafana registryUrl=https://grafana-community.github.io/helm-charts
    "grafana": Chart(name="grafana", version="12.11.1", repository="https://grafana-community.github.io/helm-charts"),
    # renovate: datasource=helm depName=kiali-server registryUrl=https://kiali.org/helm-charts
    "kiali-server": Chart(name="kiali-server", version="2.26.0", repository="https://kiali.org/helm-charts"),
}

# 3.9 is the last free line of Kong; 3.9.1 is the patch that the controller's tests pin.
# renovate: datasource=docker depName=kong
KONG_GATEWAY = "3.9.1"
# renovate: datasource=docker depName=kong/kubernetes-ingress-controller
KONG_CONTROLLER = "3.5.13"
# Of Kong/kubernetes-configuration, whose CRDs are the file manifests/kong/crds.yaml, which says how it is made.
# No bot raises it: it is what the controller is built against (its config/crd/kustomization.yaml).
KONG_CRDS = "1.5.2"


Minor = tuple[int, int]


def minor(version: str) -> Minor | None:
    """Return the first two numbers of a version, such as those of `v1.35.8+k3s1`; None for what is none."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, kw_only=True)
class IstioLine:
    """A minor of Istio. `kubernetes`: the oldest that it takes, and the newest that it is tested on. `kiali`: the oldest for it.

    Of Istio's own repository: MinK8SVersion (istioctl/pkg/install/k8sversion), NODE_IMAGE (prow/integ-suite-kind.sh), and the
    addon of its first release (samples/addons/kiali.yaml); newer Kialis are tested with every Istio that is supported
    (kiali.io, Prerequisites).
    """

    kubernetes: tuple[Minor, Minor]
    kiali: Minor


# As at 1.28.10, 1.29.6, 1.30.3 and 1.31.0-rc.0.
ISTIO_LINES: dict[Minor, IstioLine] = {
    (1, 28): IstioLine(kubernetes=((1, 30), (1, 34)), kiali=(2, 17)),
    (1, 29): IstioLine(kubernetes=((1, 30), (1, 35)), kiali=(2, 21)),
    (1, 30): IstioLine(kubernetes=((1, 32), (1, 35)), kiali=(2, 22)),
    (1, 31): IstioLine(kubernetes=((1, 32), (1, 35)), kiali=(2, 27)),
}
# The lines that Kong's controller is tested with (kubernetes-ingress-controller, .github/test_dependencies.yaml).
ISTIO_OF_KONG: tuple[Minor, Minor] = ((1, 27), (1, 30))

# Kubernetes minors: this Istio refuses anything older than the first, and is tested up to the second.
KUBERNETES_MINIMUM, KUBERNETES_TESTED = ISTIO_LINES[minor(_ISTIO) or (0, 0)].kubernetes

# Dashboards on grafana.com, Istio's and Kong's: name -> (id, revision). The page of Istio's names the Istio version of its newest
# revision only; these are the newest whose version is on record (Istio 1.26.1, as pinned by hyperledger-labs/splice in
# cluster/pulumi/infra/src/istio.ts). A folder of JSON files, from Istio's own tag, takes their place by a setting.
GRAFANA_DASHBOARDS: dict[str, tuple[int, int]] = {
    "istio-mesh": (7639, 259),
    "istio-service": (7636, 259),
    "istio-workload": (7630, 259),
    "istio-control-plane": (7645, 259),
    "istio-performance": (11829, 259),
    "istio-wasm-extension": (13277, 216),
    # Kong's own, as its documentation of the plugin prometheus names it.
    "kong-official": (7424, 11),
}
