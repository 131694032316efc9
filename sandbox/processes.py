"""Processes that outlive the command that started them: recorded, recognised, and ended by their id.

An id alone is not enough: after a reboot it may be anybody's. A record therefore holds the time at which the
process started as well, counted from the boot, and nothing is ended whose start differs. Where no record can
be in time, a process is known by what it carries in its environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

#: What a tool writes may be a key.
PRIVATE = 0o077

# It is not there on macOS.
_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()


def start_detached(command: Sequence[str], *, log: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Start a program in a session of its own, and return its id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE,
        )
    return process.pid


def record(path: Path, pid: int) -> None:
    """Note that a process is ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"pid": pid, "started": start_time(pid)}))
    draft.replace(path)


def recorded(path: Path) -> int | None:
    """Return the id of the recorded process if it still runs."""
    try:
        note = json.loads(path.read_text())
        pid, started = int(note["pid"]), str(note["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if started and start_time(pid) == started else None


def end_recorded(path: Path, grace: float = 10) -> None:
    """End the recorded process if it still runs, and forget it."""
    if (pid := recorded(path)) is not None:
        end(pid, grace)
    path.unlink(missing_ok=True)


def end(pid: int, grace: float = 10) -> None:
    """Ask a process to end, and kill it after the grace period."""
    started = start_time(pid)
    if not started:
        return
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if start_time(pid) != started:
                return
            time.sleep(0.02)


def kill(pids: Collection[int]) -> None:
    """Kill processes at once, and wait until they are gone."""
    started = {pid: start for pid in pids if (start := start_time(pid))}
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(start_time(pid) == start for pid, start in started.items()):
        time.sleep(0.01)


def carrying(text: str) -> list[int]:
    """Return the ids of the processes in whose environment a variable begins with a text, `NAME=` included."""
    if not _HAS_PROC:
        listed = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True, check=False)
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if f" {text}" in line]
    found = [int(file.parent.name) for file in _PROC.glob("[0-9]*/environ") if _has(file, text)]
    return [pid for pid in found if start_time(pid)]


def _has(environ: Path, text: str) -> bool:
    try:
        return b"\0" + text.encode() in b"\0" + environ.read_bytes()
    except OSError:
        # It has ended, or is another user's.
        return False


def lost_folder(pid: int, folder: Path) -> bool:
    """Return whether a process runs in a folder that was deleted, and that was in this one, as far as the system tells."""
    try:
        place = str((_PROC / str(pid) / "cwd").readlink())
    except OSError:
        return False
    return place.endswith(" (deleted)") and Path(place).is_relative_to(folder)


def start_time(pid: int) -> str:
    """Return when a process started, in the system's own terms; nothing if it does not run."""
    try:
        # The name, in parentheses, may hold spaces. Behind it: the state, as the 18th field the threads, as the 20th the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if _HAS_PROC else _ps(pid, "lstart")
    # While other threads of it are still ending, its ports are taken.
    return "" if fields[0] in "ZX" and int(fields[17]) <= 1 else fields[19]


def command_line(pid: int) -> str:
    """Return the command line of a process; nothing if it does not run."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "" if _HAS_PROC else _ps(pid, "command")


def _ps(pid: int, column: str) -> str:
    """Ask ps, where there is no /proc."""
    answer = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", f"state=,{column}="], capture_output=True, text=True, check=False
    )
    state, _, value = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else value.strip()
