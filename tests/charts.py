"""What the tests of charts and manifests share: reading, tidying, and the published charts to compare with."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from sandbox import SandboxError, chart_sources, tools
from sandbox.paths import CHECKOUT, Paths, tool_cache
from sandbox.programs import TOOLS
from versions import CHARTS, KUBERNETES_TESTED

STAND_INS = CHECKOUT.root / "sandbox" / "charts"
_REFERENCE = CHECKOUT.root.parent / "shared"
#: Far faster than PyYAML's own.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Identity = tuple[str, str, str]


def reference(name: str) -> Path:
    """Return a file of the reference data; skip the test where there is none."""
    path = _REFERENCE / name
    if not path.exists():
        pytest.skip(f"nothing to compare with: {name} is not beside the checkout")
    return path


# --- Published charts ------------------------------------------------------------------------------------------------

NOT_RUN = "the contract with the chart"
#: The property of a test's report that says with what a contract ran.
CONTRACT = "contract"


@dataclass(frozen=True)
class Published:
    """A chart as it is published: where it comes from, its defaults, and all of it where that is at hand."""

    origin: str
    values: Path
    folder: Path | None = None


def published(name: str) -> Published:
    """Return a chart in the version of the table; skip the test, in the same words for each chart, where it is not."""
    found = _found(name)
    if found is None:
        chart = CHARTS[name]
        pytest.skip(
            f"{NOT_RUN} {name} {chart.version} did not run: it lies neither in {_beside(name)} nor behind {chart.repository}"
        )
    return found


def rendered(name: str, values: dict[str, Any], release: str, namespace: str) -> list[dict[str, Any]]:
    """Return what a published chart makes of values: what it makes here, or what lies beside the checkout."""
    folder = published(name).folder
    if folder is None:
        return documents(reference(f"charts/{name}/rendered.yaml").read_text())
    return documents(helm_template(folder, json.dumps(values), release, namespace, "--include-crds", "--skip-tests"))


@cache
def _found(name: str) -> Published | None:
    beside = _beside(name) / "values.yaml"
    return _pulled(name) or (Published("beside the checkout", beside) if beside.exists() else of_istio(name))


def _beside(name: str) -> Path:
    return _REFERENCE / "charts" / name


@cache
def _reachable() -> set[str]:
    return chart_sources.reachable_repositories({chart.repository for chart in CHARTS.values()})


def _pulled(name: str) -> Published | None:
    """Pull a chart with the sandbox's Helm, once for this machine."""
    chart = CHARTS[name]
    kept = tool_cache() / f"chart-{name}-{chart.version}"
    if not kept.exists():
        if chart.repository not in _reachable():
            return None
        helm = tools.ensure(["helm"])["helm"]
        tool_cache().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=tool_cache()) as folder:
            own = {f"HELM_{what}_HOME": f"{folder}/{what}" for what in ("CACHE", "CONFIG", "DATA")}
            where = ("--repo", chart.repository, "--version", chart.version, "--untar", "--untardir", folder)
            command = [str(helm), "pull", chart.name, *where]
            done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
            with suppress(OSError):  # another worker was faster
                (Path(folder) / chart.name).rename(kept)
    return Published(f"{chart.repository} {chart.version}", kept / "values.yaml", kept)


def of_istio(name: str) -> Published | None:
    """Return one of Istio's charts out of Go's module cache, where it is; nothing is downloaded."""
    return _istio().get(name)


# Removed when the process ends.
_COPIES = TemporaryDirectory()


@cache
def _istio() -> dict[str, Published]:
    others = {name: "-" for name, chart in CHARTS.items() if chart.repository != CHARTS["istiod"].repository}
    root = Path(_COPIES.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KONG_ISTIO_OFFLINE", "1")
        patch.setenv("GOPROXY", "off")
        try:
            sources = chart_sources.resolve(others, Paths(root))
        except SandboxError:
            return {}
    folders = {name: (root / source.path).resolve() for name, source in sources.items() if source.path}
    return {name: Published(sources[name].origin, at / "values.yaml", at) for name, at in folders.items()}


def template(chart: str, values: dict[str, Any], release: str, namespace: str) -> str:
    """Render a stand-in, or Istio's own chart, as a cluster that was tested would; skip the test where that cannot be."""
    folder = STAND_INS / chart
    if not folder.exists():
        istio = of_istio(chart)
        if istio is None or istio.folder is None:
            pytest.skip("Istio's Go module, which holds its charts, is not on this machine")
        folder = istio.folder
    return helm_template(folder, json.dumps(values), release, namespace)


@cache
def helm_template(folder: Path, values: str, release: str, namespace: str, *options: str) -> str:
    """Render the chart of a folder; skip the test where there is no Helm."""
    helm = tools.find(TOOLS["helm"])
    if helm is None:
        pytest.skip("there is no helm of the pinned version here")
    command = [
        *(str(helm), "template", release, str(folder), "--values", "-", "--namespace", namespace),
        *("--kube-version", ".".join(map(str, KUBERNETES_TESTED))),
        "--api-versions=networking.k8s.io/v1/IngressClass",
        *options,
    ]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- Objects ---------------------------------------------------------------------------------------------------------


def documents(text: str) -> list[dict[str, Any]]:
    """Parse a stream of YAML documents, leaving out the empty ones."""
    return [document for document in yaml.load_all(text, Loader=LOADER) if document]


def tidy(value: Any) -> Any:
    """Drop, at every depth, what means the same as its absence: nulls, and empty strings, lists and mappings."""
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := tidy(item)) not in (None, "", [], {})}
    if isinstance(value, list):
        return [tidy(item) for item in value]
    return value


def by_identity(objects: list[dict[str, Any]]) -> dict[Identity, dict[str, Any]]:
    """Index objects by kind, namespace and name; the same identity twice is an error."""
    index: dict[Identity, dict[str, Any]] = {}
    for item in objects:
        identity = (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        assert identity not in index, f"{identity} is there twice"
        index[identity] = item
    return index


def pick(value: Any, *path: str | int) -> Any:
    """Go down into an object; a word picks the list item of that name (or mount path). None where there is no such."""
    for step in path:
        if isinstance(value, list) and isinstance(step, str):
            value = next((item for item in value if step in (item.get("name"), item.get("mountPath"))), None)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
