"""Several sandboxes in one checkout: each has a name, and nothing in common with the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sandbox import isolation, machine_settings
from sandbox.facts import PORTS, Facts
from sandbox.paths import CHECKOUT, Paths

FACTS = Facts(dict.fromkeys(PORTS, 20000), charts={}, origins={}, istiod="", not_shown="no Go")


def run(*arguments: str, name: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=CHECKOUT.root,
        env={**os.environ, "KONG_ISTIO_SANDBOX_NAME": name},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_of_a_checkout_share_nothing_but_the_committed_settings() -> None:
    one, two = (vars(Paths(CHECKOUT.root, name)) for name in ("", "two"))
    shared = {attribute for attribute, value in one.items() if two[attribute] == value}
    assert shared == {"root", "committed_stack_file"}
    assert not Paths(CHECKOUT.root, "two").sandbox.is_relative_to(CHECKOUT.sandbox)


@pytest.mark.parametrize("name", ["..", "a/b", "A", "a b", "-a", "a-", "a\n", "é", "a" * 21])
def test_a_name_that_none_can_have_is_refused_with_what_would_do(name: str) -> None:
    said = f"{name!r} names no sandbox: take at most 20 small letters, digits and hyphens."
    answer = run("status", f"--name={name}")
    assert (answer.returncode, answer.stderr.splitlines()[-1]) == (
        2,
        f"python -m sandbox status: error: argument --name: {said}",
    )
    answer = run("status", name=name)
    assert (answer.returncode, answer.stderr) == (1, f"KONG_ISTIO_SANDBOX_NAME: {said}\n")


def test_the_option_goes_before_the_environment_and_reaches_what_is_started() -> None:
    assert "KONG_ISTIO_SANDBOX_NAME=third" in run("env", "--name=third", name="second").stdout
    assert f"KUBECONFIG={CHECKOUT.root}/.sandbox-third/kubeconfig" in run("env", name="third").stdout
    assert "KONG_ISTIO_SANDBOX_NAME=''" in run("env").stdout, "the shell may mean another one"
    assert isolation.variables(Paths(CHECKOUT.root, "two"))["KONG_ISTIO_SANDBOX_NAME"] == "two"


@pytest.mark.parametrize(("name", "folder", "context"), [("", "", ""), ("two", "-two", "-two")])
def test_the_stack_file_leads_to_its_own_sandbox_wherever_the_checkout_is(
    name: str, folder: str, context: str, tmp_path: Path
) -> None:
    paths = Paths(tmp_path, name)
    paths.sandbox.mkdir()
    paths.committed_stack_file.write_text(CHECKOUT.committed_stack_file.read_text())
    machine_settings.write(FACTS, paths)
    config = yaml.safe_load(paths.stack_file.read_text())["config"]
    assert config["kong-istio:kubeconfig"] == f".sandbox{folder}/kubeconfig"
    assert config["kong-istio:kubeContext"] == f"kwok-kong-istio{context}"
    assert config["kong-istio:checks"]["reports"] == f".sandbox{folder}/checks"
    assert str(tmp_path) not in paths.stack_file.read_text()
