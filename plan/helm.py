"""The one caller of `helm template`: what a chart renders to, without a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pulumi import RunError

import quick_yaml
from sandbox import SandboxError, tools
from sandbox.programs import TOOLS
from versions import KUBERNETES_TESTED

_SECONDS = 120
# Kinds that every cluster has, and that charts ask for before they create an object of one.
_KINDS = ("networking.k8s.io/v1/IngressClass",)
#: The version that charts are rendered for where no cluster says its own.
KUBE_VERSION = ".".join(map(str, KUBERNETES_TESTED))


class HelmError(RunError):
    """A chart that Helm cannot render, in one sentence."""


def find() -> Path:
    """Return a Helm: the pinned one, else any on PATH, else the pinned one is obtained. Raises `HelmError`."""
    found = tools.find(TOOLS["helm"]) or shutil.which("helm")
    try:
        return Path(found or tools.ensure(["helm"])["helm"])
    except SandboxError as error:
        raise HelmError(str(error)) from None


def template(
    program: Path,
    root: Path,
    *,
    name: str,
    chart: str,
    version: str | None = None,
    repository: str | None = None,
    access: Mapping[str, str] | None = None,
    namespace: str = "default",
    values: Mapping[str, Any] | None = None,
    kube_version: str = KUBE_VERSION,
    kinds: Collection[str] = _KINDS,
    include_crds: bool = False,
) -> str:
    """Return the manifests of a release as YAML, without those of Helm's tests. Raises `HelmError`.

    `root` is the folder from which folders of charts are named. `version` counts for a repository or a registry alone:
    a folder has one version, and the engine notes it too. `access`: `username`, `password` and `caFile` of these.
    """
    remote = bool(repository) or chart.startswith("oci://")
    with _found(program, root, name, chart, repository, access or {}) as (named, options):
        command = [
            *("template", name, named, "--namespace", namespace, "--values", "-"),
            *("--skip-tests", "--kube-version", kube_version),
            *(f"--api-versions={kind}" for kind in kinds),
            *(["--include-crds"] if include_crds else []),
            *options,
            *(["--version", version] if remote and version else []),
        ]
        return _run(program, root, command, name, chart, json.dumps(dict(values or {})))


@contextmanager
def _found(
    program: Path, root: Path, name: str, chart: str, repository: str | None, access: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Give a chart's name and the options that find it. A login goes by a file, as everybody on this machine may read a command line."""
    if not access:
        yield chart, ["--repo", repository] if repository else []
        return
    with TemporaryDirectory(prefix="helm-") as folder:
        file = Path(folder) / "login"
        if repository:
            # The keys are those of the provider's options, and of Helm's own file.
            entry = {"name": "own", "url": repository, **access}
            file.write_text(json.dumps({"apiVersion": "v1", "repositories": [entry]}), encoding="utf-8")
            where = ["--repository-config", str(file), "--repository-cache", folder]
            _run(program, root, ["repo", "update", "--fail-on-repo-update-fail", *where], name, chart)
            yield f"own/{chart}", where
        else:
            login = b64encode(f"{access.get('username', '')}:{access.get('password', '')}".encode()).decode()
            registry = chart.removeprefix("oci://").split("/")[0]
            file.write_text(json.dumps({"auths": {registry: {"auth": login}}}), encoding="utf-8")
            authority = access.get("caFile")
            yield chart, ["--registry-config", str(file), *(["--ca-file", authority] if authority else [])]


def _run(program: Path, root: Path, command: Sequence[str], name: str, chart: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            [str(program), *command],
            cwd=root,
            input=given,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HelmError(_sentence(name, chart, f"Helm was stopped after {_SECONDS} seconds")) from None
    if done.returncode:
        # Helm's last line may be advice on itself.
        lines = done.stderr.strip().splitlines() or ["Helm said nothing"]
        first = next((number for number, line in enumerate(lines) if line.startswith("Error: ")), -1)
        why = " ".join(line for line in lines[first:] if not line.startswith(("Use --debug", "WARNING")))
        raise HelmError(_sentence(name, chart, why.removeprefix("Error: ")))
    return done.stdout


def objects(rendered: str) -> list[dict[str, Any]]:
    """Return the objects of rendered manifests. Raises `HelmError`."""
    try:
        documents = quick_yaml.load_all(rendered)
        return [document for document in documents if isinstance(document, dict)]
    except yaml.YAMLError:
        raise HelmError("Helm rendered something that is not YAML.") from None


def _sentence(name: str, chart: str, why: str) -> str:
    return (
        f"The chart {chart} of the release {name} cannot be rendered ({' '.join(why.split()).rstrip('.')}): "
        "fix its values, or name a source that can be reached in the setting charts."
    )
