"""The page about the checks is the one that they make."""

from __future__ import annotations

import re

from checks import listing
from checks.registry import CHECKS
from sandbox.paths import CHECKOUT

PAGE = CHECKOUT.root / "docs" / "checks.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == f"{listing.page()}\n", "run `venv/bin/python -m checks.listing > docs/checks.md`"


def test_statements_are_sentences() -> None:
    for check in CHECKS:
        assert re.fullmatch(r"[A-Z].*\.", check.statement), check.statement
