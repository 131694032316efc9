"""What Helm makes of the charts of a stack: the manifests of a release, rendered on this machine."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from preview.pulumi_preview import State
from versions import KUBERNETES_TESTED

_TYPE = "kubernetes:helm.sh/v3:Release"
_TIMEOUT = 120
_KUBERNETES = ".".join(str(number) for number in KUBERNETES_TESTED)
_HIDDEN = "[hidden]"
# Certificates that charts make up each time anew.
_BUNDLE = re.compile(r"(caBundle:) *\S+")
#: The C parser where there is one: some charts hold ten thousand lines of resource definitions.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Runs `helm template` in a folder and returns what it prints.
Helm = Callable[[Path, list[str]], str]


class ChartError(RuntimeError):
    """A chart that Helm cannot render, in one sentence."""


def is_release(state: State) -> bool:
    """Whether a resource is a Helm chart's release."""
    return state.type == _TYPE


def values(state: State) -> str:
    """Return the chart, its version and its values as YAML."""
    said = {"chart": state.inputs.get("chart"), "version": state.inputs.get("version"), **_repository(state)}
    return as_yaml({**said, "values": state.inputs.get("values") or {}})


def _repository(state: State) -> dict[str, Any]:
    repository = (state.inputs.get("repositoryOpts") or {}).get("repo")
    return {"repository": repository} if repository else {}


def fingerprint(state: State, root: Path) -> str:
    """Return what tells whether a release would render alike: its inputs, and a chart that lies in the project."""
    digest = hashlib.sha256(as_yaml({**state.inputs, "urn": state.urn}).encode())
    folder = root / str(state.inputs.get("chart", ""))
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file():
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def rendered(state: State, root: Path, helm: Helm) -> dict[str, str]:
    """Return a release's objects by kind and name, as YAML without what is secret in them."""
    inputs = state.inputs
    with tempfile.TemporaryDirectory(prefix="values-") as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(inputs.get("values") or {}))
        repository = _repository(state)
        arguments = ["template", str(inputs.get("name") or state.name), str(inputs.get("chart", ""))]
        arguments += ["--repo", repository["repository"]] if repository else []
        # The engine notes the version of a chart in a folder too, where Helm would take it for a wish.
        arguments += ["--version", str(inputs["version"])] if repository or _is_remote(inputs) else []
        arguments += ["--namespace", str(inputs.get("namespace", "default")), "--values", str(file)]
        said = helm(root, [*arguments, "--include-crds", "--kube-version", _KUBERNETES])
    return dict(_objects(said))


def _is_remote(inputs: dict[str, Any]) -> bool:
    return str(inputs.get("chart", "")).startswith("oci://") and bool(inputs.get("version"))


def _objects(text: str) -> Iterator[tuple[str, str]]:
    try:
        for document in re.split(r"^---\s*$", text, flags=re.MULTILINE):
            found = yaml.load(document, Loader=_LOADER)  # noqa: S506 - the C version of the safe loader
            if isinstance(found, dict):
                yield _name(found), _BUNDLE.sub(rf"\1 {_HIDDEN}", as_yaml(_without_secrets(found)))
    except yaml.YAMLError:
        raise ChartError("Helm rendered something that is not YAML.") from None


def _name(found: dict[str, Any]) -> str:
    metadata = found.get("metadata") or {}
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{found.get('kind', '?')} {namespace}{metadata.get('name', '?')}"


def _without_secrets(found: dict[str, Any]) -> dict[str, Any]:
    if found.get("kind") != "Secret":
        return found
    hidden = {field: dict.fromkeys(found[field], _HIDDEN) for field in ("data", "stringData") if found.get(field)}
    return {**found, **hidden}


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, so that a difference shows the lines that differ."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The block style knows no space at the end of a line.
    lines = "\n".join(line.rstrip() for line in text.expandtabs().split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", lines, style="|" if "\n" in lines else None)


_Dumper.add_representer(str, _text)


def as_yaml(value: Any) -> str:
    """Return YAML in which the same content is the same text, to be read by people."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1000))


def helm_at(program: Path) -> Helm:
    """Return how to call a Helm program."""

    def helm(root: Path, arguments: list[str]) -> str:
        try:
            done = subprocess.run(
                [program, *arguments], cwd=root, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise ChartError(f"Helm was stopped after {_TIMEOUT} seconds.") from None
        if done.returncode:
            said = " ".join(line for line in done.stderr.split("\n") if not line.startswith(("Use --debug", "WARNING")))
            raise ChartError(f"The chart cannot be rendered: {' '.join(said.split()) or 'Helm said nothing'}")
        return done.stdout

    return helm
