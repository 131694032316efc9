"""What the program does to its process before it reads anything."""

from __future__ import annotations

import gc

import pulumi
import pytest

import process


@pytest.mark.parametrize("asked_for", [True, False])
def test_what_the_sdk_does_is_told_where_it_is_asked_for(asked_for: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "debug", told.append)
    monkeypatch.setenv(process.SDK_DEBUG, "true" if asked_for else "")
    process._leave_out_debug_lines()
    pulumi.log.debug("registering resource")
    assert bool(told) == asked_for


def test_garbage_is_searched_for_again_once_all_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "Question", lambda: None)
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)
    process.begin()
    assert not gc.isenabled()
    process.all_is_imported()
    assert gc.isenabled()
