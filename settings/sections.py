"""Every setting: its key (in camelCase), its type and bounds, its default, and what it means.

One class for each key with fields. This is where a new field goes, and the only place: `docs/settings.md` and the
declarations in `Pulumi.yaml` are written from here by `python -m settings.generate`. What a field may hold, `kinds` has;
what cannot go together, `cross_checks`. A field of the kind `Password` is refused in plain text.

The engine puts a whole object in place of a default, so the fields that a stack leaves out come from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, FieldSerializationInfo, field_serializer, model_validator
from pydantic_core import PydanticCustomError

from names import IN_CLUSTER, INGRESS_CLASS, RATE_LIMIT_PLUGIN
from settings.kinds import (
    SHORT_LOCATION,
    AddressRange,
    Annotations,
    Certificate,
    ChartLocation,
    ChartValues,
    DataKey,
    Duration,
    FreeForm,
    Hidden,
    HostAndPort,
    HostName,
    Label,
    ListOf,
    Name,
    NamespaceName,
    OptionalLabel,
    OptionalName,
    OptionalPort,
    OptionalRelease,
    OptionalRevision,
    OptionalStatus,
    OptionalText,
    OptionalUrlPath,
    OptionalVersion,
    Password,
    Port,
    PortOrZero,
    PrivateKey,
    Registry,
    ReleaseVersion,
    Replicas,
    Requests,
    Resources,
    Seconds,
    SecretName,
    Section,
    Selector,
    Size,
    StackName,
    Text,
    UrlPath,
    Version,
    by_chart,
)

S = TypeVar("S", bound=Section)

# The windows of a rate limit, in ascending order.
WINDOWS = ("second", "minute", "hour", "day", "month", "year")

# In place of a path: Kong's CRDs are not the stack's.
NOBODYS_CRDS = "none"

# Keys of former releases, with their names of today.
RENAMED = {"keepDefinitions": "keepCrds"}


def _resources(whose: str) -> str:
    return f"`requests` and `limits`, as Kubernetes has them, of {whose}; empty for the chart's own."


def _values(chart: str) -> str:
    return f"Further values of the chart {chart}, laid over the stack's own."


def _ready(what: str) -> str:
    return f"How long {what} may take to be ready, in seconds."


class ChartRepository(Section):
    """Where a chart comes from. Its location alone may take the place of the object."""

    location: ChartLocation = Field(
        description="A repository URL (https://…), an OCI reference (oci://…) or a folder or .tgz file."
    )
    # It goes with its password wherever that is left out.
    username: Annotated[str, FreeForm()] = Field(
        default="", description="Of a repository or registry that wants a login."
    )
    password: Password = Field(default="", description="A secret of the stack: plain text is refused.")
    ca_file: str = Field(
        default="", description="A file with the certificate, as PEM, of the authority that signed the repository's."
    )


class Canary(Section):
    """A second control plane beside the stable one, to move namespaces to one at a time."""

    version: ReleaseVersion = Field(
        description="Of the charts istiod and base, such as 1.31.0: at most two minors newer."
    )
    revision: OptionalRevision = Field(
        default="", description="Istio's name of it; empty for the version with hyphens, such as 1-31-0."
    )
    namespaces: ListOf[NamespaceName] = Field(
        default=(), description="The stack's namespaces that are on it; the others are on the stable one."
    )
    istiod_values: ChartValues = Field(
        default={}, description="Further values of its chart, over `istio.istiodValues`."
    )
    charts: Annotated[dict[str, ChartRepository], by_chart(ChartRepository, "base", "istiod")] = Field(
        default={}, description="Where base and istiod of that version come from, if not from where `charts` says."
    )


class Istio(Section):
    """The mesh."""

    version: OptionalRelease = Field(
        default="",
        description="Of Istio's charts, such as 1.31.0; empty for the tested one. Another one upgrades in place.",
    )
    revision: OptionalRevision = Field(
        default="", description="Of the stable control plane; empty for Istio's default one. A canary changes it."
    )
    canary: Canary | None = None
    tags: dict[str, Literal["stable", "canary"]] = Field(
        default={},
        description=(
            "Revision tags for namespaces that the stack does not own (`istio.io/rev=<tag>`): `stable` or `canary` for each."
        ),
    )
    profile: str = Field(
        default="demo", description="`ambient`, `demo`, `preview`, `stable` as Istio's charts have them, or empty."
    )
    mtls: Literal["PERMISSIVE", "STRICT"] = Field(
        default="PERMISSIVE",
        description="For the whole mesh: whether plain text is taken (`PERMISSIVE`) or refused (`STRICT`).",
    )
    injection: bool = Field(
        default=True,
        description="`false` where nothing injects sidecars: only a cluster without istiod's webhook.",
    )
    replicas: Replicas = Field(
        default=1, description="Of istiod. Several are spread, and a disruption budget keeps one."
    )
    resources: Resources = Field(default={}, description=_resources("istiod"))
    cni: bool = Field(
        default=False,
        description="Redirect traffic by istio-cni, a DaemonSet, so that pods of the mesh need no privileges.",
    )
    ingress_gateway: bool = Field(
        default=False, description="Istio's own ingress gateway, as istioctl's demo profile has it."
    )
    egress_gateway: bool = Field(
        default=False, description="Istio's own egress gateway, as istioctl's demo profile has it."
    )
    ready_timeout_seconds: Seconds = Field(default=300, description=_ready("istiod"))
    base_values: ChartValues = Field(default={}, description=_values("base"))
    istiod_values: ChartValues = Field(default={}, description=_values("istiod"))
    cni_values: ChartValues = Field(default={}, description=_values("cni"))
    gateway_values: ChartValues = Field(default={}, description=_values("gateway, for both gateways"))


class ClientAddress(Section):
    """How Kong learns who calls: `connection` (whoever connects), or through a load balancer, which tells it in one of three forms."""

    source: Literal["connection", "localTraffic", "proxyProtocol", "forwardedFor"] = Field(
        default="connection",
        description=(
            "How Kong learns who calls: from the `connection`; `localTraffic`: the load balancer keeps addresses; "
            "`proxyProtocol` or `forwardedFor`: somebody in the trusted ranges says so."
        ),
    )
    trusted_ranges: ListOf[AddressRange] = Field(
        default=(), description="Whose word counts, for the last two of these."
    )


class Tls(Section):
    """A certificate with its key, which the stack makes a Secret of."""

    certificate: Certificate = Field(
        description="In place of it, the certificate that the stack makes such a Secret of, as PEM, with its chain."
    )
    key: PrivateKey = Field(description="Its key, as PEM. A secret of the stack: plain text is refused.")


class Kong(Section):
    """The gateway."""

    service_type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = Field(
        default="LoadBalancer", description="How Kong's proxy is reached."
    )
    node_port: PortOrZero = Field(
        default=0, description="A fixed port, 30000 to 32767, for `NodePort`; 0 to have one given."
    )
    proxy_address: HostAndPort = Field(
        default="",
        description=(
            "Where clients reach Kong's plain port, as host:port, where neither its Service nor a node says so, such as a mapped "
            "port of a cluster in containers; empty: by the Service."
        ),
    )
    replicas: Replicas = Field(
        default=1,
        description=(
            "Of Kong. Several are spread, and a disruption budget keeps one; the limit then has to count in redis."
        ),
    )
    resources: Resources = Field(default={}, description=_resources("the proxy"))
    controller_resources: Resources = Field(default={}, description=_resources("the controller"))
    source_ranges: ListOf[AddressRange] = Field(
        default=(), description="Who may reach the load balancer, such as `203.0.113.0/24`; empty for everyone."
    )
    # The chart names a volume after it, which may not have a dot.
    tls_secret: OptionalLabel = Field(
        default="",
        description="A Secret in kong-istio with `tls.crt` and `tls.key`, which the proxy serves; an `up` waits for it.",
    )
    tls: Annotated[Tls | None, Hidden()] = None
    client_address: ClientAddress = ClientAddress()
    internal: bool = Field(
        default=False,
        description="A load balancer that only the cloud's own network reaches, on AWS, Google Cloud and Azure.",
    )
    annotations: Annotations = Field(
        default={}, description="Of the proxy's Service: what a cloud's load balancer reads."
    )
    ingress_class: Label = Field(
        default=INGRESS_CLASS,
        description="The IngressClass that this Kong serves; another one beside a Kong that has `kong`.",
    )
    routing: Literal["mesh", "guide"] = Field(
        default="mesh",
        description=(
            "`mesh`: Kong calls Services, and its sidecar encrypts; `guide`: it calls pods, which bypasses the mesh."
        ),
    )
    client_host: Literal["envoyFilter", "serviceEntry", "none"] = Field(
        default="envoyFilter",
        description=(
            "What brings the client's Host to applications through the mesh: an `envoyFilter` (every host), a "
            "`serviceEntry` (only `route.host`), or `none`: they see the Service's name. [More](client-host.md)."
        ),
    )
    admission_webhook: bool = Field(default=True, description="Kong checks its resources before they are stored.")
    ready_timeout_seconds: Seconds = Field(
        default=300, description="How long Kong may take to be ready, and then each route to be served, in seconds."
    )
    address_timeout_seconds: Seconds = Field(
        default=120, description="How long a load balancer may take to have an address, in seconds."
    )
    version: OptionalVersion = Field(
        default="", description="Of the proxy's image; empty for that of `versions.py`. [More](upgrade.md#kong)."
    )
    controller_version: OptionalVersion = Field(
        default="", description="Of the controller's image; empty for that of `versions.py`."
    )
    chart_version: OptionalVersion = Field(
        default="", description="Of the chart kong in a repository; empty for that of `versions.py`."
    )
    crds: str = Field(
        default="",
        description=(
            "A file or folder with Kong's CRDs, in place of `manifests/kong/crds.yaml`; `none` where somebody else "
            "installs them."
        ),
    )
    values: ChartValues = Field(default={}, description=_values("kong"))


class SecretKey(Section):
    """A key in an existing Secret. What it holds must be JSON where Kong's controller reads it: a quoted string."""

    name: Name = Field(description="In place of it, a Secret in the application's namespace, which an `up` waits for.")
    key: DataKey = Field(
        default="password",
        description="The key in it. It holds JSON: the password with double quotes around it.",
    )


class Redis(Section):
    """The store of the rate limit's counters, for the policy `redis`."""

    host: Text = Field(default="", description="An existing redis; the stack deploys none.")
    port: Port = Field(default=6379, description="Its port.")
    username: Text = Field(default="", description="Empty for redis' default user.")
    password: Password = Field(default="", description="A secret of the stack: plain text is refused.")
    password_secret: Annotated[SecretKey | None, Hidden()] = None
    database: int = Field(default=0, ge=0, le=65535, description="Number of the database.")
    timeout: int = Field(default=2000, ge=1, le=2_147_483_646, description="In milliseconds.")
    ssl: bool = Field(default=False, description="Speak TLS with it.")
    ssl_verify: bool = Field(default=False, description="Check its certificate.")
    server_name: Text = Field(default="", description="The name that the certificate is for.")


class RateLimit(Section):
    """Kong's rate-limiting plugin on every application's route. A field that is not said has Kong's own default."""

    second: Requests = Field(default=None, description="Requests in a second.")
    minute: Requests = Field(
        default=None, description="Requests in a minute; 30 while the stack says nothing of `rateLimit`."
    )
    hour: Requests = Field(default=None, description="Requests in an hour.")
    day: Requests = Field(default=None, description="Requests in a day.")
    month: Requests = Field(default=None, description="Requests in a month.")
    year: Requests = Field(default=None, description="Requests in a year.")
    limit_by: Literal["consumer", "credential", "ip", "service", "header", "path"] | None = Field(
        default=None,
        description="What is counted for itself; Kong's default is the consumer, and without one the address.",
    )
    header_name: OptionalText = Field(default=None, description="The header, for `header`.")
    path: OptionalUrlPath = Field(default=None, description="The path, for `path`.")
    policy: Literal["local", "redis", "cluster"] = Field(
        default="local",
        description=(
            "Where is counted: in each Kong (`local`) or in `redis`. `cluster` is refused: it needs a database."
        ),
    )
    redis: Annotated[Redis | None, Hidden()] = None
    sync_rate: float | None = Field(
        default=None,
        ge=-1,
        le=3600,
        allow_inf_nan=False,
        description="Seconds between counting in redis; -1 to count there at once.",
    )
    fault_tolerant: bool | None = Field(default=None, description="Let requests pass while redis does not answer.")
    hide_client_headers: bool | None = Field(default=None, description="Do not tell callers how much is left.")
    error_code: int | None = Field(default=None, ge=100, le=599, description="What a refused call gets.")
    error_message: OptionalText = Field(default=None, description="And what it reads.")

    @property
    def windows(self) -> dict[str, int]:
        """The windows that have a limit, the shortest first."""
        return {window: requests for window in WINDOWS if (requests := getattr(self, window)) is not None}


def _limit_or_none(given: Any) -> Any:
    if given is None:
        # What an empty key leaves behind: no limit at all has to be said.
        raise PydanticCustomError("must_be", "an object, or the word none")
    return None if given == "none" else given


LimitOrNone = Annotated[RateLimit | None, BeforeValidator(_limit_or_none)]


class Plugin(Section):
    """One of Kong's plugins on a route: by its name alone where the manifests define it."""

    name: Name = Field(description="Of a KongPlugin or KongClusterPlugin; an entry that is text is this name.")
    plugin: str = Field(
        default="",
        description="Kong's own name of it, such as `cors`, to have the stack make the KongPlugin; empty: the manifests do.",
    )
    config: ChartValues = Field(
        default={},
        description="Its configuration, in Kong's spelling; kept in a Secret where something in it is encrypted.",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class Route(Section):
    """What Kong sends a path to."""

    name: OptionalLabel = Field(
        default="", description="Of its Ingress; empty for the Service's. Two routes to one Service need two names."
    )
    service: Label = Field(description="The Service that Kong sends the path to.")
    port: Port = Field(description="Of that Service.")
    host: HostName = Field(default="", description="For which host name; empty for all.")
    path: UrlPath = Field(default="/", description="What Kong sends there.")
    path_type: Literal["ImplementationSpecific", "Prefix", "Exact"] = Field(
        default="ImplementationSpecific", description="How the path is compared."
    )
    strip_path: bool = Field(default=False, description="The application sees what follows the path, not the path.")
    protocol: Literal["http", "https", "grpc", "grpcs"] = Field(
        default="http",
        description="What the Service speaks. WebSockets are `http`. Kong takes gRPC over TLS alone, at its port 443.",
    )
    https: Literal["optional", "redirect", "only"] = Field(
        default="optional",
        description="What plain HTTP gets: the application (`optional`), a 308 to HTTPS (`redirect`), a 426 (`only`).",
    )
    tls_secret: OptionalName = Field(
        default="",
        description=(
            "A Secret in the application's namespace with `tls.crt` and `tls.key` for the host: an `up` waits for it, or "
            "cert-manager makes it; empty for Kong's certificate, or with an issuer for `<name>-tls`."
        ),
    )
    issuer: OptionalName = Field(default="", description="cert-manager's Issuer of the certificate, in that namespace.")
    cluster_issuer: OptionalName = Field(default="", description="Or cert-manager's ClusterIssuer.")
    plugins: ListOf[Plugin] = ()
    annotations: Annotations = Field(
        default={}, description="Further annotations of the Ingress, such as `konghq.com/methods`."
    )
    rate_limit: LimitOrNone = Field(
        default=RateLimit(),
        description="Fields that differ from the application's; one with any window keeps only its own; `none`: no limit.",
    )

    @field_serializer("rate_limit")
    def _what_differs(self, limit: RateLimit | None, info: FieldSerializationInfo) -> Any:
        return "none" if limit is None else limit.model_dump(by_alias=info.by_alias, exclude_unset=True)

    @property
    def ingress(self) -> str:
        """The name of its Ingress, which no other route of the application has."""
        return self.name or self.service

    @property
    def narrowed(self) -> bool:
        """Whether its annotations keep it for requests that a plain GET is none of."""
        methods = self.annotations.get("konghq.com/methods", "GET").upper().split(",")
        others = any(name.startswith(("konghq.com/headers.", "konghq.com/snis")) for name in self.annotations)
        return others or "GET" not in [method.strip() for method in methods]

    @property
    def certificate(self) -> str:
        """The Secret with its certificate, which somebody gives or cert-manager makes; empty where Kong's own serves."""
        return self.tls_secret or (f"{self.ingress}-tls" if self.issuer or self.cluster_issuer else "")

    @property
    def speaks_tls(self) -> bool:
        """Whether Kong speaks TLS with its Service, which sidecars cannot read."""
        return self.protocol in ("https", "grpcs")

    @property
    def limit_plugin(self) -> str:
        """The name of the KongPlugin that limits it: the application's or its own; empty for none."""
        if self.rate_limit is None:
            return ""
        return f"{RATE_LIMIT_PLUGIN}-{self.ingress}" if self.has_own_limit else RATE_LIMIT_PLUGIN

    @property
    def has_own_limit(self) -> bool:
        """Whether it differs from the application's limit."""
        return self.rate_limit is not None and bool(self.rate_limit.model_fields_set)


class ChartService(Section):
    """A Service that an application's chart makes, as far as the stack has to know it to guard its pods."""

    name: Label = Field(description="Of the Service.")
    selector: Selector = Field(description="The labels of its pods.")
    target_port: OptionalPort = Field(default=None, description="The pods' port; empty where it is the Service's.")


class ApplicationChart(Section):
    """A Helm chart, in place of manifests."""

    name: str = Field(
        description="Its name in the repository; without one an OCI reference (`oci://…`), a folder or a .tgz file."
    )
    repository: Annotated[ChartRepository | None, SHORT_LOCATION] = Field(
        default=None, description="Of charts: a location, or an object with a login as in `charts`."
    )
    version: str = Field(default="", description="The one to install; only a folder or a .tgz file goes without.")
    release_name: OptionalLabel = Field(default="", description="Of the Helm release; empty for the application's.")
    values: ChartValues = Field(default={}, description="Of the chart.")
    timeout_seconds: Seconds = Field(default=600, description=_ready("what the chart makes"))
    services: ListOf[ChartService] = ()


class ApplicationCheck(Section):
    """What the checks expect of an application."""

    path: OptionalUrlPath = Field(default=None, description="What they ask for; without it the route's path.")
    status: OptionalStatus = Field(
        default=None, description="The answer's, such as 302 or 401; without it any below 500 that Kong did not make."
    )
    contains: str = Field(default="", description="Text that the answer has.")


class Application(Section):
    """What is deployed into the mesh and routed to through Kong; each application has a namespace of its own."""

    name: Label = Field(description="In place of BookInfo, which is the default. Names its resources in the stack.")
    namespace: Label = Field(description="Its own, created by the stack.")
    manifests: str = Field(
        default="",
        description="A file of YAML or JSON, a folder of them, or one with a kustomization; or else `chart`.",
    )
    override_namespace: bool = Field(
        default=False,
        description=(
            "Objects of the manifests that name another namespace, such as `default`, are moved to this one, with what "
            "refers to it."
        ),
    )
    chart: ApplicationChart | None = None
    listed_routes: ListOf[Route] = Field(
        default=(), alias="routes", description="What Kong sends there; an application without HTTP has none."
    )
    route: Route | None = Field(default=None, description="In place of `routes`: the only one of them.")
    resources: Resources = Field(
        default={}, description="Requests and limits of each container that has none in the manifests."
    )
    check: ApplicationCheck | None = None
    rate_limit: RateLimit = Field(
        default=RateLimit(),
        description="Fields that differ from the key `rateLimit`; one with any window keeps only its own.",
    )

    @field_serializer("rate_limit")
    def _what_differs(self, limit: RateLimit, info: FieldSerializationInfo) -> dict[str, Any]:
        return limit.model_dump(by_alias=info.by_alias, exclude_unset=True)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Its routes, whichever way the settings say them."""
        return (self.route,) if self.route else self.listed_routes

    @property
    def route_keys(self) -> tuple[tuple[str, Route], ...]:
        """Its routes, each with its key in the settings: `route`, or `routes[0]` and so on."""
        if self.route:
            return (("route", self.route),)
        return tuple((f"routes[{index}]", route) for index, route in enumerate(self.listed_routes))


class Prometheus(Section):
    """The metrics' store."""

    enabled: bool = Field(default=True, description="Install Prometheus.")
    retention: Duration = Field(default="15d", description="How long metrics are kept.")
    volume: Size = Field(
        default="", description="Its size, such as `20Gi`, to keep metrics over restarts; empty for none."
    )
    storage_class: OptionalName = Field(default="", description="Of that volume; empty for the cluster's default.")
    resources: Resources = Field(default={}, description=_resources("Prometheus"))
    values: ChartValues = Field(default={}, description=_values("prometheus"))


class Grafana(Section):
    """The dashboards."""

    enabled: bool = Field(default=True, description="Install Grafana.")
    anonymous: bool = Field(default=False, description="Everyone may view, without a login.")
    admin_secret: OptionalName = Field(
        default="",
        description=(
            "A Secret in istio-system with `admin-user` and `admin-password`, which an `up` waits for; empty to have one "
            "created."
        ),
    )
    admin_password: Password = Field(
        default="",
        description=(
            "Of `admin`, in the Secret that is created; empty for a random one. A secret of the stack: plain text is refused."
        ),
    )
    password_version: Version = Field(
        default=1, description="Another number makes another random password, or has Grafana read `adminSecret` again."
    )
    dashboards: str = Field(default="grafana.com", description="`grafana.com`, or a folder of JSON files.")
    values: ChartValues = Field(default={}, description=_values("grafana"))


class Kiali(Section):
    """The graph."""

    enabled: bool = Field(default=True, description="Install Kiali.")
    auth: Literal["token", "anonymous"] = Field(default="token", description="Log in with a token, or not at all.")
    signing_key_version: Version = Field(
        default=1, description="Another number makes another random key, by which Kiali signs sessions."
    )
    view_only: bool = Field(default=True, description="Nobody changes anything through it.")
    values: ChartValues = Field(default={}, description=_values("kiali-server"))


class Observability(Section):
    """Prometheus, Grafana and Kiali in istio-system, each with a switch."""

    prometheus: Prometheus = Prometheus()
    grafana: Grafana = Grafana()
    kiali: Kiali = Kiali()
    ready_timeout_seconds: Seconds = Field(default=600, description=_ready("each of the three"))


class Security(Section):
    """Who may do what, beyond mutual TLS."""

    pod_security: bool = Field(
        default=True,
        description="Every namespace enforces the strictest Pod Security level that its pods pass, and warns at restricted.",
    )
    only_kong_calls: bool = Field(
        default=False, description="An AuthorizationPolicy: nothing but Kong may call a routed Service."
    )
    network_policies: bool = Field(
        default=False, description="Pods accept connections only from where they are needed."
    )
    protect_namespaces: bool = Field(
        default=False,
        description=(
            "The preview of a destroy, or of a change that removes or replaces a namespace, fails: set it to false in an "
            "`up` of its own first. Without a preview, all but the namespaces would go."
        ),
    )
    secret_timeout_seconds: Seconds = Field(
        default=300, description="How long an `up` waits for each Secret that settings name, in seconds."
    )


class Checks(Section):
    """The checks of the stack once it is up."""

    enabled: bool = Field(default=True, description="Check the stack once it is up.")
    fail_up: bool = Field(
        default=False,
        description=(
            "A check that fails fails the `up`, which then has no outputs; else it is a warning, and stands in the output "
            "`checks`."
        ),
    )
    load: bool = Field(
        default=False,
        description="Also those that send load or create something; not for stacks that serve users.",
    )
    requests: int = Field(default=25, ge=1, le=300, description="How many make up the traffic.")
    reports: str = Field(default="", description="A folder for a page, JUnit XML and JSON; empty for none.")
    istiod_address: HostAndPort = Field(
        default="", description="Where istiod's plain-text discovery port answers; empty: by a port-forward."
    )


class Images(Section):
    """Where images are pulled from."""

    registry: Registry = Field(
        default="",
        description=(
            "Host and path of a mirror that holds every image under its own path (`docker.io/library/kong` "
            "becomes `<registry>/library/kong`); empty for none."
        ),
    )
    pull_secrets: ListOf[SecretName] = Field(
        default=(),
        description="Names of Secrets that open registries; an `up` waits for each in every namespace that pulls.",
    )
    references: dict[str, Any] = Field(
        default={},
        description="Image without tag: the whole reference to pull in place of it, with a tag or a digest.",
    )


BOOKINFO = Application(
    name="bookinfo",
    namespace="bookinfo",
    manifests="manifests/bookinfo.yaml",
    route=Route(service="productpage", port=9080),
)


class KubeconfigFrom(Section):
    """Another stack that tells the kubeconfig."""

    stack: StackName = Field(
        default="",
        description="In place of `kubeconfig`: the stack that makes the cluster, as organization/project/stack; empty for none.",
    )
    output: str = Field(default="kubeconfig", description="Its output that holds the content of a kubeconfig.")


class Settings(Section):
    """All settings of one stack: one field for each key that `Pulumi.yaml` declares."""

    kubeconfig: Text = Field(
        default="",
        description=(
            "Path of the kubeconfig file, absolute, from the home folder (~/…) or from this folder; or its content, "
            "encrypted; or `in-cluster`, the service account of the pod that Pulumi runs in. Empty: what kubectl would read "
            "($KUBECONFIG, else ~/.kube/config)."
        ),
    )
    kubeconfig_from: KubeconfigFrom = KubeconfigFrom()
    kube_context: str = Field(
        default="",
        description=(
            "Name of the kubeconfig context to deploy to. Never guessed: an `up` refuses while it is empty, whatever the "
            "current context is."
        ),
    )
    sandbox: bool = Field(
        default=False, description="This stack takes no cluster but the sandbox's own (python -m sandbox up)."
    )
    keep_crds: bool = Field(
        default=False,
        description=(
            "Leave Istio's and Kong's CRDs in the cluster when the stack is destroyed. Without it they go, save those "
            "that somebody still has objects of."
        ),
    )
    istio: Istio = Istio()
    kong: Kong = Kong()
    applications: ListOf[Application] = (BOOKINFO,)
    rate_limit: RateLimit = RateLimit(minute=30)
    observability: Observability = Observability()
    security: Security = Security()
    checks: Checks = Checks()
    charts: Annotated[dict[str, ChartRepository], by_chart(ChartRepository)] = Field(
        default={},
        description=(
            "Where a chart comes from, if not from its public repository: base, istiod, gateway, cni, kong, prometheus, "
            "grafana, kiali-server, each a location or an object with a login. [More](air-gapped.md#charts-and-dashboards)."
        ),
    )
    images: Images = Images()

    @property
    def context(self) -> str:
        """The name of the context; of a pod's service account there is only one."""
        return self.kube_context or (IN_CLUSTER if self.kubeconfig == IN_CLUSTER else "")

    def limit_of(self, application: Application) -> RateLimit:
        """Return the limit in force for an application: the stack's, with the application's own fields over it."""
        return _limited(self.rate_limit, application.rate_limit)

    def limit_on(self, application: Application, route: Route) -> RateLimit | None:
        """Return the limit in force for one of its routes: the application's, with the route's over it; None for none."""
        return None if route.rate_limit is None else _limited(self.limit_of(application), route.rate_limit)

    def limits_of(self, application: Application) -> list[RateLimit]:
        """Return the limits in force on an application's routes."""
        found = [self.limit_on(application, route) for route in application.routes]
        return [limit for limit in found if limit]


def _limited(base: RateLimit, own: RateLimit) -> RateLimit:
    """Return a limit with the fields that differ from it.

    Who names any window keeps only its own windows: "100 an hour" does not stay "30 a minute".
    """
    names_a_window = not own.model_fields_set.isdisjoint(WINDOWS)
    return _overridden(base.model_copy(update=dict.fromkeys(WINDOWS)) if names_a_window else base, own)


def _overridden(base: S, own: S) -> S:
    """Return `base` with the fields that `own` was given in place of its own, section by section."""
    changes: dict[str, Any] = {}
    for name in own.model_fields_set:
        before, value = getattr(base, name), getattr(own, name)
        both = isinstance(before, Section) and isinstance(value, Section)
        changes[name] = _overridden(before, value) if both else value
    return base.model_copy(update=changes)
