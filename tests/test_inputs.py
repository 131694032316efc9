"""What the program does to its process before it reads anything."""

from __future__ import annotations

import pulumi
import pytest

import inputs


@pytest.mark.parametrize("asked_for", [True, False])
def test_what_the_sdk_does_is_told_where_it_is_asked_for(asked_for: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "debug", told.append)
    monkeypatch.setenv(inputs.SDK_DEBUG, "true" if asked_for else "")
    inputs._leave_out_debug_lines()
    pulumi.log.debug("registering resource")
    assert bool(told) == asked_for
