"""`python -m settings.table` writes `docs/settings.md`: every setting with its type, default and meaning.

Keys, types, bounds and defaults come from the model; so does what a key with fields is about, as its class says. What a
plain key means is read from `Pulumi.yaml`, and what a field means stands here. A test sees that no field lacks a meaning,
and that the page is current.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from settings.model import Settings
from settings.reader import camel, join

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"

_RESOURCES = "`requests` and `limits`, as Kubernetes has them, of {}; empty for the chart's own."
_VALUES = "Further values of the chart {}, laid over the stack's own."
_READY = "How long {} may take to be ready, in seconds."

MEANINGS: dict[str, str] = {
    "istio.profile": "One of the istiod chart's profiles, or empty.",
    "istio.mtls": "For the whole mesh: whether plain text is taken (`PERMISSIVE`) or refused (`STRICT`).",
    "istio.injection": "`false` where nothing injects sidecars: only a cluster without istiod's webhook.",
    "istio.replicas": "Of istiod. Several are spread, and a disruption budget keeps one.",
    "istio.resources": _RESOURCES.format("istiod"),
    "istio.cni": "Set up traffic redirection by a node agent, so that pods of the mesh need no privileges.",
    "istio.ingressGateway": "Istio's own ingress gateway, as istioctl's demo profile has it.",
    "istio.egressGateway": "Istio's own egress gateway, as istioctl's demo profile has it.",
    "istio.readyTimeoutSeconds": _READY.format("istiod"),
    "istio.baseValues": _VALUES.format("base"),
    "istio.istiodValues": _VALUES.format("istiod"),
    "istio.cniValues": _VALUES.format("cni"),
    "istio.gatewayValues": _VALUES.format("gateway, for both gateways"),
    "kong.serviceType": "How Kong's proxy is reached.",
    "kong.nodePort": "A fixed port, 30000 to 32767, for `NodePort`; 0 to have one given.",
    "kong.replicas": "Of Kong. Several are spread, and a disruption budget keeps one; the limit then has to count in redis.",
    "kong.resources": _RESOURCES.format("the proxy"),
    "kong.controllerResources": _RESOURCES.format("the controller"),
    "kong.sourceRanges": "Who may reach the load balancer, such as `203.0.113.0/24`; empty for everyone.",
    "kong.tlsSecret": "A Secret in kong-istio with `tls.crt` and `tls.key`, which the proxy serves; an `up` waits for it.",
    "kong.tls.certificate": "In place of it, the certificate that the stack makes such a Secret of, as PEM, with its chain.",
    "kong.tls.key": "Its key, as PEM. A secret of the stack: plain text is refused.",
    "kong.clientAddress.source": (
        "How Kong learns who calls: from the `connection`; `localTraffic`: the load balancer keeps addresses; "
        "`proxyProtocol` or `forwardedFor`: somebody in the trusted ranges says so."
    ),
    "kong.clientAddress.trustedRanges": "Whose word counts, for the last two of these.",
    "kong.routing": "`mesh`: Kong calls Services, and its sidecar encrypts; `guide`: it calls pods, round the mesh.",
    "kong.clientHost": (
        "What brings the client's Host to applications through the mesh: an `envoyFilter` (every host), a `serviceEntry` "
        "(only `route.host`), or `none`: they see the Service's name. [More](client-host.md)."
    ),
    "kong.admissionWebhook": "Kong checks its resources before they are stored.",
    "kong.readyTimeoutSeconds": "How long Kong may take to be ready, and then each route to be served, in seconds.",
    "kong.addressTimeoutSeconds": "How long a load balancer may take to have an address, in seconds.",
    "kong.values": _VALUES.format("kong"),
    "applications[].name": "In place of BookInfo, which is the default. Names its resources in the stack.",
    "applications[].namespace": "Its own, made by the stack.",
    "applications[].manifests": "A file of YAML or JSON, a folder of them, or one with a kustomization.",
    "applications[].route.service": "The Service that Kong sends the path to.",
    "applications[].route.port": "Of that Service.",
    "applications[].route.path": "What Kong sends there.",
    "applications[].route.pathType": "How the path is compared.",
    "applications[].route.host": "For which host name; empty for all.",
    "applications[].resources": "Requests and limits of each container that has none in the manifests.",
    "applications[].rateLimit": "Fields that differ from the key `rateLimit`; one with any window keeps only its own.",
    "rateLimit.second": "Requests in a second.",
    "rateLimit.minute": "Requests in a minute; 30 while the stack says nothing of `rateLimit`.",
    "rateLimit.hour": "Requests in an hour.",
    "rateLimit.day": "Requests in a day.",
    "rateLimit.month": "Requests in a month.",
    "rateLimit.year": "Requests in a year.",
    "rateLimit.limitBy": "What is counted for itself; Kong's default is the consumer, and without one the address.",
    "rateLimit.headerName": "The header, for `header`.",
    "rateLimit.path": "The path, for `path`.",
    "rateLimit.policy": "Where is counted: in each Kong (`local`) or in `redis`. `cluster` is refused: it needs a database.",
    "rateLimit.redis.host": "An existing redis; the stack deploys none.",
    "rateLimit.redis.port": "Its port.",
    "rateLimit.redis.username": "Empty for redis' default user.",
    "rateLimit.redis.password": "A secret of the stack: plain text is refused.",
    "rateLimit.redis.passwordSecret.name": "In place of it, a Secret in the application's namespace, which an `up` waits for.",
    "rateLimit.redis.passwordSecret.key": "The key in it. It holds JSON: the password with double quotes around it.",
    "rateLimit.redis.database": "Number of the database.",
    "rateLimit.redis.timeout": "In milliseconds.",
    "rateLimit.redis.ssl": "Speak TLS with it.",
    "rateLimit.redis.sslVerify": "Check its certificate.",
    "rateLimit.redis.serverName": "The name that the certificate is for.",
    "rateLimit.syncRate": "Seconds between counting in redis; -1 to count there at once.",
    "rateLimit.faultTolerant": "Let requests pass while redis does not answer.",
    "rateLimit.hideClientHeaders": "Do not tell callers how much is left.",
    "rateLimit.errorCode": "What a refused call gets.",
    "rateLimit.errorMessage": "And what it reads.",
    "observability.prometheus.enabled": "Install Prometheus.",
    "observability.prometheus.retention": "How long metrics are kept.",
    "observability.prometheus.volume": "Its size, such as `20Gi`, to keep metrics over restarts; empty for none.",
    "observability.prometheus.storageClass": "Of that volume; empty for the cluster's default.",
    "observability.prometheus.resources": _RESOURCES.format("Prometheus"),
    "observability.prometheus.values": _VALUES.format("prometheus"),
    "observability.grafana.enabled": "Install Grafana.",
    "observability.grafana.anonymous": "Everyone may view, without a login.",
    "observability.grafana.adminSecret": (
        "A Secret in istio-system with `admin-user` and `admin-password`, which an `up` waits for; empty to have one made."
    ),
    "observability.grafana.adminPassword": (
        "Of `admin`, in the Secret that is made; empty for a random one. A secret of the stack: plain text is refused."
    ),
    "observability.grafana.dashboards": "`grafana.com`, or a folder of JSON files.",
    "observability.grafana.values": _VALUES.format("grafana"),
    "observability.kiali.enabled": "Install Kiali.",
    "observability.kiali.auth": "Log in with a token, or not at all.",
    "observability.kiali.viewOnly": "Nobody changes anything through it.",
    "observability.kiali.values": _VALUES.format("kiali-server"),
    "observability.readyTimeoutSeconds": _READY.format("each of the three"),
    "security.podSecurity": "Every namespace enforces the strictest Pod Security level that its pods pass.",
    "security.onlyKongCalls": "An AuthorizationPolicy: nothing but Kong may call a routed Service.",
    "security.networkPolicies": "Pods accept connections only from where they are needed.",
    "security.protectNamespaces": "The preview of a destroy, or of a change that removes or replaces a namespace, fails: set it to false in an `up` of its own first. Without a preview, all but the namespaces would go.",
    "security.secretTimeoutSeconds": "How long an `up` waits for each Secret that settings name, in seconds.",
    "checks.enabled": "Check the stack once it is up.",
    "checks.failUp": "A check that fails fails the `up`, which then has no outputs; else it is a warning, and stands in the output `checks`.",
    "checks.load": "Also those that send load or create something; not for stacks that serve users.",
    "checks.requests": "How many make up the traffic.",
    "checks.reports": "A folder for a page, JUnit XML and JSON; empty for none.",
    "checks.istiodAddress": "Where istiod's plain-text discovery port answers; empty: by a port-forward.",
    "images.registry": "Host and path of a mirror that holds every image under its own path; empty for none.",
    "images.pullSecrets": "Names of Secrets that open registries; an `up` waits for each in every namespace that pulls.",
    "images.references": "Image without tag: the whole reference to pull in place of it, with a tag or a digest.",
}

_HEAD = """\
# Settings

<!-- Made by `python -m settings.table`; a test sees that it is current. -->

A key goes into `Pulumi.<stack>.yaml` below `config`, as `kong-istio:<key>`, and a field inside its key; `[]` stands for each
entry of a list. What a stack does not say has the default. `pulumi config set --path 'kong-istio:kong.replicas' 2` sets one
field. What each environment sets, and why: [sandbox](environments/sandbox.md), [dev](environments/dev.md),
[staging](environments/staging.md), [prod](environments/prod.md).

| key | type | default | meaning |
| --- | --- | --- | --- |
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page."""
    declared: Mapping[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    lines: list[str] = []
    for field in dataclasses.fields(Settings):
        key, hint = camel(field.name), typing.get_type_hints(Settings)[field.name]
        below = list(_fields(hint, key))
        if below:
            about = str(_dataclass(hint).__doc__).partition(". ")[0].partition("\n")[0].removesuffix(".")
            lines.append(_row(f"**`{key}`**", _kind(hint, {}), "", f"{about}."))
            lines += [_row(f"`{name}`", kind, default, MEANINGS[name]) for name, kind, default in below]
        else:
            about = " ".join(declared[key]["description"].split())
            lines.append(_row(f"**`{key}`**", _kind(hint, field.metadata), _default(field), about))
    return _HEAD + "\n".join(lines) + "\n"


def fields() -> list[str]:
    """Return the full name of every field within a key."""
    hints = typing.get_type_hints(Settings)
    return [name for field in hints for name, _, _ in _fields(hints[field], camel(field))]


def _fields(hint: Any, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and default of every field below a key, however deep."""
    inner = _dataclass(hint)
    if inner is None:
        return
    where = f"{key}[]" if get_origin(hint) is tuple else key
    hints = typing.get_type_hints(inner)
    for field in dataclasses.fields(inner):
        name = join(where, camel(field.name))
        if _dataclass(hints[field.name]):
            yield from _fields(hints[field.name], name)
        else:
            yield name, _kind(hints[field.name], field.metadata), _default(field)


def _dataclass(hint: Any) -> Any:
    """Return the dataclass that a type is, may be, or is a list of."""
    candidates = (hint, *get_args(hint)) if get_origin(hint) is not Literal else ()
    return next((found for found in candidates if dataclasses.is_dataclass(found)), None)


def _kind(hint: Any, metadata: Mapping[str, Any]) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _kind(next(argument for argument in arguments if argument is not type(None)), metadata)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        return "list of objects" if _dataclass(hint) else "list of text"
    if origin is dict or dataclasses.is_dataclass(hint):
        return "object"
    if "minimum" in metadata:
        return f"{_NUMBERS[hint]}, {metadata['minimum']} to {metadata['maximum']}"
    return str(metadata.get("meaning") or _NUMBERS.get(hint) or {str: "text", bool: "`true`, `false`"}[hint])


_NUMBERS: Mapping[Any, str] = {int: "whole number", float: "number"}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is None:
        return ""
    if field.default is not dataclasses.MISSING:
        return f"`{json.dumps(field.default)}`"
    if field.default_factory is dataclasses.MISSING:
        return "*required*"
    made = field.default_factory()
    return f"`{json.dumps(list(made) if isinstance(made, tuple) else made)}`"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    main()
