"""Helm charts as releases: where each comes from, and the options that all releases share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs

from versions import CHARTS


@dataclass(frozen=True, kw_only=True)
class ChartSource:
    """Where Helm finds a chart. `version` and `repository` are None for a folder or an archive."""

    chart: str
    version: str | None = None
    repository: str | None = None


def chart_source(name: str, sources: Mapping[str, str]) -> ChartSource:
    """Return where the chart `name` of the table of versions comes from: the setting, else its public repository."""
    chart = CHARTS[name]
    source = sources.get(name, chart.repository)
    scheme = urlsplit(source).scheme
    if scheme == "oci":
        # An OCI reference may name the folder of charts, or the chart itself.
        reference = source if source.rstrip("/").endswith(f"/{chart.name}") else f"{source.rstrip('/')}/{chart.name}"
        return ChartSource(chart=reference, version=chart.version)
    if scheme in ("http", "https"):
        return ChartSource(chart=chart.name, version=chart.version, repository=source)
    # An absolute path would differ from machine to machine, and show as a change (pulumi-kubernetes#2573).
    path = Path(source).expanduser()
    return ChartSource(chart=os.path.relpath(path) if path.is_absolute() else source)


def release(
    name: str,
    source: ChartSource,
    namespace: pulumi.Input[str],
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *,
    wait_seconds: int | None = None,
) -> Release:
    """Install a chart as the Helm release `name`.

    The release's name is fixed: the chart derives its objects' names from it. `wait_seconds` has Helm wait until the
    objects are ready; without it the caller waits for what it needs, sooner and with a better answer when it fails.
    """
    return Release(
        name,
        name=name,
        chart=source.chart,
        version=source.version,
        repository_opts=RepositoryOptsArgs(repo=source.repository) if source.repository else None,
        namespace=namespace,
        values=dict(values),
        skip_await=wait_seconds is None,
        timeout=wait_seconds,
        max_history=5,
        opts=pulumi.ResourceOptions.merge(
            opts,
            # The release's name is taken while the old one lives.
            pulumi.ResourceOptions(delete_before_replace=True),
        ),
    )


def merged(values: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Return chart values with `further` ones merged in, key by key; lists and plain values are replaced."""
    result = deepcopy(dict(values))
    for key, value in further.items():
        before = result.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[key] = merged(before, value) if both else deepcopy(value)  # type: ignore[arg-type]
    return result


def mirrored(image: str, registry: str) -> str:
    """Return an image's reference on a mirror, with the path that it has in its own registry.

    Docker's short forms are spelled out: `kong` is `docker.io/library/kong`.
    """
    if not registry:
        return image
    host, _, path = image.partition("/")
    if not path:
        return f"{registry}/library/{image}"
    own_host = "." in host or ":" in host or host == "localhost"
    return f"{registry}/{path if own_host else image}"
