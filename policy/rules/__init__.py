"""The rules, in the order in which they are shown; one module each."""

from __future__ import annotations

from policy.rule import Rule
from policy.rules import (
    dashboards,
    exposure,
    images,
    limits,
    mtls,
    namespaces,
    plain_text,
    resources,
    routing,
    tested,
)

RULES: tuple[Rule, ...] = (
    exposure.RULE,
    dashboards.RULE,
    images.RULE,
    tested.RULE,
    namespaces.RULE,
    mtls.RULE,
    limits.RULE,
    resources.RULE,
    plain_text.RULE,
    routing.RULE,
)
