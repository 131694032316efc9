"""Istio's versions and revisions: each step of an upgrade that Istio supports, and a sentence with the step to take for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_settings import chart, refused, root, says

import settings
from settings.control_planes import canary, of_namespace, of_tag, stable, tags
from versions import CHARTS

__all__ = ["root"]

NEXT: dict[str, Any] = {"version": "1.31.0"}


def istio(root: Path, **given: Any) -> settings.Istio:
    return settings.parse({"istio": given}, (), root).istio


def test_without_a_canary_everything_is_on_the_tested_version_without_a_revision(root: Path) -> None:
    found = istio(root)
    assert canary(found) is None
    assert (stable(found).version, stable(found).revision) == (CHARTS["istiod"].version, "")
    assert of_namespace(found, "bookinfo").label == "default"
    assert tags(found) == {}


def test_a_canary_is_called_after_its_version_and_has_the_namespaces_that_are_named(root: Path) -> None:
    found = istio(
        root, version="1.30.3", canary={**NEXT, "namespaces": ["bookinfo"]}, tags={"prod": "canary", "old": "stable"}
    )
    assert [of_namespace(found, name).label for name in ("bookinfo", "kong-istio")] == ["1-31-0", "default"]
    assert [of_tag(found, tag).label for tag in ("prod", "old")] == ["1-31-0", "default"]
    assert of_namespace(found, "bookinfo").version == "1.31.0"


def test_a_stable_revision_serves_the_namespaces_of_the_default_one_by_a_tag(root: Path) -> None:
    found = istio(root, version="1.31.0", revision="1-31-0")
    assert tags(found) == {"default": "stable"}
    assert of_tag(found, "default").revision == "1-31-0"
    assert of_namespace(found, "bookinfo").revision == "1-31-0"


@pytest.mark.parametrize(
    "given",
    [
        {"version": "1.30.3", "canary": {"version": "1.32.0"}},
        {"version": "1.30.3", "canary": {"version": "1.30.4"}},
        {"version": "1.31.1", "revision": "1-31-0"},
        {"version": "1.31.0-rc.1", "canary": NEXT},
        {"version": "1.31.0", "revision": "1-31-0", "canary": {"version": "1.32.0"}, "tags": {"default": "canary"}},
        {
            "version": "1.30.3",
            "ingressGateway": True,
            "canary": {**NEXT, "namespaces": ["istio-ingress", "kong-istio"]},
        },
    ],
)
def test_a_step_that_istio_supports_is_taken(given: dict[str, Any], root: Path) -> None:
    assert istio(root, **given)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"revision": "default"}, ["istio.revision is default", "choose another name"]),
        ({"canary": {**NEXT, "revision": "default"}}, ["istio.canary.revision is default", "choose another name"]),
        (
            {"revision": "1-31-0", "version": "1.30.3"},
            ["istio.revision is 1-31-0", "1.30.3", "set istio.version to 1.31.0"],
        ),
        (
            {"revision": "1-31-0", "version": "1.31.0", "canary": NEXT},
            ["istio.canary has the revision 1-31-0", "leave istio.canary out", "or give the next version"],
        ),
        (
            {"version": "1.31.0", "canary": NEXT},
            ["canary.version is 1.31.0", "1.31.0: a canary is newer", "leave the canary out"],
        ),
        ({"version": "1.31.1", "canary": NEXT}, ["canary.version is 1.31.0", "1.31.1", "set istio.version to 1.31.0"]),
        (
            {"version": "1.28.2", "canary": NEXT},
            ["canary.version is 1.31.0", "1.28.2", "two minors", "upgrade to 1.30 first"],
        ),
        ({"version": "1.31.0", "canary": {"version": "1.31.0-rc.1"}}, ["canary.version is 1.31.0-rc.1", "is newer"]),
        (
            {"canary": {"version": "1.31.0-rc."}},
            ["canary.version is 1.31.0-rc.", "no name", "set istio.canary.revision"],
        ),
        ({"version": "1.30.3", "canary": {"version": "2.0.0"}}, ["2.0.0", "upgrade to 1.32 first"]),
        ({"injection": False, "canary": NEXT}, ["istio.canary is set while istio.injection is false", "leave it out"]),
        (
            {"canary": {**NEXT, "namespaces": ["shop"]}},
            ["canary.namespaces has shop", "bookinfo, kong-istio", "istio.tags"],
        ),
        (
            {"canary": {**NEXT, "namespaces": ["istio-ingress"]}},
            ["canary.namespaces has istio-ingress", "none of the stack's"],
        ),
        ({"canary": {"version": "1.31"}}, ['istio.canary.version is "1.31"', "a version such as 1.31.0"]),
        ({"version": "latest"}, ['istio.version is "latest"', "a version such as 1.31.0, or empty"]),
        ({"revision": "1.31.0"}, ['istio.revision is "1.31.0"', "letters, digits and hyphens"]),
        ({"tags": {"prod": "canary"}}, ["istio.tags.prod is canary without istio.canary", "stable"]),
        ({"tags": {"prod.eu": "stable"}}, ['istio.tags has "prod.eu"', "letters, digits and hyphens"]),
        (
            {"canary": NEXT, "tags": {"1-31-0": "canary"}},
            ["istio.tags has 1-31-0", "a revision itself", "another name"],
        ),
        ({"tags": {"default": "stable"}}, ["istio.tags has default", "istio-injection=enabled", "choose another name"]),
        ({"tags": {"prod": "1-31-0"}}, ["istio.tags.prod", "stable or canary"]),
        (
            {"canary": {**NEXT, "istiodValues": {"revision": "other"}}},
            ["istio.canary.istiodValues.revision", "use the setting istio.revision or istio.canary"],
        ),
        ({"istiodValues": {"revisionTags": ["prod"]}}, ["istiodValues.revisionTags", "use the setting istio.tags"]),
        (
            {"baseValues": {"defaultRevision": "1-31-0"}},
            ["baseValues.defaultRevision", "use the setting istio.revision"],
        ),
    ],
)
def test_a_step_that_skips_one_is_refused_with_the_one_to_take(
    given: dict[str, Any], parts: list[str], root: Path
) -> None:
    says(refused({"istio": given}, root), *parts)


def test_a_folder_of_a_chart_is_of_the_version_that_is_said(root: Path) -> None:
    chart(root / "istiod", "name: istiod\nversion: 1.30.3\n")
    chart(root / "built", "name: istiod\nversion: 1.31.0-abc\n")
    config = {"istio": {"version": "1.30.4"}, "charts": {"istiod": "istiod"}}
    says(refused(config, root), "charts.istiod holds the version 1.30.3 while istio.version is 1.30.4", "to 1.30.3")
    moved = {"istio": {"canary": {**NEXT, "charts": {"istiod": "istiod"}}}}
    says(refused(moved, root), "istio.canary.charts.istiod holds the version 1.30.3", "put the chart of 1.31.0 there")
    assert settings.parse({"istio": {"version": "1.31.0"}, "charts": {"istiod": "built"}}, (), root)


def test_a_folder_of_a_build_with_metadata_has_its_place_in_the_order(root: Path) -> None:
    chart(root / "istiod", "name: istiod\nversion: 1.30.3+vendor.1\n")
    chart(root / "next", "name: istiod\nversion: 1.31.0\n")
    config = {"istio": {"canary": {**NEXT, "charts": {"istiod": "next"}}}, "charts": {"istiod": "istiod"}}
    assert settings.parse(config, (), root)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ({"location": "https://mirror.example", "username": "u"}, ["istiod.password is missing"]),
        ({"location": "next", "username": "u"}, ["istiod.username is set", "no login"]),
        ({"location": "https://mirror.example", "caFile": "nowhere.pem"}, ["istiod.caFile", "no file"]),
    ],
)
def test_a_login_for_a_canarys_charts_is_looked_at_as_any_other(
    source: dict[str, str], parts: list[str], root: Path
) -> None:
    chart(root / "next", "name: istiod\nversion: 1.31.0\n")
    says(refused({"istio": {"canary": {**NEXT, "charts": {"istiod": source}}}}, root), "istio.canary.charts", *parts)


def test_a_canary_beside_a_folder_needs_a_folder_of_its_own(root: Path) -> None:
    chart(root / "istiod", "name: istiod\nversion: 1.30.3\n")
    chart(root / "next", "name: istiod\nversion: 1.31.0\n")
    config: dict[str, Any] = {"istio": {"canary": NEXT}, "charts": {"istiod": "istiod"}}
    says(refused(config, root), "istio.canary.charts.istiod is missing", "charts.istiod", "give the place of 1.31.0")
    config["istio"] = {"canary": {**NEXT, "charts": {"istiod": "next"}}}
    assert settings.parse(config, (), root)
    # Without a word, the folder's version is the stable one's.
    older = {"istio": {"canary": {"version": "1.30.2", "charts": {"istiod": "next"}}}, "charts": {"istiod": "istiod"}}
    says(refused(older, root), "istio.canary.version is 1.30.2 while the stable one is 1.30.3")
