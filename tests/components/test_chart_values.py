"""The values that the charts get: keys that the charts know, effects that they have; and the one table of versions."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import yaml
from charts import CONTRACT, STAND_INS, documents, pick, published, reference, template

from components.istio_gateways import Direction, gateway_values
from components.kong_gateway import kong_values
from components.mesh import base_values, cni_values, istiod_values
from components.observability import grafana_values, kiali_values, prometheus_values
from components.shared.images import KONG, OF_CHARTS
from components.shared.merging import merged
from plan.inventory import images_in
from sandbox.paths import CHECKOUT
from sandbox.programs import TOOLS
from settings import ClientAddress, Grafana, Images, Istio, Kiali, Kong, Observability, Prometheus, Tls
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY

ROOT = CHECKOUT.root
MIRROR = "mirror.example:5000/all"
# Every image by a tag and a digest, which go to different keys, and a Secret to pull it with.
REFERRED = Images(
    pull_secrets=("pull-secret",),
    references={image: f"own.example/{image}:1.2@sha256:{'a' * 64}" for image in OF_CHARTS},
)
STOOD_IN = ("grafana", "kiali-server", "kong", "prometheus")
# Where Istio's charts keep their defaults: what stands below it is set without it.
INTERNAL = "_internal_defaults_do_not_set"

SIZE = {"requests": {"cpu": "321m", "memory": "654Mi"}}
CONTROLLER_SIZE = {"limits": {"memory": "987Mi"}}
# Where k3s has its network plug-ins.
K3S = {"cniConfDir": "/var/lib/rancher/k3s/agent/etc/cni/net.d", "cniBinDir": "/var/lib/rancher/k3s/data/cni"}
PEM = "-----BEGIN {0}-----\nMIIB\n-----END {0}-----\n"
# Further values, for both gateways.
GATEWAY = {"autoscaling": {"enabled": True, "maxReplicas": 3}}
TRUSTED = ("198.51.100.0/24", "2001:db8::/32")
BELIEVING: tuple[Literal["proxyProtocol", "forwardedFor"], ...] = ("proxyProtocol", "forwardedFor")

Values = dict[str, Any]
Steps = tuple[str, ...]
Render = Callable[[str, Values], str]


# --- What the charts get ---------------------------------------------------------------------------------------------


def cases(dashboards: Path) -> dict[str, tuple[str, Values]]:
    """Return chart and values by a name, for settings that change them; `dashboards` is a folder of JSON files."""
    istio = {
        "defaults": Istio(),
        "no profile": Istio(profile=""),
        "no injection": Istio(injection=False),
        "sized": Istio(resources=SIZE),
        "several": Istio(profile="", replicas=3, resources=SIZE),
    }
    istio["node agent"] = Istio(cni=True)
    istio["folders"] = Istio(cni=True, cni_values=K3S)
    platform: dict[str, Istio] = {"platform": Istio(cni=True, istiod_values={"global": {"platform": "minikube"}})}
    kong: dict[str, Kong] = {
        "defaults": Kong(),
        "ClusterIP": Kong(service_type="ClusterIP", admission_webhook=False, replicas=3),
        "NodePort": Kong(service_type="NodePort", node_port=30123, admission_webhook=False),
        "several": Kong(
            admission_webhook=False,
            replicas=3,
            resources=SIZE,
            controller_resources=CONTROLLER_SIZE,
            source_ranges=("203.0.113.0/24", "2001:db8::/32"),
            tls_secret="front-door",
            client_address=ClientAddress(source="localTraffic"),
        ),
        "patient": Kong(
            admission_webhook=False,
            values={
                "terminationGracePeriodSeconds": 90,
                "lifecycle": {"preStop": {"exec": {"command": ["kong", "quit", "--wait=60"]}}},
            },
        ),
        "internal": Kong(
            admission_webhook=False, internal=True, annotations={"example.com/zone": "a"}, ingress_class="kong-shop"
        ),
        **{
            source: Kong(admission_webhook=False, client_address=ClientAddress(source=source, trusted_ranges=TRUSTED))
            for source in BELIEVING
        },
        "certificate": Kong(
            admission_webhook=False, tls=Tls(certificate=PEM.format("CERTIFICATE"), key=PEM.format("PRIVATE KEY"))
        ),
    }
    shown = {
        "defaults": Observability(),
        "folder": Observability(grafana=Grafana(dashboards=str(dashboards), anonymous=True)),
        "others": Observability(
            prometheus=Prometheus(retention="2h"),
            grafana=Grafana(enabled=False),
            kiali=Kiali(auth="anonymous", view_only=False),
        ),
        "kept": Observability(
            prometheus=Prometheus(volume="21Gi", storage_class="fast", resources=SIZE),
            grafana=Grafana(admin_secret="login"),
        ),
    }
    found = {"base: defaults": ("base", base_values(Istio()))}
    for images, where in ((Images(), ""), (Images(registry=MIRROR), ", mirror"), (REFERRED, ", references")):
        found |= {f"istiod: {name}{where}": ("istiod", istiod_values(s, images)) for name, s in istio.items()}
        found |= {f"cni: {name}{where}": ("cni", cni_values(s, images)) for name, s in (istio | platform).items()}
        found[f"gateway: ingress{where}"] = ("gateway", gateway_values("ingress", "NodePort", images))
        found[f"gateway: egress{where}"] = ("gateway", gateway_values("egress", "NodePort", images, GATEWAY))
        found |= {f"kong: {name}{where}": ("kong", kong_values(s, images)) for name, s in kong.items()}
        for name, s in shown.items():
            found[f"prometheus: {name}{where}"] = ("prometheus", prometheus_values(s, images))
            found[f"grafana: {name}{where}"] = ("grafana", grafana_values(s, images, ROOT))
            found[f"kiali-server: {name}{where}"] = ("kiali-server", kiali_values(s, images))
    return found


CASES = sorted(cases(Path("none")))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Values]]:
    """Make the cases, with a folder that has a dashboard."""
    folder = tmp_path_factory.mktemp("dashboards")
    (folder / "mine.json").write_text('{"title": "Mine"}')
    return cases(folder)


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """A value whose key is in no chart's defaults, and how to see that the chart reads it.

    `case` sets it; then `marker` is in what the chart renders, and is not without it. `value` is set in its place.
    """

    chart: str
    path: Steps
    reason: str
    case: str
    marker: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.chart}: {'/'.join(self.path)}"


_FREE = "a map of whatever the pods shall carry"
_INI = "sections are those of Grafana's own configuration"
_FILES = "a map of files"
_STRATEGY = "the Deployment carries the map as it is"
_POD = "the pods carry the map as it is"
_ENV = "a map of Kong's own settings"
_SIZES = "a map of whatever Kubernetes may give a container"
_PROBE = "the container carries the probe as it is"
_KIALI = "the chart hands all of it to Kiali, as its configuration"
# Values of security contexts that mean something else than ours, so that they stand out in what is rendered.
_CONTAINER: list[tuple[Steps, Any, str]] = [
    (("allowPrivilegeEscalation",), True, "allowPrivilegeEscalation: true"),
    (("capabilities",), {"drop": ["SETUID"]}, "- SETUID"),
]
_POD_CONTEXT: list[tuple[Steps, Any, str]] = [(("seccompProfile",), {"type": "Localhost"}, "type: Localhost")]
_SYSCTLS: list[tuple[Steps, Any, str]] = [
    (("runAsNonRoot",), False, "runAsNonRoot: false"),
    (("sysctls",), [{"name": "net.other", "value": "1"}], "name: net.other"),
]
_CONTEXTS: list[tuple[str, Steps, list[tuple[Steps, Any, str]]]] = [
    ("prometheus: defaults", ("server", "securityContext"), _POD_CONTEXT),
    ("prometheus: defaults", ("server", "containerSecurityContext"), _CONTAINER),
    ("prometheus: defaults", ("configmapReload", "prometheus", "containerSecurityContext"), _CONTAINER),
    ("gateway: ingress", ("securityContext",), [*_POD_CONTEXT, *_SYSCTLS]),
    ("istiod: defaults", ("seccompProfile",), [(("type",), "Localhost", "type: Localhost")]),
    ("istiod: defaults", ("global", "proxy", "seccompProfile"), [(("type",), "Localhost", '"type": "Localhost"')]),
]
ALLOWED = [
    *(
        Allowed(chart=case.partition(":")[0], path=(*where, *path), reason=_POD, case=case, marker=marker, value=value)
        for case, where, fields in _CONTEXTS
        for path, value, marker in fields
    ),
    Allowed(
        chart="cni",
        path=("profile",),
        reason="names a file of values in the chart",
        case="cni: defaults",
        marker="cpu: 10m",
    ),
    Allowed(
        chart="cni",
        path=("global", "platform"),
        reason="names a file of values in the chart",
        case="cni: platform",
        marker="path: /var/run/docker/netns",
    ),
    Allowed(
        chart="istiod",
        path=("profile",),
        reason="names a file of values in the chart",
        case="istiod: defaults",
        marker="cpu: 10m",
    ),
    Allowed(
        chart="kong",
        path=("image", "unifiedRepoTag"),
        reason="read by the template, and without a default",
        case="kong: NodePort, references",
        marker=f"image: own.example/{KONG}:1.2@sha256",
    ),
    Allowed(
        chart="kong",
        path=("ingressController", "image", "unifiedRepoTag"),
        reason="read by the template, and without a default",
        case="kong: NodePort, references",
        marker="image: own.example/docker.io/kong/kubernetes-ingress-controller:1.2@sha256",
    ),
    Allowed(
        chart="kong",
        path=("image", "pullSecrets"),
        reason="read by the template, and without a default",
        case="kong: NodePort, references",
        marker="name: pull-secret",
    ),
    Allowed(
        chart="kong",
        path=("proxy", "http", "nodePort"),
        reason="read by the template, and without a default",
        case="kong: NodePort",
        marker="nodePort: 30123",
    ),
    Allowed(
        chart="istiod",
        path=("pilot",),
        reason="copied over what stands at the top, where the chart has its defaults",
        case="istiod: sized",
        marker="cpu: 321m",
    ),
    *(
        Allowed(
            chart="kong",
            path=path,
            reason="read by the template, and without a default",
            case="kong: several",
            marker=marker,
        )
        for path, marker in (
            (("proxy", "externalTrafficPolicy"), 'externalTrafficPolicy: "Local"'),
            (("topologySpreadConstraints",), "topologyKey: topology.kubernetes.io/zone"),
            (("podDisruptionBudget", "minAvailable"), "minAvailable: 1"),
        )
    ),
    *(
        Allowed(chart="kong", path=("updateStrategy", key), reason=_STRATEGY, case="kong: several", marker=marker)
        for key, marker in (("type", "type: RollingUpdate"), ("rollingUpdate", "maxUnavailable: 0"))
    ),
    *(
        Allowed(
            chart="kong",
            path=("proxy", "annotations", name),
            reason=_FREE,
            case="kong: internal",
            marker=f'{name}: "{value}"',
        )
        for name, value in (
            ("service.beta.kubernetes.io/aws-load-balancer-internal", "true"),
            ("service.beta.kubernetes.io/aws-load-balancer-scheme", "internal"),
            ("networking.gke.io/load-balancer-type", "Internal"),
            ("service.beta.kubernetes.io/azure-load-balancer-internal", "true"),
            ("example.com/zone", "a"),
        )
    ),
    *(
        Allowed(chart="kong", path=("env", name), reason=_ENV, case=f"kong: {case}", marker=marker)
        for name, case, marker in (
            ("dns_order", "several", 'value: "LAST,A,SRV,CNAME"'),
            ("ssl_cert", "several", 'value: "/etc/secrets/front-door/tls.crt"'),
            ("ssl_cert_key", "several", 'value: "/etc/secrets/front-door/tls.key"'),
            ("trusted_ips", "forwardedFor", 'value: "198.51.100.0/24,2001:db8::/32"'),
            ("real_ip_header", "forwardedFor", 'value: "X-Forwarded-For"'),
            ("real_ip_recursive", "forwardedFor", "name: KONG_REAL_IP_RECURSIVE"),
        )
    ),
    *(
        Allowed(chart=chart, path=path, reason=_SIZES, case=f"{chart}: {case}", marker=marker)
        for chart, path, case, marker in (
            ("kong", ("resources", "requests"), "several", "cpu: 321m"),
            ("kong", ("ingressController", "resources", "limits"), "several", "memory: 987Mi"),
            ("prometheus", ("server", "resources", "requests"), "kept", "cpu: 321m"),
            ("cni", ("resources", "limits"), "defaults", "memory: 512Mi"),
        )
    ),
    *(
        Allowed(chart=chart, path=path, reason=_PROBE, case=f"{chart}: defaults", marker=marker)
        for chart, path, marker in (
            ("grafana", ("readinessProbe", "periodSeconds"), "periodSeconds: 2"),
            ("grafana", ("readinessProbe", "failureThreshold"), "failureThreshold: 15"),
            (
                "prometheus",
                ("configmapReload", "prometheus", "readinessProbe", "failureThreshold"),
                "failureThreshold: 15",
            ),
        )
    ),
    Allowed(
        chart="prometheus",
        path=("server", "persistentVolume", "storageClass"),
        reason="read by the template, and without a default",
        case="prometheus: kept",
        marker='storageClassName: "fast"',
    ),
    Allowed(
        chart="prometheus",
        path=("scrapeConfigs", "kong"),
        reason="a map of jobs",
        case="prometheus: defaults",
        marker="job_name: kong",
    ),
    Allowed(
        chart="kong",
        path=("podAnnotations", "proxy.istio.io/config"),
        reason=_FREE,
        case="kong: NodePort",
        marker="holdApplicationUntilProxyStarts",
    ),
    Allowed(
        chart="kong",
        path=("podAnnotations", "checksum/certificate"),
        reason=_FREE,
        case="kong: certificate",
        marker="checksum/certificate: ",
    ),
    Allowed(
        chart="prometheus",
        path=("server", "podLabels", "sidecar.istio.io/inject"),
        reason=_FREE,
        case="prometheus: defaults",
        marker='sidecar.istio.io/inject: "false"',
    ),
    Allowed(
        chart="grafana",
        path=("podLabels", "sidecar.istio.io/inject"),
        reason=_FREE,
        case="grafana: defaults",
        marker='sidecar.istio.io/inject: "false"',
    ),
    # Without it the release's name would do as well, but only as long as the chart's name is in it.
    Allowed(
        chart="grafana",
        path=("fullnameOverride",),
        reason="read by the template, and without a default",
        case="grafana: defaults",
        marker="name: renamed",
        value="renamed",
    ),
    Allowed(
        chart="grafana",
        path=("grafana.ini", "auth.anonymous"),
        reason=_INI,
        case="grafana: folder",
        marker="[auth.anonymous]",
    ),
    Allowed(
        chart="grafana",
        path=("datasources", "datasources.yaml"),
        reason=_FILES,
        case="grafana: defaults",
        marker="url: http://prometheus.istio-system:9090",
    ),
    Allowed(
        chart="grafana",
        path=("dashboardProviders", "dashboardproviders.yaml"),
        reason=_FILES,
        case="grafana: defaults",
        marker="path: /var/lib/grafana/dashboards/istio",
    ),
    Allowed(
        chart="grafana",
        path=("dashboards", "istio"),
        reason="a map of providers and their dashboards",
        case="grafana: folder",
        marker='{"title": "Mine"}',
    ),
    Allowed(
        chart="kiali-server",
        path=("deployment", "pod_labels", "sidecar.istio.io/inject"),
        reason=_FREE,
        case="kiali-server: defaults",
        marker='sidecar.istio.io/inject: "false"',
    ),
    Allowed(
        chart="kiali-server",
        path=("external_services", "prometheus", "url"),
        reason=_KIALI,
        case="kiali-server: defaults",
        marker="url: http://prometheus.istio-system:9090",
    ),
    Allowed(
        chart="kiali-server",
        path=("external_services", "grafana"),
        reason=_KIALI,
        case="kiali-server: defaults",
        marker="internal_url: http://grafana.istio-system:3000",
    ),
]


# --- Keys and kinds of values ----------------------------------------------------------------------------------------


def leaves(value: Any, path: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Yield every path into nested maps, and what lies there."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def allowed(chart: str, path: Steps) -> bool:
    return any(entry.chart == chart and path[: len(entry.path)] == entry.path for entry in ALLOWED)


@cache
def defaults(chart: str, *, real: bool) -> Values:
    file = published(chart).values if real else STAND_INS / chart / "values.yaml"
    content: Values = documents(file.read_text())[0]
    return {**content, **content.get(INTERNAL, {})}


_MISSING = object()


def at(values: Any, path: Steps) -> Any:
    for step in path:
        if not isinstance(values, dict) or step not in values:
            return _MISSING
        values = values[step]
    return values


def test_there_is_a_case_for_every_chart_that_is_installed() -> None:
    assert {name.partition(":")[0] for name in CASES} == CHARTS.keys()
    assert {folder.name for folder in STAND_INS.iterdir() if folder.is_dir()} == set(STOOD_IN)


def unknown(chart: str, given: dict[str, tuple[str, Values]], known: Values) -> set[str]:
    """Return what the chart gets and does not know, or knows as something of another kind."""
    found = set()
    for path, value in (leaf for of, values in given.values() if of == chart for leaf in leaves(values)):
        default = at(known, path)
        if default is _MISSING:
            found |= set() if allowed(chart, path) else {f"{'/'.join(path)} has no default"}
        elif default not in (None, "", {}) and type(value) is not type(default):
            found.add(f"{'/'.join(path)} is {value!r}, and by default {default!r}")
        elif path[0] == INTERNAL:
            found.add(f"{'/'.join(path)} is set where the chart looks before it looks at what is given")
    return found


@pytest.mark.parametrize("chart", CHARTS)
def test_the_contract_with_the_real_chart(
    chart: str, given: dict[str, tuple[str, Values]], record_property: Callable[[str, object], None]
) -> None:
    record_property(CONTRACT, f"{chart}: {published(chart).origin}")
    known = defaults(chart, real=True)
    assert unknown(chart, given, known) == set()
    assert [str(entry) for entry in ALLOWED if entry.chart == chart and at(known, entry.path) is not _MISSING] == []
    check_probes(chart, known)
    check_kongs_patches(chart, known)


@pytest.mark.parametrize("chart", STOOD_IN)
def test_the_stand_in_keeps_the_contract_too(chart: str, given: dict[str, tuple[str, Values]]) -> None:
    known = defaults(chart, real=False)
    assert unknown(chart, given, known) == set()
    check_probes(chart, known)
    check_kongs_patches(chart, known)


# --- Effects ---------------------------------------------------------------------------------------------------------

NAMESPACES = {"kong": "kong-istio", "cni": "istio-cni", "gateway": "istio-ingress"}
RELEASES = {
    **{"kong": "kong-istio", "kiali-server": "kiali", "base": "istio-base"},
    **{"cni": "istio-cni", "gateway": "istio-ingressgateway"},
}


@pytest.fixture(scope="module")
def render() -> Render:
    """Return a function that renders a stand-in, or Istio's own chart, as the stack installs it."""
    return lambda chart, values: template(
        chart, values, RELEASES.get(chart, chart), NAMESPACES.get(chart, "istio-system")
    )


def replaced(values: Values, path: Steps, value: Any = _MISSING) -> Values:
    """Return a copy with another value at a path, or with none."""
    copy = deepcopy(values)
    below = at(copy, path[:-1])
    del below[path[-1]]
    if value is not _MISSING:
        below[path[-1]] = value
    return copy


@pytest.mark.parametrize("entry", ALLOWED, ids=str)
def test_what_is_allowed_changes_the_manifests(
    entry: Allowed, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    values = given[entry.case][1]
    set_ = values if entry.value is None else replaced(values, entry.path, entry.value)
    assert entry.marker in render(entry.chart, set_)
    assert entry.marker not in render(entry.chart, replaced(values, entry.path))


def test_dashboards_of_the_network_are_downloaded_in_their_revision(
    given: dict[str, tuple[str, Values]], render: Render
) -> None:
    chart, values = given["grafana: defaults"]
    rendered = render(chart, values)
    chosen = values["dashboards"]["istio"]
    assert chosen
    for dashboard in chosen.values():
        assert f"/api/dashboards/{dashboard['gnetId']}/revisions/{dashboard['revision']}/download" in rendered


def test_sidecars_come_from_the_mirror_too(given: dict[str, tuple[str, Values]], render: Render) -> None:
    injector = rendered_object(render(*given["istiod: defaults, mirror"]), "ConfigMap", "istio-sidecar-injector")
    assert json.loads(injector["data"]["values"])["global"]["hub"] == f"{MIRROR}/release"


def test_without_injection_there_is_no_webhook_for_it(given: dict[str, tuple[str, Values]], render: Render) -> None:
    kinds = {
        name: [document["kind"] for document in documents(render(*given[name]))]
        for name in ("istiod: defaults", "istiod: no injection")
    }
    assert kinds["istiod: defaults"].count("MutatingWebhookConfiguration") == 1
    assert "MutatingWebhookConfiguration" not in kinds["istiod: no injection"]


def rendered_object(rendered: str, kind: str, name: str) -> Values:
    (found,) = (item for item in documents(rendered) if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def test_kong_runs_with_the_versions_of_the_table_and_as_many_replicas_as_wanted(
    given: dict[str, tuple[str, Values]], render: Render
) -> None:
    rendered = render(*given["kong: ClusterIP"])
    assert set(images_in(documents(rendered))) == {
        f"kong:{KONG_GATEWAY}",
        f"kong/kubernetes-ingress-controller:{KONG_CONTROLLER}",
    }
    spec = rendered_object(rendered, "Deployment", "kong-istio-kong")["spec"]
    assert spec["replicas"] == 3
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    assert pick(rendered_object(rendered, "Service", "kong-istio-kong-proxy"), "spec", "type") == "ClusterIP"


def objects(rendered: str, *kinds: str) -> list[Values]:
    return [item for item in documents(rendered) if item["kind"] in kinds]


def environment(rendered: str, container: str) -> dict[str, Any]:
    spec = rendered_object(rendered, "Deployment", "kong-istio-kong")["spec"]["template"]["spec"]
    return {entry["name"]: entry.get("value") for entry in pick(spec, "containers", container, "env")}


@pytest.mark.parametrize(("chart", "name"), [("istiod", "istiod"), ("kong", "kong-istio-kong")])
def test_several_replicas_are_spread_and_one_of_them_is_kept(
    chart: str, name: str, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    rendered = render(*given[f"{chart}: several"])
    deployment = rendered_object(rendered, "Deployment", name)["spec"]
    (budget,) = objects(rendered, "PodDisruptionBudget")
    assert deployment["replicas"] == 3
    assert budget["spec"]["minAvailable"] == 1
    template = deployment["template"]
    constraints = template["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for selector in (budget["spec"]["selector"], *(each["labelSelector"] for each in constraints)):
        assert selector["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert not objects(rendered, "HorizontalPodAutoscaler")


@pytest.mark.parametrize(
    ("case", "name"),
    [("istiod: no profile", "istiod"), ("istiod: defaults", "istiod"), ("kong: NodePort", "kong-istio-kong")],
)
def test_a_single_replica_is_neither_spread_nor_kept(
    case: str, name: str, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    rendered = render(*given[case])
    deployment = rendered_object(rendered, "Deployment", name)["spec"]
    assert deployment["replicas"] == 1
    assert "topologySpreadConstraints" not in deployment["template"]["spec"]
    # A budget for a single pod would keep its node from ever being drained.
    assert not objects(rendered, "PodDisruptionBudget", "HorizontalPodAutoscaler")


# What `kong quit` gives running requests, unless it is told otherwise (Kong/kong, kong/cmd/quit.lua).
QUIT_SECONDS = 10


@pytest.mark.parametrize(("case", "wait"), [("kong: NodePort", 15), ("kong: patient", 60)])
def test_kong_ends_before_its_sidecar_and_both_before_they_are_killed(
    case: str, wait: int, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    template = rendered_object(render(*given[case]), "Deployment", "kong-istio-kong")["spec"]["template"]
    command = pick(template["spec"], "containers", "proxy", "lifecycle", "preStop", "exec", "command")
    assert command == ["kong", "quit", f"--wait={wait}"]
    proxy = json.loads(template["metadata"]["annotations"]["proxy.istio.io/config"])
    sidecar = int(proxy["terminationDrainDuration"].removesuffix("s"))
    assert wait + QUIT_SECONDS < sidecar < template["spec"]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(
    ("case", "deployment", "container", "size"),
    [
        ("istiod: several", "istiod", "discovery", SIZE),
        # Over those of the profile demo.
        ("istiod: sized", "istiod", "discovery", SIZE),
        ("kong: several", "kong-istio-kong", "proxy", SIZE),
        ("kong: several", "kong-istio-kong", "ingress-controller", CONTROLLER_SIZE),
        ("prometheus: kept", "prometheus", "prometheus-server", SIZE),
    ],
)
def test_a_container_has_the_size_that_was_set(
    case: str, deployment: str, container: str, size: Values, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    spec = rendered_object(render(*given[case]), "Deployment", deployment)["spec"]["template"]["spec"]
    assert pick(spec, "containers", container, "resources") == size


def test_kong_serves_the_given_certificate(given: dict[str, tuple[str, Values]], render: Render) -> None:
    rendered = render(*given["kong: several"])
    spec = rendered_object(rendered, "Deployment", "kong-istio-kong")["spec"]["template"]["spec"]
    found = environment(rendered, "proxy")
    folder = pick(spec, "containers", "proxy", "volumeMounts", "front-door", "mountPath")
    assert pick(spec, "volumes", "front-door", "secret") == {"secretName": "front-door"}
    assert {found["KONG_SSL_CERT"], found["KONG_SSL_CERT_KEY"]} == {f"{folder}/tls.crt", f"{folder}/tls.key"}


def test_kong_is_reached_from_where_it_shall_be(given: dict[str, tuple[str, Values]], render: Render) -> None:
    name = "kong-istio-kong-proxy"
    service = rendered_object(render(*given["kong: several"]), "Service", name)["spec"]
    assert service["loadBalancerSourceRanges"] == ["203.0.113.0/24", "2001:db8::/32"]
    assert service["externalTrafficPolicy"] == "Local"
    plain = rendered_object(render(*given["kong: forwardedFor"]), "Service", name)["spec"]
    assert not plain.keys() & {"loadBalancerSourceRanges", "externalTrafficPolicy"}


def test_both_listeners_speak_the_proxy_protocol_and_neither_does_otherwise(
    given: dict[str, tuple[str, Values]], render: Render
) -> None:
    found = environment(render(*given["kong: proxyProtocol"]), "proxy")
    listeners = [set(listener.split()) for listener in found["KONG_PROXY_LISTEN"].split(", ")]
    assert {"0.0.0.0:8000", "proxy_protocol"} in listeners
    assert {"0.0.0.0:8443", "http2", "proxy_protocol", "ssl"} in listeners
    assert all("proxy_protocol" in listener for listener in listeners)
    assert (found["KONG_REAL_IP_HEADER"], found["KONG_TRUSTED_IPS"]) == ("proxy_protocol", ",".join(TRUSTED))
    for case in ("several", "forwardedFor"):
        assert "proxy_protocol" not in str(environment(render(*given[f"kong: {case}"]), "proxy"))


def test_kong_believes_nobody_unless_it_is_told_to(given: dict[str, tuple[str, Values]], render: Render) -> None:
    for case in ("several", "NodePort"):
        found = environment(render(*given[f"kong: {case}"]), "proxy")
        assert not {"KONG_TRUSTED_IPS", "KONG_REAL_IP_HEADER", "KONG_REAL_IP_RECURSIVE"} & found.keys()


def test_prometheus_keeps_its_data_on_a_volume(given: dict[str, tuple[str, Values]], render: Render) -> None:
    rendered = render(*given["prometheus: kept"])
    claim = rendered_object(rendered, "PersistentVolumeClaim", "prometheus")["spec"]
    assert claim["resources"]["requests"]["storage"] == "21Gi"
    assert claim["storageClassName"] == "fast"
    spec = rendered_object(rendered, "Deployment", "prometheus")["spec"]
    assert pick(spec, "template", "spec", "volumes", "storage-volume", "persistentVolumeClaim") == {
        "claimName": "prometheus"
    }
    # Two at once would fight for a volume that only one node can have.
    assert spec["strategy"]["type"] == "Recreate"
    assert not objects(render(*given["prometheus: defaults"]), "PersistentVolumeClaim")


def test_a_volume_without_a_class_is_the_clusters_default(render: Render) -> None:
    rendered = render("prometheus", prometheus_values(Observability(prometheus=Prometheus(volume="1Gi")), Images()))
    claim = rendered_object(rendered, "PersistentVolumeClaim", "prometheus")["spec"]
    # Empty, it would mean: none.
    assert "storageClassName" not in claim


@pytest.mark.parametrize(("case", "secret"), [("kept", "login"), ("defaults", "grafana-admin")])
def test_grafanas_administrator_is_in_a_secret_that_exists(
    case: str, secret: str, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    rendered = render(*given[f"grafana: {case}"])
    spec = rendered_object(rendered, "Deployment", "grafana")["spec"]["template"]["spec"]
    container = pick(spec, "containers", "grafana")
    for what in ("user", "password"):
        reference = pick(container, "env", f"GF_SECURITY_ADMIN_{what.upper()}", "valueFrom", "secretKeyRef")
        assert reference == {"name": secret, "key": f"admin-{what}"}
    assert not objects(rendered, "Secret")


@pytest.mark.parametrize(("case", "enabled"), [("folder", "true"), ("defaults", "false")])
def test_whoever_does_not_log_in_to_grafana_may_at_most_view(
    case: str, enabled: str, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    ini = rendered_object(render(*given[f"grafana: {case}"]), "ConfigMap", "grafana")["data"]["grafana.ini"]
    section = ini.partition("[auth.anonymous]")[2].partition("[")[0]
    assert dict(line.split(" = ") for line in section.split("\n") if line) == {"enabled": enabled, "org_role": "Viewer"}


@pytest.mark.parametrize(
    ("case", "strategy", "view_only"), [("defaults", "token", True), ("others", "anonymous", False)]
)
def test_kiali_lets_in_whom_the_settings_let_in(
    case: str, strategy: str, view_only: bool, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    config = rendered_object(render(*given[f"kiali-server: {case}"]), "ConfigMap", "kiali")["data"]["config.yaml"]
    read = yaml.safe_load(config)
    assert (read["auth"]["strategy"], read["deployment"]["view_only_mode"]) == (strategy, view_only)


@pytest.mark.parametrize(
    ("case", "service", "port"),
    [
        ("prometheus: defaults", "prometheus", 9090),
        ("grafana: defaults", "grafana", 3000),
        ("kiali-server: defaults", "kiali", 20001),
    ],
)
def test_services_are_called_what_the_others_call_them(
    given: dict[str, tuple[str, Values]], render: Render, case: str, service: str, port: int
) -> None:
    made = rendered_object(render(*given[case]), "Service", service)
    assert port in [entry["port"] for entry in made["spec"]["ports"]]
    assert made["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_an_internal_load_balancer_and_a_class_of_its_own_reach_the_chart(
    given: dict[str, tuple[str, Values]], render: Render
) -> None:
    objects = render(*given["kong: internal"])
    annotations = rendered_object(objects, "Service", "kong-istio-kong-proxy")["metadata"]["annotations"]
    assert annotations["networking.gke.io/load-balancer-type"] == "Internal"
    assert annotations["example.com/zone"] == "a"
    assert rendered_object(objects, "IngressClass", "kong-shop")
    assert "kong-shop" in str(rendered_object(objects, "Deployment", "kong-istio-kong"))


def test_further_values_are_laid_over_the_stacks() -> None:
    own: Values = {"global": {"tag": "x"}, "profile": "ambient"}
    istiod = istiod_values(Istio(istiod_values=own), Images(registry=MIRROR))
    assert istiod == merged(istiod_values(Istio(), Images(registry=MIRROR)), own)
    assert istiod["global"]["hub"] == f"{MIRROR}/release"
    assert base_values(Istio(base_values={"defaultRevision": "old"})) == {"defaultRevision": "old"}
    further = {"env": {"log_level": "debug"}, "image": {"tag": "3.9.0"}}
    kong = kong_values(Kong(values=further), Images())
    assert kong == merged(kong_values(Kong(), Images()), further)
    assert kong["env"] == {"database": "off", "dns_order": "LAST,A,SRV,CNAME", "log_level": "debug"}
    own = {"server": {"podLabels": {"team": "a"}}}
    prometheus = prometheus_values(Observability(prometheus=Prometheus(values=own)), Images())
    assert prometheus["server"]["podLabels"] == {"sidecar.istio.io/inject": "false", "team": "a"}
    assert prometheus_values(Observability(), Images())["server"]["podLabels"] == {"sidecar.istio.io/inject": "false"}


def test_further_values_of_the_node_agent_and_the_gateways_are_laid_over_the_stacks() -> None:
    plain = cni_values(Istio(cni=True), Images(registry=MIRROR))
    own: Values = {**K3S, "resources": {"limits": {"memory": "1Gi"}}}
    assert cni_values(Istio(cni=True, cni_values=own), Images(registry=MIRROR)) == merged(plain, own)
    both: Values = {"service": {"loadBalancerClass": "inside"}, "autoscaling": {"enabled": True}}
    for direction in get_args(Direction):
        gateway = gateway_values(direction, "LoadBalancer", Images(), both)
        assert gateway == merged(gateway_values(direction, "LoadBalancer", Images()), both)


def test_the_node_agent_finds_the_plug_ins_of_other_nodes(given: dict[str, tuple[str, Values]], render: Render) -> None:
    for case in ("defaults", "folders"):
        agent = rendered_object(render(*given[f"cni: {case}"]), "DaemonSet", "istio-cni-node")["spec"]["template"]
        mounted = {volume["hostPath"]["path"] for volume in agent["spec"]["volumes"] if "hostPath" in volume}
        assert (set(K3S.values()) <= mounted) == (case == "folders")


# --- Probes ----------------------------------------------------------------------------------------------------------

# Case, Deployment, container -> probe that lets traffic in, and the seconds after which a chart's own gives up.
PROBES = [
    ("kong: NodePort", "kong-istio-kong", "proxy", "readinessProbe", 30),
    ("kong: NodePort", "kong-istio-kong", "ingress-controller", "readinessProbe", 30),
    ("prometheus: defaults", "prometheus", "prometheus-server", "readinessProbe", 15),
    ("prometheus: defaults", "prometheus", "prometheus-server-configmap-reload", "readinessProbe", 30),
    ("grafana: defaults", "grafana", "grafana", "readinessProbe", 30),
    ("kiali-server: defaults", "kiali", "kiali", "startupProbe", 90),
]


@pytest.mark.parametrize(("case", "deployment", "container", "probe", "patience"), PROBES)
def test_whoever_is_ready_is_found_so_within_two_seconds_and_is_given_up_as_late_as_by_the_chart(
    case: str,
    deployment: str,
    container: str,
    probe: str,
    patience: int,
    given: dict[str, tuple[str, Values]],
    render: Render,
) -> None:
    spec = rendered_object(render(*given[case]), "Deployment", deployment)["spec"]["template"]["spec"]
    asked = pick(spec, "containers", container, probe)
    assert asked.get("initialDelaySeconds", 0) == 0
    assert asked["periodSeconds"] <= 2
    assert asked["periodSeconds"] * asked["failureThreshold"] >= patience


def check_probes(chart: str, known: Values) -> None:
    """See that what is asked, and who is killed, is the chart's."""
    values: Values = {"kong": kong_values(Kong(), Images()), "grafana": grafana_values(Observability(), Images(), ROOT)}
    asked: dict[str, list[Steps]] = {"kong": [(), ("ingressController",)], "grafana": [()]}
    for where in asked.get(chart, []):
        before, ours = at(known, where), at(values[chart], where)
        assert "httpGet" in before["readinessProbe"]
        assert not ours["readinessProbe"].keys() - {"initialDelaySeconds", "periodSeconds", "failureThreshold"}
        assert not {"livenessProbe", "lifecycle"} & ours.keys()


def test_further_values_win_over_the_probes() -> None:
    own: Values = {"readinessProbe": {"periodSeconds": 7}}
    kong = kong_values(Kong(values={**own, "ingressController": own}), Images())
    for probe in (kong["readinessProbe"], kong["ingressController"]["readinessProbe"]):
        assert (probe["periodSeconds"], probe["initialDelaySeconds"]) == (7, 0)
    kiali = kiali_values(
        Observability(kiali=Kiali(values={"deployment": {"probes": {"startup": {"failure_threshold": 9}}}})), Images()
    )
    assert kiali["deployment"]["probes"]["startup"] == {
        "initial_delay_seconds": 0,
        "period_seconds": 1,
        "failure_threshold": 9,
    }


# --- Versions --------------------------------------------------------------------------------------------------------


def test_charts_have_the_versions_that_were_looked_at() -> None:
    text = reference("charts/README.md").read_text()
    rows = {match[1]: match[2] for match in re.finditer(r"^\| (\S+) \| \S+/(\S+ [\d.]+) \|", text, re.M)}
    assert rows == {name: f"{CHARTS[name].name} {CHARTS[name].version}" for name in rows}
    assert rows.keys() == CHARTS.keys() - {"cni"}
    assert [chart.repository for chart in CHARTS.values() if f"`{chart.repository}`" not in text] == []


def test_the_charts_of_istio_go_together() -> None:
    versions = {CHARTS[name].version for name in ("base", "istiod", "gateway", "cni")}
    assert len(versions) == 1


def check_kongs_patches(chart: str, known: Values) -> None:
    """See that Kong and its controller are patches of what the chart was made for."""
    if chart == "kong":
        assert KONG_GATEWAY.startswith(f"{pick(known, 'image', 'tag')}.")
        assert KONG_CONTROLLER.startswith(f"{pick(known, 'ingressController', 'image', 'tag')}.")


def required(file: str = "requirements.in") -> dict[str, str]:
    """Return what a file of requirements pins: name in small letters -> version."""
    lines = (ROOT / file).read_text().splitlines()
    pins = (re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines)
    return {pin[1].lower(): pin[2] for pin in pins if pin}


@pytest.mark.parametrize("file", ["requirements", "requirements-dev"])
def test_python_packages_are_pinned_with_hashes(file: str) -> None:
    text = (ROOT / f"{file}.txt").read_text()
    pinned = required(f"{file}.txt")
    assert required(f"{file}.in").items() <= pinned.items()
    named = re.findall(r"^[a-zA-Z].*(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+$", text, re.MULTILINE)
    assert len(named) == len(pinned) == len(re.findall(r"^[^\s#]", text, re.MULTILINE))
    # Where packages are had from is for each machine to say.
    assert not re.search(r"://|--\w*(index|host|find)", text)


def test_tests_run_with_the_packages_that_the_stack_runs_with() -> None:
    assert required("requirements.txt").items() <= required("requirements-dev.txt").items()


@pytest.mark.parametrize("package", ["pulumi", "pulumi-command", "pulumi-kubernetes"])
def test_pulumi_is_installed_as_pinned(package: str) -> None:
    # The providers' plugins are fetched in the version of the installed package.
    assert importlib.metadata.version(package) == required()[package]


STATED = [
    *(chart.version for chart in CHARTS.values()),
    *(tool.version for tool in TOOLS.values()),
    *(KONG_GATEWAY, KONG_CONTROLLER),
]
CODE = ("*.py", "Pulumi*.yaml", "Makefile", *(f"{name}/**/*.py" for name in ("commands", "components", "settings")))


def test_no_code_states_a_version_but_the_tables() -> None:
    files = {
        file
        for pattern in (*CODE, "sandbox/*.py", "plan/*.py", "sandbox/rehearsal/*.py")
        for file in ROOT.glob(pattern)
    }
    assert len(files) > 20
    word = re.compile(rf"(?<![\w.-])v?({'|'.join(map(re.escape, sorted(set(STATED))))})(?![\w.])")
    stating = {file.name: found for file in files if (found := word.findall(file.read_text()))}
    assert stating.keys() == {"versions.py", "programs.py"}
