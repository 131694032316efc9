"""The rules, in the order in which they are shown; one module each, of the rule's name."""

from __future__ import annotations

from policy.rule import Rule
from policy.rules import (
    dashboards_ask_who_looks,
    every_route_has_a_limit,
    images_are_pinned_and_from_known_registries,
    mesh_refuses_plain_text,
    namespaces_are_labelled,
    no_secret_in_plain_text,
    only_kong_is_exposed,
    requests_and_limits_are_set,
    service_upstream_and_preserve_host_together,
    versions_were_tested_together,
)

RULES: tuple[Rule, ...] = (
    only_kong_is_exposed.RULE,
    dashboards_ask_who_looks.RULE,
    images_are_pinned_and_from_known_registries.RULE,
    versions_were_tested_together.RULE,
    namespaces_are_labelled.RULE,
    mesh_refuses_plain_text.RULE,
    every_route_has_a_limit.RULE,
    requests_and_limits_are_set.RULE,
    no_secret_in_plain_text.RULE,
    service_upstream_and_preserve_host_together.RULE,
)
