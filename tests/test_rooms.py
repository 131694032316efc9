"""Who may import whom: the program never imports what looks at it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from display.rooms import PAGE, ROOMS, ROOT, USERS, files, imported, page

PROGRAM = set(USERS["the stack"])
LOOKING = set(ROOMS) - PROGRAM
# What a room of the program may import besides itself; nothing of it ever looks.
ALLOWED: dict[str, set[str]] = {
    "limits": set(),
    "names": set(),
    "quick_yaml": set(),
    "versions": set(),
    "workloads": set(),
    "kube": {"names", "quick_yaml"},
    "settings": {"names", "quick_yaml", "versions"},
    "commands": {"names", "quick_yaml", "versions", "workloads", "kube"},
    "components": {"limits", "names", "versions", "workloads", "settings", "commands"},
    "process": {"components"},
    "inputs": {"names", "versions", "settings", "commands", "components"},
    "outputs": {"names", "versions", "settings", "commands", "components"},
    "__main__": PROGRAM,
}
# Rooms that need the sandbox's tools and folders, each in one module.
ON_THE_SANDBOX = {"checks": 1, "plan": 1}


def rooms_of(file: Path) -> set[str]:
    return set(imported(file))


def test_every_folder_with_code_is_a_room() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = {name.partition("/")[0].removesuffix(".py") for name in tracked.stdout.split()}
    assert found - {"tests"} <= set(ROOMS)


@pytest.mark.parametrize("room", ALLOWED)
def test_the_program_imports_only_the_rooms_behind_it(room: str) -> None:
    for file in files(room):
        strangers = rooms_of(file) - ALLOWED[room] - {room}
        assert not strangers, f"{file.relative_to(ROOT)} imports {', '.join(sorted(strangers))}"


def test_a_run_of_the_program_loads_nothing_that_looks_at_it() -> None:
    """What is imported by name at run time would escape the look at the source."""
    code = (
        # The chart repositories need not answer for this.
        "import contextlib, sys, urllib.request\nurllib.request.urlopen = lambda *_, **__: contextlib.nullcontext()\n"
        "from plan import record\nbefore = set(sys.modules)\nrecord()\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(answer.stdout.split())
    assert "components" in loaded, "the program was not run"
    assert not loaded & LOOKING


def test_nothing_needs_the_sandbox_that_is_not_meant_to() -> None:
    users = Counter(room for room in ROOMS for file in files(room) if room != "sandbox" and "sandbox" in rooms_of(file))
    assert users == ON_THE_SANDBOX


def test_a_module_has_a_name_of_its_own() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for room in ROOMS:
        for file in files(room):
            places[file.stem].append(room)
    # A component and the command that it runs are one thing.
    several = {name: rooms for name, rooms in places.items() if len(rooms) > 1 and rooms != ["components", "commands"]}
    assert several.keys() <= {"__init__", "__main__"}, several


def test_the_picture_of_the_rooms_is_current() -> None:
    assert PAGE.read_text() == page(), "run `venv/bin/python -m display.rooms`"
    assert "room_preview" in page()
