"""The settings as frozen types: every key, its default and its bounds.

The defaults stand in `Pulumi.yaml` as well, for people and for `pulumi config`; a test holds the two together.
The engine puts a whole object in place of a default, so the fields that a stack leaves out come from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from settings.reader import limits, matching, override, private

# The windows of a rate limit, in ascending order.
WINDOWS = ("second", "minute", "hour", "day", "month", "year")

_NAME = matching(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a name of at most 63 small letters, digits and hyphens")
_OPTIONAL_NAME = matching(
    r"|[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "a name of small letters, digits, dots and hyphens, or empty"
)
_LABEL = matching(
    r"|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a name of at most 63 small letters, digits and hyphens, or empty"
)
_PORT = limits(1, 65535)
_SECONDS = limits(1, 3600)
_COUNT = limits(1, 1_000_000_000)


@dataclass(frozen=True, kw_only=True)
class Istio:
    """The mesh."""

    profile: str = "demo"
    mtls: Literal["PERMISSIVE", "STRICT"] = "PERMISSIVE"
    injection: bool = True
    replicas: int = field(default=1, metadata=limits(1, 100))
    resources: dict[str, Any] = field(default_factory=dict)
    cni: bool = False
    ingress_gateway: bool = False
    egress_gateway: bool = False
    ready_timeout_seconds: int = field(default=300, metadata=_SECONDS)
    base_values: dict[str, Any] = field(default_factory=dict)
    istiod_values: dict[str, Any] = field(default_factory=dict)
    cni_values: dict[str, Any] = field(default_factory=dict)
    gateway_values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClientAddress:
    """How Kong learns who calls: `connection` (whoever connects), or through a load balancer in one of three ways."""

    source: Literal["connection", "localTraffic", "proxyProtocol", "forwardedFor"] = "connection"
    trusted_ranges: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tls:
    """A certificate with its key, as PEM. Both are private, as somebody may take one for the other."""

    certificate: str = field(
        metadata={
            **matching(
                r"[\s\S]*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*",
                "a certificate as PEM, from -----BEGIN CERTIFICATE----- on",
            ),
            **private(),
        }
    )
    # Nothing but base64 within: an encrypted key says so there, and nginx has nobody to ask for its passphrase.
    key: str = field(
        repr=False,
        metadata={
            **matching(
                r"[\s\S]*-----BEGIN (RSA |EC )?PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END (RSA |EC )?PRIVATE KEY-----\s*",
                "a key without a passphrase as PEM, from -----BEGIN PRIVATE KEY----- on",
            ),
            **private(),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Kong:
    """The gateway."""

    service_type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    node_port: int = field(default=0, metadata=limits(0, 65535))
    replicas: int = field(default=1, metadata=limits(1, 100))
    resources: dict[str, Any] = field(default_factory=dict)
    controller_resources: dict[str, Any] = field(default_factory=dict)
    source_ranges: tuple[str, ...] = ()
    # The chart names a volume after it, which may not have a dot.
    tls_secret: str = field(default="", metadata=_LABEL)
    tls: Tls | None = field(default=None, metadata=private())
    client_address: ClientAddress = field(default_factory=ClientAddress)
    routing: Literal["mesh", "guide"] = "mesh"
    client_host: Literal["envoyFilter", "serviceEntry", "none"] = "envoyFilter"
    admission_webhook: bool = True
    ready_timeout_seconds: int = field(default=300, metadata=_SECONDS)
    address_timeout_seconds: int = field(default=120, metadata=_SECONDS)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SecretKey:
    """A key in an existing Secret. What it holds must be JSON where Kong's controller reads it: a quoted string."""

    name: str = field(
        metadata=matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "a name of small letters, digits, dots and hyphens")
    )
    key: str = field(
        default="password",
        metadata=matching(r"[-._a-zA-Z0-9]{1,253}", "a name of letters, digits, dots, hyphens and underscores"),
    )


@dataclass(frozen=True, kw_only=True)
class Redis:
    """The store of the rate limit's counters, for the policy `redis`."""

    host: str = ""
    port: int = field(default=6379, metadata=_PORT)
    username: str = ""
    password: str = field(default="", repr=False, metadata=private())
    # Private, as somebody may write the password itself in its place.
    password_secret: SecretKey | None = field(default=None, metadata=private())
    database: int = field(default=0, metadata=limits(0, 65535))
    timeout: int = field(default=2000, metadata=limits(1, 2_147_483_646))
    ssl: bool = False
    ssl_verify: bool = False
    server_name: str = ""


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """The fields of Kong's rate-limiting plugin. None: not said, so that Kong's own default holds."""

    second: int | None = field(default=None, metadata=_COUNT)
    minute: int | None = field(default=None, metadata=_COUNT)
    hour: int | None = field(default=None, metadata=_COUNT)
    day: int | None = field(default=None, metadata=_COUNT)
    month: int | None = field(default=None, metadata=_COUNT)
    year: int | None = field(default=None, metadata=_COUNT)
    limit_by: Literal["consumer", "credential", "ip", "service", "header", "path"] | None = None
    header_name: str | None = None
    path: str | None = field(default=None, metadata=matching(r"/\S*", "a path that starts with /"))
    policy: Literal["local", "redis", "cluster"] = "local"
    redis: Redis | None = field(default=None, metadata=private())
    sync_rate: float | None = field(default=None, metadata=limits(-1, 3600))
    fault_tolerant: bool | None = None
    hide_client_headers: bool | None = None
    error_code: int | None = field(default=None, metadata=limits(100, 599))
    error_message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Route:
    """What Kong sends a path to."""

    service: str = field(metadata=_NAME)
    port: int = field(metadata=_PORT)
    path: str = field(default="/", metadata=matching(r"/\S*", "a path that starts with /"))
    path_type: Literal["ImplementationSpecific", "Prefix", "Exact"] = "ImplementationSpecific"
    host: str = field(
        default="",
        metadata=matching(
            r"|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            "a host name, or empty",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Application:
    """What is deployed into the mesh and routed to through Kong."""

    name: str = field(metadata=_NAME)
    namespace: str = field(metadata=_NAME)
    manifests: str
    route: Route
    resources: dict[str, Any] = field(default_factory=dict)
    rate_limit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """The metrics' store."""

    enabled: bool = True
    retention: str = field(default="15d", metadata=matching(r"\d+(ms|[smhdwy])", "a time such as 15d or 12h"))
    volume: str = field(default="", metadata=matching(r"|\d+(\.\d+)?[KMGTPE]i?", "a size such as 20Gi, or empty"))
    storage_class: str = field(default="", metadata=_OPTIONAL_NAME)
    resources: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Grafana:
    """The dashboards."""

    enabled: bool = True
    anonymous: bool = False
    admin_secret: str = field(default="", metadata=_OPTIONAL_NAME)
    admin_password: str = field(default="", repr=False, metadata=private())
    dashboards: str = "grafana.com"
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Kiali:
    """The graph."""

    enabled: bool = True
    auth: Literal["token", "anonymous"] = "token"
    view_only: bool = True
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observability:
    """Prometheus, Grafana and Kiali."""

    prometheus: Prometheus = field(default_factory=Prometheus)
    grafana: Grafana = field(default_factory=Grafana)
    kiali: Kiali = field(default_factory=Kiali)
    ready_timeout_seconds: int = field(default=600, metadata=_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Security:
    """Who may do what, beyond mutual TLS."""

    pod_security: bool = True
    only_kong_calls: bool = False
    network_policies: bool = False
    protect_namespaces: bool = False
    secret_timeout_seconds: int = field(default=300, metadata=_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Where images are pulled from."""

    registry: str = field(
        default="",
        metadata=matching(r"|(?!\w+://)[a-z0-9][a-z0-9.:/_-]*[a-z0-9]", "a registry's host and path without https://"),
    )
    pull_secrets: tuple[str, ...] = ()
    references: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Checks:
    """The checks of the stack once it is up."""

    enabled: bool = True
    fail_up: bool = False
    load: bool = False
    requests: int = field(default=25, metadata=limits(1, 300))
    reports: str = ""
    istiod_address: str = field(
        default="",
        metadata=matching(
            r"|[^\s:/]+:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])",
            "a host and a port, or empty",
        ),
    )


BOOKINFO = Application(
    name="bookinfo",
    namespace="bookinfo",
    manifests="manifests/bookinfo.yaml",
    route=Route(service="productpage", port=9080),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one stack: one field for each key that `Pulumi.yaml` declares."""

    kubeconfig: str = ""
    kube_context: str = ""
    sandbox: bool = False
    keep_definitions: bool = False
    istio: Istio = field(default_factory=Istio)
    kong: Kong = field(default_factory=Kong)
    applications: tuple[Application, ...] = (BOOKINFO,)
    rate_limit: RateLimit = field(default_factory=lambda: RateLimit(minute=30))
    observability: Observability = field(default_factory=Observability)
    security: Security = field(default_factory=Security)
    checks: Checks = field(default_factory=Checks)
    charts: dict[str, str] = field(default_factory=dict)
    images: Images = field(default_factory=Images)

    def limit_of(self, application: Application) -> RateLimit:
        """Return the limit in force for an application: the stack's, with the application's own fields over it.

        An application that names any window keeps only its own windows: "100 an hour" does not stay "30 a minute".
        """
        own = application.rate_limit
        if any(name in own for name in WINDOWS):
            base = replace(self.rate_limit, second=None, minute=None, hour=None, day=None, month=None, year=None)
        else:
            base = self.rate_limit
        return override(base, own, f"applications[{self.applications.index(application)}].rateLimit")
