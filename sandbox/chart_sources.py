"""Which chart comes from where: the settings, its official repository, Istio's Go module, or a stand-in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sandbox import SandboxError, builds, tools
from sandbox.paths import CHECKOUT, Paths
from sandbox.programs import TOOLS
from versions import CHARTS, Chart

_TIMEOUT = 3
# Where Istio's source keeps the charts that it publishes under these names.
_ISTIO_FOLDERS = {
    "base": "base",
    "istiod": "istio-control/istio-discovery",
    "gateway": "gateway",
    "cni": "istio-cni",
}
# Istio's source names images of its own tests; the release builder puts these in their place.
_ISTIO_HUB = "registry.istio.io/release"


@dataclass(frozen=True)
class Source:
    """Where a chart comes from: in words, and its folder below the checkout if it is not the official one."""

    origin: str
    path: str = ""


def resolve(committed: Mapping[str, str], paths: Paths = CHECKOUT) -> dict[str, Source]:
    """Find a source for every chart; those that the committed settings name are left as they are."""
    open_names = [name for name in CHARTS if name not in committed]
    reachable = reachable_repositories({CHARTS[name].repository for name in open_names})
    sources = {name: Source(f"{path} (settings)") for name, path in committed.items()}
    missing = [name for name in open_names if CHARTS[name].repository not in reachable]
    sources |= {
        name: Source(f"{CHARTS[name].repository} {CHARTS[name].version} (official)")
        for name in open_names
        if name not in missing
    }
    from_module = [name for name in missing if name in _ISTIO_FOLDERS]
    if from_module:
        sources |= _from_istio_module(from_module, paths)
    return sources | {name: _stand_in(CHARTS[name], paths) for name in missing if name not in from_module}


def reachable_repositories(repositories: Collection[str]) -> set[str]:
    """Ask every repository for its index at the same time, and return those that answer."""
    if os.environ.get("KONG_ISTIO_OFFLINE") or not repositories:
        return set()
    with ThreadPoolExecutor(len(repositories)) as pool:
        answers = pool.map(_answers, repositories)
        return {repository for repository, answered in zip(repositories, answers, strict=True) if answered}


def _answers(repository: str) -> bool:
    request = urllib.request.Request(f"{repository}/index.yaml", method="HEAD")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _stand_in(chart: Chart, paths: Paths) -> Source:
    folder = CHECKOUT.root / "sandbox" / "charts" / chart.name
    if not (folder / "Chart.yaml").exists():
        raise SandboxError(
            f"the chart {chart.name} cannot be obtained: {chart.repository} is out of reach and there is no stand-in in "
            f"{folder}. Connect to the network, or name a copy in the setting `charts`."
        )
    return Source(f"stand-in ({chart.repository} is out of reach)", os.path.relpath(folder, start=paths.root))


def _from_istio_module(names: Collection[str], paths: Paths) -> dict[str, Source]:
    module = _istio_module(names)
    version = of_source(f"{(module / 'VERSION').read_text().strip()}.0")
    sources = {}
    for name in names:
        target = paths.charts / name
        stamped_copy(module / "manifests" / "charts" / _ISTIO_FOLDERS[name], target, version)
        origin = f"Go module istio.io/istio {_istio_commit()} ({CHARTS[name].repository} is out of reach)"
        sources[name] = Source(origin, os.path.relpath(target, start=paths.root))
    return sources


def of_source(version: str) -> str:
    """Return a version of Istio's charts as that of a build of its source: what runs shall be told as what it is."""
    return f"{version}-{_istio_commit()}"


def _istio_commit() -> str:
    return TOOLS[tools.ISTIOD].version.rpartition("-")[2]


def _istio_module(names: Collection[str]) -> Path:
    """Return the folder of Istio's source in Go's module cache, fetching it if need be."""
    problem = builds.go_problem()
    if not problem:
        answer = subprocess.run(
            ["go", "mod", "download", "-json", "istio.io/istio"],
            cwd=builds.MODULE,
            env=builds.go_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0:
            return Path(json.loads(answer.stdout)["Dir"])
        problem = (answer.stderr.strip().splitlines() or ["go mod download failed"])[-1]
    raise SandboxError(
        f"the charts {', '.join(names)} cannot be obtained: their repository is out of reach, and Istio's Go module, "
        f"which holds them too, cannot be obtained either: {problem}. Connect to the network and try again."
    )


def stamped_copy(source: Path, target: Path, version: str) -> None:
    """Copy a chart of Istio's source, or such a copy, with the version and the images that its release has."""
    shutil.rmtree(target, ignore_errors=True)
    # Files of the module cache are read-only, and copies that keep that could not be removed by `down`.
    for file in (path for path in source.rglob("*") if path.is_file()):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    _replace(target / "Chart.yaml", {r"^(version|appVersion): .*$": rf"\1: {version}"})
    _replace(
        target / "values.yaml",
        {
            r"^( *hub: )registry\.istio\.io/testing$": rf"\g<1>{_ISTIO_HUB}",
            r"^( *tag: )(latest|\d\S*)$": rf"\g<1>{version}",
        },
    )


def _replace(file: Path, patterns: Mapping[str, str]) -> None:
    text = file.read_text()
    for pattern, replacement in patterns.items():
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    file.write_text(text)
