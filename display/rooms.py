"""`python -m display.rooms`: draws into README.md which rooms of this project import which, as the source says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from display.mermaid import Flowchart, arrows

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "README.md"
#: Who uses them -> the rooms: folders, or modules beside them.
USERS = {
    "the stack": (
        *("__main__", "process", "inputs", "outputs", "settings", "components", "commands", "kube"),
        *("limits", "names", "quick_yaml", "versions", "workloads"),
    ),
    "the laptop": ("checks", "recovery", "plan", "sandbox", "display"),
    "the pull request": ("policy", "preview"),
}
ROOMS = tuple(room for rooms in USERS.values() for room in rooms)
_BETWEEN = re.compile(r"(?<=<!-- rooms -->\n).*?(?=<!-- end of rooms -->)", re.DOTALL)


def files(room: str) -> list[Path]:
    """Return the Python files of a room, without those of environments in it."""
    found = (file for file in (ROOT / room).rglob("*.py") if "venv" not in file.parts)
    return sorted(found) or [ROOT / f"{room}.py"]


def imported(file: Path) -> Iterator[str]:
    """Yield the rooms that a file imports from, wherever in it, its own too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module)]
        else:
            continue
        yield from {name.partition(".")[0] for name in names} & set(ROOMS)


def drawn() -> str:
    """Return the rooms as Mermaid: an arrow leads to what a room imports, unless it imports that through others too."""
    chart = Flowchart({})
    for number, (user, rooms) in enumerate(USERS.items()):
        with chart.box(f"users{number}", user):
            for room in rooms:
                chart.node(_node(room), room)
    for behind, room in sorted(arrows({room: sorted(_behind(room)) for room in ROOMS})):
        chart.arrow(_node(room), _node(behind))
    return str(chart)


def _behind(room: str) -> set[str]:
    return {other for file in files(room) for other in imported(file)} - {room}


def _node(room: str) -> str:
    return f"room_{room.strip('_')}"


def page() -> str:
    """Return the page with the picture as it would be drawn now."""
    return _BETWEEN.sub(lambda _: f"```mermaid\n{drawn()}\n```\n", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
