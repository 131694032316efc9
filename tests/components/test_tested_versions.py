"""Versions that nobody tested together are named, with what was tested and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest

from commands import cluster_access
from commands.cluster_identity import Identity
from components.shared import tested_versions
from components.shared.releases import ChartSource
from components.shared.tested_versions import Asked, refusal, untested
from plan.program import record
from sandbox.programs import TOOLS
from versions import (
    CHARTS,
    ISTIO_LINES,
    ISTIO_OF_KONG,
    KONG_CONTROLLER,
    KONG_GATEWAY,
    KUBERNETES_MINIMUM,
    KUBERNETES_TESTED,
    minor,
)

TABLE = Asked(
    istio=[CHARTS["istiod"].version],
    kong=KONG_GATEWAY,
    controller=KONG_CONTROLLER,
    charts={name: chart.version for name, chart in CHARTS.items()},
    kubernetes="v1.34.2-eks-1",
)


def charts(**changed: str) -> dict[str, str]:
    return {**TABLE.charts, **{name.replace("_", "-"): version for name, version in changed.items()}}


def test_the_table_itself_was_tested_together() -> None:
    assert list(untested(TABLE)) == []
    assert refusal(TABLE) is None
    # Patches of the same lines, and folders that are made of them.
    others = charts(kong="3.4.9-standin", kiali_server="2.29.0")
    assert list(untested(replace(TABLE, istio=["1.30.9"], kong="3.9.2", controller="3.5.99", charts=others))) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"istio": ["1.30.3", "1.31.0"], "charts": charts(kiali_server="2.27.0")},
            "Istio 1.31.0 was not tested with Kong 3.9.1, the controller 3.5.13 and the chart kong 3.4.1: tested are Istio "
            "1.27 to 1.30; take 1.30.3, or try it on a stack that nobody needs",
        ),
        (
            {"kubernetes": "v1.36.1"},
            "Istio 1.30.3 was not tested on Kubernetes 1.36: the newest tested is 1.35; upgrade Istio before the cluster",
        ),
        (
            {"istio": ["1.28.10"], "kubernetes": "v1.35.0"},
            "Istio 1.28.10 was not tested on Kubernetes 1.35: the newest tested is 1.34; upgrade Istio before the cluster",
        ),
        (
            {"charts": charts(kiali_server="2.21.4")},
            "Kiali 2.21 was not tested with Istio 1.30.3: it takes 2.22 or newer; upgrade Kiali before Istio",
        ),
        ({"kong": "3.10.0.1"}, "Kong 3.10.0.1 was not tested: tested together are Kong 3.9.1, the controller 3.5.13"),
        (
            {"controller": "3.6.0"},
            "The controller 3.6.0 was not tested: tested together are Kong 3.9.1, the controller",
        ),
        (
            {"charts": charts(kong="3.5.0")},
            "The chart kong 3.5.0 was not tested: tested together are Kong 3.9.1, the controller",
        ),
        (
            {"charts": charts(prometheus="30.0.0")},
            "The chart prometheus 30.0.0 was not tested: tested is 29.27.0; take",
        ),
        ({"charts": charts(grafana="11.6.1")}, "The chart grafana 11.6.1 was not tested: tested is 12.11.1; take that"),
    ],
)
def test_a_combination_outside_the_table_is_named(change: dict[str, Any], sentence: str) -> None:
    (said,) = untested(replace(TABLE, **change))
    assert said.startswith(sentence)
    assert said.endswith("(docs/upgrade.md has the versions that go together).")


def test_what_is_not_known_is_not_judged() -> None:
    assert list(untested(replace(TABLE, kubernetes="", charts={}, kong="mine", controller=""))) == []
    assert refusal(replace(TABLE, kubernetes="")) is None


@pytest.mark.parametrize(
    ("istio", "kubernetes", "needed"),
    [(["1.30.3"], "v1.31.9", "1.32"), (["1.29.6", "1.30.3"], "v1.30.1", "1.32"), (["1.99.0"], "v1.31.0", "1.32")],
)
def test_a_kubernetes_that_istio_does_not_take_is_refused(istio: list[str], kubernetes: str, needed: str) -> None:
    asked = replace(TABLE, istio=istio, kubernetes=kubernetes)
    assert (refusal(asked) or "").endswith(
        f"Istio {istio[-1]} needs {needed} or newer; upgrade the cluster, or choose another one."
    )


def test_the_lines_are_those_of_the_versions() -> None:
    istio = minor(CHARTS["istiod"].version)
    assert istio in ISTIO_LINES
    assert istio
    assert ISTIO_OF_KONG[0] <= istio <= ISTIO_OF_KONG[1]
    assert ISTIO_LINES[istio].kubernetes == (KUBERNETES_MINIMUM, KUBERNETES_TESTED)
    kiali = minor(CHARTS["kiali-server"].version)
    assert kiali
    assert kiali >= ISTIO_LINES[istio].kiali
    # The sandbox runs no containers; its API server has every kind that the charts have.
    kubernetes = minor(TOOLS["kube-apiserver"].version)
    assert kubernetes
    assert kubernetes >= KUBERNETES_MINIMUM


@pytest.mark.parametrize(
    ("text", "version"), [("name: kong\nversion: 3.5.0\n", "3.5.0"), ("name: kong\n", ""), ("- [", ""), (None, "")]
)
def test_a_chart_in_a_folder_says_its_version_itself(tmp_path: Path, text: str | None, version: str) -> None:
    if text is not None:
        (tmp_path / "Chart.yaml").write_text(text)
    assert tested_versions.version_of(ChartSource(chart=str(tmp_path)), Path("/")) == version


# --- in a preview, and in an up -------------------------------------------------------------------------------


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what a program warns of."""
    found: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda sentence, *_, **__: found.append(sentence))
    return found


def about_versions(warned: list[str]) -> list[str]:
    return [sentence for sentence in warned if "docs/upgrade.md" in sentence or " needs " in sentence]


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: kong\nversion: 4.0.0\n")
    return {"kong": str(tmp_path)}


@pytest.mark.usefixtures("machine")
def test_a_preview_names_it(warned: list[str], folder: dict[str, str]) -> None:
    record()
    assert about_versions(warned) == []
    record({"charts": folder})
    (sentence,) = about_versions(warned)
    assert sentence.startswith("The chart kong 4.0.0 was not tested: tested together are Kong 3.9.1")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("version", "told"), [("v1.31.4", "needs 1.32 or newer"), ("v1.37.0", "was not tested on")])
def test_a_preview_names_the_cluster_and_an_up_refuses_one_that_is_too_old(
    version: str, told: str, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(access: cluster_access.Access, *_: Any, **__: Any) -> Any:
        return replace(access, identity=Identity(uid="uid", version=version)), None

    monkeypatch.setattr(cluster_access, "identified", known)
    monkeypatch.setattr(cluster_access, "check_access", lambda *_, **__: None)
    record({"kubeContext": "one"})
    (sentence,) = about_versions(warned)
    assert told in sentence
    if "needs" in told:
        with pytest.raises(tested_versions.VersionError, match=r"needs 1\.32 or newer"):
            record({"kubeContext": "one"}, preview=False)
