"""How the tests come by the published charts that they compare with."""

from __future__ import annotations

import json
from pathlib import Path

import charts
import pytest
from charts import Published
from fakes.releases import Releases, archive

from sandbox import tools
from sandbox.paths import tool_cache
from sandbox.programs import TOOLS
from versions import CHARTS

KONG = CHARTS["kong"]


@pytest.fixture
def helm() -> Path:
    """Return the Helm of this machine, found before the test gets a machine of its own."""
    found = tools.find(TOOLS["helm"])
    if not found:
        pytest.skip("there is no helm of the pinned version here")
    return found


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have Kong's chart lie beside the checkout."""
    monkeypatch.setattr(charts, "_REFERENCE", tmp_path / "shared")
    file = tmp_path / "shared/charts/kong/values.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("from: beside\n")
    return file


@pytest.mark.usefixtures("beside")
def test_a_chart_is_pulled_once_where_its_repository_answers(
    helm: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = f"{{apiVersion: v2, name: kong, version: {KONG.version}}}"
    releases.add(
        f"{KONG.repository}/kong.tgz", archive(("kong/Chart.yaml", metadata), ("kong/values.yaml", "from: here\n"))
    )
    entry = {"name": "kong", "version": KONG.version, "urls": ["kong.tgz"]}
    releases.add(f"{KONG.repository}/index.yaml", json.dumps({"apiVersion": "v1", "entries": {"kong": [entry]}}))
    monkeypatch.setattr(charts, "_reachable", lambda: {KONG.repository})
    monkeypatch.setattr(tools, "ensure", lambda _: {"helm": helm})
    for _ in range(2):
        found = charts._found.__wrapped__("kong")
        assert found is not None
        assert found.values.read_text() == "from: here\n"
        assert found.origin == f"{KONG.repository} {KONG.version}"
    assert releases.downloads().count(f"{KONG.repository}/kong.tgz") == 1
    assert [path.name for path in tool_cache().iterdir()] == [f"chart-kong-{KONG.version}"]


@pytest.mark.usefixtures("releases")
def test_elsewhere_it_is_what_lies_beside_the_checkout(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "_reachable", set)
    assert charts._found.__wrapped__("kong") == Published("beside the checkout", beside)
