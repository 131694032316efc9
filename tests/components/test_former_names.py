"""What a stack of the last release has, this program registers under the same URN, or under an alias."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from last_release import RECORDED, RELEASE, STACKS, extract, missing, registered

from plan.program import record
from plan.recording import Resource

WRITE = "run `venv/bin/python tests/last_release.py`"

#: What an `up` deletes of a stack of the last release, and why: the end of a URN -> the reason.
GONE: Mapping[str, str] = {}


@pytest.fixture(scope="module")
def released() -> dict[str, list[str]]:
    found = json.loads(RECORDED.read_text())
    assert found["release"] == RELEASE, f"it is of another release: {WRITE}"
    return dict(found["urns"])


def test_what_is_recorded_is_what_the_release_registers(
    released: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if reason := missing():
        pytest.skip(reason)
    assert registered(extract(tmp_path_factory.mktemp("release"))) == released, WRITE


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("stack", STACKS)
def test_nothing_of_the_last_release_is_made_anew(stack: str, released: dict[str, list[str]]) -> None:
    now = record(STACKS[stack]).resources.values()
    known = {urn for resource in now for urn in names(resource)}
    lost = [urn for urn in released[stack] if urn not in known and not any(urn.endswith(end) for end in GONE)]
    assert lost == [], "these would be deleted, and made anew: give them an alias, or say in GONE why they go"


def names(resource: Resource) -> list[str]:
    return [resource.urn, *resource.options.get("aliases", ())]


def test_what_goes_on_purpose_was_there(released: dict[str, list[str]]) -> None:
    urns = [urn for found in released.values() for urn in found]
    assert [end for end in GONE if not any(urn.endswith(end) for urn in urns)] == []
