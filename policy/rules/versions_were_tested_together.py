"""Charts and images are of the versions that were tested together: those of the table of versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from names import RELEASES
from policy.objects import Object, images, pick
from policy.rule import Option, Options, Rule, Violation
from versions import CHARTS, KONG_CONTROLLER, KONG_GATEWAY
from workloads import Image

_ROOT = Path(__file__).resolve().parents[2]
_VERSIONS = {chart.name: chart.version for chart in CHARTS.values()}
# By the end of the name, which a mirror keeps.
_IMAGES = {
    "library/kong": KONG_GATEWAY,
    "kong/kubernetes-ingress-controller": KONG_CONTROLLER,
    **{f"release/{name}": CHARTS["istiod"].version for name in ("pilot", "proxyv2", "install-cni")},
}
_ARCHIVE = re.compile(r"(.+?)-(\d.*)\.tgz")
_REMEDY = "take the version of versions.py, or test the new one and change it there"


def untested_versions(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look at the charts of releases, and at the images of Istio and Kong."""
    for item in objects:
        # An application's chart has nothing to go with.
        if item.kind == "Release" and item.namespace in ("", *RELEASES.values()):
            yield from _chart(item, options)
        if not options["folders"]:
            yield from _images(item)


def _chart(item: Object, options: Options) -> Iterator[Violation]:
    chart, version = str(pick(item.body, "spec", "chart")), pick(item.body, "spec", "version")
    # Of a folder's chart the engine knows the version as well: the provider looks it up.
    if not pick(item.body, "spec", "repositoryOpts", "repo") and not chart.startswith("oci://"):
        if options["folders"]:
            return
        name, version = _described(chart)
    else:
        name = chart.rstrip("/").rpartition("/")[2]
    if name not in _VERSIONS:
        yield Violation(item, f"its chart {chart} is none of those that were tested", "add it to versions.py")
    elif version != _VERSIONS[name]:
        yield Violation(
            item,
            f"its chart {name} is of the version {version or 'that is newest'}, tested was {_VERSIONS[name]}",
            _REMEDY,
        )


def _described(chart: str) -> tuple[str, Any]:
    """Return what a chart in a folder, named from the project's, says of itself."""
    try:
        said = yaml.safe_load((_ROOT / chart / "Chart.yaml").read_text(encoding="utf-8"))
    except OSError:
        # An archive says both in its name, as Helm gives it: kong-3.4.1.tgz.
        named = _ARCHIVE.fullmatch(Path(chart).name)
        return (named[1], named[2]) if named else (chart, None)
    return str(said.get("name")), said.get("version")


def _images(item: Object) -> Iterator[Violation]:
    for who, reference in images(item):
        image = Image.parse(reference)
        tested = next((version for name, version in _IMAGES.items() if image.name.endswith(f"/{name}")), None)
        # A digest alone does not say its version, and is one that somebody chose.
        if tested and image.tag and image.tag != tested:
            yield Violation(item, f"{who} has the image {reference}, tested was {tested}", _REMEDY)


RULE = Rule(
    name="versions-were-tested-together",
    description="Charts and the images of Istio and Kong have the versions of versions.py.",
    find=untested_versions,
    options={"folders": Option(False, "Charts in folders, with their images, may be of others.")},
)
