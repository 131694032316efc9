"""Helm charts as releases: where each comes from, and the options that all releases share."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pulumi

from commands.cluster_access import Access
from settings import ApplicationChart, ChartRepository
from settings.secret_parts import plain, sealed
from versions import CHARTS

#: In the environment of an `up`: Helm upgrades every release, also one whose chart and values are as they were. The
#: provider reads of a release only what Helm remembers, so a refresh does not find what was changed in the cluster.
REPAIR = "KONG_ISTIO_REPAIR"

_REACH_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class ChartSource:
    """Where Helm finds a chart. `version` and `repository` are None for a folder or an archive.

    `access`: a login and a private authority's certificate; how a chart is had says nothing of which one it is.
    """

    chart: str
    version: str | None = None
    repository: str | None = None
    access: ChartRepository | None = field(default=None, compare=False, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """What the provider hands to Helm, for a registry too."""
        access = self.access
        given = {
            "repo": self.repository,
            "username": access and access.username,
            "password": pulumi.Output.secret(access.password) if access and access.password else None,
            "caFile": _relative(access.ca_file) if access and access.ca_file else None,
        }
        return {key: value for key, value in given.items() if value}


def chart_source(name: str, sources: Mapping[str, ChartRepository], version: str = "") -> ChartSource:
    """Return where the chart `name` of the table of versions comes from: the setting, else its public repository.

    `version`: in place of the table's; a folder has its own.
    """
    chart = CHARTS[name]
    repository = sources.get(name) or ChartRepository(location=chart.repository)
    return _source(chart.name, version or chart.version, repository)


def application_source(chart: ApplicationChart) -> ChartSource:
    """Return where an application's chart comes from."""
    if not chart.repository:
        return _source(chart.name, chart.version, ChartRepository(location=chart.name))
    return _source(chart.name, chart.version, chart.repository)


def _source(name: str, version: str, repository: ChartRepository) -> ChartSource:
    given = ChartRepository(**plain(dict(repository)))
    access = given if given.password or given.ca_file else None
    source, scheme = given.location, urlsplit(given.location).scheme
    if scheme == "oci":
        # An OCI reference may name the folder of charts, or the chart itself.
        itself = source == name or source.rstrip("/").endswith(f"/{name}")
        reference = source if itself else f"{source.rstrip('/')}/{name}"
        return ChartSource(chart=reference, version=version, access=access)
    if scheme in ("http", "https"):
        return ChartSource(chart=name, version=version, repository=source, access=access)
    return ChartSource(chart=_relative(source))


def _relative(path: str) -> str:
    """Return a path from the project's folder: an absolute one would show as a change elsewhere (pulumi-kubernetes#2573)."""
    expanded = Path(path).expanduser()
    return os.path.relpath(expanded) if expanded.is_absolute() else path


class ChartError(pulumi.RunError):
    """A chart that cannot be had. Pulumi prints a RunError as its sentence."""


def check_reachable(sources: Mapping[str, ChartSource], *, preview: bool) -> None:
    """Raise `ChartError` for the first repository that does not answer, before anything is created.

    `sources`: by the settings' keys for them. In a preview, which may not know passwords, a refused one is none.
    """
    repositories = {
        (source.repository, source.access): (key, source)
        for key, source in sorted(sources.items())
        if source.repository
    }
    looks = [source for _, source in repositories.values()]
    with ThreadPoolExecutor(max_workers=max(len(looks), 1)) as pool:
        for (key, source), reason in zip(repositories.values(), pool.map(_unreachable, looks), strict=True):
            if isinstance(reason, int) and not (preview and source.access):
                login = "takes another login than" if source.access and source.access.password else "wants a login: set"
                raise ChartError(
                    f"The chart repository {source.repository} {login} {key}.username and {key}.password "
                    f"(it answers {reason})."
                )
            if isinstance(reason, str) and reason:
                raise ChartError(
                    f"The chart repository {source.repository} cannot be reached ({reason}): check the network, or name a "
                    f"mirror or a folder in the setting {key}, with its caFile where a private authority signed it."
                )


def _unreachable(source: ChartSource) -> str | int:
    """Return why a repository does not answer, or how it refuses a login, or nothing. Proxies are the environment's."""
    try:
        request = Request(f"{str(source.repository).rstrip('/')}/index.yaml")  # noqa: S310 -- http or https
        access = source.access
        if access and access.password:
            login = b64encode(f"{access.username}:{access.password}".encode()).decode()
            # Not to where a redirect leads.
            request.add_unredirected_header("Authorization", f"Basic {login}")
        trusted = (
            ssl.create_default_context(cafile=str(Path(access.ca_file).expanduser()))
            if access and access.ca_file
            else None
        )
        with urlopen(request, timeout=_REACH_SECONDS, context=trusted):  # noqa: S310
            return ""
    except HTTPError as error:
        return error.code if error.code in (401, 403) else f"{error.code} {error.reason}"
    except URLError as error:
        return str(error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return str(error) or type(error).__name__


class Release(pulumi.CustomResource):
    """A Helm release. Type `kubernetes:helm.sh/v3:Release`.

    Inputs: as the provider takes them; the SDK's class, which registers the same, is long to import. Outputs: the versions
    of the chart and of what it installs, as it says.
    """

    def __init__(self, name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        given = {key: value for key, value in inputs.items() if value is not None}
        # `status` is an output.
        super().__init__("kubernetes:helm.sh/v3:Release", name, {**given, "compat": "true", "status": None}, opts)
        status: pulumi.Output[Mapping[str, str]] = pulumi.get(self, "status")
        self.app_version = status.apply(lambda said: said["appVersion"])
        self.chart_version = status.apply(lambda said: said["version"])


def repaired_at() -> str:
    """Return the time where this `up` is to put back what was changed in the cluster; else nothing."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}" if os.environ.get(REPAIR) else ""


def release(
    name: str,
    source: ChartSource,
    namespace: pulumi.Input[str],
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *,
    access: Access,
    skip_crds: bool = False,
) -> Release:
    """Install a chart as the Helm release `name`.

    The release's name is fixed: the chart derives its objects' names from it. Helm does not wait until the objects are
    ready: the caller does, sooner and with a better answer when it fails.
    `skip_crds`: leave out those that the chart would install once and never upgrade.
    What is secret in `values` is one to the provider; what the chart makes of it is the chart's.
    """
    # Another description is a reason for Helm to upgrade, which puts back what differs from the chart.
    repaired = repaired_at()
    return Release(
        name,
        {
            "name": name,
            "chart": source.chart,
            "version": source.version,
            "repositoryOpts": source.options or None,
            "namespace": namespace,
            "values": sealed(values),
            "skipAwait": True,
            "skipCrds": skip_crds or None,
            "maxHistory": 5,
            "description": f"repaired at {repaired}" if repaired else None,
        },
        pulumi.ResourceOptions.merge(
            opts,
            # The release's name is taken while the old one lives, unless that is in another cluster, which is cleared last.
            pulumi.ResourceOptions(
                delete_before_replace=not access.identity.moved, ignore_changes=[] if repaired else ["description"]
            ),
        ),
    )
