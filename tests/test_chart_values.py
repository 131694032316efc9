"""The values that the charts get: keys that the charts know, effects that they have; and the one table of versions."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import STAND_INS, documents, pick, reference

from components.charts import merged
from components.gateway import kong_values
from components.mesh import base_values, istiod_values
from components.observability import grafana_values, kiali_values, prometheus_values
from sandbox import tools
from sandbox.charts import stamped_copy
from sandbox.paths import CHECKOUT
from settings import Istio, Kiali, Kong, Observability
from settings.model import Grafana, Prometheus
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY, KUBERNETES_TESTED, TOOLS

ROOT = CHECKOUT.root
MIRROR = "mirror.example:5000/all"
STOOD_IN = ("grafana", "kiali-server", "kong", "prometheus")
# Where Istio's charts keep their defaults: what stands below it is set without it.
INTERNAL = "_internal_defaults_do_not_set"

Values = dict[str, Any]
Steps = tuple[str, ...]
Render = Callable[[str, Values], str]


# --- What the charts get ---------------------------------------------------------------------------------------------


def cases(dashboards: Path) -> dict[str, tuple[str, Values]]:
    """Return chart and values by a name, for settings that change them; `dashboards` is a folder of JSON files."""
    istio = {"defaults": Istio(), "no profile": Istio(profile=""), "no injection": Istio(injection=False)}
    kong = {
        "defaults": Kong(),
        "ClusterIP": Kong(service_type="ClusterIP", admission_webhook=False, replicas=3),
        "NodePort": Kong(service_type="NodePort", node_port=30123, admission_webhook=False),
    }
    shown = {
        "defaults": Observability(),
        "folder": Observability(grafana=Grafana(dashboards=str(dashboards), anonymous=True)),
        "others": Observability(
            prometheus=Prometheus(retention="2h"),
            grafana=Grafana(enabled=False),
            kiali=Kiali(auth="anonymous", view_only=False),
        ),
    }
    found = {"base: defaults": ("base", base_values(Istio()))}
    for registry, where in (("", ""), (MIRROR, ", mirror")):
        found |= {f"istiod: {name}{where}": ("istiod", istiod_values(s, registry)) for name, s in istio.items()}
        found |= {f"kong: {name}{where}": ("kong", kong_values(s, registry)) for name, s in kong.items()}
        for name, s in shown.items():
            found[f"prometheus: {name}{where}"] = ("prometheus", prometheus_values(s, registry))
            found[f"grafana: {name}{where}"] = ("grafana", grafana_values(s, registry, ROOT))
            found[f"kiali-server: {name}{where}"] = ("kiali-server", kiali_values(s, registry))
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
_KIALI = "the chart hands all of it to Kiali, as its configuration"
ALLOWED = [
    Allowed(
        chart="istiod",
        path=("profile",),
        reason="names a file of values in the chart",
        case="istiod: defaults",
        marker="cpu: 10m",
    ),
    Allowed(
        chart="kong",
        path=("proxy", "http", "nodePort"),
        reason="read by the template, and without a default",
        case="kong: NodePort",
        marker="nodePort: 30123",
    ),
    Allowed(
        chart="kong",
        path=("podAnnotations", "proxy.istio.io/config"),
        reason=_FREE,
        case="kong: NodePort",
        marker="holdApplicationUntilProxyStarts",
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
    file = reference(f"charts/{chart}/values.yaml") if real else STAND_INS / chart / "values.yaml"
    content: Values = yaml.safe_load(file.read_text())
    return {**content, **content.get(INTERNAL, {})}


_MISSING = object()


def at(values: Any, path: Steps) -> Any:
    for step in path:
        if not isinstance(values, dict) or step not in values:
            return _MISSING
        values = values[step]
    return values


def with_sources() -> list[Any]:
    """Return each case with the real chart's defaults, and with our stand-in's where there is one."""
    named = [(name, name.partition(":")[0]) for name in CASES]
    return [
        *(pytest.param(name, True, id=f"{name} (real)") for name, _ in named),
        *(pytest.param(name, False, id=f"{name} (stand-in)") for name, chart in named if chart in STOOD_IN),
    ]


def test_there_is_a_case_for_every_chart_that_is_installed() -> None:
    assert {name.partition(":")[0] for name in CASES} == CHARTS.keys() - {"gateway", "cni"}
    assert {folder.name for folder in STAND_INS.iterdir() if folder.is_dir()} == set(STOOD_IN)


@pytest.mark.parametrize(("name", "real"), with_sources())
def test_every_value_has_a_default_in_the_chart(given: dict[str, tuple[str, Values]], name: str, real: bool) -> None:
    chart, values = given[name]
    known = defaults(chart, real=real)
    unknown = [path for path, _ in leaves(values) if at(known, path) is _MISSING and not allowed(chart, path)]
    assert unknown == []
    assert INTERNAL not in values


@pytest.mark.parametrize(("name", "real"), with_sources())
def test_every_value_is_of_the_kind_of_its_default(given: dict[str, tuple[str, Values]], name: str, real: bool) -> None:
    chart, values = given[name]
    known = defaults(chart, real=real)
    for path, value in leaves(values):
        default = at(known, path)
        if default not in (_MISSING, None, "", {}):
            assert type(value) is type(default), f"{'.'.join(path)} is {value!r}, and by default {default!r}"


@pytest.mark.parametrize("entry", ALLOWED, ids=str)
def test_what_is_allowed_is_set_and_has_no_default(entry: Allowed, given: dict[str, tuple[str, Values]]) -> None:
    assert entry.reason
    assert at(given[entry.case][1], entry.path) is not _MISSING
    assert at(defaults(entry.chart, real=True), entry.path) is _MISSING


# --- Effects ---------------------------------------------------------------------------------------------------------

NAMESPACES = {"kong": "kong-istio"}
RELEASES = {"kong": "kong-istio", "kiali-server": "kiali", "base": "istio-base"}


@pytest.fixture(scope="module")
def istio_charts(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Copy Istio's charts out of Go's module cache, where they are; nothing is downloaded."""
    target = tmp_path_factory.mktemp("istio")
    try:
        done = subprocess.run(
            ["go", "mod", "download", "-json", "istio.io/istio"],
            cwd=ROOT / "tools" / "istiod",
            env={**tools.go_environment(), "GOPROXY": "off"},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    if done.returncode:
        return None
    module = Path(json.loads(done.stdout)["Dir"])
    stamped_copy(module / "manifests/charts/istio-control/istio-discovery", target / "istiod", CHARTS["istiod"].version)
    return target


@pytest.fixture(scope="module")
def render(istio_charts: Path | None) -> Render:
    """Return a function that renders a stand-in, or Istio's own chart, as the stack installs it."""
    helm = tools.find(TOOLS["helm"])

    @cache
    def run(chart: str, values: str) -> str:
        folder = STAND_INS if chart in STOOD_IN else istio_charts
        if helm is None:
            pytest.skip("there is no helm of the pinned version here")
        if folder is None:
            pytest.skip("Istio's Go module, which holds its charts, is not on this machine")
        done = subprocess.run(
            [
                *(str(helm), "template", RELEASES.get(chart, chart), str(folder / chart), "--values", "-"),
                *("--namespace", NAMESPACES.get(chart, "istio-system")),
                *("--kube-version", ".".join(map(str, KUBERNETES_TESTED))),
                "--api-versions=networking.k8s.io/v1/IngressClass",
            ],
            input=values,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return lambda chart, values: run(chart, json.dumps(values))


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


def images(value: Any) -> set[str]:
    """Return the images of all containers in a value."""
    if isinstance(value, list):
        return set().union(*map(images, value))
    if not isinstance(value, dict):
        return set()
    own = {value["image"]} if isinstance(value.get("image"), str) else set()
    return own.union(*map(images, value.values()))


def without_host(image: str) -> str:
    """Return an image's path, as it has it in its own registry."""
    host, slash, path = image.partition("/")
    if not slash:
        return f"library/{image}"
    return path if "." in host else image


MIRRORED = {
    "kong": "kong: NodePort",
    "prometheus": "prometheus: defaults",
    "grafana": "grafana: defaults",
    "kiali-server": "kiali-server: defaults",
    "istiod": "istiod: defaults",
}


@pytest.mark.parametrize("chart", MIRRORED)
def test_a_mirror_holds_every_image_under_its_own_path(
    chart: str, given: dict[str, tuple[str, Values]], render: Render
) -> None:
    name = MIRRORED[chart]
    direct, mirrored = (images(documents(render(*given[case]))) for case in (name, f"{name}, mirror"))
    assert direct
    assert {without_host(image) for image in direct} == {image.removeprefix(f"{MIRROR}/") for image in mirrored}
    assert all(image.startswith(f"{MIRROR}/") for image in mirrored)


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
    assert images(documents(rendered)) == {
        f"kong:{KONG_GATEWAY}",
        f"kong/kubernetes-ingress-controller:{KONG_CONTROLLER}",
    }
    spec = rendered_object(rendered, "Deployment", "kong-istio-kong")["spec"]
    assert spec["replicas"] == 3
    assert pick(rendered_object(rendered, "Service", "kong-istio-kong-proxy"), "spec", "type") == "ClusterIP"


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


def test_further_values_are_laid_over_the_stacks() -> None:
    istiod = istiod_values(Istio(istiod_values={"global": {"tag": "x"}, "profile": "ambient"}), MIRROR)
    assert istiod == {"profile": "ambient", "global": {"hub": f"{MIRROR}/release", "tag": "x"}}
    assert base_values(Istio(base_values={"defaultRevision": "old"})) == {"defaultRevision": "old"}
    further = {"env": {"log_level": "debug"}, "image": {"tag": "3.9.0"}}
    kong = kong_values(Kong(values=further), "")
    assert kong == merged(kong_values(Kong(), ""), further)
    assert kong["env"] == {"database": "off", "log_level": "debug"}
    own = {"server": {"podLabels": {"team": "a"}}}
    prometheus = prometheus_values(Observability(prometheus=Prometheus(values=own)), "")
    assert prometheus["server"]["podLabels"] == {"sidecar.istio.io/inject": "false", "team": "a"}
    assert prometheus_values(Observability(), "")["server"]["podLabels"] == {"sidecar.istio.io/inject": "false"}


# --- Versions --------------------------------------------------------------------------------------------------------


def rows() -> dict[str, list[str]]:
    """Return the table of the reference charts: folder -> [name in its repository, version]."""
    text = reference("charts/README.md").read_text()
    return {match[1]: [match[2], match[3]] for match in re.finditer(r"^\| (\S+) \| \S+/(\S+) ([\d.]+) \|", text, re.M)}


@pytest.mark.parametrize("chart", sorted(CHARTS.keys() - {"cni"}))
def test_charts_have_the_versions_that_were_looked_at(chart: str) -> None:
    assert rows()[chart] == [CHARTS[chart].name, CHARTS[chart].version]
    assert f"`{CHARTS[chart].repository}`" in reference("charts/README.md").read_text()


def test_the_charts_of_istio_go_together() -> None:
    versions = {CHARTS[name].version for name in ("base", "istiod", "gateway", "cni")}
    assert len(versions) == 1


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize(("path", "version"), [("image", KONG_GATEWAY), ("ingressController.image", KONG_CONTROLLER)])
def test_kong_is_a_patch_of_what_its_chart_was_made_for(path: str, version: str, real: bool) -> None:
    tag = pick(defaults("kong", real=real), *path.split("."), "tag")
    assert version.startswith(f"{tag}.")


def required() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def test_python_packages_are_pinned() -> None:
    assert all(re.fullmatch(r"[\d.]+", version) for version in required().values())


@pytest.mark.parametrize("package", ["pulumi", "pulumi-command", "pulumi-kubernetes"])
def test_pulumi_is_installed_as_pinned(package: str) -> None:
    # The providers' plugins are fetched in the version of the installed package.
    assert importlib.metadata.version(package) == required()[package]


@pytest.mark.parametrize("folder", sorted({tool.folder for tool in TOOLS.values()}))
def test_a_go_module_holds_the_tools_of_the_table_in_their_version(folder: str) -> None:
    answer = (ROOT / "tools" / folder / "go.mod").read_text()
    block = re.search(r"^tool \((.*?)^\)", answer, re.M | re.S)
    held = set(block[1].split()) if block else set(re.findall(r"^tool (\S+)$", answer, re.M))
    modules = dict(re.findall(r"^(?:require)?\s+([\w.-]+\.\w+/\S+) v(\S+)", answer, re.M))
    wanted = {tool.package: tool.version for tool in TOOLS.values() if tool.folder == folder}
    assert held == wanted.keys()
    for package, version in wanted.items():
        (module,) = (name for name in modules if f"{package}/".startswith(f"{name}/"))
        assert modules[module] == version


def test_every_go_module_is_in_the_table() -> None:
    assert {file.parent.name for file in (ROOT / "tools").glob("*/go.mod")} == {tool.folder for tool in TOOLS.values()}


STATED = [
    *(chart.version for chart in CHARTS.values()),
    *(tool.version for tool in TOOLS.values()),
    *(KONG_GATEWAY, KONG_CONTROLLER),
]
CODE = ("*.py", "Pulumi*.yaml", "Makefile", *(f"{name}/**/*.py" for name in ("cluster", "components", "settings")))


def test_no_code_states_a_version_but_the_table() -> None:
    files = {file for pattern in (*CODE, "sandbox/*.py", "rehearsal/*.py") for file in ROOT.glob(pattern)}
    assert len(files) > 20
    word = re.compile(rf"(?<![\w.-])v?({'|'.join(map(re.escape, sorted(set(STATED))))})(?![\w.])")
    stating = {file.name: found for file in files if (found := word.findall(file.read_text()))}
    assert stating.keys() == {"versions.py"}
