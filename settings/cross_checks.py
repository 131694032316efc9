"""Checks of the settings together: what is well-formed key by key and still cannot work."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic.alias_generators import to_camel

from names import PROBE_NAMESPACE, RATE_LIMIT_PLUGIN, RELEASES, is_kubeconfig
from settings.chart_folders import chart_in, check_folder, existing, is_local
from settings.chart_values import check_values
from settings.istio_upgrades import check_upgrade
from settings.kinds import is_everywhere, network, scheme
from settings.secret_parts import SecretPart
from settings.sections import (
    NOBODYS_CRDS,
    WINDOWS,
    Application,
    ApplicationChart,
    ChartRepository,
    Kong,
    Plugin,
    RateLimit,
    Route,
    Settings,
)
from settings.sentences import SettingsError, show
from versions import CHARTS

# What Helm takes (helm/helm, pkg/chartutil/validate_name.go).
_RELEASE_NAME_LENGTH = 53
# No range, which is another version on another day.
_VERSION = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
RESERVED_NAMESPACES = {
    *RELEASES.values(),
    PROBE_NAMESPACE,
    *("default", "kube-system", "kube-public", "kube-node-lease"),
}
# What the stack sets on an Ingress, or says by another object -> the setting for it.
_OWN_ANNOTATIONS = {
    "konghq.com/plugins": "plugins or rateLimit",
    "konghq.com/strip-path": "stripPath",
    "konghq.com/protocol": "protocol",
    "konghq.com/protocols": "https or protocol",
    "konghq.com/https-redirect-status-code": "https",
    "ingress.kubernetes.io/force-ssl-redirect": "https",
    "konghq.com/preserve-host": "kong.clientHost",
    "ingress.kubernetes.io/service-upstream": "kong.routing",
    "kubernetes.io/ingress.class": "kong.ingressClass",
    "cert-manager.io/issuer": "issuer",
    "cert-manager.io/cluster-issuer": "clusterIssuer",
    "pulumi.com/skipAwait": "kong.readyTimeoutSeconds",
}


def cross_check(settings: Settings, root: Path) -> None:
    """Raise `SettingsError` for the first combination that cannot work. Paths are relative to `root`."""
    _check_kubeconfig(settings)
    _check_mesh(settings)
    _check_sidecars(settings)
    _check_one_secret("kong", "tls", settings.kong.tls, "tlsSecret", settings.kong.tls_secret)
    grafana = settings.observability.grafana
    _check_one_secret(
        "observability.grafana", "adminPassword", grafana.admin_password, "adminSecret", grafana.admin_secret
    )
    _check_node_port(settings)
    _check_source_ranges(settings.kong)
    _check_internal(settings.kong)
    _check_client_address(settings.kong)
    _check_observability(settings, root)
    _check_charts(settings, root)
    _check_kong_sources(settings, root)
    check_upgrade(settings, root)
    _check_applications(settings, root)
    _check_client_host(settings)
    check_values(settings)
    for application in settings.applications:
        limit = settings.limit_of(application)
        _check_rate_limit(limit, f"application {application.name}", settings.kong.replicas)
        for route in application.routes:
            own = settings.limit_on(application, route) if route.has_own_limit else None
            if own:
                where = f"route {route.ingress} of application {application.name}"
                _check_rate_limit(own, where, settings.kong.replicas)


def _check_rate_limit(limit: RateLimit, where: str, replicas: int) -> None:
    """Raise `SettingsError` where Kong would refuse the limit, or would keep another one than it says."""
    if limit.policy == "cluster":
        raise SettingsError(
            f"rateLimit.policy of {where} is cluster: that policy counts in Kong's database, and this Kong has none; "
            "set it to local, or to redis with rateLimit.redis.host."
        )
    if limit.policy == "local" and replicas > 1:
        raise SettingsError(
            f"rateLimit.policy of {where} is local while kong.replicas is {replicas}: each replica would count for "
            "itself and let the limit through; set the policy to redis, or kong.replicas to 1."
        )
    if limit.policy == "redis" and not (limit.redis and limit.redis.host):
        raise SettingsError(f"rateLimit.policy of {where} is redis without a host: set rateLimit.redis.host.")
    if limit.redis and limit.redis.password and limit.redis.password_secret:
        raise SettingsError(
            f"rateLimit.redis of {where} has a password and a passwordSecret: keep one of them "
            '(an application drops the stack\'s with password: "" or passwordSecret: null).'
        )
    _check_sync_rate(limit, where)
    _check_windows(limit, where)
    _check_identity(limit, where)


def _check_sync_rate(limit: RateLimit, where: str) -> None:
    rate = limit.sync_rate
    if rate is None or rate == -1:
        return
    if limit.policy != "redis":
        raise SettingsError(f"rateLimit.syncRate of {where} goes with the policy redis: leave it out, or set that.")
    if rate < 0.02:
        raise SettingsError(
            f"rateLimit.syncRate of {where} is {rate:g}: Kong takes -1 (count in redis at once) or 0.02 s and more."
        )


# Kong refuses a longer window with a smaller limit than a shorter one's.
def _check_windows(limit: RateLimit, where: str) -> None:
    if not limit.windows:
        raise SettingsError(
            f"The rate limit of {where} names no window: set one of rateLimit.{', rateLimit.'.join(WINDOWS)}."
        )
    for (short, few), (long, many) in itertools.pairwise(limit.windows.items()):
        if many < few:
            raise SettingsError(
                f"The rate limit of {where} allows {few} per {short} and {many} per {long}: "
                f"set rateLimit.{long} to {few} or more, or rateLimit.{short} to {many} or less."
            )


def _check_identity(limit: RateLimit, where: str) -> None:
    if limit.limit_by == "header" and not limit.header_name:
        raise SettingsError(f"rateLimit.limitBy of {where} is header without a name: set rateLimit.headerName.")
    if limit.limit_by == "path" and not limit.path:
        raise SettingsError(f"rateLimit.limitBy of {where} is path without a path: set rateLimit.path.")


def _check_kubeconfig(settings: Settings) -> None:
    kubeconfig, source = settings.kubeconfig, settings.kubeconfig_from.stack
    if kubeconfig and source:
        raise SettingsError(
            f"kubeconfig and kubeconfigFrom.stack are both set: keep kubeconfig, or the stack {source} that tells it."
        )
    if is_kubeconfig(kubeconfig) and not isinstance(kubeconfig, SecretPart):
        raise SettingsError(
            "kubeconfig holds credentials in plain text: take it out of the stack file and store it with "
            "`pulumi config set --secret kubeconfig`, from standard input, or name the file."
        )


def _check_mesh(settings: Settings) -> None:
    if settings.istio.mtls == "STRICT" and settings.kong.routing == "guide":
        raise SettingsError(
            "istio.mtls is STRICT while kong.routing is guide: that routing leaves the mesh in plain text, which STRICT "
            "refuses; set kong.routing to mesh, or istio.mtls to PERMISSIVE."
        )
    if settings.istio.mtls == "STRICT" and not settings.istio.injection:
        raise SettingsError(
            "istio.mtls is STRICT while istio.injection is false: without sidecars nothing speaks mutual TLS; "
            "set istio.injection to true, or istio.mtls to PERMISSIVE."
        )


def _check_sidecars(settings: Settings) -> None:
    """Raise for what a sidecar does, where none is or where it is passed by."""
    if settings.security.only_kong_calls and settings.kong.routing == "guide":
        raise SettingsError(
            "security.onlyKongCalls is true while kong.routing is guide: that routing leaves the mesh, so nobody could tell "
            "that it is Kong who calls; set kong.routing to mesh, or security.onlyKongCalls to false."
        )
    needed = {
        "istio.cni": settings.istio.cni,
        "istio.ingressGateway": settings.istio.ingress_gateway,
        "istio.egressGateway": settings.istio.egress_gateway,
        "security.onlyKongCalls": settings.security.only_kong_calls,
    }
    for key, on in needed.items():
        if on and not settings.istio.injection:
            raise SettingsError(
                f"{key} is true while istio.injection is false: it is for proxies that injection makes; "
                f"set istio.injection to true, or {key} to false."
            )


def _check_one_secret(key: str, own: str, value: object, named: str, name: str) -> None:
    """Raise where the stack is to make a Secret that it is also told to take from the cluster."""
    if value and name:
        raise SettingsError(
            f"{key} has {own} and {named}: keep {own} to have the stack make the Secret, or {named} for one that exists."
        )


def _check_node_port(settings: Settings) -> None:
    port, kind = settings.kong.node_port, settings.kong.service_type
    if port and kind != "NodePort":
        raise SettingsError(
            f"kong.nodePort is {port} while kong.serviceType is {kind}: set the type to NodePort, or the port to 0."
        )
    if port and not 30000 <= port <= 32767:
        raise SettingsError(
            f"kong.nodePort is {port}: Kubernetes gives node ports from 30000 to 32767; choose one there, or 0."
        )


def _check_source_ranges(kong: Kong) -> None:
    if kong.source_ranges and kong.service_type != "LoadBalancer":
        raise SettingsError(
            f"kong.sourceRanges is set while kong.serviceType is {kong.service_type}: only a load balancer looks at it; "
            "set the type to LoadBalancer, or leave the ranges out."
        )


def _check_internal(kong: Kong) -> None:
    if kong.internal and kong.service_type != "LoadBalancer":
        raise SettingsError(
            f"kong.internal is true while kong.serviceType is {kong.service_type}: it is about the load balancer; set the "
            "type to LoadBalancer, or kong.internal to false."
        )


def _check_client_address(kong: Kong) -> None:
    source, ranges = kong.client_address.source, kong.client_address.trusted_ranges
    key = "kong.clientAddress"
    believes = source in ("proxyProtocol", "forwardedFor")
    if source == "localTraffic" and kong.service_type == "ClusterIP":
        raise SettingsError(
            f"{key}.source is localTraffic while kong.serviceType is ClusterIP: nothing from outside reaches such a "
            f"Service by itself; set the type to LoadBalancer or NodePort, or {key}.source to another one."
        )
    if believes and not ranges:
        raise SettingsError(
            f"{key}.source is {source} without {key}.trustedRanges: Kong believes nobody then; list the addresses that "
            "your load balancer calls from."
        )
    if ranges and not believes:
        raise SettingsError(
            f"{key}.trustedRanges is set while {key}.source is {source}: nobody has to be believed there; leave the "
            "ranges out, or set the source to proxyProtocol or forwardedFor."
        )
    if is_everywhere([found for text in ranges if (found := network(text))]):
        raise SettingsError(
            f"{key}.trustedRanges holds every address there is: anyone could then pass for anyone; list only the "
            "addresses that your load balancer calls from."
        )


def _check_client_host(settings: Settings) -> None:
    """Raise where no ServiceEntry could tell the mesh which host is whose."""
    if (settings.kong.routing, settings.kong.client_host) != ("mesh", "serviceEntry"):
        return
    owners: dict[str, str] = {}
    for key, route in _routes(settings.applications):
        if route.speaks_tls:
            continue
        host, where = route.host, f"{key}.host"
        if not host or host.startswith("*"):
            raise SettingsError(
                f"{where} is {show(host)} while kong.clientHost is serviceEntry: the mesh has to know each host by its whole "
                "name; set it to one, or kong.clientHost to envoyFilter."
            )
        if host in owners:
            raise SettingsError(
                f"{owners[host]} and {where} are both {show(host)} while kong.clientHost is "
                "serviceEntry: the mesh takes a host to one Service; give each its own, or set kong.clientHost to "
                "envoyFilter."
            )
        owners[host] = where


def _check_observability(settings: Settings, root: Path) -> None:
    observability = settings.observability
    if not observability.prometheus.enabled:
        for name, enabled in (
            ("grafana", observability.grafana.enabled),
            ("kiali", observability.kiali.enabled),
        ):
            if enabled:
                raise SettingsError(
                    f"observability.{name}.enabled is true while observability.prometheus.enabled is false: {name} "
                    "shows what Prometheus holds; switch both on, or both off."
                )
    if observability.prometheus.storage_class and not observability.prometheus.volume:
        raise SettingsError(
            "observability.prometheus.storageClass is set while observability.prometheus.volume is empty: without a "
            "volume there is nothing to store; set volume to a size such as 20Gi, or leave the class out."
        )
    dashboards = observability.grafana.dashboards
    if observability.grafana.enabled and dashboards != "grafana.com" and not list((root / dashboards).glob("*.json")):
        raise SettingsError(
            f"observability.grafana.dashboards is {show(dashboards)}: there is no folder of that name with JSON files "
            "in it; set it to such a folder, or to grafana.com."
        )


def _check_charts(settings: Settings, root: Path) -> None:
    for name, source in settings.charts.items():
        if is_local(source.location):
            check_folder(f"charts.{name}", name, CHARTS[name].version, existing(root, source.location), source.location)
        _check_login(f"charts.{name}", source, root)
    for name, source in (settings.istio.canary.charts if settings.istio.canary else {}).items():
        _check_login(f"istio.canary.charts.{name}", source, root)


def _check_kong_sources(settings: Settings, root: Path) -> None:
    """Raise for a version that a chart's folder has already, and for CRDs that are not there."""
    kong, chart = settings.kong, settings.charts.get("kong")
    if kong.chart_version and chart and not scheme(chart.location):
        raise SettingsError(
            f"kong.chartVersion is {kong.chart_version} while charts.kong is {show(chart.location)}: a folder or archive "
            "has one version; leave kong.chartVersion out."
        )
    if kong.crds not in ("", NOBODYS_CRDS) and not existing(root, kong.crds):
        raise SettingsError(
            f"kong.crds is {show(kong.crds)}: there is no such file or folder; give the path of Kong's CRDs, from the "
            "project's folder, or the word none."
        )


def _check_login(where: str, source: ChartRepository, root: Path) -> None:
    """Raise for a login that Helm would not use."""
    remote = scheme(source.location)
    given = [key for key in ("username", "password", "ca_file") if getattr(source, key)]
    if given and remote not in ("http", "https", "oci"):
        raise SettingsError(
            f"{where}.{to_camel(given[0])} is set while {where}.location is {show(source.location)}: a folder or file "
            "wants no login; leave it out."
        )
    if bool(source.username) != bool(source.password):
        missing = "password" if source.username else "username"
        raise SettingsError(f"{where}.{missing} is missing: a login has both, username and password.")
    if source.ca_file and not _is_certificate(existing(root, source.ca_file)):
        raise SettingsError(
            f"{where}.caFile is {show(source.ca_file)}: there is no file of that name with a certificate as PEM in it; "
            "give the path of one, from the project's folder."
        )
    if source.ca_file and remote != "https" and not source.password:
        raise SettingsError(
            f"{where}.caFile is set for {show(source.location)} without a login: Helm looks at it for https://, and for "
            "oci:// with a username and password; give these, or name the file in the environment variable SSL_CERT_FILE."
        )


def _is_certificate(path: Path | None) -> bool:
    try:
        return path is not None and "-----BEGIN CERTIFICATE-----" in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _check_applications(settings: Settings, root: Path) -> None:
    applications = settings.applications
    for index, application in enumerate(applications):
        where = f"applications[{index}]"
        if application.namespace in RESERVED_NAMESPACES:
            raise SettingsError(
                f"{where}.namespace is {application.namespace}: that one is not the application's; give it its own."
            )
        _check_what_is_deployed(application, where, root)
        if application.route and application.listed_routes:
            raise SettingsError(
                f"{where} has route and routes: keep routes with all of them in it, the one of route first, or route alone."
            )
    for (first, one), (second, other) in itertools.combinations(enumerate(applications), 2):
        for key in ("name", "namespace"):
            if (value := getattr(one, key)) == getattr(other, key):
                raise SettingsError(
                    f"applications[{first}].{key} and applications[{second}].{key} are both {show(value)}: "
                    "give each application its own."
                )
    for index, application in enumerate(applications):
        _check_routes(application, f"applications[{index}]")
    _check_paths(applications)


def _check_what_is_deployed(application: Application, where: str, root: Path) -> None:
    if bool(application.manifests) == bool(application.chart):
        given, do = ("both", "keep one of them") if application.chart else ("none", "give one of them")
        raise SettingsError(f"{where} has {given} of manifests and chart: {do}.")
    if application.chart:
        _check_application_chart(application, application.chart, where, root)
    elif not existing(root, application.manifests):
        raise SettingsError(
            f"{where}.manifests is {show(application.manifests)}: there is no such file or folder; "
            "give the path of the application's YAML, from the project's folder."
        )
    if application.check:
        _check_expectation(application, f"{where}.check")


def _check_expectation(application: Application, where: str) -> None:
    """Raise for a check that would ask for something which is not the application's."""
    path, route = application.check and application.check.path, next(iter(application.routes), None)
    if not route:
        raise SettingsError(f"{where} is set for an application without a route: leave it out, or add one.")
    # What follows is a regular expression.
    if path and not route.path.startswith("/~") and not path.startswith(route.path.rstrip("/")):
        raise SettingsError(
            f"{where}.path is {show(path)}, and the application's first route leads {route.path} there: give a path below that."
        )


def _routes(applications: Sequence[Application]) -> Iterator[tuple[str, Route]]:
    """Yield every route with its full key."""
    for index, application in enumerate(applications):
        for key, route in application.route_keys:
            yield f"applications[{index}].{key}", route


def _check_paths(applications: Sequence[Application]) -> None:
    """Raise where Kong could not tell two routes apart."""
    for (first, one), (second, other) in itertools.combinations(_routes(applications), 2):
        if one.host == other.host and "" != one.certificate != other.certificate != "":
            raise SettingsError(
                f"{first} and {second} are both of the host {one.host}, with the certificates {one.certificate} and "
                f"{other.certificate}: Kong serves one for a host; leave it out of one of them."
            )
        # For Kubernetes, /shop and /shop/ are one path.
        path = one.path.rstrip("/") or "/"
        alike = (one.host, path) == (other.host, other.path.rstrip("/") or "/")
        # Annotations may tell them apart, by method or header.
        if alike and one.annotations == other.annotations:
            raise SettingsError(
                f"{first}.path and {second}.path are both {show(path)}: give each route its own path or host."
            )


def _check_routes(application: Application, where: str) -> None:
    """Raise for routes that cannot be, one by one and beside each other."""
    for key, route in application.route_keys:
        _check_route(route, f"{where}.{key}")
    for (first, one), (second, other) in itertools.combinations(application.route_keys, 2):
        if one.ingress == other.ingress:
            raise SettingsError(
                f"{where}.{first} and {where}.{second} would both have the Ingress {one.ingress}: give one of them a name "
                f"({where}.{second}.name)."
            )
        if one.service == other.service and one.protocol != other.protocol:
            raise SettingsError(
                f"{where}.{first}.protocol is {one.protocol} and {where}.{second}.protocol {other.protocol}, both of the "
                f"Service {one.service}: Kong speaks one protocol with a Service; give it a second Service."
            )
    made = [
        (f"{where}.{key}.plugins[{index}]", plugin)
        for key, route in application.route_keys
        for index, plugin in enumerate(route.plugins)
    ]
    for (first, this), (second, that) in itertools.combinations([entry for entry in made if entry[1].plugin], 2):
        if this.name == that.name:
            raise SettingsError(
                f"{first} and {second} both make the plugin {this.name}: say its plugin and config once, and elsewhere its "
                "name alone."
            )


def _check_route(route: Route, where: str) -> None:
    if route.strip_path and route.protocol in ("grpc", "grpcs"):
        raise SettingsError(
            f"{where}.stripPath is true while {where}.protocol is {route.protocol}: Kong strips no path of gRPC; set it to "
            "false, or leave the path at /."
        )
    if route.issuer and route.cluster_issuer:
        raise SettingsError(f"{where} has issuer and clusterIssuer: keep the one that is to sign the certificate.")
    for key, value in (
        ("tlsSecret", route.tls_secret),
        ("issuer", route.issuer),
        ("clusterIssuer", route.cluster_issuer),
    ):
        if value and not route.host:
            raise SettingsError(
                f"{where}.{key} is {value} without a host: set {where}.host to the name of the certificate."
            )
    for index, plugin in enumerate(route.plugins):
        _check_plugin(plugin, f"{where}.plugins[{index}]")
    for name in route.annotations:
        if name in _OWN_ANNOTATIONS:
            raise SettingsError(
                f"{where}.annotations has {name}, which the stack sets itself: use {_OWN_ANNOTATIONS[name]} for it."
            )


def _check_plugin(plugin: Plugin, where: str) -> None:
    if plugin.config and not plugin.plugin:
        raise SettingsError(
            f"{where} has a config without a plugin: set {where}.plugin to Kong's name of it, such as cors."
        )
    if plugin.name == RATE_LIMIT_PLUGIN or plugin.name.startswith(f"{RATE_LIMIT_PLUGIN}-"):
        raise SettingsError(
            f"{where}.name is {plugin.name}: the stack has such a KongPlugin of its own; use rateLimit, or another name."
        )


def _check_application_chart(application: Application, chart: ApplicationChart, where: str, root: Path) -> None:
    _check_source(chart, f"{where}.chart", root)
    release = chart.release_name or application.name
    if len(release) > _RELEASE_NAME_LENGTH:
        raise SettingsError(
            f"{where}.chart would be the Helm release {release}: Helm takes names of at most {_RELEASE_NAME_LENGTH} "
            f"characters; set {where}.chart.releaseName to a shorter one."
        )
    if application.override_namespace:
        raise SettingsError(
            f"{where}.overrideNamespace is true beside a chart, which says its namespaces itself: leave it out."
        )
    if application.resources:
        raise SettingsError(
            f"{where}.resources is set beside a chart, whose containers the stack does not see: size them by {where}.chart.values."
        )


def _check_source(chart: ApplicationChart, where: str, root: Path) -> None:
    """Raise for a chart that Helm could not find, or that would be another one on another day."""
    repository = chart.repository
    if repository and scheme(repository.location) not in ("http", "https", "oci"):
        raise SettingsError(
            f"{where}.repository is {show(repository.location)}: it must be the URL of a repository (https://…, oci://…); a "
            f"folder or a .tgz file goes into {where}.name."
        )
    if repository and scheme(chart.name) != "":
        raise SettingsError(
            f"{where}.name is {show(chart.name)} beside a repository: give the chart's name in it, or leave {where}.repository out."
        )
    if repository:
        _check_login(f"{where}.repository", repository, root)
    remote = repository or scheme(chart.name) == "oci"
    if remote and not _VERSION.fullmatch(chart.version):
        raise SettingsError(
            f"{where}.version is {show(chart.version)}: it must be one version such as 1.2.3, or each up may install another."
        )
    if not remote:
        _check_local_chart(chart, where, root)


def _check_local_chart(chart: ApplicationChart, where: str, root: Path) -> None:
    path = existing(root, chart.name)
    if not path or (chart_in(path) is None and not (path.is_file() and path.suffix == ".tgz")):
        raise SettingsError(
            f"{where}.name is {show(chart.name)}: there is no readable chart (a folder with a Chart.yaml, or a .tgz file); "
            f"give its path from the project's folder, or set {where}.repository."
        )
    if chart.version:
        raise SettingsError(
            f"{where}.version is {show(chart.version)} beside a folder or a .tgz file, which has a version of its own: leave it out."
        )
