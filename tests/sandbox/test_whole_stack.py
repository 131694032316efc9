"""The sandbox's stack, as far as it needs no engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sandbox import whole_stack


@pytest.mark.parametrize("known", [{}, {"encryptionsalt": "v1:known"}])
def test_a_stack_has_one_salt(known: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulumi reads the stack file that it is told, and writes the salt of the stack's state into the one beside the project."""

    def init(*arguments: str, folder: Path) -> str:
        assert arguments == ("stack", "init", "sandbox")
        (folder / "Pulumi.sandbox.yaml").write_text("encryptionsalt: v1:of-the-state\n")
        return ""

    monkeypatch.setattr(whole_stack, "CHECKOUT", SimpleNamespace(sandbox=tmp_path))
    monkeypatch.setattr(whole_stack, "pulumi_output", init)
    (tmp_path / "Pulumi.yaml").touch()
    file = tmp_path / "settings.yaml"
    file.write_text("# A note.\n" + yaml.safe_dump({"config": {}, **known}))
    whole_stack.create("sandbox", tmp_path / "Pulumi.yaml", file)
    assert yaml.safe_load(file.read_text()) == {"config": {}, "encryptionsalt": "v1:of-the-state", **known}
    assert file.read_text().startswith("# A note.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Pulumi.yaml", "settings.yaml"]
