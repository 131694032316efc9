"""The table of chart values that are not for others to set: a setting says them, or the stack and its checks rest on them.

A path has its steps between spaces, as names of keys hold dots and slashes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from names import ISTIO_NAMESPACE
from settings.sections import Settings


def _always(_: Settings) -> bool:
    return True


@dataclass(frozen=True)
class Rule:
    """Paths in a chart's values that are not for others to set.

    `remedy` ends the sentence. `agrees`: values that change nothing, or nothing that matters. `applies`: for which
    settings. `secret`: what stands there is not shown.
    """

    remedy: str
    paths: Sequence[str]
    agrees: Sequence[Any] = ()
    applies: Callable[[Settings], bool] = _always
    secret: bool = False


def _use(setting: str, *paths: str, **further: Any) -> Rule:
    return Rule(f"use the setting {setting} in place of it", paths, **further)


def _fixed(because: str, *paths: str, **further: Any) -> Rule:
    return Rule(f"{because}; leave it out", paths, **further)


_BY_NAME = "the stack and its checks find this chart's objects by their names"
_BY_PORT = "the stack, its checks and its NetworkPolicies know this port"
_ONE_NAMESPACE = "the stack creates this namespace and looks there"
_OWN_POLICY = "it would let in whom security.networkPolicies keep out"
_NO_SIDECAR = "the stack runs it without a sidecar, and Prometheus reads all pods so"
_INSIDE = "the dashboards are not opened to the world, which check 15c sees to; use a port-forward or make dashboards"
_ISTIO_DEFAULTS = "these are the chart's own defaults; its keys are set one level above"
_NO_DATABASE = "this Kong has no database, and its controller and limits are set for that"
_INJECT = "sidecar.istio.io/inject"
_DASHBOARDS = "observability.grafana.dashboards"
CLIENT_ADDRESS = "kong.clientAddress"
_OFF = (False, None)


def _network_policies(settings: Settings) -> bool:
    return settings.security.network_policies


def _refuses_plain_text(settings: Settings) -> bool:
    return settings.istio.mtls == "STRICT" or settings.security.only_kong_calls


_OF_ALL_ISTIO = (
    _fixed(_ISTIO_DEFAULTS, "_internal_defaults_do_not_set"),
    _fixed("the stack's parts are in several namespaces", "global resourceScope", agrees=("all",)),
    _use("images.pullSecrets", "global imagePullSecrets"),
    _use("istio.profile", "profile", "global profile"),
)
_OF_ISTIO_NAMESPACE = _fixed(_ONE_NAMESPACE, "global istioNamespace", agrees=(ISTIO_NAMESPACE,))
_OF_ISTIO_PODS = (
    _use("istio.revision or istio.canary", "revision", "global revision", agrees=("", None)),
    _fixed(_OWN_POLICY, "global networkPolicy enabled", agrees=_OFF, applies=_network_policies),
    _use("images", "global hub", "global tag", "hub", "tag", "image", agrees=("", None)),
)

#: The key of the settings that holds a chart's further values -> the rules for them.
RULES: Mapping[str, Sequence[Rule]] = {
    "istio.baseValues": (
        *_OF_ALL_ISTIO,
        _OF_ISTIO_NAMESPACE,
        _use("istio.revision", "defaultRevision"),
        _fixed("the stack has objects of Istio's kinds", "base excludedCRDs", agrees=([], None)),
        _fixed(
            "the stack has objects of Istio's kinds",
            *("base enableCRDTemplates", "base enableIstioConfigCRDs"),
            agrees=(True,),
        ),
    ),
    "istio.istiodValues": (
        *_OF_ALL_ISTIO,
        *_OF_ISTIO_PODS,
        _OF_ISTIO_NAMESPACE,
        _use("istio.tags", "revisionTags", agrees=([], None)),
        _use("istio.replicas", "replicaCount"),
        _use("istio.cni", "cni enabled", "istio_cni enabled"),
        _use("images", "global proxy image", "global proxy_init image"),
        _use(
            "istio.injection",
            *("global operatorManageWebhooks", "global omitSidecarInjectorConfigMap"),
            agrees=_OFF,
            applies=lambda settings: settings.istio.injection,
        ),
        _use("istio.injection", "global proxy autoInject", agrees=("enabled",)),
        _fixed(
            "check 2 finds sidecars in the stack's namespaces alone",
            "sidecarInjectorWebhook enableNamespacesByDefault",
            agrees=_OFF,
        ),
        _fixed(
            "probes could not speak mutual TLS",
            "sidecarInjectorWebhook rewriteAppHTTPProbe",
            agrees=(True,),
            applies=_refuses_plain_text,
        ),
        _fixed(
            "this cluster runs the mesh's only control plane",
            *("istiodRemote enabled", "global externalIstiod", "global remotePilotAddress"),
            agrees=(False, "", None),
        ),
        _fixed("sidecars and istiod read it", "configMap", "global configValidation", agrees=(True,)),
        _fixed(
            "Kiali and the checks 11 and 12 read what sidecars measure",
            *("telemetry enabled", "telemetry v2 enabled", "telemetry v2 prometheus enabled"),
            "meshConfig enablePrometheusMerge",
            agrees=(True,),
        ),
        _fixed("Kiali and the checks 11 and 12 read what sidecars measure", "meshConfig defaultProviders metrics"),
        _fixed(
            "the rule for the whole mesh (istio.mtls) is in istio-system",
            "meshConfig rootNamespace",
            agrees=(ISTIO_NAMESPACE,),
        ),
        _use("istio.mtls", "meshConfig enableAutoMtls", agrees=(True,)),
        _fixed(_BY_PORT, "global proxy statusPort", agrees=(15020,)),
    ),
    "istio.cniValues": (*_OF_ALL_ISTIO, *_OF_ISTIO_PODS, _use("images", "repair hub", "repair tag")),
    "istio.gatewayValues": (
        _fixed(_ISTIO_DEFAULTS, "_internal_defaults_do_not_set"),
        _use("istio.revision or istio.canary", "revision", agrees=("", None)),
        _use("kong.serviceType", "service type"),
        _use("images.pullSecrets", "imagePullSecrets"),
        _fixed("istiod makes a gateway of these pods", f"podAnnotations {_INJECT}", agrees=("true", True)),
        _fixed("istiod makes a gateway of these pods", "podAnnotations inject.istio.io/templates", agrees=("gateway",)),
        _fixed(
            "the security.networkPolicies of gateways are for its ports", "service ports", applies=_network_policies
        ),
        _fixed(_OWN_POLICY, "global networkPolicy enabled", agrees=_OFF, applies=_network_policies),
    ),
    "kong.values": (
        _fixed(_BY_NAME, "fullnameOverride", "nameOverride", "proxy nameOverride", agrees=("", None)),
        _fixed(_BY_NAME, "deployment serviceAccount name"),
        _fixed(_ONE_NAMESPACE, "namespace"),
        _fixed(
            "the stack and its checks wait for a Deployment, and its sidecar: use kong.replicas for more pods",
            *("deployment daemonset", "deployment hostNetwork"),
            agrees=_OFF,
        ),
        _fixed(
            "the stack is Kong with its controller in one pod",
            *("deployment kong enabled", "deployment serviceAccount create", "ingressController enabled"),
            *("proxy enabled", "proxy http enabled", "status enabled", "status http enabled"),
            *("ingressController rbac create", "ingressController rbac enableClusterRoles"),
            agrees=(True,),
        ),
        _fixed(
            "the stack is Kong with its controller in one pod",
            "ingressController gatewayDiscovery enabled",
            agrees=_OFF,
        ),
        _fixed("an upgrade would leave no Kong", "updateStrategy type", agrees=("RollingUpdate",)),
        _use("kong.replicas", "replicaCount"),
        _use("kong.serviceType", "proxy type"),
        _use("kong.nodePort", "proxy http nodePort"),
        _use("kong.sourceRanges", "proxy loadBalancerSourceRanges"),
        _use(f"{CLIENT_ADDRESS}.source", "proxy externalTrafficPolicy"),
        _use(f"{CLIENT_ADDRESS}.source", "env real_ip_header", "env real_ip_recursive"),
        _use(
            f"{CLIENT_ADDRESS}.trustedRanges",
            "env trusted_ips",
            applies=lambda settings: bool(settings.kong.client_address.trusted_ranges),
        ),
        _use(
            f"{CLIENT_ADDRESS}.source",
            *("proxy http parameters", "proxy tls parameters"),
            applies=lambda settings: settings.kong.client_address.source == "proxyProtocol",
        ),
        _use("kong.tls or kong.tlsSecret", "env ssl_cert", "env ssl_cert_key", secret=True),
        _fixed(_NO_DATABASE, "env database", "customEnv kong_database", agrees=("off",)),
        _fixed(_NO_DATABASE, "postgresql enabled", agrees=_OFF),
        _fixed(_BY_PORT, "proxy http servicePort", agrees=(80,)),
        _fixed(_BY_PORT, "proxy tls servicePort", agrees=(443,)),
        _fixed(_BY_PORT, "proxy http containerPort", agrees=(8000,)),
        _fixed(_BY_PORT, "proxy tls containerPort", agrees=(8443,)),
        _fixed(_BY_PORT, "status http containerPort", agrees=(8100,)),
        _fixed(_BY_PORT, "ingressController admissionWebhook port", agrees=(8080,)),
        _fixed(_BY_PORT, "env proxy_listen", "env status_listen"),
        _fixed(
            "Kong is to ask for a Service's address alone, as the routed port is not the one that SRV names",
            "env dns_order",
        ),
        _use("kong.admissionWebhook", "ingressController admissionWebhook enabled"),
        _use("kong.ingressClass", "ingressController ingressClass", "ingressController env ingress_class"),
        _fixed("the stack's Ingresses are of that class", "ingressController createIngressClass", agrees=(True,)),
        _fixed("the stack's controller and proxy find each other", "ingressController env publish_service"),
        _fixed("the stack's controller and proxy find each other", "ingressController env kong_admin_url"),
        _use(
            "images.references",
            *("image repository", "image unifiedRepoTag"),
            *("ingressController image repository", "ingressController image unifiedRepoTag"),
        ),
        _use("kong.version", "image tag"),
        _use("kong.controllerVersion", "ingressController image tag"),
        _use("kong.crds", "ingressController installCRDs", agrees=_OFF),
        _use("images.pullSecrets", "image pullSecrets"),
        _use(
            "istio.injection",
            *(f"podAnnotations {_INJECT}", f"podLabels {_INJECT}"),
            agrees=("true",),
        ),
    ),
    "observability.prometheus.values": (
        _fixed(_BY_NAME, "fullnameOverride", "nameOverride", "server fullnameOverride", "server name"),
        _fixed(_ONE_NAMESPACE, "forceNamespace"),
        _fixed("Kiali and Grafana call it by its Service", "server service enabled", agrees=(True,)),
        _fixed("Kiali and Grafana call it by its Service", "server daemonSet enabled", agrees=_OFF),
        _fixed("Kiali and Grafana call it without a path", "server prefixURL", "server baseURL", agrees=("", None)),
        _fixed(_BY_PORT, "server service servicePort", agrees=(9090,)),
        _fixed(_INSIDE, "server service type", agrees=("ClusterIP",)),
        _fixed(_INSIDE, "server service externalIPs", agrees=([], None)),
        _fixed(_INSIDE, "server ingress enabled", "server route main enabled", agrees=_OFF),
        _use("observability.prometheus.retention", "server retention"),
        _use(
            "observability.prometheus.volume",
            *("server persistentVolume enabled", "server persistentVolume size"),
        ),
        _use("observability.prometheus.storageClass", "server persistentVolume storageClass"),
        _use(
            "images.references",
            *("server image repository", "server image tag", "server image digest"),
            *(f"configmapReload prometheus image {part}" for part in ("repository", "tag", "digest")),
        ),
        _use("images.pullSecrets", "imagePullSecrets"),
        _fixed(_NO_SIDECAR, f"server podLabels {_INJECT}", f"server podAnnotations {_INJECT}", agrees=("false",)),
        _fixed("it finds the mesh's pods by that", "rbac create", agrees=(True,)),
        _fixed("it finds the mesh's pods by that", "server releaseNamespace", agrees=_OFF),
        _fixed("it finds the mesh's pods by that", "server namespaces", agrees=([], None)),
        _fixed(
            "the metrics of sidecars and of Kong come by these jobs: add others below other names in scrapeConfigs",
            *("serverFiles prometheus.yml scrape_configs", "scrapeConfigs kubernetes-pods", "scrapeConfigs kong"),
            "server configFromSecret",
            "server configMapOverrideName",
        ),
        _fixed(_OWN_POLICY, "networkPolicy enabled", agrees=_OFF, applies=_network_policies),
    ),
    "observability.grafana.values": (
        _fixed(_BY_NAME, "fullnameOverride", "nameOverride"),
        _fixed(_ONE_NAMESPACE, "namespaceOverride"),
        _fixed("Kiali and the checks call it by its Service", "service enabled", agrees=(True,)),
        _fixed(_BY_PORT, "service port", "service targetPort", "grafana.ini server http_port", agrees=(3000,)),
        _fixed("Kiali and the checks call it over http", "grafana.ini server protocol", agrees=("http",)),
        _fixed("Kiali and the checks call it without a path", "grafana.ini server serve_from_sub_path", agrees=_OFF),
        _fixed(_INSIDE, "service type", agrees=("ClusterIP",)),
        _fixed(_INSIDE, "service externalIPs", agrees=([], None)),
        _fixed(_INSIDE, "ingress enabled", "route main enabled", agrees=_OFF),
        _use("observability.grafana.adminSecret", "admin existingSecret", "admin userKey", "admin passwordKey"),
        _use(
            "observability.grafana.adminPassword or adminSecret",
            *("adminUser", "adminPassword", "grafana.ini security admin_user", "grafana.ini security admin_password"),
            *("env GF_SECURITY_ADMIN_USER", "env GF_SECURITY_ADMIN_PASSWORD"),
            secret=True,
        ),
        _fixed(
            "the stack's administrator would not be made",
            *("grafana.ini security disable_initial_admin_creation", "env GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"),
            agrees=_OFF,
        ),
        _fixed(
            "Kiali and the checks log in so",
            *("grafana.ini auth.basic enabled", "env GF_AUTH_BASIC_ENABLED"),
            agrees=(True, "true"),
        ),
        _fixed(
            "it runs as root, which Pod Security refuses; Grafana's volume is its group's without it",
            "initChownData enabled",
            agrees=_OFF,
            applies=lambda settings: settings.security.pod_security,
        ),
        _use("observability.grafana.anonymous", "grafana.ini auth.anonymous enabled", "env GF_AUTH_ANONYMOUS_ENABLED"),
        _fixed(
            "visitors without a login are Viewers",
            *("grafana.ini auth.anonymous org_role", "env GF_AUTH_ANONYMOUS_ORG_ROLE"),
            agrees=("Viewer",),
        ),
        _fixed(
            "the stack's data source is in it: add others below another name of a file",
            "datasources datasources.yaml",
        ),
        _fixed(
            "the stack's dashboards come by it: add others below another name of a file",
            "dashboardProviders dashboardproviders.yaml",
        ),
        _use(_DASHBOARDS, "dashboards istio"),
        _use(
            "images.references",
            *(
                f"{image} {part}"
                for image in ("image", "downloadDashboardsImage")
                for part in ("registry", "repository")
            ),
            *(f"{image} {part}" for image in ("image", "downloadDashboardsImage") for part in ("tag", "sha")),
        ),
        _use("images.registry", "global imageRegistry", agrees=("", None)),
        _use("images.pullSecrets", "image pullSecrets", "global imagePullSecrets"),
        _fixed(_NO_SIDECAR, f"podLabels {_INJECT}", f"podAnnotations {_INJECT}", agrees=("false",)),
        _fixed(_OWN_POLICY, "networkPolicy enabled", agrees=_OFF, applies=_network_policies),
    ),
    "observability.kiali.values": (
        _fixed(_BY_NAME, "fullnameOverride", "nameOverride", "deployment instance_name", agrees=("kiali",)),
        _fixed(_ONE_NAMESPACE, "deployment namespace", agrees=(ISTIO_NAMESPACE,)),
        _use("observability.kiali.auth", "auth strategy"),
        _use("observability.kiali.viewOnly", "deployment view_only_mode"),
        _use("observability.kiali.signingKeyVersion", "login_token signing_key", secret=True),
        _fixed(_BY_PORT, "server port", agrees=(20001,)),
        _fixed("the checks and make dashboards call it below /kiali", "server web_root", agrees=("", "/kiali")),
        _fixed("the checks and make dashboards call it over http", "identity cert_file", "identity private_key_file"),
        _fixed(_INSIDE, "deployment service_type", agrees=("ClusterIP", "", None)),
        _fixed(_INSIDE, "deployment ingress enabled", agrees=_OFF),
        _fixed(
            "check 12 looks for Kong and the applications in its graph",
            "deployment cluster_wide_access",
            agrees=(True,),
        ),
        _fixed(
            "check 12 looks for Kong and the applications in its graph",
            "deployment discovery_selectors",
            agrees=({}, None),
        ),
        _fixed("it shows what the stack's Prometheus holds", "external_services prometheus url"),
        _fixed("it shows what the stack's Prometheus holds", "external_services prometheus enabled", agrees=(True,)),
        _use("observability.grafana.enabled", "external_services grafana enabled"),
        _fixed(
            "the stack's Grafana is there, with its login",
            *("external_services grafana internal_url", "external_services grafana in_cluster_url"),
            *("external_services grafana url", "external_services grafana auth"),
            secret=True,
        ),
        _fixed(
            "the stack's Istio is in istio-system",
            "external_services istio root_namespace",
            agrees=(ISTIO_NAMESPACE, ""),
        ),
        _use(
            "images.references",
            *("deployment image_name", "deployment image_version", "deployment image_digest"),
        ),
        _use("images.pullSecrets", "deployment image_pull_secrets"),
        _fixed(
            _NO_SIDECAR, f"deployment pod_labels {_INJECT}", f"deployment pod_annotations {_INJECT}", agrees=("false",)
        ),
        _fixed(_OWN_POLICY, "deployment network_policy enabled", agrees=_OFF, applies=_network_policies),
    ),
}
