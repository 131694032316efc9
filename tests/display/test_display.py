"""What people see, whichever room it comes from, and who may import what for it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from display.console import console, requests_bar
from display.critical_path import critical_path
from display.mermaid import Flowchart, arrows
from sandbox.paths import CHECKOUT

LOOKING_ONLY = {"rich", "jinja2"}

PROGRAM = """
import ast, importlib, pkgutil, sys
from pathlib import Path
rooms = ("components", "settings", "commands", "policy.rules")
found = {f"{room}.{module.name}" for room in rooms for module in pkgutil.iter_modules(importlib.import_module(room).__path__)}
for node in ast.walk(ast.parse(Path("__main__.py").read_text())):
    if isinstance(node, ast.ImportFrom):
        found.add(node.module)
for name in found:
    importlib.import_module(name)
"""


@pytest.mark.parametrize("code", [PROGRAM, "import policy.command", "import preview.__main__, preview.publish"])
def test_what_only_looks_is_not_paid_for_elsewhere(code: str) -> None:
    assert not LOOKING_ONLY & modules_of(code)


def test_a_simulated_sandbox_does_not_pay_for_the_program() -> None:
    assert not {"pulumi", "pydantic"} & modules_of("import sandbox.__main__, sandbox.istiod_watcher")


def test_a_preview_does_not_wait_for_the_typed_classes() -> None:
    # The packages above the classes are there anyway, yet to be imported.
    assert not [name for name in modules_of(PROGRAM) if name.startswith("pulumi_kubernetes.") and name.count(".") > 2]


def test_a_command_pays_neither_for_the_program_nor_for_a_client_before_it_asks() -> None:
    commands = [path.stem for path in Path(CHECKOUT.root, "commands").glob("*.py") if "__main__" in path.read_text()]
    found = modules_of("\n".join(f"import commands.{name}" for name in commands))
    assert "commands.kong_ready" in found
    assert not {"pulumi", "grpc", "pydantic", "settings", "components", "kubernetes", "urllib3"} & found


def modules_of(code: str) -> set[str]:
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT.root, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


# --- The terminal -----------------------------------------------------------------------------------------------------


def test_a_log_may_have_colours_but_nothing_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    log = io.StringIO()
    console(log).print("x" * 100, style="red")
    with requests_bar(log, 2) as move:
        move(1, "")
    assert log.getvalue() == f"\x1b[31m{'x' * 100}\x1b[0m\n"


# --- The critical path ------------------------------------------------------------------------------------------------


def test_the_critical_path_goes_back_by_what_was_finished_last() -> None:
    awaited = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c", "untimed"], "quick": ["d"]}
    finished = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 4.0, "quick": 0.5}
    assert critical_path(finished, awaited.__getitem__) == ["a", "b", "d"]
    assert critical_path({}, awaited.__getitem__) == []


# --- Graphs -----------------------------------------------------------------------------------------------------------


def test_a_graph_holds_its_boxes_arrows_and_colours() -> None:
    chart = Flowchart({"late": "stroke:#c00"})
    with chart.box("b", "Part", "shop"):
        chart.node("n", "Pod", style="late")
    chart.node("m", "Job")
    chart.arrow("n", "m")
    assert [line.strip() for line in str(chart).splitlines()] == [
        "flowchart LR",
        'subgraph b["Part<br/>shop"]',
        "direction LR",
        'n["Pod"]',
        "end",
        'm["Job"]',
        "n --> m",
        "classDef late stroke:#c00",
        "class n late",
    ]


@pytest.mark.parametrize("label", ['"] --> x["', "a;b", "%% c", "<b>", "#quot;", "`", "[(x)]", ""])
def test_no_line_of_a_label_gets_out_of_it(label: str) -> None:
    chart = Flowchart({})
    chart.node("n", label, label)
    assert re.fullmatch(r'\s*n\["[^"<>;%`#\[\]]+<br/>[^"<>;%`#\[\]]+"\]', str(chart).splitlines()[1])


def test_arrows_leave_out_what_follows_from_others() -> None:
    assert arrows({"a": [], "b": ["a"], "c": ["a", "b"]}) == [("a", "b"), ("b", "c")]
    # In a circle, each arrow could follow from the other.
    assert arrows({"a": [], "b": ["a", "c"], "c": ["a", "b"]}) == [("c", "b"), ("a", "c"), ("b", "c")]
