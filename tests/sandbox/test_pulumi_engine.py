"""Pulumi's own programs: those of the machine, or official ones; with a script in place of the CLI."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from fakes.releases import Releases, archive, sums

from sandbox import isolation, pulumi_engine
from sandbox.paths import CHECKOUT, Paths, tool_cache

CLI, KUBERNETES, COMMAND = (version(name) for name in ("pulumi", "pulumi-kubernetes", "pulumi-command"))
RELEASES = "https://github.com/pulumi/{}/releases/download/v{}"
CLI_ADDRESS = f"{RELEASES.format('pulumi', CLI)}/pulumi-v{CLI}-linux-x64.tar.gz"
CLI_SUMS = f"{RELEASES.format('pulumi', CLI)}/pulumi-{CLI}-checksums.txt"
# Says its version, and "unpacks" a plugin where the CLI would. A file `refuses` beside it makes it fail.
PULUMI = """#!/bin/sh
if [ "$1" = version ]; then echo v{version}; exit; fi
[ ! -e "${{0%/*}}/refuses" ] || {{ echo "error: no room" >&2; exit 1; }}
[ "$6 $7" = "--exact --file" ] && [ -s "$8" ] && /bin/mkdir -p "$PULUMI_HOME/plugins/resource-$4-v$5"
"""


@pytest.fixture
def sandbox(releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """Give the test a sandbox that is up on a machine without Pulumi, of which everything is published."""
    for name, value in vars(Paths(tmp_path / "checkout")).items():
        monkeypatch.setattr(CHECKOUT, name, value)
    CHECKOUT.sandbox.mkdir(parents=True)
    publish(releases)
    return releases


def publish(releases: Releases) -> None:
    members = [("pulumi/pulumi", PULUMI.format(version=CLI))]
    members += [(f"pulumi/pulumi-language-{name}", "#!/bin/sh\n") for name in ("python", "python-exec")]
    releases.add(CLI_ADDRESS, content := archive(*members))
    releases.add(CLI_SUMS, sums((CLI_ADDRESS.rpartition("/")[2], content)))
    for name, wanted in (("kubernetes", KUBERNETES), ("command", COMMAND)):
        file = f"pulumi-resource-{name}-v{wanted}-linux-amd64.tar.gz"
        folder = RELEASES.format(f"pulumi-{name}", wanted)
        releases.add(f"{folder}/{file}", content := archive((f"pulumi-resource-{name}", "#!/bin/sh\n")))
        releases.add(f"{folder}/pulumi-{name}_{wanted}_checksums.txt", sums((file, content)))


def on_path(tmp_path: Path, *programs: str, says: str = CLI) -> Path:
    folder = tmp_path / "path"
    folder.mkdir()
    for name in programs:
        (folder / name).write_text(PULUMI.format(version=says))
        (folder / name).chmod(0o755)
    return folder


def pulumi() -> Path:
    """Return the CLI that is used for the sandbox."""
    found = shutil.which("pulumi", path=isolation.environment()["PATH"])
    assert found
    return Path(found)


def test_a_machine_without_pulumi_gets_the_official_cli_and_plugins(sandbox: Releases) -> None:
    assert pulumi_engine.missing() == ""
    assert pulumi() == CHECKOUT.programs / "pulumi"
    # The language host has to be the one beside it, wherever PATH is looked at.
    assert (CHECKOUT.programs / "pulumi-language-python").resolve().parent == pulumi().resolve().parent
    assert subprocess.run([pulumi(), "version"], capture_output=True, text=True, check=True).stdout == f"v{CLI}\n"
    plugins = CHECKOUT.sandbox / "pulumi" / "plugins"
    assert {path.name for path in plugins.iterdir()} == {
        f"resource-kubernetes-v{KUBERNETES}",
        f"resource-command-v{COMMAND}",
    }
    assert [path.name for path in tool_cache().iterdir()] == [f"pulumi-{CLI}"]
    assert sandbox.downloads()[:2] == [CLI_SUMS, CLI_ADDRESS]
    sandbox.asked.clear()
    assert pulumi_engine.missing(download=False) == ""
    shutil.rmtree(CHECKOUT.programs)
    assert pulumi_engine.missing() == ""
    assert sandbox.asked == []


def test_a_cli_that_somebody_broke_is_downloaded_again(sandbox: Releases) -> None:
    assert pulumi_engine.missing() == ""
    (tool_cache() / f"pulumi-{CLI}" / "pulumi").unlink()
    sandbox.asked.clear()
    assert pulumi_engine.missing() == ""
    assert sandbox.downloads() == [CLI_SUMS, CLI_ADDRESS]
    assert subprocess.run([pulumi(), "version"], capture_output=True, text=True, check=True).stdout == f"v{CLI}\n"


@pytest.mark.parametrize(("says", "taken"), [("3.260.0", True), ("4.0.0", True), ("3.259.9", False), ("3.99.0", False)])
def test_the_users_own_cli_is_taken_unless_it_is_too_old(
    sandbox: Releases, tmp_path: Path, says: str, taken: bool
) -> None:
    own = on_path(tmp_path, "pulumi", "pulumi-language-python", says=says)
    assert pulumi_engine.missing() == ""
    assert pulumi() == (own if taken else CHECKOUT.programs) / "pulumi"
    assert (CLI_ADDRESS in sandbox.downloads()) is not taken


def test_a_cli_without_its_language_host_is_replaced_by_both(sandbox: Releases, tmp_path: Path) -> None:
    on_path(tmp_path, "pulumi")
    assert pulumi_engine.missing() == ""
    assert pulumi().parent == CHECKOUT.programs
    assert CLI_ADDRESS in sandbox.downloads()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("checksum", r"\(the checksum of \S+ is \w+, not 0{64}\)"),
        ("no checksums", r"\(\S+checksums.txt answers 404 Not Found\)"),
        ("closed", r"\(github\.com is out of reach: .*403.*\)"),
        ("offline", r"\(KONG_ISTIO_OFFLINE is set\)"),
    ],
)
def test_what_cannot_be_had_is_one_sentence_and_nothing_is_left(
    sandbox: Releases, monkeypatch: pytest.MonkeyPatch, trouble: str, reason: str
) -> None:
    file = CLI_ADDRESS.rpartition("/")[2]
    if trouble == "checksum":
        sandbox.add(CLI_SUMS, f"{'0' * 64}  {file}\n")
    elif trouble == "no checksums":
        del sandbox.files[CLI_SUMS]
    elif trouble == "closed":
        sandbox.closed.add("github.com")
    else:
        monkeypatch.setenv("KONG_ISTIO_OFFLINE", "1")
    said = pulumi_engine.missing()
    assert re.fullmatch(
        rf"the Pulumi CLI is not on this machine's PATH, and {re.escape(CLI)} could not be downloaded {reason}; "
        r"see https://www\.pulumi\.com/docs/install/\.",
        said,
    ), said
    assert list(tool_cache().iterdir()) == []
    assert not CHECKOUT.programs.exists()


def test_a_cli_that_is_too_old_is_told(sandbox: Releases, tmp_path: Path) -> None:
    own = on_path(tmp_path, "pulumi", "pulumi-language-python", says="3.100.0")
    sandbox.closed.add("github.com")
    said = pulumi_engine.missing()
    assert f"the Pulumi CLI {own}/pulumi is v3.100.0, and this project needs v3.260 or newer, and {CLI} could" in said


def test_a_plugin_with_another_checksum_is_not_given_to_pulumi(sandbox: Releases, tmp_path: Path) -> None:
    on_path(tmp_path, "pulumi", "pulumi-language-python")
    folder = RELEASES.format("pulumi-kubernetes", KUBERNETES)
    sandbox.add(f"{folder}/pulumi-resource-kubernetes-v{KUBERNETES}-linux-amd64.tar.gz", "tampered with")
    said = pulumi_engine.missing()
    assert said.startswith(
        f"the provider plugin kubernetes {KUBERNETES} is not on this machine, and could not be downloaded (the checksum of"
    )
    assert not (CHECKOUT.sandbox / "pulumi").exists()
    assert list(tool_cache().iterdir()) == []


def test_a_plugin_that_pulumi_refuses_is_told(sandbox: Releases, tmp_path: Path) -> None:
    on_path(tmp_path, "pulumi", "pulumi-language-python")
    (tmp_path / "path" / "refuses").touch()
    assert pulumi_engine.missing() == (
        f"the provider plugin kubernetes {KUBERNETES} is not on this machine, and could not be downloaded "
        "(`pulumi plugin install` failed: error: no room)."
    )
    assert sandbox.downloads()
    assert list(tool_cache().iterdir()) == []


def test_without_a_sandbox_nothing_is_downloaded(sandbox: Releases) -> None:
    CHECKOUT.sandbox.rmdir()
    assert pulumi_engine.missing() == (
        "the Pulumi CLI is not on this machine's PATH; see https://www.pulumi.com/docs/install/."
    )
    assert sandbox.asked == []
    assert not CHECKOUT.sandbox.exists()


@pytest.mark.engine
def test_the_real_cli_unpacks_a_plugin_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := pulumi_engine.missing(download=False):
        pytest.skip(reason)
    for name, value in vars(Paths(tmp_path)).items():
        monkeypatch.setattr(CHECKOUT, name, value)
    CHECKOUT.temporary.mkdir(parents=True)
    plugin = tmp_path / "plugin.tar.gz"
    plugin.write_bytes(archive(("pulumi-resource-kubernetes", "#!/bin/sh\n")))
    pulumi_engine._install_plugin("kubernetes", "1.2.3", plugin)
    unpacked = CHECKOUT.sandbox / "pulumi/plugins/resource-kubernetes-v1.2.3"
    assert [path.name for path in unpacked.iterdir()] == ["pulumi-resource-kubernetes"]
