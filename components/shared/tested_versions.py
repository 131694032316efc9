"""Which versions were tested together, and what of a stack is outside that. The tables are in `versions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi

from components.shared.releases import ChartSource
from settings.chart_folders import chart_in
from versions import CHARTS, ISTIO_LINES, ISTIO_OF_KONG, KONG_CONTROLLER, KONG_GATEWAY, IstioLine, Minor, minor

_PAGE = "docs/upgrade.md"
_TESTED = f"Kong {KONG_GATEWAY}, the controller {KONG_CONTROLLER} and the chart kong {CHARTS['kong'].version}"


class VersionError(pulumi.RunError):
    """A Kubernetes that an Istio does not take. Pulumi prints a RunError as its sentence."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The versions that a stack is to have. `istio`: of each control plane. `charts`: by their keys; empty for an unknown one.

    `kubernetes`: of the cluster; empty where none was asked.
    """

    istio: Sequence[str]
    kong: str
    controller: str
    charts: Mapping[str, str]
    kubernetes: str = ""


def version_of(source: ChartSource, root: Path) -> str:
    """Return the version of a chart; of one in a folder, what it says of itself, and empty where that cannot be read."""
    if source.version:
        return source.version
    return str((chart_in(root / source.chart) or {}).get("version", ""))


def refusal(asked: Asked) -> str | None:
    """Return why the cluster will not do, in one sentence, or None."""
    kubernetes = minor(asked.kubernetes)
    for version in asked.istio if kubernetes else ():
        oldest, _ = _line(version).kubernetes
        if kubernetes and kubernetes < oldest:
            return (
                f"The cluster runs Kubernetes {_dotted(kubernetes)}: Istio {version} needs {_dotted(oldest)} or newer; upgrade the "
                "cluster, or choose another one."
            )
    return None


def untested(asked: Asked) -> Iterator[str]:
    """Yield one sentence for each combination that nobody tested: what was tested, what is asked, and what to do."""
    for version in asked.istio:
        yield from _istio(version, asked)
    yield from _kong(asked)
    for name in ("prometheus", "grafana"):
        tested = CHARTS[name].version
        yield from _other(f"The chart {name}", asked.charts.get(name, ""), tested, f"is {tested}", parts=1)


def _istio(version: str, asked: Asked) -> Iterator[str]:
    line, found = _line(version), minor(version)
    oldest, newest = ISTIO_OF_KONG
    if found and not oldest <= found <= newest:
        yield _sentence(
            f"Istio {version} was not tested with {_TESTED}: tested are Istio {_dotted(oldest)} to {_dotted(newest)}",
            f"take {CHARTS['istiod'].version}, or try it on a stack that nobody needs",
        )
    kubernetes, (_, last) = minor(asked.kubernetes), line.kubernetes
    if kubernetes and kubernetes > last:
        yield _sentence(
            f"Istio {version} was not tested on Kubernetes {_dotted(kubernetes)}: the newest tested is {_dotted(last)}",
            "upgrade Istio before the cluster",
        )
    kiali = minor(asked.charts.get("kiali-server", ""))
    if kiali and kiali < line.kiali:
        yield _sentence(
            f"Kiali {_dotted(kiali)} was not tested with Istio {version}: it takes {_dotted(line.kiali)} or newer",
            "upgrade Kiali before Istio",
        )


def _kong(asked: Asked) -> Iterator[str]:
    together = f"together are {_TESTED}"
    yield from _other("Kong", asked.kong, KONG_GATEWAY, together)
    yield from _other("The controller", asked.controller, KONG_CONTROLLER, together)
    yield from _other("The chart kong", asked.charts.get("kong", ""), CHARTS["kong"].version, together)


def _other(what: str, version: str, tested: str, told: str, parts: int = 2) -> Iterator[str]:
    """Yield a sentence for a version of another line than the tested one: another major, or with two parts another minor."""
    found, known = minor(version), minor(tested)
    if found and known and found[:parts] != known[:parts]:
        yield _sentence(
            f"{what} {version} was not tested: tested {told}", "take that, or try it on a stack that nobody needs"
        )


def _sentence(found: str, remedy: str) -> str:
    return f"{found}; {remedy} ({_PAGE} has the versions that go together)."


def _line(version: str) -> IstioLine:
    """Return what is known of an Istio; of one outside the table, what the nearest in it says."""
    found = minor(version) or (0, 0)
    lines = sorted(ISTIO_LINES)
    return ISTIO_LINES[min(max(found, lines[0]), lines[-1])]


def _dotted(version: Minor) -> str:
    return ".".join(map(str, version))
