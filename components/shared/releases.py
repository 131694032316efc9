"""Helm charts as releases: where each comes from, and the options that all releases share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pulumi
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs

from commands.cluster_access import Access
from settings.secret_parts import sealed
from versions import CHARTS

_REACH_SECONDS = 10


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


class ChartError(pulumi.RunError):
    """A chart that cannot be had. Pulumi prints a RunError as its sentence."""


def check_reachable(sources: Iterable[ChartSource]) -> None:
    """Raise `ChartError` for the first repository that does not answer, before anything is created."""
    repositories = sorted({source.repository for source in sources if source.repository})
    with ThreadPoolExecutor(max_workers=max(len(repositories), 1)) as pool:
        for repository, reason in zip(repositories, pool.map(_unreachable, repositories), strict=True):
            if reason:
                raise ChartError(
                    f"The chart repository {repository} cannot be reached ({reason}): check the network, or name a mirror "
                    "or a folder for its charts in the setting charts."
                )


def _unreachable(repository: str) -> str:
    """Return why a repository does not answer, or nothing."""
    address = f"{repository.rstrip('/')}/index.yaml"
    try:
        with urlopen(address, timeout=_REACH_SECONDS):  # noqa: S310 -- http or https, as chart_source tells them apart
            return ""
    except HTTPError as error:
        # One that wants a login is there; Helm has the credentials, this look has not.
        return "" if error.code in (401, 403) else f"{error.code} {error.reason}"
    except URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error)


def release(
    name: str,
    source: ChartSource,
    namespace: pulumi.Input[str],
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *,
    access: Access,
    wait_seconds: int | None = None,
) -> Release:
    """Install a chart as the Helm release `name`.

    The release's name is fixed: the chart derives its objects' names from it. `wait_seconds` has Helm wait until the
    objects are ready; without it the caller waits for what it needs, sooner and with a better answer when it fails.
    What is secret in `values` is one to the provider; what the chart makes of it is the chart's.
    """
    return Release(
        name,
        name=name,
        chart=source.chart,
        version=source.version,
        repository_opts=RepositoryOptsArgs(repo=source.repository) if source.repository else None,
        namespace=namespace,
        values=sealed(values),
        skip_await=wait_seconds is None,
        timeout=wait_seconds,
        max_history=5,
        opts=pulumi.ResourceOptions.merge(
            opts,
            # The release's name is taken while the old one lives, unless that is in another cluster, which is cleared last.
            pulumi.ResourceOptions(delete_before_replace=not access.identity.moved),
        ),
    )
