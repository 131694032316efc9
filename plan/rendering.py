"""Renders a stack's releases with Helm, as the stack would install them, and without a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pulumi import RunError

from plan.recording import Recording, Resource
from sandbox import tools
from sandbox.errors import SandboxError
from versions import KUBERNETES_TESTED, TOOLS

# Istio's charts are long, and PyYAML's wheels bring libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Source:
    """What makes objects, a release or an application's manifest, and the objects."""

    name: str
    objects: list[dict[str, Any]]


def sources(recording: Recording, root: Path) -> dict[str, Source]:
    """Return every object of a stack, by the key of the resource that makes it. Raises `RunError`."""
    releases = {key: resource for key, resource in recording.resources.items() if resource.kind == "Release"}
    helm = find_helm()
    with ThreadPoolExecutor(4) as pool:
        rendered = pool.map(lambda release: _rendered(release, helm, root), releases.values())
    found = {key: Source(releases[key].name, objects) for key, objects in zip(releases, rendered, strict=True)}
    for key, resource in recording.resources.items():
        if resource.type.startswith("kubernetes:") and {"kind", "metadata"} <= resource.inputs.keys():
            found[key] = Source(_component(recording, key), [resource.inputs])
    return found


def _component(recording: Recording, key: str) -> str:
    """Return the name of the component that an object belongs to."""
    parent = recording.resources[key].parent
    return recording.resources[parent].name if parent else key


def find_helm() -> Path:
    """Return a Helm: the pinned one, else any on PATH, else the pinned one is had."""
    found = tools.find(TOOLS["helm"]) or shutil.which("helm")
    try:
        return Path(found or tools.ensure(["helm"])["helm"])
    except SandboxError as error:
        raise RunError(str(error)) from None


def _rendered(release: Resource, helm: Path, root: Path) -> list[dict[str, Any]]:
    given = release.inputs
    repository = (given.get("repositoryOpts") or {}).get("repo")
    command = [
        *(str(helm), "template", given["name"], given["chart"], "--namespace", given["namespace"], "--values", "-"),
        *("--skip-tests", "--kube-version", ".".join(map(str, KUBERNETES_TESTED))),
        *(["--repo", repository] if repository else []),
        *(["--version", given["version"]] if given.get("version") else []),
    ]
    done = subprocess.run(
        command,
        cwd=root,  # folders of charts are named from there
        input=json.dumps(given.get("values") or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # Helm's last line may be advice on itself.
        lines = done.stderr.strip().splitlines() or ["helm said nothing"]
        why = next((line for line in lines if line.startswith("Error: ")), lines[-1]).removeprefix("Error: ")
        raise RunError(
            f"The chart {given['chart']} of the release {given['name']} cannot be rendered ({why}): mend the way to "
            f"{repository or given['chart']}, or name another source for it in the setting charts."
        )
    return [document for document in yaml.load_all(done.stdout, Loader=_LOADER) if document]
