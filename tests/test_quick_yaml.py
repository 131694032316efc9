"""YAML by libyaml."""

from __future__ import annotations

import pytest
import yaml

import quick_yaml
from settings.secret_parts import SecretText


@pytest.mark.parametrize("kind", [str, SecretText])
def test_a_text_is_read_marked_as_secret_or_not(kind: type[str]) -> None:
    assert quick_yaml.load(kind("a: [1, ü]")) == {"a": [1, "ü"]}
    assert list(quick_yaml.load_all(kind("a: 1\n---\nb: 2"))) == [{"a": 1}, {"b": 2}]


def test_what_is_none_is_told() -> None:
    with pytest.raises(yaml.YAMLError):
        quick_yaml.load("a: [")


def test_no_object_is_made_of_a_tag() -> None:
    with pytest.raises(yaml.YAMLError):
        quick_yaml.load("!!python/object/apply:os.getcwd []")
