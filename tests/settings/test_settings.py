"""The settings: what is declared, what is read, and the sentence for everything that cannot be used."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pulumi
import pytest
import yaml
from pulumi.runtime import config as stack_config
from pydantic import BaseModel, ValidationError

import settings
from sandbox.paths import CHECKOUT
from settings import Canary, Plugin, RateLimit, Redis, Route, Settings, SettingsError, Tls, generate
from settings.sentences import bounds, keys

PROJECT = CHECKOUT.root
DECLARED: dict[str, Any] = {
    key: entry
    for key, entry in yaml.safe_load((PROJECT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"].items()
    if ":" not in key
}
PASSWORD = "hunter2-of-redis"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB+certificate/of=\n-----END CERTIFICATE-----\n"
TLS_KEY = "-----BEGIN PRIVATE KEY-----\nMIGH+hunter2/of+tls=\n-----END PRIVATE KEY-----\n"
ROUTE: dict[str, Any] = {"service": "front", "port": 80}
CORS: dict[str, Any] = {"name": "cors", "plugin": "cors"}
SECRETS = ("charts", "kong", "rateLimit", "observability")

APP: dict[str, Any] = {
    "name": "shop",
    "namespace": "shop",
    "manifests": "manifests/shop.yaml",
    "route": {"service": "front", "port": 80},
}
OTHER: dict[str, Any] = {
    "name": "blog",
    "namespace": "blog",
    "manifests": "manifests/shop.yaml",
    "route": {"service": "front", "port": 80, "path": "/blog"},
}
CHART: dict[str, Any] = {"name": "charts/kong", "services": [{"name": "front", "selector": {"app": "front"}}]}

# Every key, every field of it, and hardly a default.
FULL: dict[str, Any] = {
    "kubeconfig": "~/clusters/one",
    "kubeContext": "kind-one",
    "kubeconfigFrom": {"stack": "", "output": "admin"},
    "sandbox": True,
    "keepCrds": True,
    "istio": {
        "version": "1.30.4",
        "revision": "1-30-4",
        "canary": {
            "version": "1.31.0",
            "revision": "next",
            "namespaces": ["kong-istio"],
            "istiodValues": {"i": "j"},
            "charts": {
                "istiod": {
                    "location": "https://mirror.example/next",
                    "username": "",
                    "password": "",
                    "caFile": "",
                }
            },
        },
        "tags": {"prod": "canary"},
        "profile": "ambient",
        "mtls": "PERMISSIVE",
        "injection": True,
        "replicas": 2,
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}},
        "cni": True,
        "ingressGateway": True,
        "egressGateway": True,
        "readyTimeoutSeconds": 10,
        "baseValues": {"a": {"b": 1}},
        "istiodValues": {"c": [1]},
        "cniValues": {"f": "/g"},
        "gatewayValues": {"h": True},
    },
    "kong": {
        "serviceType": "NodePort",
        "nodePort": 30080,
        "proxyAddress": "localhost:8000",
        "replicas": 3,
        "resources": {"limits": {"memory": "1Gi"}},
        "controllerResources": {"requests": {"cpu": 0.1}},
        "sourceRanges": [],
        "tlsSecret": "",
        "tls": {"certificate": CERTIFICATE, "key": TLS_KEY},
        "clientAddress": {"source": "forwardedFor", "trustedRanges": ["198.51.100.0/24"]},
        "internal": False,
        "annotations": {"example.com/zone": "a"},
        "ingressClass": "kong-shop",
        "routing": "guide",
        "clientHost": "none",
        "admissionWebhook": False,
        "readyTimeoutSeconds": 11,
        "addressTimeoutSeconds": 12,
        "version": "3.9.2",
        "controllerVersion": "3.5.14",
        "chartVersion": "",
        "crds": "manifests/shop.yaml",
        "values": {"d": "e"},
    },
    "applications": [
        {
            "name": "shop",
            "namespace": "shop-space",
            "manifests": "manifests/shop.yaml",
            "overrideNamespace": True,
            "routes": [
                {
                    "name": "shop-front",
                    "service": "front",
                    "port": 8080,
                    "host": "shop.example",
                    "path": "/shop",
                    "pathType": "Prefix",
                    "stripPath": True,
                    "protocol": "https",
                    "https": "redirect",
                    "tlsSecret": "shop-tls",
                    "issuer": "letsencrypt",
                    "clusterIssuer": "",
                    "plugins": [{"name": "cors", "plugin": "cors", "config": {"origins": ["https://shop.example"]}}],
                    "annotations": {"konghq.com/methods": "GET"},
                    "rateLimit": {"hour": 5},
                }
            ],
            "resources": {"requests": {"cpu": "5m"}},
            "check": {"path": "/shop/login", "status": 302, "contains": "Sign in"},
            "rateLimit": {"errorMessage": "Slow down"},
        }
    ],
    "rateLimit": {
        "second": 1,
        "minute": 2,
        "hour": 3,
        "day": 4,
        "month": 5,
        "year": 6,
        "limitBy": "header",
        "headerName": "X-Key",
        "path": "/shop",
        "policy": "redis",
        "redis": {
            "host": "redis.example",
            "port": 6380,
            "username": "kong",
            "password": PASSWORD,
            "database": 1,
            "timeout": 100,
            "ssl": True,
            "sslVerify": True,
            "serverName": "redis.example",
        },
        "syncRate": 0.5,
        "faultTolerant": False,
        "hideClientHeaders": True,
        "errorCode": 503,
        "errorMessage": "Too many",
    },
    "checks": {
        "enabled": False,
        "failUp": True,
        "load": True,
        "requests": 300,
        "reports": "reports",
        "istiodAddress": "127.0.0.1:15010",
    },
    "observability": {
        "prometheus": {
            "enabled": True,
            "retention": "12h",
            "volume": "20Gi",
            "storageClass": "fast",
            "resources": {"requests": {"memory": "1Gi"}},
            "values": {"f": 1},
        },
        "grafana": {
            "enabled": False,
            "anonymous": True,
            "adminSecret": "",
            "adminPassword": PASSWORD,
            "passwordVersion": 2,
            "dashboards": "dashboards",
            "values": {"g": 2},
        },
        "kiali": {"enabled": False, "auth": "anonymous", "signingKeyVersion": 3, "viewOnly": False, "values": {"h": 3}},
        "readyTimeoutSeconds": 13,
    },
    "security": {
        "podSecurity": False,
        "onlyKongCalls": False,
        "networkPolicies": True,
        "protectNamespaces": True,
        "secretTimeoutSeconds": 60,
    },
    "charts": {
        "kong": {"location": "charts/kong", "username": "", "password": "", "caFile": ""},
        "base": {
            "location": "https://mirror.example:8443/istio",
            **{"username": "reader", "password": PASSWORD, "caFile": "authority.pem"},
        },
    },
    "images": {
        "registry": "mirror.example:5000/images",
        "pullSecrets": ["mirror-login"],
        "references": {"docker.io/library/kong": f"mirror.example:5000/kong@sha256:{'0' * 64}"},
    },
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project's folder with what the settings of these tests name."""
    for name in ("manifests/bookinfo.yaml", "manifests/shop.yaml", "dashboards/mesh.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    (tmp_path / "authority.pem").write_text(CERTIFICATE, encoding="utf-8")
    chart(tmp_path / "charts/kong", "name: kong\nversion: 1.0.0\n")
    return tmp_path


def chart(folder: Path, described: str) -> None:
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text(described, encoding="utf-8")


def refused(config: Mapping[str, Any], root: Path, secrets: Collection[str] = ()) -> str:
    """Return the sentence that a configuration is refused with."""
    with pytest.raises(SettingsError) as caught:
        settings.parse(config, secrets, root)
    return sentence(caught.value)


def says(text: str, *parts: str) -> None:
    """See that a sentence has each part, of a table's key, value and remedy, in this order."""
    assert re.search(".*".join(map(re.escape, parts)), text), text


def sentence(error: Exception) -> str:
    # Pulumi prints a RunError without a traceback.
    assert isinstance(error, pulumi.RunError)
    text = str(error)
    assert text.endswith((".", "?")), text
    assert not re.search(
        r"[.?!;:]\.|\n|None|True|False|<class|[.?!] [A-Z]", re.sub(r'"(\\.|[^"\\])*["…]', "x", text)
    ), text
    assert PASSWORD not in text
    return text


def without_route(application: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in application.items() if key != "route"}


def plain(value: BaseModel) -> dict[str, Any]:
    """Return settings as configuration spells them, without what is not said."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the full configuration with another value at a path such as `applications[0].route.port`."""
    config = deepcopy(FULL)
    if ".chart." in path:
        config["applications"] = [{**OTHER, "manifests": "", "chart": deepcopy(CHART)}]
    *steps, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
    place: Any = config
    for step in steps:
        place = place[step]
    place[last] = value
    # A Secret is made or named.
    for named, own in (("tlsSecret", "tls"), ("adminSecret", "adminPassword")):
        if last == named:
            place.pop(own, None)
    return config


def at(path: str, value: Any) -> dict[str, Any]:
    """Return a configuration that says nothing but one value."""
    for step in reversed(path.split(".")):
        value = {step: value}
    return dict(value)


def paths(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every path of a configuration with what is there, chart values and the like as one."""
    if where:
        yield where, value
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, f"{where}[{index}]")
    elif isinstance(value, dict) and not is_free(where):
        for name, inner in value.items():
            yield from paths(inner, f"{where}.{name}" if where else name)


def is_free(path: str) -> bool:
    """Return whether any key may stand in an object, as far as its type goes: chart values and the like."""
    own = ("charts", "istio.canary.charts", "istio.tags", "images.references")
    return path.lower().endswith(
        ("values", "resources", "annotations", "].config", "].ratelimit", "route.ratelimit")
    ) or (path in own)


# --- what Pulumi.yaml declares -------------------------------------------------------------------------------------


def test_every_declared_key_is_read_and_every_read_key_declared() -> None:
    assert set(DECLARED) == set(settings.KEYS) == set(FULL)


def test_the_declared_defaults_are_those_of_the_program() -> None:
    assert {key: entry["default"] for key, entry in DECLARED.items()} == plain(Settings())


def test_a_stack_that_says_nothing_gets_the_declared_defaults(root: Path) -> None:
    declared = {key: entry["default"] for key, entry in DECLARED.items()}
    assert settings.parse({}, (), root) == settings.parse(declared, (), root)


@pytest.mark.parametrize("key", DECLARED)
def test_a_key_is_declared_with_the_type_of_its_default(key: str) -> None:
    kinds = {"string": str, "boolean": bool, "object": dict, "array": list}
    assert type(DECLARED[key]["default"]) is kinds[DECLARED[key]["type"]]


@pytest.mark.parametrize("kind", [RateLimit, Redis])
def test_fields_without_a_default_in_the_declaration_stand_in_its_description(kind: type[RateLimit | Redis]) -> None:
    words = set(re.findall(r"\w+", DECLARED["rateLimit"]["description"]))
    assert set(keys(kind)) <= words | DECLARED["rateLimit"]["default"].keys()


def test_the_defaults_work_in_this_checkout() -> None:
    assert settings.parse({}, (), PROJECT) == Settings()


# --- what is read ----------------------------------------------------------------------------------------------------


def test_every_field_is_taken(root: Path) -> None:
    assert plain(settings.parse(FULL, SECRETS, root)) == FULL


def test_the_full_configuration_names_every_field() -> None:
    # The default has the short form.
    listed = [(path.replace(".route.", ".routes[0]."), value) for path, value in paths(plain(Settings()))]
    expected = {path for path, _ in listed if path != "applications[0].route"} | {"applications[0].routes[0]"}
    expected |= {"rateLimit.redis"}
    expected |= {f"rateLimit.{key}" for key in keys(RateLimit)}
    expected |= {f"rateLimit.redis.{key}" for key in keys(Redis)}
    expected |= {f"kong.tls.{key}" for key in keys(Tls)} | {"kong.tls"}
    expected |= {f"istio.canary.{key}" for key in keys(Canary)} | {"istio.canary"}
    expected |= {f"applications[0].check{key}" for key in ("", ".path", ".status", ".contains")}
    lists = {
        "istio.canary.namespaces[0]",
        "kong.clientAddress.trustedRanges[0]",
        "images.pullSecrets[0]",
        "applications[0].routes[0].plugins[0]",
    }
    lists |= {f"applications[0].routes[0].plugins[0].{key}" for key in keys(Plugin)}
    # A password and the name of a Secret that holds one exclude each other.
    assert {path for path, _ in paths(FULL)} == (expected | lists) - {"rateLimit.redis.passwordSecret"}


@pytest.mark.parametrize(
    "key", [key for key in FULL if key not in ("kong", "rateLimit", "observability")] + ["kong", "observability"]
)
def test_a_key_changes_its_own_setting_and_no_other(key: str, root: Path) -> None:
    value = {"replicas": 1, "serviceType": "NodePort"} if key == "kong" else FULL[key]
    found = settings.parse({key: value}, SECRETS, root)
    different = {key for key, name in settings.KEYS.items() if getattr(found, name) != getattr(Settings(), name)}
    assert different == {key}


def test_fields_that_an_object_leaves_out_keep_their_defaults(root: Path) -> None:
    found = settings.parse({"kong": {"serviceType": "NodePort"}, "applications": [APP]}, (), root)
    assert (found.kong.replicas, found.kong.routing) == (1, "mesh")
    (route,) = found.applications[0].routes
    expected = {"path": "/", "path_type": "ImplementationSpecific", "host": "", "https": "optional", "protocol": "http"}
    assert {field: getattr(route, field) for field in expected} == expected


def test_a_rate_limit_of_a_stack_is_its_own(root: Path) -> None:
    found = settings.parse({"rateLimit": {"hour": 100, "limitBy": None}}, (), root)
    assert plain(found.rate_limit) == {"hour": 100, "policy": "local"}


def test_settings_are_frozen(root: Path) -> None:
    found = settings.parse({}, (), root)
    with pytest.raises(ValidationError, match="frozen"):
        found.kong.replicas = 2  # type: ignore[misc]


# --- keys that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "where", "remedy"),
    [
        ({"kogn": {}}, "kogn", "did you mean kong?"),
        ({"kubecontext": ""}, "kubecontext", "did you mean kubeContext?"),
        ({"zzz": 1}, "zzz", f"the keys there are {', '.join(settings.KEYS)}."),
        ({"images": {"": 2, "two\nlines": 1}}, 'images.""', "the keys there are registry, pullSecrets, references."),
        ({"images": {"two\nlines": 1}}, 'images."two\\nlines"', "the keys there are registry,"),
        ({"kong": {"replica": 2}}, "kong.replica", "did you mean replicas?"),
        ({"kong": {"service_type": "NodePort"}}, "kong.service_type", "did you mean serviceType?"),
        ({"istio": {"mTLS": "STRICT"}}, "istio.mTLS", "did you mean mtls?"),
        (
            {"observability": {"kiali": {"theme": "x"}}},
            "observability.kiali.theme",
            "the keys there are enabled, auth,",
        ),
        ({"rateLimit": {"redis": {"passwrd": PASSWORD}}}, "rateLimit.redis.passwrd", "did you mean password?"),
        ({"charts": {"kogn": "x"}}, "charts.kogn", "did you mean kong?"),
        ({"applications": [APP, {**OTHER, "route": {"prot": 1}}]}, "applications[1].route.prot", "did you mean port?"),
        (
            {"applications": [APP, {**OTHER, "rateLimit": {"minutes": 1}}]},
            "applications[1].rateLimit.minutes",
            "did you mean minute?",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(config: dict[str, Any], where: str, remedy: str, root: Path) -> None:
    assert refused(config, root).startswith(f"{where} is not a setting: {remedy}")


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"keepDefinitions": True}, ["keepDefinitions is now keepCrds"]),
        ({"kong": {"values": {8080: "x"}}}, ["8080 in kong.values is not text", "quotes"]),
        ({80: 1}, ["80 in the settings is not text", "quotes"]),
    ],
)
def test_a_key_that_cannot_be_one_is_named(config: dict[Any, Any], parts: list[str], root: Path) -> None:
    says(refused(config, root), *parts)


@pytest.mark.parametrize("path", ["name", "namespace", "route.service", "route.port"])
def test_an_application_needs(path: str, root: Path) -> None:
    config = {"applications": [OTHER, deepcopy(APP)]}
    *outer, name = path.split(".")
    place: Any = config["applications"][1]
    for step in outer:
        place = place[step]
    del place[name]
    says(refused(config, root), f"applications[1].{path} is missing", "every entry of applications")


# --- values of another type ----------------------------------------------------------------------------------------------

FIELDS = {name.replace("[]", "[0]"): field for name, field in generate.fields().items()}


def choices(annotation: Any) -> list[str]:
    """Return the values that a type lists, if it does."""
    return [
        choice
        for inner in (annotation, *get_args(annotation))
        if get_origin(inner) is Literal
        for choice in get_args(inner)
    ]


CHOICES = {
    name: f"{', '.join(found[:-1])} or {found[-1]}"
    for name, field in FIELDS.items()
    if get_origin(field.annotation) is not dict and (found := choices(field.annotation))
}


NEVER: dict[type, tuple[str, list[Any]]] = {
    list: ("a list", ["text", {}, 1, None]),
    bool: ("true or false", ["yes", "true", 1, 0]),
    int: ("a whole number", [True, False, "5", 1.5, [1]]),
    float: ("a number", ["0.5", True, [1]]),
    str: ("text", [5, True, ["text"], {"text": 1}]),
}


@pytest.mark.parametrize(("path", "now"), list(paths(FULL)), ids=lambda value: value if isinstance(value, str) else "")
def test_a_value_of_another_type_is_refused(path: str, now: Any, root: Path) -> None:
    if path in CHOICES:
        expected, wrong = CHOICES[path], [1, True, [now]]
    elif isinstance(now, dict):
        expected, wrong = f"an object{'' if is_free(path) else ' with the keys'}", [[now], 1]
        # To an entry of the plugins, text is its name.
        wrong += [] if path.endswith("plugins[0]") else ["text"]
        wrong.append(None if is_free(path) else True)
    else:
        expected, wrong = NEVER[type(now)]
    for value in wrong:
        says(refused(changed(path, value), root), f"{path} is ", f": it must be {expected}")


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("kong.replicas", True, "true"),
        ("kong.replicas", "3", '"3"'),
        ("kong.replicas", 1.5, "1.5"),
        ("kong.replicas", None, "null"),
        ("kong.values", ["a"], "a list"),
        ("applications", {"name": "shop"}, "an object"),
        ("images.registry", "two\nlines", '"two\\nlines"'),
        ("rateLimit.syncRate", float("nan"), "nan"),
        ("observability.prometheus.retention", "x" * 61, f'"{"x" * 56}…'),
    ],
)
def test_the_sentence_shows_the_value(path: str, value: Any, shown: str, root: Path) -> None:
    assert refused(at(path, value), root).startswith(f"{path} is {shown}: it must ")


# --- bounds, choices, patterns ----------------------------------------------------------------------------------------------

WINDOWS = ("second", "minute", "hour", "day", "month", "year")
BOUNDS = {name: ends for name, field in FIELDS.items() if (ends := bounds(field))}


@pytest.mark.parametrize("path", BOUNDS)
@pytest.mark.parametrize("beyond", [-1, 1])
def test_a_number_out_of_range_is_refused(path: str, beyond: int, root: Path) -> None:
    low, high = BOUNDS[path]
    value = low - 1 if beyond < 0 else high + 1
    assert refused(changed(path, value), root) == f"{path} is {value}: it must lie between {low} and {high}."


@pytest.mark.parametrize("path", BOUNDS)
@pytest.mark.parametrize("end", [0, 1])
def test_a_number_at_its_bound_is_not_out_of_range(path: str, end: int, root: Path) -> None:
    value = BOUNDS[path][end]
    config = changed(path, value)
    if path == "kong.nodePort":
        config["kong"]["serviceType"] = "NodePort"
        if end:
            assert "Kubernetes gives node ports" in refused(config, root)
            return
    window = path.removeprefix("rateLimit.")
    if window in WINDOWS:
        config["rateLimit"] = {key: entry for key, entry in config["rateLimit"].items() if key not in WINDOWS}
        config["rateLimit"][window] = value
    assert settings.parse(config, SECRETS, root)


@pytest.mark.parametrize("name", ["", "Pull", "a/b"])
def test_a_pull_secret_that_cannot_be_is_refused(name: str, root: Path) -> None:
    said = refused({"images": {"pullSecrets": ["fine", name]}}, root)
    assert said.startswith(f'images.pullSecrets[1] is "{name}": it must be the name of a Secret')


@pytest.mark.parametrize("path", CHOICES)
def test_a_choice_that_is_none_is_refused(path: str, root: Path) -> None:
    assert refused(changed(path, "nonsense"), root) == f'{path} is "nonsense": it must be {CHOICES[path]}.'


NO_NAMES = ("", "Shop", "my shop", "-shop", "shop-", "shop_1", "a" * 64)
UNFIT = {
    **{f"applications[0].{key}": NO_NAMES for key in ("name", "namespace", "routes[0].service")},
    "applications[0].routes[0].path": ("shop", "/my shop"),
    "rateLimit.path": ("shop",),
    "applications[0].routes[0].host": ("Shop.example", "http://shop.example", "shop..example"),
    "observability.prometheus.retention": ("15", "2 weeks"),
    # The chart calls a volume by this name, and a volume's has no dots.
    "kong.tlsSecret": ("front.door", "Front", "front_door", "a" * 64),
    "observability.grafana.adminSecret": ("Login",),
    "observability.prometheus.storageClass": ("very fast",),
    "observability.prometheus.volume": ("20GB", "20 Gi", "much", "-1Gi"),
    "images.registry": ("https://mirror.example", "mirror.example/"),
}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in UNFIT.items() for value in values])
def test_text_that_does_not_fit_is_refused(path: str, value: str, root: Path) -> None:
    meaning = FIELDS[path].title
    assert meaning
    assert (
        refused(changed(path, value), root)
        == f"{path} is {json.dumps(value)[:57]}{'…' if len(value) > 58 else ''}: it must be {meaning}."
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("applications[0].name", "a" * 63),
        ("applications[0].name", "a"),
        ("applications[0].routes[0].host", "*.shop.example"),
        ("applications[0].routes[0].path", "/"),
        ("observability.prometheus.retention", "500ms"),
        ("kong.tlsSecret", "a" * 63),
        ("observability.grafana.adminSecret", "login.of.grafana"),
        ("observability.prometheus.volume", "1.5Ti"),
        ("images.registry", "localhost:5000"),
        ("images.registry", ""),
        ("istio.profile", ""),
    ],
)
def test_text_that_fits_is_taken(path: str, value: str, root: Path) -> None:
    assert settings.parse(changed(path, value), SECRETS, root)


# --- rate limits -----------------------------------------------------------------------------------------------------


WITH_HOST = {"minute": 5, "policy": "redis", "redis": {"host": "redis"}}
ITS_POLICY = "rateLimit.policy of application bookinfo is "


@pytest.mark.parametrize(
    ("limit", "replicas", "parts"),
    [
        ({"minute": 5, "policy": "cluster"}, 1, [ITS_POLICY, "cluster", "no", "set it to local, or to redis"]),
        ({"minute": 5}, 2, [ITS_POLICY, "local while kong.replicas is 2", "redis, or kong.replicas to 1"]),
        ({"minute": 5, "policy": "redis"}, 1, [ITS_POLICY, "redis without a host", "rateLimit.redis.host"]),
        ({**WITH_HOST, "redis": {"port": 6380}}, 1, [ITS_POLICY, "redis without a host", "rateLimit.redis.host"]),
        *(
            (
                {"minute": 5, "limitBy": by, **empty},
                1,
                [f"rateLimit.limitBy of application bookinfo is {by}", f"set {key}"],
            )
            for by, empty, key in (
                ("header", {}, "rateLimit.headerName"),
                ("header", {"headerName": ""}, "rateLimit.headerName"),
                ("path", {}, "rateLimit.path"),
            )
        ),
        (
            {"minute": 30, "hour": 10},
            1,
            ["application bookinfo", "30 per minute and 10 per hour", "rateLimit.hour to 30", "rateLimit.minute to 10"],
        ),
        (
            {"second": 5, "day": 9, "year": 8},
            1,
            ["application bookinfo", "9 per day and 8 per year", "rateLimit.year to 9", "rateLimit.day to 8"],
        ),
        ({}, 1, ["application bookinfo names no window", *(f"rateLimit.{window}" for window in WINDOWS)]),
        ({"minute": 5, "syncRate": 10}, 1, ["rateLimit.syncRate of application bookinfo", "redis", "leave it out"]),
        ({**WITH_HOST, "syncRate": 0.01}, 1, ["rateLimit.syncRate of application bookinfo is 0.01", "-1", "0.02 s"]),
    ],
)
def test_a_rate_limit_that_kong_would_not_keep_is_refused(
    limit: dict[str, Any], replicas: int, parts: list[str], root: Path
) -> None:
    says(refused({"rateLimit": limit, "kong": {"replicas": replicas}}, root), *parts)


@pytest.mark.parametrize(
    ("limit", "replicas"),
    [
        ({"minute": 5, "hour": 5}, 1),
        ({"second": 1, "year": 1}, 1),
        ({"minute": 5, "limitBy": "header", "headerName": "X-Key"}, 1),
        ({"minute": 5, "limitBy": "path", "path": "/a"}, 1),
        ({"minute": 5, "syncRate": -1}, 1),
        ({"minute": 5, "policy": "redis", "redis": {"host": "redis"}, "syncRate": 0.02}, 1),
        ({"minute": 5, "policy": "redis", "redis": {"host": "redis"}}, 3),
    ],
)
def test_a_rate_limit_that_kong_keeps_is_taken(limit: dict[str, Any], replicas: int, root: Path) -> None:
    assert (
        plain(settings.parse({"rateLimit": limit, "kong": {"replicas": replicas}}, (), root))["rateLimit"].items()
        >= {key: value for key, value in limit.items() if key != "redis"}.items()
    )


def limit_of(own: dict[str, Any], stack: dict[str, Any], root: Path) -> Any:
    config = {"rateLimit": stack, "applications": [{**APP, "rateLimit": own}]}
    found = settings.parse(config, ("rateLimit", "applications"), root)
    return plain(found.limit_of(found.applications[0]))


def test_an_application_without_a_limit_of_its_own_has_the_stacks(root: Path) -> None:
    stack = {"minute": 5, "hour": 50, "errorCode": 503, "policy": "local"}
    assert limit_of({}, stack, root) == stack


@pytest.mark.parametrize("window", WINDOWS)
def test_an_applications_windows_replace_the_stacks_as_a_set(window: str, root: Path) -> None:
    stack = {**dict.fromkeys(WINDOWS, 5), "errorCode": 503, "limitBy": "ip"}
    assert limit_of({window: 100}, stack, root) == {
        window: 100,
        "errorCode": 503,
        "limitBy": "ip",
        "policy": "local",
    }


def test_an_application_keeps_the_stacks_windows_when_it_names_none(root: Path) -> None:
    assert limit_of({"limitBy": "service"}, {"minute": 5}, root) == {
        "minute": 5,
        "limitBy": "service",
        "policy": "local",
    }


def test_an_applications_redis_is_laid_over_the_stacks_field_by_field(root: Path) -> None:
    stack = {"minute": 5, "policy": "redis", "redis": {"host": "redis", "port": 6380, "password": PASSWORD}}
    found = limit_of({"redis": {"database": 2}}, stack, root)
    assert found["redis"].items() >= {"host": "redis", "port": 6380, "password": PASSWORD, "database": 2}.items()


def test_an_application_may_bring_the_only_redis(root: Path) -> None:
    found = limit_of({"policy": "redis", "redis": {"host": "own"}}, {"minute": 5}, root)
    assert (found["policy"], found["redis"]["host"], found["redis"]["port"]) == ("redis", "own", 6379)


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"policy": "cluster"}, "rateLimit.policy of application shop is cluster: "),
        ({"minute": "5"}, 'applications[1].rateLimit.minute is "5": it must be a whole number.'),
        ({"redis": 5}, "applications[1].rateLimit.redis is [secret]: it must be an object with the keys"),
        ({"redis": {"port": 0}}, "applications[1].rateLimit.redis.port is 0: it must lie between 1 and 65535."),
        ({"second": 9, "minute": 8}, "The rate limit of application shop allows 9 per second and 8 per minute: "),
    ],
)
def test_an_applications_own_limit_is_checked(own: dict[str, Any], text: str, root: Path) -> None:
    assert refused({"applications": [OTHER, {**APP, "rateLimit": own}]}, root).startswith(text)


# --- the redis password ----------------------------------------------------------------------------------------------------

WITH_PASSWORD: dict[str, Any] = {"minute": 5, "policy": "redis", "redis": {"host": "redis", "password": PASSWORD}}
WITH_OWN_PASSWORD = {**APP, "rateLimit": {"redis": {"password": PASSWORD}}}


def test_a_password_in_plain_text_is_refused(root: Path) -> None:
    assert refused({"rateLimit": WITH_PASSWORD}, root, secrets=()) == (
        "rateLimit.redis.password is in plain text: take it out of the stack file and store it with "
        "`pulumi config set --secret --path 'kong-istio:rateLimit.redis.password'`."
    )


def test_a_password_of_an_application_in_plain_text_is_refused_although_the_stacks_is_secret(root: Path) -> None:
    config = {"rateLimit": WITH_PASSWORD, "applications": [OTHER, WITH_OWN_PASSWORD]}
    assert refused(config, root, secrets=("rateLimit",)) == (
        "applications[1].rateLimit.redis.password is in plain text: take it out of the stack file and store it with "
        "`pulumi config set --secret --path 'kong-istio:applications[1].rateLimit.redis.password'`."
    )


KUBECONFIG = f"clusters: []\nusers: [{{name: a, user: {{token: {PASSWORD}}}}}]\ncontexts: []\n"


def test_the_content_of_a_kubeconfig_is_a_secret(root: Path) -> None:
    said = refused({"kubeconfig": KUBECONFIG}, root)
    assert said.startswith(
        "kubeconfig holds credentials in plain text: take it out of the stack file and store it with "
    )
    found = settings.parse({"kubeconfig": KUBECONFIG}, ["kubeconfig"], root)
    assert found.kubeconfig == KUBECONFIG
    assert PASSWORD not in repr(found)
    assert "kubeconfig" not in settings.public(found)
    source = {"stack": "me/cluster/prod"}
    assert refused({"kubeconfig": KUBECONFIG, "kubeconfigFrom": source}, root, ["kubeconfig"]) == (
        "kubeconfig and kubeconfigFrom.stack are both set: keep kubeconfig, or the stack me/cluster/prod that tells it."
    )


@pytest.mark.parametrize("name", ["\n", "a/b/c/d", "me/cluster/", "the cluster"])
def test_what_names_no_stack_is_refused(name: str, root: Path) -> None:
    says(
        refused({"kubeconfigFrom": {"stack": name}}, root),
        f"kubeconfigFrom.stack is {json.dumps(name)}: it must be the name of a stack such as organization/project/stack",
    )


@pytest.mark.parametrize("name", ["prod", "cluster/prod", "organization/cluster/prod.eu-1_a"])
def test_a_stack_is_named_alone_or_with_its_project(name: str, root: Path) -> None:
    assert settings.parse({"kubeconfigFrom": {"stack": name}}, (), root).kubeconfig_from.stack == name


@pytest.mark.parametrize(("given", "context"), [("", ""), ("in-cluster", "in-cluster"), ("a/path", "")])
def test_a_pods_service_account_has_one_context(given: str, context: str, root: Path) -> None:
    assert settings.parse({"kubeconfig": given}, (), root).context == context
    assert settings.parse({"kubeconfig": given, "kubeContext": "own"}, (), root).context == "own"


def test_a_secret_password_is_taken(root: Path) -> None:
    found = settings.parse({"rateLimit": WITH_PASSWORD, "applications": [APP]}, ("rateLimit",), root)
    limit = found.limit_of(found.applications[0])
    assert limit.redis is not None
    assert limit.redis.password == PASSWORD
    assert PASSWORD not in repr(limit)


def test_a_secret_password_of_an_application_is_taken(root: Path) -> None:
    config = {
        "rateLimit": {"minute": 5, "policy": "redis", "redis": {"host": "r"}},
        "applications": [WITH_OWN_PASSWORD],
    }
    found = settings.parse(config, ("applications",), root)
    assert plain(found.limit_of(found.applications[0]))["redis"]["password"] == PASSWORD


def test_no_password_is_no_secret(root: Path) -> None:
    limit = {**WITH_PASSWORD, "redis": {"host": "redis", "password": ""}}
    assert settings.parse({"rateLimit": limit}, (), root)


def test_a_password_may_stay_in_a_secret_that_exists(root: Path) -> None:
    limit = {"minute": 5, "policy": "redis", "redis": {"host": "redis", "passwordSecret": {"name": "redis.login"}}}
    found = settings.parse({"rateLimit": limit}, (), root)
    assert plain(found.rate_limit)["redis"]["passwordSecret"] == {"name": "redis.login", "key": "password"}


BOTH = (
    "rateLimit.redis of application shop has a password and a passwordSecret: keep one of them (an application drops "
    'the stack\'s with password: "" or passwordSecret: null).'
)


@pytest.mark.parametrize("own", [{}, {"redis": {"passwordSecret": {"name": "own"}}}])
def test_a_password_in_two_places_is_refused(own: dict[str, Any], root: Path) -> None:
    redis = {**WITH_PASSWORD["redis"], **({} if own else {"passwordSecret": {"name": "login"}})}
    config = {"rateLimit": {**WITH_PASSWORD, "redis": redis}, "applications": [{**APP, "rateLimit": own}]}
    assert refused(config, root) == BOTH


def test_an_application_changes_one_kind_of_password_for_the_other(root: Path) -> None:
    stack = {"minute": 5, "policy": "redis"}
    named, secret = {"passwordSecret": {"name": "login"}}, {"password": PASSWORD}
    own = limit_of({"redis": {**named, "password": ""}}, {**stack, "redis": {"host": "r", **secret}}, root)["redis"]
    assert (own["password"], own["passwordSecret"]["name"]) == ("", "login")
    own = limit_of({"redis": {**secret, "passwordSecret": None}}, {**stack, "redis": {"host": "r", **named}}, root)
    assert own["redis"]["password"] == PASSWORD
    assert "passwordSecret" not in own["redis"]


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ({}, "rateLimit.redis.passwordSecret.name is missing"),
        ({"name": "Login"}, 'rateLimit.redis.passwordSecret.name is "Login": it must be a name of small letters'),
        (
            {"name": "login", "key": "a/b"},
            'rateLimit.redis.passwordSecret.key is "a/b": it must be a name of letters, digits, dots, hyphens and '
            "underscores.",
        ),
        ({"name": "login", "field": "a"}, "rateLimit.redis.passwordSecret.field is not a setting"),
        # Somebody may write the password itself there.
        (PASSWORD, "rateLimit.redis.passwordSecret is [secret]: it must be an object with the keys name, key."),
    ],
)
def test_a_name_that_is_none_is_refused(reference: Any, text: str, root: Path) -> None:
    redis = {"host": "redis", "passwordSecret": reference}
    assert refused({"rateLimit": {"minute": 5, "policy": "redis", "redis": redis}}, root).startswith(text)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ({"redis": {"password": [PASSWORD]}}, "rateLimit.redis.password is [secret]: it must be text."),
        ({"redis": {"password": {"a": PASSWORD}}}, "rateLimit.redis.password is [secret]: it must be text."),
        ({"redis": PASSWORD}, "rateLimit.redis is [secret]: it must be an object with the keys"),
        ({"redis": [{"password": PASSWORD}]}, "rateLimit.redis is [secret]: it must be an object with the keys"),
        ([WITH_PASSWORD], "rateLimit is a list: it must be an object with the keys"),
        ({**WITH_PASSWORD, "policy": "cluster"}, "rateLimit.policy of application bookinfo is cluster"),
    ],
)
def test_no_sentence_shows_a_password(limit: Any, text: str, root: Path) -> None:
    assert refused({"rateLimit": limit}, root).startswith(text)


def test_a_password_of_digits_is_not_shown_either(root: Path) -> None:
    assert "4711" not in refused({"rateLimit": {"redis": {"password": 4711}}}, root)


# --- other secrets ----------------------------------------------------------------------------------------------------

TLS = {"certificate": CERTIFICATE, "key": TLS_KEY}
OWN_SECRETS: list[tuple[str, Any, str]] = [
    ("kong.tls", TLS, "kong.tls.key"),
    ("observability.grafana.adminPassword", PASSWORD, "observability.grafana.adminPassword"),
]


@pytest.mark.parametrize(("path", "value", "secret"), OWN_SECRETS)
def test_a_secret_in_plain_text_is_refused_wherever_it_stands(path: str, value: Any, secret: str, root: Path) -> None:
    assert refused(at(path, value), root, secrets=()) == (
        f"{secret} is in plain text: take it out of the stack file and store it with "
        f"`pulumi config set --secret --path 'kong-istio:{secret}'`."
    )
    found = settings.parse(at(path, value), (path.partition(".")[0],), root)
    assert PASSWORD not in repr(found)
    assert TLS_KEY not in repr(found)


def test_public_settings_are_all_but_the_secrets(root: Path) -> None:
    said = {"kong-istio:rateLimit": {**WITH_PASSWORD, "redis": {"host": "redis", "password": {"secure": "v1:"}}}}
    (root / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": said}))
    config = {
        **FULL,
        "kong": {"tls": TLS, "replicas": 2, "values": {"env": {"pg_password": PASSWORD}}},
        "observability": {"grafana": {"adminPassword": PASSWORD, "anonymous": True}},
        "rateLimit": WITH_PASSWORD,
        "applications": [OTHER, WITH_OWN_PASSWORD],
    }
    found = settings.parse(config, ("charts", "kong", "observability", "rateLimit", "applications"), root)
    public = settings.public(found)
    text = json.dumps(public)
    assert PASSWORD not in text
    assert "hunter2" not in text
    assert "tls" not in public["kong"]
    assert (public["kong"]["replicas"], public["observability"]["grafana"]["anonymous"]) == (2, True)
    assert public["applications"][1]["rateLimit"] == {"redis": {}}
    for again in (settings.restore(json.loads(text)), settings.parse(json.loads(text), (), root)):
        assert settings.public(again) == {**public, "kong": {**public["kong"], "tls": None}}
        assert again.limit_of(again.applications[1]).redis == Redis(host="redis")


@pytest.mark.parametrize(
    ("key", "own", "named"),
    [
        ("kong", {"tls": TLS}, {"tlsSecret": "front-door"}),
        ("observability.grafana", {"adminPassword": PASSWORD}, {"adminSecret": "login"}),
    ],
)
def test_a_secret_is_made_or_named(key: str, own: dict[str, Any], named: dict[str, Any], root: Path) -> None:
    assert refused(at(key, {**own, **named}), root, secrets=SECRETS) == (
        f"{key} has {next(iter(own))} and {next(iter(named))}: keep {next(iter(own))} to have the stack make the Secret, "
        f"or {next(iter(named))} for one that exists."
    )


AS_CERTIFICATE = "it must be a certificate as PEM, from -----BEGIN CERTIFICATE----- on."
AS_KEY = "it must be a key without a passphrase as PEM, from -----BEGIN PRIVATE KEY----- on."
LEGACY_ENCRYPTED = TLS_KEY.replace("MIGH", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\nMIGH")


@pytest.mark.parametrize(
    ("tls", "text"),
    [
        ({"key": TLS_KEY}, "kong.tls.certificate is missing"),
        ({"certificate": CERTIFICATE}, "kong.tls.key is missing"),
        ({"certificate": TLS_KEY, "key": CERTIFICATE}, f"kong.tls.certificate is [secret]: {AS_CERTIFICATE}"),
        ({**TLS, "certificate": "tls.crt"}, f"kong.tls.certificate is [secret]: {AS_CERTIFICATE}"),
        ({**TLS, "certificate": CERTIFICATE[:-10]}, f"kong.tls.certificate is [secret]: {AS_CERTIFICATE}"),
        ({**TLS, "key": PASSWORD}, f"kong.tls.key is [secret]: {AS_KEY}"),
        ({**TLS, "key": CERTIFICATE}, f"kong.tls.key is [secret]: {AS_KEY}"),
        ({**TLS, "key": TLS_KEY.replace("PRIVATE", "ENCRYPTED PRIVATE")}, f"kong.tls.key is [secret]: {AS_KEY}"),
        ({**TLS, "key": LEGACY_ENCRYPTED}, f"kong.tls.key is [secret]: {AS_KEY}"),
        ({**TLS, "key": 4711}, "kong.tls.key is [secret]: it must be text."),
        (TLS_KEY, "kong.tls is [secret]: it must be an object with the keys certificate, key."),
    ],
)
def test_what_kong_cannot_serve_is_refused_and_never_shown(tls: Any, text: str, root: Path) -> None:
    said = refused(at("kong.tls", tls), root, secrets=SECRETS)
    assert said.startswith(text)
    assert "hunter2" not in said


EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@pytest.mark.parametrize(
    "tls",
    [
        {**TLS, "certificate": f"subject=CN=one\n{CERTIFICATE}{CERTIFICATE}"},
        {**TLS, "certificate": CERTIFICATE.strip().replace("\n", "\r\n")},
        {**TLS, "key": TLS_KEY.replace("PRIVATE", "RSA PRIVATE")},
        {**TLS, "key": EC_PARAMETERS + TLS_KEY.replace("PRIVATE", "EC PRIVATE").strip()},
    ],
)
def test_a_certificate_and_its_key_may_be(tls: dict[str, str], root: Path) -> None:
    found = settings.parse(at("kong.tls", tls), SECRETS, root)
    assert found.kong.tls
    assert plain(found.kong.tls) == tls


# --- what cannot go together ---------------------------------------------------------------------------------------------------


NO_PROMETHEUS = {"prometheus": {"enabled": False}}


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (
            {"istio": {"mtls": "STRICT"}, "kong": {"routing": "guide"}},
            ["istio.mtls is STRICT while kong.routing is guide", "kong.routing to mesh, or istio.mtls to PERMISSIVE"],
        ),
        (
            {"istio": {"mtls": "STRICT", "injection": False}},
            ["istio.mtls is STRICT while istio.injection is false", "istio.injection to true, or istio.mtls to PERM"],
        ),
        *(
            (
                {"kong": {"nodePort": 30080, **({"serviceType": kind} if kind != "LoadBalancer" else {})}},
                [f"kong.nodePort is 30080 while kong.serviceType is {kind}", "type to NodePort, or the port to 0"],
            )
            for kind in ("LoadBalancer", "ClusterIP")
        ),
        *(
            (
                {"kong": {"nodePort": port, "serviceType": "NodePort"}},
                [f"kong.nodePort is {port}", "30000 to 32767", "0"],
            )
            for port in (80, 29999, 32768)
        ),
        *(
            (
                {"observability": {**NO_PROMETHEUS, **also}},
                [f"observability.{who}.enabled is true", "observability.prometheus.enabled is false", "both on"],
            )
            for who, also in (("grafana", {}), ("kiali", {"grafana": {"enabled": False}}))
        ),
        (
            {"observability": {"prometheus": {"storageClass": "fast"}}},
            ["observability.prometheus.storageClass", "observability.prometheus.volume is empty", "set volume to"],
        ),
        *(
            (
                {"observability": {"grafana": {"dashboards": folder}}},
                [f'observability.grafana.dashboards is "{folder}"', "no folder", "grafana.com"],
            )
            for folder in ("boards", "manifests", "dashboards/mesh.json")
        ),
    ],
)
def test_what_cannot_go_together_is_refused(config: dict[str, Any], parts: list[str], root: Path) -> None:
    says(refused(config, root), *parts)


@pytest.mark.parametrize(
    "config",
    [
        {"istio": {"mtls": "STRICT"}},
        {"kong": {"routing": "guide"}},
        {"kong": {"serviceType": "NodePort"}},
        {"kong": {"serviceType": "NodePort", "nodePort": 30000}},
        {"kong": {"serviceType": "NodePort", "nodePort": 32767}},
        {
            "observability": {
                "prometheus": {"enabled": False},
                "grafana": {"enabled": False},
                "kiali": {"enabled": False},
            }
        },
        {"observability": {"prometheus": {"storageClass": "fast", "volume": "20Gi"}}},
        {"observability": {"grafana": {"dashboards": "dashboards"}}},
        {"observability": {"grafana": {"dashboards": "none", "enabled": False}}},
    ],
)
def test_what_can_go_together_is_taken(config: dict[str, Any], root: Path) -> None:
    assert settings.parse(config, (), root)


# --- who reaches Kong, and whom it believes ----------------------------------------------------------------------------------

RANGE = "it must be the first address of a range and its length, such as 203.0.113.0/24 or 2001:db8::/32."
NO_RANGES = ("203.0.113.7", "203.0.113.7/24", "203.0.113.0/255.255.255.0", "203.0.113.0/33", "example.com/24", "", "/8")


def address(source: str, *ranges: str, kind: str = "LoadBalancer") -> dict[str, Any]:
    return {"kong": {"serviceType": kind, "clientAddress": {"source": source, "trustedRanges": list(ranges)}}}


@pytest.mark.parametrize("kind", ["NodePort", "ClusterIP"])
def test_source_ranges_need_a_load_balancer(kind: str, root: Path) -> None:
    text = refused({"kong": {"serviceType": kind, "sourceRanges": ["203.0.113.0/24"]}}, root)
    says(text, f"kong.sourceRanges is set while kong.serviceType is {kind}", "LoadBalancer, or leave the ranges out")


@pytest.mark.parametrize("text", NO_RANGES)
def test_a_range_of_addresses_is_one(text: str, root: Path) -> None:
    ranges = ["198.51.100.0/24", text]
    assert refused({"kong": {"sourceRanges": ranges}}, root) == f'kong.sourceRanges[1] is "{text}": {RANGE}'
    wanted = f'kong.clientAddress.trustedRanges[1] is "{text}": {RANGE}'
    assert refused(address("forwardedFor", *ranges), root) == wanted


@pytest.mark.parametrize("text", ["203.0.113.0/24", "203.0.113.7/32", "2001:db8::/32", "::1/128", "0.0.0.0/0"])
def test_source_ranges_may_be(text: str, root: Path) -> None:
    assert settings.parse({"kong": {"sourceRanges": [text]}}, (), root).kong.source_ranges == (text,)


@pytest.mark.parametrize("source", ["proxyProtocol", "forwardedFor"])
@pytest.mark.parametrize(
    "ranges",
    [
        ["0.0.0.0/0"],
        ["::/0"],
        ["198.51.100.0/24", "::/0"],
        # Nor by halves.
        ["0.0.0.0/1", "2001:db8::/32", "128.0.0.0/1"],
    ],
)
def test_kong_does_not_believe_everyone(source: str, ranges: list[str], root: Path) -> None:
    says(refused(address(source, *ranges), root), "kong.clientAddress.trustedRanges", "every address", "list only")


@pytest.mark.parametrize("source", ["proxyProtocol", "forwardedFor"])
def test_kong_has_to_know_whom_to_believe(source: str, root: Path) -> None:
    text = refused(address(source), root)
    says(text, f"kong.clientAddress.source is {source} without kong.clientAddress.trustedRanges", "list the addresses")


@pytest.mark.parametrize("source", ["connection", "localTraffic"])
def test_nobody_is_believed_who_is_not_asked(source: str, root: Path) -> None:
    text = refused(address(source, "198.51.100.0/24"), root)
    says(text, f"trustedRanges is set while kong.clientAddress.source is {source}", "leave the ranges out, or set the")


def test_local_traffic_comes_from_outside(root: Path) -> None:
    text = refused(address("localTraffic", kind="ClusterIP"), root)
    says(text, "kong.clientAddress.source is localTraffic while kong.serviceType is ClusterIP", "set the type to")


@pytest.mark.parametrize(
    "config",
    [
        address("localTraffic"),
        address("localTraffic", kind="NodePort"),
        address("proxyProtocol", "198.51.100.0/24", "2001:db8::/32"),
        address("forwardedFor", "10.0.0.0/8", kind="ClusterIP"),
        address("connection", kind="ClusterIP"),
    ],
)
def test_an_address_may_come(config: dict[str, Any], root: Path) -> None:
    assert settings.parse(config, (), root)


# --- resources ---------------------------------------------------------------------------------------------------------------

SIZED = ("istio.resources", "kong.resources", "kong.controllerResources", "observability.prometheus.resources")


@pytest.mark.parametrize("key", SIZED)
@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ({"request": {"cpu": 1}}, ".request is not a setting: did you mean requests?"),
        ({"requests": "500m"}, '.requests is "500m": it must be an object such as cpu: 500m, memory: 1Gi.'),
        ({"limits": {"memory": "1GB"}}, '.limits.memory is "1GB": it must be an amount such as 500m or 1Gi.'),
        ({"limits": {"cpu": True}}, ".limits.cpu is true: it must be an amount such as 500m or 1Gi."),
        ({"limits": {"cpu": None}}, ".limits.cpu is null: it must be an amount such as 500m or 1Gi."),
    ],
)
def test_resources_that_no_pod_may_have_are_refused(key: str, resources: Any, text: str, root: Path) -> None:
    assert refused(at(key, resources), root) == f"{key}{text}"


@pytest.mark.parametrize("key", SIZED)
@pytest.mark.parametrize("amount", ["500m", "0.5", 0.5, 2, "1Gi", "128M", "2k"])
def test_resources_may_be(key: str, amount: Any, root: Path) -> None:
    assert settings.parse(at(key, {"requests": {"memory": amount}, "limits": {}}), (), root)


# --- charts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"kong": {"version": "3.9"}}, ["kong.version is", '"3.9"', "a whole version such as 1.2.3, or empty"]),
        ({"kong": {"controllerVersion": "latest"}}, ["kong.controllerVersion is", "a whole version"]),
        (
            {"kong": {"chartVersion": "3.4.2"}, "charts": {"kong": "charts/kong"}},
            ["kong.chartVersion is 3.4.2", "charts.kong is", "leave kong.chartVersion out"],
        ),
        ({"kong": {"crds": "nowhere"}}, ["kong.crds is", "no such file or folder", "or the word none"]),
    ],
)
def test_versions_of_kong_that_cannot_be_had_are_refused(config: dict[str, Any], parts: list[str], root: Path) -> None:
    says(refused(config, root), *parts)


def test_a_version_of_kongs_chart_goes_with_a_repository(root: Path) -> None:
    config = {"kong": {"chartVersion": "3.4.2"}, "charts": {"kong": "https://mirror.example/charts"}}
    assert settings.chart_versions(settings.parse(config, (), root)) == {"kong": "3.4.2"}


@pytest.mark.parametrize("source", ["https://mirror.example/charts", "oci://mirror.example/charts", "charts/kong"])
def test_a_chart_may_come_from(source: str, root: Path) -> None:
    assert settings.parse({"charts": {"kong": source}}, (), root).charts["kong"].location == source


def test_a_chart_may_come_from_an_archive_or_the_home_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    (root / "kong-3.tgz").write_bytes(b"")
    assert settings.parse({"charts": {"kong": "~/charts/kong"}}, (), root)
    assert settings.parse({"charts": {"kong": "kong-3.tgz"}}, (), root)
    assert settings.parse({"charts": {"kong": str(root / "kong-3.tgz")}}, (), root)


@pytest.mark.parametrize(("source", "shown"), [("", '""'), (5, "5"), (None, "null")])
def test_a_chart_from_nowhere_is_refused(source: Any, shown: str, root: Path) -> None:
    says(
        refused({"charts": {"kong": source}}, root), f"charts.kong is {shown}", "a repository URL, oci://… or a folder"
    )


LOGIN = {"location": "https://mirror.example", "username": "reader", "password": PASSWORD}


@pytest.mark.parametrize(
    "source",
    [
        f"https://reader:{PASSWORD}@mirror.example/charts",
        f"https://{PASSWORD}@mirror.example/charts",
        f"oci://reader:{PASSWORD}@mirror.example/charts",
        f"https://reader:{PASSWORD}/with@mirror.example",
        f"https://mirror.example/charts?sig={PASSWORD}",
        f"https://mirror.example/charts#{PASSWORD}",
        "https://mirror.example/my charts",
        "https://mirror.example:port/charts",
        "https://",
        "https://[",
    ],
)
def test_a_url_may_have_no_login_and_no_blank_and_is_not_shown_then(source: str, root: Path) -> None:
    for given, where in ((source, "charts.kong"), ({"location": source}, "charts.kong.location")):
        says(
            refused({"charts": {"kong": given}}, root),
            f"{where} is [secret]",
            "without a login",
            "username and password",
        )


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"password": ""}, ["charts.kong.password is missing", "both"]),
        ({"username": ""}, ["charts.kong.username is missing", "both"]),
        ({"location": "charts/kong"}, ["charts.kong.username is set", "no login"]),
        ({"caFile": "nowhere.pem"}, ["charts.kong.caFile", "no file"]),
        ({"caFile": "manifests"}, ["charts.kong.caFile", "no file"]),
        (
            {"location": "oci://mirror.example", "username": "", "password": "", "caFile": "authority.pem"},
            ["charts.kong.caFile", "SSL_CERT_FILE"],
        ),
    ],
)
def test_a_login_that_nobody_would_use_is_refused(changes: dict[str, str], parts: list[str], root: Path) -> None:
    assert settings.parse({"charts": {"kong": LOGIN}}, ("charts",), root)
    says(refused({"charts": {"kong": {**LOGIN, **changes}}}, root, ("charts",)), *parts)


def test_a_repositorys_password_is_taken_encrypted_only(root: Path) -> None:
    says(refused({"charts": {"kong": LOGIN}}, root), "charts.kong.password is in plain text", "config set --secret")


@pytest.mark.parametrize("described", [None, b"\xff\xfe\x00", b"{", b"- a list", b"version: 1", b"", b"name: [kong"])
def test_a_folder_without_a_readable_chart_is_refused(described: bytes | None, root: Path) -> None:
    (root / "empty").mkdir()
    if described is not None:
        (root / "empty/Chart.yaml").write_bytes(described)
    text = refused({"charts": {"istiod": "empty"}}, root)
    says(text, 'charts.istiod is "empty": there is no readable chart', "put the chart istiod ", "or leave the key out")


@pytest.mark.parametrize("source", ["nowhere", "nowhere.tgz", "charts"])
def test_a_folder_that_is_not_there_is_refused(source: str, root: Path) -> None:
    assert f'charts.kong is "{source}": there is no readable chart' in refused({"charts": {"kong": source}}, root)


def test_a_folder_of_another_chart_is_refused(root: Path) -> None:
    text = refused({"charts": {"istiod": "charts/kong"}}, root)
    says(text, 'charts.istiod is "charts/kong"', "is kong", "the folder of istiod")


@pytest.mark.parametrize(
    ("observability", "names"),
    [
        ({}, ["base", "istiod", "kong", "prometheus", "grafana", "kiali-server"]),
        ({"kiali": {"enabled": False}}, ["base", "istiod", "kong", "prometheus", "grafana"]),
        (
            {"prometheus": {"enabled": False}, "grafana": {"enabled": False}, "kiali": {"enabled": False}},
            ["base", "istiod", "kong"],
        ),
    ],
)
def test_the_charts_in_use_follow_the_switches(observability: dict[str, Any], names: list[str], root: Path) -> None:
    assert settings.charts_in_use(settings.parse({"observability": observability}, (), root)) == names


# --- applications -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"name": "shop"}, 'applications[0].name and applications[1].name are both "shop"'),
        ({"namespace": "shop"}, 'applications[0].namespace and applications[1].namespace are both "shop"'),
    ],
)
def test_applications_share_nothing(other: dict[str, Any], text: str, root: Path) -> None:
    config = {"applications": [APP, {**OTHER, **other}]}
    assert refused(config, root) == f"{text}: give each application its own."


@pytest.mark.parametrize(
    ("first", "second", "keys"),
    [
        ({"route": ROUTE}, {"route": ROUTE}, ("applications[0].route", "applications[1].route")),
        (
            {"route": ROUTE},
            {"routes": [{**ROUTE, "name": "b", "host": "a"}, ROUTE]},
            ("applications[0].route", "applications[1].routes[1]"),
        ),
        ({"routes": [ROUTE, {**ROUTE, "name": "b"}]}, {}, ("applications[0].routes[0]", "applications[0].routes[1]")),
    ],
)
def test_routes_share_no_path(first: dict[str, Any], second: dict[str, Any], keys: tuple[str, str], root: Path) -> None:
    config = {"applications": [without_route(APP) | first, without_route(OTHER) | second]}
    expected = f'{keys[0]}.path and {keys[1]}.path are both "/": give each route its own path or host.'
    assert refused(config, root) == expected


LIMITLESS = {"service": "api", "port": 80, "path": "/api", "rateLimit": "none"}


def test_an_application_has_one_route_or_several_or_none(root: Path) -> None:
    routes: list[dict[str, Any]] = [{}, {"route": ROUTE}, {"routes": [ROUTE, LIMITLESS]}]
    found = [settings.parse({"applications": [without_route(APP) | one]}, (), root).applications[0] for one in routes]
    assert [[route.service for route in one.routes] for one in found] == [[], ["front"], ["front", "api"]]
    assert [[key for key, _ in one.route_keys] for one in found] == [[], ["route"], ["routes[0]", "routes[1]"]]


def test_a_routes_limit_lies_over_the_applications(root: Path) -> None:
    own = {**ROUTE, "path": "/own", "name": "own", "rateLimit": {"hour": 9}}
    shape = {**ROUTE, "path": "/shape", "name": "shape", "rateLimit": {"limitBy": "ip"}}
    app = {**without_route(APP), "routes": [ROUTE, own, shape, LIMITLESS], "rateLimit": {"minute": 7}}
    found = settings.parse({"applications": [app], "rateLimit": {"minute": 30, "errorCode": 503}}, (), root)
    limits = [found.limit_on(found.applications[0], route) for route in found.applications[0].routes]
    base = {"minute": 7, "policy": "local", "errorCode": 503}
    expected = [base, {"hour": 9, "policy": "local", "errorCode": 503}, {**base, "limitBy": "ip"}, None]
    assert [plain(limit) if limit else None for limit in limits] == expected


ROUTES_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both forms": ({"route": ROUTE, "routes": [ROUTE]}, "applications[0] has route and routes: keep routes"),
    "one Ingress for two": (
        {"routes": [ROUTE, {**ROUTE, "path": "/b"}]},
        "applications[0].routes[0] and applications[0].routes[1] would both have the Ingress front: give one of them a name "
        "(applications[0].routes[1].name).",
    ),
    "no limit by an empty key": (
        {"route": {**ROUTE, "rateLimit": None}},
        "applications[0].route.rateLimit is null: it must be an object, or the word none.",
    ),
    "a limit that cannot be": (
        {"route": {**ROUTE, "rateLimit": {"policy": "redis"}}},
        "rateLimit.policy of route front of application shop is redis without a host: set rateLimit.redis.host.",
    ),
    "two protocols of one Service": (
        {"routes": [ROUTE, {**ROUTE, "name": "b", "path": "/b", "protocol": "grpc"}]},
        "applications[0].routes[0].protocol is http and applications[0].routes[1].protocol grpc, both of the Service front",
    ),
    "a stripped path of gRPC": (
        {"route": {**ROUTE, "protocol": "grpcs", "stripPath": True}},
        "applications[0].route.stripPath is true while applications[0].route.protocol is grpcs",
    ),
    "WebSocket as a protocol": (
        {"route": {**ROUTE, "protocol": "ws"}},
        'applications[0].route.protocol is "ws": it must be http, https, grpc or grpcs.',
    ),
    "a certificate without a host": (
        {"route": {**ROUTE, "tlsSecret": "own"}},
        "applications[0].route.tlsSecret is own without a host: set applications[0].route.host",
    ),
    "two issuers": (
        {"route": {**ROUTE, "host": "a.example", "issuer": "a", "clusterIssuer": "b"}},
        "applications[0].route has issuer and clusterIssuer",
    ),
    "a config of nothing": (
        {"route": {**ROUTE, "plugins": [{"name": "a", "config": {"b": 1}}]}},
        "applications[0].route.plugins[0] has a config without a plugin",
    ),
    "the stack's own plugin": (
        {"route": {**ROUTE, "plugins": ["rate-limit-front"]}},
        "applications[0].route.plugins[0].name is rate-limit-front: the stack has such a KongPlugin of its own",
    ),
    "one plugin made twice": (
        {
            "routes": [
                {**ROUTE, "plugins": [CORS]},
                {**ROUTE, "name": "b", "path": "/b", "plugins": [CORS]},
            ]
        },
        "applications[0].routes[0].plugins[0] and applications[0].routes[1].plugins[0] both make the plugin cors",
    ),
    "two certificates of one host": (
        {
            "routes": [
                {**ROUTE, "host": "a.example", "tlsSecret": "one"},
                {**ROUTE, "name": "b", "path": "/b", "host": "a.example", "issuer": "own"},
            ]
        },
        "applications[0].routes[0] and applications[0].routes[1] are both of the host a.example, with the certificates one "
        "and b-tls: Kong serves one for a host; leave it out of one of them.",
    ),
    "an annotation of the stack's": (
        {"route": {**ROUTE, "annotations": {"konghq.com/strip-path": "true"}}},
        "applications[0].route.annotations has konghq.com/strip-path, which the stack sets itself: use stripPath for it.",
    ),
    "an annotation that is no text": (
        {"route": {**ROUTE, "annotations": {"a": True}}},
        "applications[0].route.annotations.a is true: it must be text.",
    ),
}


@pytest.mark.parametrize(("given", "text"), ROUTES_REFUSED.values(), ids=ROUTES_REFUSED)
def test_routes_that_cannot_be_are_refused(given: dict[str, Any], text: str, root: Path) -> None:
    assert text in refused({"applications": [without_route(APP) | given]}, root)


@pytest.mark.parametrize(
    ("annotations", "narrowed"),
    [
        ({}, False),
        ({"konghq.com/methods": "get, POST", "konghq.com/host-aliases": "b.example"}, False),
        ({"konghq.com/methods": "POST"}, True),
        ({"konghq.com/headers.x-version": "2"}, True),
        ({"konghq.com/snis": "a.example"}, True),
    ],
)
def test_annotations_may_keep_a_route_for_other_requests(annotations: dict[str, str], narrowed: bool) -> None:
    assert Route(service="a", port=80, annotations=annotations).narrowed is narrowed


def test_an_internal_load_balancer_is_one(root: Path) -> None:
    text = refused({"kong": {"internal": True, "serviceType": "NodePort"}}, root)
    assert text.startswith("kong.internal is true while kong.serviceType is NodePort: it is about the load balancer")


def test_two_applications_may_have_one_path_on_two_hosts(root: Path) -> None:
    other = {**OTHER, "route": {**APP["route"], "host": "blog.example"}}
    assert len(settings.parse({"applications": [APP, other]}, (), root).applications) == 2


@pytest.mark.parametrize(
    "namespace",
    ["istio-system", "istio-cni", "istio-ingress", "istio-egress", "kong-istio", "default", "kube-system"],
)
def test_an_application_stays_out_of_namespaces_of_others(namespace: str, root: Path) -> None:
    says(
        refused({"applications": [APP, {**OTHER, "namespace": namespace}]}, root),
        f"[1].namespace is {namespace}",
        "own",
    )


def test_manifests_that_are_not_there_are_refused(root: Path) -> None:
    text = refused({"applications": [{**APP, "manifests": "manifests/shop.yml"}]}, root)
    says(
        text, 'applications[0].manifests is "manifests/shop.yml"', "no such file or folder", "from the project's folder"
    )


def test_manifests_may_be_a_folder(root: Path) -> None:
    assert settings.parse({"applications": [{**APP, "manifests": "manifests"}]}, (), root)


# --- what the engine hands over --------------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> Iterator[None]:
    """Put the process's configuration back."""
    config, secrets = stack_config.CONFIG.get(), stack_config._SECRET_KEYS.get()
    yield
    pulumi.runtime.set_all_config(config, list(secrets))


def hand_over(config: Mapping[str, Any], secrets: Collection[str] = ()) -> None:
    """Hand configuration over as the engine does: text as it is, all else as JSON."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    pulumi.runtime.set_all_config(
        {f"kong-istio:{key}": text for key, text in texts.items()}, [f"kong-istio:{key}" for key in secrets]
    )


def test_a_path_with_and_without_its_last_slash_is_one(root: Path) -> None:
    apps = [{**APP, "route": {**APP["route"], "path": "/a"}}]
    apps.append({**APP, "name": "b", "namespace": "b", "route": {**APP["route"], "path": "/a/"}})
    assert 'route.path are both "/a"' in refused({"applications": apps}, root)


def refused_load(root: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        settings.load(root)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return sentence(caught.value)


@pytest.mark.usefixtures("engine")
def test_load_reads_what_the_engine_hands_over(root: Path) -> None:
    hand_over(FULL, SECRETS)
    assert plain(settings.load(root)) == FULL


@pytest.mark.usefixtures("engine")
def test_load_of_an_empty_stack_gives_the_defaults(root: Path) -> None:
    hand_over({})
    assert settings.load(root) == Settings()


@pytest.mark.usefixtures("engine")
def test_load_leaves_other_projects_keys_alone(root: Path) -> None:
    pulumi.runtime.set_all_config({"pulumi:tags": "{}", "kubernetes:context": "x", "kong-istio:kubeContext": "y"}, [])
    assert settings.load(root).kube_context == "y"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("context", ["123", "true", '"quoted"', "{"])
def test_load_takes_text_as_it_is(context: str, root: Path) -> None:
    hand_over({"kubeContext": context})
    assert settings.load(root).kube_context == context


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"kogn": "{}"}, "kogn is not a setting: did you mean kong?"),
        (
            {"istio": "demo"},
            "istio is plain text: write it as YAML in the stack file, or set its fields one by one with "
            "`pulumi config set --path 'kong-istio:istio…'`.",
        ),
        (
            {"rateLimit": "{redis: {password: " + PASSWORD + "}}"},
            "rateLimit is plain text: write it as YAML in the stack file, or set its fields one by one with "
            "`pulumi config set --path 'kong-istio:rateLimit…'`.",
        ),
        ({"sandbox": "yes"}, 'sandbox is "yes": it must be true or false.'),
        ({"sandbox": 1}, "sandbox is 1: it must be true or false."),
        (
            {"kong": "[]"},
            "kong is a list: it must be an object with the keys serviceType, nodePort, proxyAddress, replicas",
        ),
        (
            {"kong": "null"},
            "kong is null: it must be an object with the keys serviceType, nodePort, proxyAddress, replicas",
        ),
    ],
)
def test_load_refuses(config: dict[str, Any], text: str, root: Path) -> None:
    hand_over(config)
    assert refused_load(root).startswith(text)


@pytest.mark.usefixtures("engine")
def test_load_tells_secret_keys_from_plain_ones(root: Path) -> None:
    hand_over({"rateLimit": WITH_PASSWORD})
    assert refused_load(root).startswith("rateLimit.redis.password is in plain text")
    hand_over({"rateLimit": WITH_PASSWORD}, ["kong"])
    assert refused_load(root).startswith("rateLimit.redis.password is in plain text")
    hand_over({"rateLimit": WITH_PASSWORD}, ["rateLimit"])
    assert plain(settings.load(root))["rateLimit"]["redis"]["password"] == PASSWORD
