"""The one caller of `helm template`, with a script in Helm's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plan import helm


def script(folder: Path, text: str) -> Path:
    program = folder / "helm"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"chart": "kong", "version": "1.2.3", "repository": "https://a.example"},
            "--repo https://a.example --version 1.2.3",
        ),
        ({"chart": "oci://a.example/kong", "version": "1.2.3"}, "--version 1.2.3"),
        # A folder has one version: another would be a wish that Helm cannot fulfil.
        ({"chart": "charts/kong", "version": "1.2.3"}, ""),
    ],
)
def test_helm_is_told_where_the_chart_is_from(tmp_path: Path, source: dict[str, Any], expected: str) -> None:
    said = helm.template(script(tmp_path, 'echo "$@"'), tmp_path, name="kong", namespace="edge", **source)
    assert said.startswith(f"template kong {source['chart']} --namespace edge --values - ")
    assert said.strip().endswith(expected)
    assert ("--version" in said) == bool(expected)


def test_what_helm_says_is_one_sentence(tmp_path: Path) -> None:
    program = script(
        tmp_path, "echo 'WARNING: old' >&2; echo 'Error: no such host' >&2; echo 'Use --debug flag' >&2; exit 1"
    )
    with pytest.raises(helm.HelmError) as error:
        helm.template(program, tmp_path, name="kong-istio", chart="kong", repository="https://a.example")
    start = "The chart kong of the release kong-istio cannot be rendered (no such host): "
    assert str(error.value).startswith(start)
    assert "\n" not in str(error.value)
