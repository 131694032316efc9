"""Which parts of a secret key are secret, and that what is marked stays so and is not shown."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from settings import SettingsError
from settings.secret_parts import SecretPart, marked, plain_settings, secret_parts

PASSWORD = "hunter2-of-pg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project's folder."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "bookinfo.yaml").write_text("{}")
    return tmp_path


def say(root: Path, **config: Any) -> None:
    """Write a stack file."""
    named = {f"kong-istio:{key}": value for key, value in config.items()}
    (root / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": named}))


KONG = {"replicas": 1, "values": {"env": {"pg_password": PASSWORD, "pg_host": "db", "n": 7}, "list": [PASSWORD, "a"]}}


def hidden(value: Any) -> list[str]:
    return [str.__str__(part) if isinstance(part, str) else json.dumps(part) for part in secret_parts(value)]


def test_what_a_stack_file_says_in_plain_text_is_no_secret(root: Path) -> None:
    secure = {"secure": "v1:abc"}
    say(root, kong={**KONG, "values": {"env": {"pg_password": secure, "pg_host": "db", "n": 7}, "list": [secure, "a"]}})
    found = settings.parse({"kong": KONG}, ["kong"], root)
    assert hidden(found.kong.values) == [PASSWORD, PASSWORD]
    assert found.kong.values == KONG["values"]


@pytest.mark.parametrize(
    "file",
    [
        "",
        "config: {kong-istio:kong: {secure: v1:abc}}",
        "config: {kong-istio:kong: {values: {env: {pg_host: another, n: '7'}, list: [{secure: v1:abc}]}}}",
        "config: [",
        "- 1",
        "config: {kong-istio:kong: 5}",
    ],
)
def test_what_no_stack_file_says_is_secret(file: str, root: Path) -> None:
    (root / "Pulumi.test.yaml").write_text(file)
    found = settings.parse({"kong": KONG}, ["kong"], root)
    assert sorted(hidden(found.kong.values)) == sorted([PASSWORD, "db", "7", PASSWORD, "a"])
    # What may only be a number or a choice is what it was.
    assert (found.kong.replicas, found.kong.service_type) == (1, "LoadBalancer")
    assert hidden(settings.parse({"kong": KONG}, [], root).kong.values) == []


def test_true_and_false_and_nothing_are_no_secrets() -> None:
    assert hidden(marked({"a": True, "b": None, "c": "", "d": {}, "e": 1.5}, [])) == ["1.5"]


def test_the_sandboxs_stack_file_counts_too(root: Path) -> None:
    (root / ".sandbox").mkdir()
    (root / ".sandbox" / "Pulumi.sandbox.yaml").write_text("config: {kong-istio:kong: {replicas: 2}}")
    assert plain_settings(root, "kong-istio:kong") == [{"replicas": 2}]


def test_a_marked_value_is_never_shown() -> None:
    for part in (marked(PASSWORD, []), marked(4711, []), marked(47.11, [])):
        assert isinstance(copy.deepcopy(part), SecretPart)
        assert {f"{part}", str(part), repr(part), "%s" % part} == {"[secret]"}  # noqa: UP031


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rateLimit", {"minute": 5, "redis": {"host": 4711}}),
        ("rateLimit", {"minute": 4711, "hour": 5}),
        ("kong", {"serviceType": "4711-x"}),
        ("kong", {"values": {"replicaCount": 4711}}),
        ("istio", {"mtls": ["4711"]}),
        (
            "applications",
            [{"name": "a", "namespace": "b", "manifests": "4711/x", "route": {"service": "s", "port": 1}}],
        ),
        ("images", {"references": {"kong": "4711"}}),
        ("kubeContext", 4711),
        ("checks", "4711"),
    ],
)
def test_no_sentence_shows_what_came_in_as_a_secret(key: str, value: Any, root: Path) -> None:
    try:
        said = repr(settings.parse({key: value}, [key], root))
    except SettingsError as error:
        said = str(error)
    assert "4711" not in said


def test_a_secret_beside_one_in_plain_text_does_not_hide_that(root: Path) -> None:
    redis = {"host": "redis", "username": "me", "password": PASSWORD}
    say(root, rateLimit={"minute": 5, "redis": {**redis, "username": {"secure": "v1:abc"}}})
    with pytest.raises(SettingsError, match=r"rateLimit\.redis\.password is in plain text"):
        settings.parse({"rateLimit": {"minute": 5, "redis": redis}}, ["rateLimit"], root)
