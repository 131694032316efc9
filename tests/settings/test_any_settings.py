"""Any settings, inside and outside what there is: they are taken, or refused with a sentence, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic.fields import FieldInfo
from test_settings import FULL, OTHER, PASSWORD, plain, root, sentence

import settings
from settings import SettingsError
from settings.kinds import Hidden, Section
from settings.sentences import bounds, keys, section_in

__all__ = ["root"]

# What YAML may hold, at any depth.
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=2),
    max_leaves=4,
)
FROM_FULL = st.sampled_from([*FULL.values(), OTHER, "manifests", "dashboards", "~nobody/x", "\0", "x" * 300])


def inside(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Return values of a field's kind."""
    hint: Any = next(
        (one for one in (field.annotation, *get_args(field.annotation)) if get_origin(one) is Literal), None
    )
    if hint:
        return st.sampled_from(get_args(hint))
    if inner := section_in(field.annotation):
        return st.lists(section(inner), max_size=2) if get_origin(field.annotation) is tuple else section(inner)
    if limits := bounds(field):
        whole = st.integers(int(limits[0]) - 1, int(limits[1]) + 1)
        return whole | st.floats(*limits) if field.annotation is not int else whole
    if patterns := [entry.pattern for entry in field.metadata if hasattr(entry, "pattern")]:
        return st.from_regex(patterns[0])
    if get_origin(field.annotation) is tuple:
        return st.lists(st.sampled_from(["203.0.113.0/24", "::/0", "0.0.0.0/1", "login"]) | SCALARS, max_size=3)
    if get_origin(field.annotation) is dict:
        return st.dictionaries(st.sampled_from(["requests", "limits", "kong", "replicaCount"]) | st.text(), ANYTHING)
    return st.booleans() if field.annotation is bool else st.text(max_size=12)


def value(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Return values for a field, most of them of its kind."""
    if any(isinstance(entry, Hidden) for entry in field.metadata):
        secret = st.sampled_from([PASSWORD, [PASSWORD], {"host": "redis", "password": PASSWORD}])
        return secret | inside(field) if section_in(field.annotation) else secret
    usual = inside(field)
    return st.integers(0, 39).flatmap(lambda n: usual if n > 1 else ANYTHING if n else FROM_FULL)


def section(kind: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects for a section; few of them lack a field that is required, or have one that is none."""
    fields = dict(zip(keys(kind), kind.model_fields.values(), strict=True))
    required = {key: value(field) for key, field in fields.items() if field.is_required()}
    optional = {key: value(field) for key, field in fields.items() if not field.is_required()}
    usual = st.fixed_dictionaries(required, optional=optional)
    name = st.sampled_from(list(fields)).map(lambda key: key[:-1]) | st.text(max_size=4)
    odd = st.tuples(usual, name).map(lambda pair: {**pair[0], pair[1]: 1})
    return st.integers(0, 39).flatmap(lambda n: usual if n else odd)


@given(config=section(settings.Settings), secrets=st.sets(st.sampled_from(sorted(settings.KEYS))))
@example(config={**FULL, "charts": {"kong": "~nobody/charts"}}, secrets={"rateLimit"})
@example(config={"kubeconfig": "~/clusters/one", "kubeconfigFrom": {"stack": "\n"}}, secrets=set())
@example(config={"kong": {"values": FULL["rateLimit"]}}, secrets=set())
@example(config={"applications": [{**OTHER, "manifests": "x" * 300}]}, secrets=set())
@examples(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_settings_are_taken_or_refused_with_a_sentence(
    config: dict[str, Any], secrets: set[str], root: Path
) -> None:
    try:
        found = settings.parse(config, secrets, root)
    except SettingsError as error:
        sentence(error)
    else:
        again = settings.parse(plain(found), secrets, root)
        assert [again.limit_of(one) for one in again.applications] == [
            found.limit_of(one) for one in found.applications
        ]
        assert PASSWORD not in repr(found)
