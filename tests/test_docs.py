"""The documentation: made from the schema where it can be, and about things that are there."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.images import OF_CHARTS, canonical, pulled
from sandbox.paths import CHECKOUT
from sandbox.programs import TOOLS
from settings import KEYS, generate
from versions import (
    CHARTS,
    ISTIO_LINES,
    ISTIO_OF_KONG,
    KONG_CONTROLLER,
    KONG_GATEWAY,
    KUBERNETES_MINIMUM,
    KUBERNETES_TESTED,
)

ROOT = CHECKOUT.root
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
STACKS = sorted(file.name.split(".")[1] for file in ROOT.glob("Pulumi.*.yaml"))


def named(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


# --- Settings --------------------------------------------------------------------------------------------------------


def test_the_table_of_settings_is_current() -> None:
    assert generate.PAGE.read_text() == generate.page(), "run `venv/bin/python -m settings.generate`"


def test_the_declarations_are_current() -> None:
    assert generate.PROJECT_FILE.read_text() == generate.project_file(), "run `venv/bin/python -m settings.generate`"


def test_every_field_has_a_meaning() -> None:
    assert [key for key, (_, _, meaning) in rows().items() if not re.fullmatch(r"\S.*\.", meaning)] == []
    assert sorted(generate.fields()) == sorted(rows())


def rows() -> dict[str, list[str]]:
    found = (re.split(r"(?<!\\)\|", line)[1:-1] for line in generate.page().splitlines() if line.startswith("| `"))
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in found}


@pytest.mark.parametrize(
    ("key", "kind", "default"),
    [
        ("istio.mtls", "`PERMISSIVE`, `STRICT`", '`"PERMISSIVE"`'),
        ("kong.replicas", "whole number, 1 to 100", "`1`"),
        ("kong.sourceRanges", "list of text", "`[]`"),
        (
            "kong.clientAddress.source",
            "`connection`, `localTraffic`, `proxyProtocol`, `forwardedFor`",
            '`"connection"`',
        ),
        ("applications[].routes[].service", "a name of at most 63 small letters, digits and hyphens", "*required*"),
        (
            "rateLimit.redis.passwordSecret.key",
            "a name of letters, digits, dots, hyphens and underscores",
            '`"password"`',
        ),
        ("rateLimit.syncRate", "number, -1 to 3600", ""),
        ("images.references", "object", "`{}`"),
        ("security.podSecurity", "`true`, `false`", "`true`"),
    ],
)
def test_a_row_says_type_bounds_and_default(key: str, kind: str, default: str) -> None:
    assert rows()[key][:2] == [kind, default]
    assert rows()[key][2].endswith(".")


def test_every_key_that_is_declared_is_in_the_table() -> None:
    declared = {key for key in yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"] if ":" not in key}
    assert set(re.findall(r"^\| \*\*`(\w+)`\*\*", generate.page(), re.MULTILINE)) == declared == KEYS.keys()


# --- What pages speak of ---------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", named(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", named(PAGES))
def test_commands_are_there(page: Path) -> None:
    text = page.read_text()
    for module in set(re.findall(r"python -m ([a-z][\w.]*)", text)) - {"venv"}:
        found = importlib.util.find_spec(module)
        assert found, module
        assert not found.submodule_search_locations or importlib.util.find_spec(f"{module}.__main__"), module
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


@pytest.mark.parametrize("page", named(PAGES))
def test_files_are_there(page: Path) -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for name in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.py)`", page.read_text()):
        ours = (name.count("/") <= 1 and name.endswith(("/", ".py"))) or name.partition("/")[0] in rooms
        stands_for_any = re.search(r"\b[A-Z-]{4,}\b", name)
        if ours and not stands_for_any and not name.startswith(".sandbox/"):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", named(PAGES))
def test_names_stand_in_the_files_that_have_them(page: Path) -> None:
    for name, file in re.findall(r"`(\w+)` in\s+`([\w/]+\.py)`", page.read_text()):
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{name} in {file}"


def test_the_readme_has_the_outputs_of_the_stack() -> None:
    said = re.findall(r"^\| (`proxyUrl`.*?)\n\n", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    exported = re.findall(r'pulumi\.export\(\s*"(\w+)"', (ROOT / "outputs.py").read_text())
    assert set(re.findall(r"`(\w+)`", re.sub(r"(?m) \|[^|]*\|$", "", said))) == set(exported)


def test_every_decision_is_in_their_index() -> None:
    folder = ROOT / "docs" / "decisions"
    linked = re.findall(r"\]\((\d.*\.md)\)", (folder / "README.md").read_text())
    assert linked == sorted(path.name for path in folder.glob("0*.md"))


@pytest.mark.parametrize("page", named([page for page in PAGES if page != generate.PAGE]))
def test_settings_are_called_by_their_names(page: Path) -> None:
    known = {re.sub(r"\[\]", "", key) for key in generate.fields()}
    parts = {key[: dot.start()] for key in known for dot in re.finditer(r"\.", key)} | known
    used = re.findall(rf"[`:'](({'|'.join(KEYS)})\.[A-Za-z.]+)", page.read_text())
    found = {re.sub(r"^charts\.[a-z]+\.", "charts.<chart>.", key) for key, _ in used}
    # What stands below further values is the charts' own.
    assert {key for key in found if "alues." not in key} - parts == set()


# --- Environments ----------------------------------------------------------------------------------------------------


def test_every_stack_has_a_page() -> None:
    assert sorted(page.stem for page in (ROOT / "docs" / "environments").iterdir()) == STACKS


def secrets(value: Any) -> Iterator[str]:
    """Yield the names of the Secrets that a stack's settings name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("tlsSecret", "adminSecret"):
                yield inner
            elif key == "passwordSecret":
                yield inner["name"]
            else:
                yield from secrets(inner)


@pytest.mark.parametrize("stack", STACKS)
def test_a_page_names_every_secret_that_its_stack_needs(stack: str) -> None:
    text = (ROOT / "docs" / "environments" / f"{stack}.md").read_text()
    how = (ROOT / "docs" / "secrets.md").read_text()
    for name in secrets(yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]):
        assert f"`{name}`" in text
        assert f" {name} --namespace" in how


@pytest.mark.parametrize("stack", STACKS)
def test_a_page_says_how_to_bring_up_to_look_and_to_tear_down(stack: str) -> None:
    text = (ROOT / "docs" / "environments" / f"{stack}.md").read_text()
    for said in ("**For**", "**Needs**", "**Different**", "**Look**"):
        assert said in text
    for command in ("make up", "make down") if stack == "sandbox" else ("pulumi stack init", "pulumi destroy"):
        assert re.search(rf"^{command}\b.*", text, re.MULTILINE)


# --- The rest --------------------------------------------------------------------------------------------------------


def test_the_licence_is_the_one_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    licence = (ROOT / "LICENSE").read_text()
    assert project["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_the_changelog_speaks_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{version}]" in text or ("## [Unreleased]" in text and version in text)


def test_examples_of_images_are_images_of_the_stack() -> None:
    documents = yaml.safe_load_all((ROOT / "manifests" / "bookinfo.yaml").read_text())
    own = {canonical(image) for item in documents if item for image in pulled(item)}
    example = re.findall(r"references:\n    (\S+):", (ROOT / "docs" / "air-gapped.md").read_text())
    assert example
    assert set(example) <= own | set(OF_CHARTS)


# --- Versions ------------------------------------------------------------------------------------------------------------

UPGRADE = ROOT / "docs" / "upgrade.md"


def dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def test_the_table_of_versions_is_that_of_the_program() -> None:
    table = dict(re.findall(r"^\| (.+?) \| ([\d. to]+) \|", UPGRADE.read_text(), re.MULTILINE))
    bookinfo = set(re.findall(r"examples-bookinfo-[\w-]+:([\d.]+)", (ROOT / "manifests" / "bookinfo.yaml").read_text()))
    node = re.search(r"kindest/node:v([\d.]+)", (ROOT / ".github" / "workflows" / "main.yml").read_text())
    expected = {
        "Istio (charts base, istiod, gateway, cni)": CHARTS["istiod"].version,
        "Kong": KONG_GATEWAY,
        "Kong's controller": KONG_CONTROLLER,
        "chart kong": CHARTS["kong"].version,
        "Kubernetes": f"{dotted(KUBERNETES_MINIMUM)} to {dotted(KUBERNETES_TESTED)}",
        "Kiali (chart kiali-server)": CHARTS["kiali-server"].version,
        "Prometheus (chart prometheus)": CHARTS["prometheus"].version,
        "Grafana (chart grafana)": CHARTS["grafana"].version,
        "BookInfo's images": ", ".join(bookinfo),
        "Kubernetes of kind's clusters": node[1] if node else "",
        "Kubernetes of the sandbox": TOOLS["kube-apiserver"].version,
    }
    assert {name: version for name, version in table.items() if name in expected} == expected


def test_the_table_of_istios_is_that_of_the_program() -> None:
    oldest, newest = ISTIO_OF_KONG
    rows = [
        f"| {dotted(istio)} | {dotted(line.kubernetes[0])} to {dotted(line.kubernetes[1])} | {dotted(line.kiali)} or newer | "
        f"{'tested' if oldest <= istio <= newest else 'not tested'} |"
        for istio, line in ISTIO_LINES.items()
    ]
    assert [line for line in UPGRADE.read_text().splitlines() if line in rows] == rows
