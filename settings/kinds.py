"""The kinds of values that settings have: text of a certain form, numbers within bounds, objects and lists.

A kind's `title` is what error sentences and the page of settings call it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from settings.secret_parts import SecretPart
from versions import CHARTS

T = TypeVar("T")

Network = IPv4Network | IPv6Network


class Section(BaseModel):
    """Fields that belong together: camelCase in configuration, snake_case in Python, nothing converted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=False,
        validate_by_name=True,
        regex_engine="python-re",
        hide_input_in_errors=True,
    )


class Hidden:
    """Marks a field whose value no error sentence may show: somebody may write a password in its place."""


class Secret(Hidden):
    """Marks a field that a stack has to keep encrypted; plain text is refused."""


#: The type of an error whose value no sentence may show, whatever the field.
UNSHOWN = "unshown"


class FreeForm:
    """Marks a field that is passed on as it is: nothing here knows whether a password is in it."""


def _text(pattern: str, title: str) -> Any:
    """Return the field of a text that matches `pattern` wholly."""
    return Field(pattern=rf"^(?:{pattern})\Z", title=title)


def _must_be(meaning: str, holds: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Return a validator that refuses what does not hold; `meaning` ends the sentence."""

    def validate(value: Any) -> Any:
        if not holds(value):
            raise PydanticCustomError("must_be", meaning)
        return value

    return validate


def _checked_as(kind: Any) -> GetPydanticSchema:
    """Return what has a plain dict checked more closely than its static type says."""
    return GetPydanticSchema(lambda _, handler: handler(kind))


def network(text: str) -> Network | None:
    """Return a range of addresses, if the text is one; Kubernetes takes neither a single address nor a netmask."""
    try:
        return ip_network(text) if re.search(r"/\d+$", text) else None
    except ValueError:
        return None


def is_everywhere(networks: Sequence[Network]) -> bool:
    """Return whether ranges leave out no address of IPv4, or none of IPv6; two halves do not either."""
    four = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return any(network.prefixlen == 0 for network in four) or any(network.prefixlen == 0 for network in six)


def scheme(source: Any) -> str | None:
    """Return the scheme of a URL, empty for a path; None for what is neither."""
    if not isinstance(source, str) or not source:
        return None
    try:
        return urlsplit(source).scheme
    except ValueError:
        return None


def _is_amount(value: Any) -> bool:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return bool(re.fullmatch(r"\d+(\.\d+)?(m|k|[KMGTPE]i|[MGTPE])?", text))


def _keep_mark(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Return what was checked, as the very text that came in: pydantic would return a plain one of it."""
    checked = check(value)
    return value if isinstance(value, SecretPart) else checked


# --- text --------------------------------------------------------------------------------------------------------

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DOTTED = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_HOST_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PORTS = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
_URL_PATH = _text(r"/\S*", "a path that starts with /")

Label = Annotated[str, _text(_LABEL, "a name of at most 63 small letters, digits and hyphens")]
OptionalLabel = Annotated[str, _text(f"|{_LABEL}", "a name of at most 63 small letters, digits and hyphens, or empty")]
Name = Annotated[str, _text(_DOTTED, "a name of small letters, digits, dots and hyphens")]
OptionalName = Annotated[str, _text(f"|{_DOTTED}", "a name of small letters, digits, dots and hyphens, or empty")]
SecretName = Annotated[
    str, AfterValidator(_must_be("the name of a Secret", lambda text: re.fullmatch(_DOTTED, text) is not None))
]
NamespaceName = Annotated[
    str, AfterValidator(_must_be("the name of a namespace", lambda text: re.fullmatch(_LABEL, text) is not None))
]
DataKey = Annotated[str, _text(r"[-._a-zA-Z0-9]{1,253}", "a name of letters, digits, dots, hyphens and underscores")]
UrlPath = Annotated[str, _URL_PATH]
OptionalUrlPath = Annotated[str | None, _URL_PATH]
HostName = Annotated[str, _text(rf"|(\*\.)?{_HOST_PART}(\.{_HOST_PART})*", "a host name, or empty")]
HostAndPort = Annotated[str, _text(rf"|[^\s:/]+:{_PORTS}", "a host and a port, or empty")]
OptionalVersion = Annotated[
    str, _text(r"|\d+\.\d+\.\d+(\.\d+)?([-+][0-9A-Za-z.+-]+)?", "a whole version such as 1.2.3, or empty")
]
Duration = Annotated[str, _text(r"\d+(ms|[smhdwy])", "a time such as 15d or 12h")]
Size = Annotated[str, _text(r"|\d+(\.\d+)?[KMGTPE]i?", "a size such as 20Gi, or empty")]
_RELEASE = r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?"
ReleaseVersion = Annotated[str, _text(_RELEASE, "a version such as 1.31.0")]
OptionalRelease = Annotated[str, _text(f"|{_RELEASE}", "a version such as 1.31.0, or empty")]
# The release is called istiod-<revision>, and Helm takes 53 characters.
REVISION = r"[a-z0-9]([-a-z0-9]{0,44}[a-z0-9])?"
OptionalRevision = Annotated[
    str,
    _text(f"|{REVISION}", "a name of at most 46 small letters, digits and hyphens, or empty"),
]
StackName = Annotated[
    str,
    _text(
        r"|([-.A-Za-z0-9_]+/){0,2}[-.A-Za-z0-9_]+", "the name of a stack such as organization/project/stack, or empty"
    ),
]
Registry = Annotated[
    str, _text(r"|(?!\w+://)[a-z0-9][a-z0-9.:/_-]*[a-z0-9]", "a registry's host and path without https://")
]
# A text that somebody may want to keep for himself: one that came in as a secret stays one.
Text = Annotated[str, WrapValidator(_keep_mark)]
OptionalText = Annotated[str | None, WrapValidator(_keep_mark)]
Password = Annotated[str, Field(repr=False), WrapValidator(_keep_mark), Secret()]
# Neither may be shown, as somebody may take one for the other.
Certificate = Annotated[
    str,
    _text(
        r"[\s\S]*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*",
        "a certificate as PEM, from -----BEGIN CERTIFICATE----- on",
    ),
    Hidden(),
]
# Nothing but base64 within: an encrypted key says so there, and nginx has nobody to ask for its passphrase.
PrivateKey = Annotated[
    str,
    _text(
        r"[\s\S]*-----BEGIN (RSA |EC )?PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END (RSA |EC )?PRIVATE KEY-----\s*",
        "a key without a passphrase as PEM, from -----BEGIN PRIVATE KEY----- on",
    ),
    Field(repr=False),
    WrapValidator(_keep_mark),
    Secret(),
]
AddressRange = Annotated[
    str,
    AfterValidator(
        _must_be(
            "the first address of a range and its length, such as 203.0.113.0/24 or 2001:db8::/32",
            lambda text: network(text) is not None,
        )
    ),
]

# --- numbers -----------------------------------------------------------------------------------------------------

Port = Annotated[int, Field(ge=1, le=65535)]
PortOrZero = Annotated[int, Field(ge=0, le=65535)]
Replicas = Annotated[int, Field(ge=1, le=100)]
OptionalPort = Annotated[int | None, Field(ge=1, le=65535)]
OptionalStatus = Annotated[int | None, Field(ge=100, le=599)]
Seconds = Annotated[int, Field(ge=1, le=3600)]
Version = Annotated[int, Field(ge=1, le=1_000_000)]
Requests = Annotated[int | None, Field(ge=1, le=1_000_000_000)]

# --- lists and objects -------------------------------------------------------------------------------------------

# Configuration has lists; frozen settings have tuples.
ListOf = Annotated[tuple[T, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]

ChartValues = Annotated[dict[str, Any], Field(repr=False), FreeForm()]
Annotations = dict[str, str]

Selector = Annotated[
    dict[str, str], AfterValidator(_must_be("an object with at least one label, such as app: shop", bool))
]

_Amounts = Annotated[
    dict[str, Annotated[Any, AfterValidator(_must_be("an amount such as 500m or 1Gi", _is_amount))]],
    BeforeValidator(
        _must_be("an object such as cpu: 500m, memory: 1Gi", lambda amounts: isinstance(amounts, dict)),
    ),
]
Resources = Annotated[dict[str, Any], _checked_as(dict[Literal["requests", "limits"], _Amounts])]


def _location(source: Any) -> Any:
    """Return where a chart is, if it can be there; a URL may hold a password, which no sentence then shows."""
    if isinstance(source, str) and "://" in source and not _is_plain_url(source):
        raise PydanticCustomError(
            UNSHOWN, "a URL without a login, blanks, ? and #: a login goes into username and password"
        )
    return _must_be("a repository URL, oci://… or a folder", lambda _: scheme(source) is not None)(source)


def _is_plain_url(text: str) -> bool:
    """Return whether a URL has a host, perhaps a port and a path, and nothing else."""
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"[@?#\s\x00-\x1f]", text)
    except ValueError:
        return False


ChartLocation = Annotated[str, BeforeValidator(_location)]


# A text is a location alone.
SHORT_LOCATION = BeforeValidator(lambda given: {"location": _location(given)} if _is_short(given) else given)


def by_chart(kind: Any, *names: str) -> GetPydanticSchema:
    """Return the kind of an object that says something of charts, by their names; a text is a location alone."""
    return _checked_as(dict[Literal[names or tuple(CHARTS)], Annotated[kind, SHORT_LOCATION]])  # type: ignore[misc]


def _is_short(given: Any) -> bool:
    return not isinstance(given, Mapping | BaseModel)
