"""Any settings, through the whole program: a graph, or a sentence, and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import pulumi
import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic.fields import FieldInfo
from test_any_settings import section, value

import settings
from components.shared import releases
from plan.program import record_stack
from plan.stack_config import ROOT, Project, disclosed, settings_in
from settings.kinds import Section
from settings.sentences import keys, section_in

ROUTE = {"service": "productpage", "port": 9080}
BOOKINFO = {"name": "bookinfo", "namespace": "bookinfo", "manifests": "manifests/bookinfo.yaml", "route": ROUTE}
SHOP = {**BOOKINFO, "name": "shop", "namespace": "shop", "route": {**ROUTE, "path": "/shop"}}
PREFIX = "kong-istio:"


def committed(stack: str) -> dict[str, Any]:
    """Return the settings of a stack of this project."""
    found = disclosed(settings_in(ROOT / f"Pulumi.{stack}.yaml"))
    return {key.removeprefix(PREFIX): entry for key, entry in found.items()}


def places(kind: type[Section]) -> Iterator[tuple[tuple[str | int, ...], FieldInfo]]:
    """Yield every field of the settings with its place; of a list, those of its first entry."""
    for key, field in zip(keys(kind), kind.model_fields.values(), strict=True):
        inner = section_in(field.annotation)
        yield (key,), field
        if inner:
            first = (0,) if get_origin(field.annotation) is tuple else ()
            yield from (((key, *first, *below), under) for below, under in places(inner))


PLACES = sorted(places(settings.Settings), key=lambda found: [str(step) for step in found[0]])


def put(config: dict[str, Any], place: tuple[str | int, ...], what: Any) -> dict[str, Any]:
    """Return settings with something else at a place; what is in its way is replaced."""
    changed = copy.deepcopy(config)
    inside: Any = changed
    for step, after in itertools.pairwise(place):
        if isinstance(step, int):
            inside[:] = inside or [{}]
        empty: Any = [] if isinstance(after, int) else {}
        found = inside[step] if isinstance(step, int) else inside.get(step)
        inside[step] = found if isinstance(found, type(empty)) else empty
        inside = inside[step]
    inside[place[-1]] = what
    return changed


BASES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"applications": [BOOKINFO]},
        {"applications": [BOOKINFO, SHOP], "istio": {"cni": True, "ingressGateway": True}},
        *(committed(stack) for stack in ("dev", "staging", "prod")),
    ]
)
FIELDS = st.sampled_from(PLACES).flatmap(lambda found: st.tuples(st.just(found[0]), value(found[1])))


@st.composite
def nearly(draw: st.DrawFn) -> dict[str, Any]:
    """Return settings that work, with some of their fields changed."""
    config = draw(BASES)
    for place, what in draw(st.lists(FIELDS, min_size=1, max_size=4)):
        config = put(config, place, what)
    return config


@pytest.fixture(scope="module", autouse=True)
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand for a machine without a kubeconfig, and without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("machine") / "none"))
        patch.setattr(releases, "_unreachable", lambda _: "")
        yield


@pytest.fixture(scope="module")
def stack_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / "Pulumi.any.yaml"


@given(
    config=st.integers(0, 9).flatmap(lambda n: nearly() if n else section(settings.Settings)),
    secrets=st.just(frozenset(settings.KEYS)) | st.sets(st.sampled_from(sorted(settings.KEYS))),
)
@example(config={}, secrets=set())
@examples(
    # A program takes a hundred times as long as its settings.
    max_examples=max(examples.default.max_examples // 10, 15) if examples.default else 200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_any_settings_make_a_graph_or_a_sentence(config: dict[str, Any], secrets: set[str], stack_file: Path) -> None:
    stack_file.write_text(yaml.safe_dump({"config": {f"{PREFIX}{key}": entry for key, entry in config.items()}}))
    try:
        written = Project(ROOT).read(stack_file)
        hidden = frozenset(f"{PREFIX}{key}" for key in secrets & config.keys())
        recording = record_stack(dataclasses.replace(written, secrets=hidden))
    except pulumi.RunError as error:
        text = str(error)
        assert "URN" not in text, f"the program contradicts itself: {text}"
        assert "\n" not in text.strip(), f"no sentence: {text}"
        assert text.rstrip().endswith((".", ")", "?")), f"no sentence: {text}"
    else:
        labels = {resource.label for resource in recording.resources.values()}
        assert {"Precheck/precheck", "IstioMesh/mesh", "KongGateway/gateway"} <= labels
        assert recording.outputs["proxyService"]
