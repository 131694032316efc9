"""What the files of Pulumi's state tell; that the CLI writes them so, `tests/stack/test_engine.py` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import state_folder
from sandbox.paths import Paths

STACK_RESOURCE = {"type": "pulumi:pulumi:Stack", "outputs": {"proxyUrl": "http://192.0.2.1"}}
BEGUN = {"type": "creating", "resource": {}}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Return the paths of a sandbox whose state has a stack that came up."""
    paths = Paths(tmp_path)
    write(paths, "stacks/kong-istio/sandbox.json", checkpoint([STACK_RESOURCE]))
    done(paths, 1, "update", "succeeded")
    return paths


def write(paths: Paths, file: str, content: object) -> None:
    target = paths.state / ".pulumi" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content if isinstance(content, str) else json.dumps(content))


def checkpoint(resources: list[Any], begun: list[Any] | None = None) -> dict[str, Any]:
    return {"version": 3, "checkpoint": {"latest": {"resources": resources, "pending_operations": begun}}}


def done(paths: Paths, time: int, kind: str, result: str) -> None:
    write(paths, f"history/kong-istio/sandbox/sandbox-{time}.history.json", {"kind": kind, "result": result})


def test_a_stack_that_came_up_is_left_alone_and_has_its_outputs(paths: Paths) -> None:
    assert state_folder.holds("sandbox", paths)
    assert not state_folder.is_cut_off("sandbox", paths)
    assert state_folder.outputs("sandbox", paths) == {"proxyUrl": "http://192.0.2.1"}


def test_a_stack_that_was_made_and_never_came_up_is_not_cut_off(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert not state_folder.holds("sandbox", paths)
    write(paths, "stacks/kong-istio/sandbox.json", {"version": 3, "checkpoint": {"stack": "sandbox"}})
    assert state_folder.holds("sandbox", paths)
    assert not state_folder.is_cut_off("sandbox", paths)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("locks/organization/kong-istio/sandbox/8d2c.json", {"pid": 1}),
        ("stacks/kong-istio/sandbox.json", checkpoint([STACK_RESOURCE], [BEGUN])),
        ("stacks/kong-istio/sandbox.json", '{"version": 3, "checkp'),
        ("stacks/kong-istio/sandbox.json", {}),
        ("history/kong-istio/sandbox/sandbox-2.history.json", {"kind": "update", "result": "failed"}),
        ("history/kong-istio/sandbox/sandbox-2.history.json", ""),
    ],
    ids=["a lock", "something begun", "half a file", "no checkpoint", "a failed up", "an empty history"],
)
def test_what_did_not_come_to_a_good_end_is_cut_off(file: str, content: object, paths: Paths) -> None:
    write(paths, file, content)
    assert state_folder.is_cut_off("sandbox", paths)


def test_a_refresh_after_an_up_that_failed_changes_nothing_of_that(paths: Paths) -> None:
    done(paths, 2, "update", "failed")
    done(paths, 3, "refresh", "succeeded")
    assert state_folder.is_cut_off("sandbox", paths)
    done(paths, 4, "update", "succeeded")
    assert not state_folder.is_cut_off("sandbox", paths)


def test_a_lock_on_another_stack_does_not_matter(paths: Paths) -> None:
    write(paths, "locks/organization/kong-istio/other/8d2c.json", {"pid": 1})
    assert not state_folder.is_cut_off("sandbox", paths)
