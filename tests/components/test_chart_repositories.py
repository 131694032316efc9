"""Chart repositories with a login, a private authority and a proxy: how they are asked, and that nothing tells the password."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from charts import STAND_INS
from fakes.chart_repository import PASSWORD, USERNAME, chart_repository

import settings
from components.shared.releases import ChartError, ChartSource, chart_source, check_reachable
from plan import helm
from sandbox import tools
from sandbox.paths import CHECKOUT
from sandbox.programs import TOOLS
from settings import ChartRepository
from versions import CHARTS

KIALI = "kiali-server"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve a small chart with the name and version of Kiali's."""
    folder = tmp_path_factory.mktemp("repository")
    chart = folder / KIALI
    (chart / "templates").mkdir(parents=True)
    version = CHARTS[KIALI].version
    (chart / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": KIALI, "version": version}))
    (chart / "templates" / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}}")
    archive = folder / f"{KIALI}-{version}.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(chart, KIALI)
    with chart_repository(folder, archive) as found:
        yield found


def source(repository: tuple[str, Path], **changes: str) -> ChartSource:
    url, authority = repository
    given = {"username": USERNAME, "password": PASSWORD, "ca_file": str(authority), **changes}
    return chart_source(KIALI, {KIALI: ChartRepository(location=url, **given)})


def refused(found: ChartSource, *, preview: bool = False) -> str:
    with pytest.raises(ChartError) as caught:
        check_reachable({f"charts.{KIALI}": found}, preview=preview)
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_one_with_a_login_and_a_private_authority_is_reached(repository: tuple[str, Path]) -> None:
    check_reachable({f"charts.{KIALI}": source(repository)}, preview=False)


def test_what_is_wrong_with_the_way_there_is_said(repository: tuple[str, Path]) -> None:
    assert "certificate verify failed" in refused(source(repository, ca_file=""))
    assert "another login than charts.kiali-server.username" in refused(source(repository, password="wrong"))
    assert "wants a login: set charts.kiali-server.username" in refused(source(repository, username="", password=""))
    # A preview may not know the password.
    check_reachable({f"charts.{KIALI}": source(repository, password="placeholder")}, preview=True)
    assert "cannot be reached" in refused(source(("https://127.0.0.1:1/charts", repository[1])))


def test_a_proxy_of_the_environment_is_asked(repository: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    assert "refused" in refused(source(repository))


def test_a_login_says_nothing_of_which_chart_it_is(repository: tuple[str, Path]) -> None:
    assert source(repository) == source(repository, password="another")
    assert PASSWORD not in repr(source(repository))


@pytest.mark.parametrize("how", ["right", "wrong"])
def test_helm_renders_it_and_nobody_sees_the_password(
    how: str, repository: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tools.find(TOOLS["helm"]) or shutil.which("helm")
    if not program:
        pytest.skip("there is no helm here")
    url, authority = repository
    lines: list[list[str]] = []
    run = subprocess.run

    def noted(command: list[str], **options: Any) -> Any:
        lines.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", noted)
    access = {"username": USERNAME, "password": PASSWORD if how == "right" else "wrong", "caFile": str(authority)}
    asked: dict[str, Any] = {"name": "k", "chart": KIALI, "repository": url, "version": CHARTS[KIALI].version}
    if how == "right":
        rendered = helm.template(Path(program), tmp_path, access=access, **asked)
        assert [item["metadata"]["name"] for item in helm.objects(rendered)] == ["one"]
    else:
        with pytest.raises(helm.HelmError, match="Failed to update"):
            helm.template(Path(program), tmp_path, access=access, **asked)
    assert not any(access["password"] in argument for command in lines for argument in command)


def test_a_login_that_came_in_as_a_secret_is_used(repository: tuple[str, Path]) -> None:
    url, authority = repository
    login = {"location": url, "username": USERNAME, "password": PASSWORD, "caFile": str(authority)}
    found = settings.parse({"charts": {KIALI: login, "kong": str(STAND_INS / "kong")}}, ("charts",), CHECKOUT.root)
    check_reachable({f"charts.{KIALI}": chart_source(KIALI, found.charts)}, preview=False)
    assert "[secret]" not in chart_source("kong", found.charts).chart
