"""How charts are rendered: what Helm is told, and what of its answer reaches the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plan import helm


def program(folder: Path, script: str) -> Path:
    file = folder / "helm"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_helm_is_told_namespace_and_where_the_chart_is_and_a_version_only_of_what_has_several(tmp_path: Path) -> None:
    echo = program(tmp_path, 'echo "$@"')
    told: dict[str, Any] = {"name": "k", "version": "3.4.1", "namespace": "edge"}
    repository = helm.template(echo, tmp_path, chart="kong", repository="https://charts.example", **told)
    assert repository.startswith("template k kong --namespace edge ")
    assert "--repo https://charts.example --version 3.4.1" in repository
    assert "--version 3.4.1" in helm.template(echo, tmp_path, chart="oci://registry.example/kong", **told)
    assert "--version" not in helm.template(echo, tmp_path, chart="vendor/kong", **told).replace("--kube-version", "")


def test_what_helm_says_reaches_the_reader(tmp_path: Path) -> None:
    fails = program(tmp_path, "echo 'Error: no such host' >&2; exit 1")
    with pytest.raises(helm.HelmError, match=r"release k cannot be rendered .*no such host"):
        helm.template(fails, tmp_path, name="k", chart="kong")
    with pytest.raises(helm.HelmError, match="not YAML"):
        helm.objects("a: [")
