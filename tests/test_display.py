"""What people see, whichever room it comes from: who may import what for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandbox.paths import CHECKOUT

LOOKING_ONLY = {"rich", "jinja2"}

PROGRAM = """
import ast, importlib, pkgutil, sys
from pathlib import Path
rooms = ("components", "settings", "cluster", "policy.rules")
found = {f"{room}.{module.name}" for room in rooms for module in pkgutil.iter_modules(importlib.import_module(room).__path__)}
for node in ast.walk(ast.parse(Path("__main__.py").read_text())):
    if isinstance(node, ast.ImportFrom):
        found.add(node.module)
for name in found:
    importlib.import_module(name)
"""


@pytest.mark.parametrize("code", [PROGRAM, "import policy.command", "import preview.__main__, preview.publish"])
def test_what_only_looks_is_not_paid_for_elsewhere(code: str) -> None:
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT.root, capture_output=True, text=True, check=True)
    assert not LOOKING_ONLY & set(done.stdout.split())
