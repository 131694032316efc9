"""How long a command takes, and what it takes of processors and memory, its own processes and the sandbox's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from names import SANDBOX_NAME
from sandbox import SandboxError, identity, isolation
from sandbox.paths import CHECKOUT

_PROC = Path("/proc")
_TICK = 0.5
_SHOWN_LINES = 15
_COLOURS = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")


@dataclass(kw_only=True)
class Run:
    """One run of a contender.

    `seconds`: how long it took. `first_answer`: seconds until a request through Kong could be answered, where somebody looked.
    `cpu_seconds`: by program, from looks twice a second: what a process used after the last of them is missing; empty where
    the system has no /proc. `command_cpu_seconds`: of the command and all that it waited for, whole. `memory_mib`: the
    most that the command's processes had together at one look. `largest_mib`: the most that one of them had.
    `state_bytes`: of the stack's exported state. `lines`: what it printed, each with its second.
    """

    seconds: float
    command_cpu_seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    memory_mib: float = 0.0
    largest_mib: float = 0.0
    first_answer: float | None = None
    state_bytes: int | None = None
    lines: list[tuple[float, str]] = field(default_factory=list, repr=False)


def timed(
    command: Sequence[str],
    *,
    cwd: Path = CHECKOUT.root,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a command on the sandbox, or in another environment. Raises `SandboxError` where it fails."""
    # Carrying the mark, it ends with the sandbox, whatever becomes of this process. `make up` would take one of that mark for
    # a run that was cut off.
    marked = isolation.environment() | identity.mark(CHECKOUT, identity.STACK)
    given = {**(marked if environment is None else environment), **(variables or {})}
    sampler = _Sampler()
    lines: list[tuple[float, str]] = []
    sampler.start()
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    reader = threading.Thread(target=_read, args=(process, started, lines), daemon=True)
    reader.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        process.kill()
        raise
    finally:
        sampler.end()
    reader.join(timeout=2)
    if process.returncode:
        raise SandboxError(f"`{' '.join(command[:3])}` failed after {seconds:.1f} s:\n{_told(lines)}")
    return Run(
        seconds=seconds,
        command_cpu_seconds=usage.ru_utime + usage.ru_stime,
        cpu_seconds=sampler.by_program(),
        memory_mib=sampler.memory / 2**20,
        largest_mib=usage.ru_maxrss / 1024,
        lines=lines,
    )


def _read(process: subprocess.Popen[str], started: float, lines: list[tuple[float, str]]) -> None:
    for line in process.stdout or ():
        lines.append((time.monotonic() - started, line.rstrip()))


def events(run: Run) -> Iterator[tuple[float, dict[str, object]]]:
    """Yield the engine's events with the second of their arrival: what they say themselves are whole seconds."""
    for second, line in run.lines:
        if line.startswith("{"):
            yield second, json.loads(line)


def _told(lines: Sequence[tuple[float, str]]) -> str:
    """Return what was printed last; of the engine's events the errors."""
    told = []
    for _, line in lines:
        if not line.startswith("{"):
            told.append(line)
        elif (said := json.loads(line).get("diagnosticEvent", {})).get("severity") in ("error", "info#err"):
            told.append(_COLOURS.sub("", f"{said.get('prefix', '')}{said['message']}").strip())
    return "\n".join(told[-_SHOWN_LINES:])


@dataclass
class _Process:
    program: str
    before: float
    now: float
    of_cluster: bool


class _Sampler(threading.Thread):
    """Looks at the processes of the sandbox, again and again. Where the system has no /proc it sees none."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.memory = 0.0
        self._ended = threading.Event()
        self._found: dict[tuple[str, str], _Process | None] = {}
        self._ours = f"{SANDBOX_NAME}={CHECKOUT.name}".encode()
        self._roles = [
            "=".join(*identity.mark(CHECKOUT, role).items()).encode()
            for role in (identity.CONTROL_PLANE, identity.ISTIOD)
        ]
        self._look(first=True)

    def run(self) -> None:
        while not self._ended.wait(_TICK):
            self._look()

    def end(self) -> None:
        self._ended.set()
        self.join()
        self._look()

    def by_program(self) -> dict[str, float]:
        """Return the seconds of the processors since the first look, most first."""
        sums: dict[str, float] = defaultdict(float)
        for process in self._found.values():
            if process:
                sums[process.program] += process.now - process.before
        return {name: round(spent, 2) for name, spent in sorted(sums.items(), key=lambda item: -item[1]) if spent}

    def _look(self, *, first: bool = False) -> None:
        memory = 0.0
        for folder in _PROC.glob("[0-9]*"):
            try:
                memory += self._look_at(folder, first=first)
            except (OSError, ValueError):
                # It has ended, or is another user's.
                continue
        self.memory = max(self.memory, memory)

    def _look_at(self, folder: Path, *, first: bool) -> float:
        """Note the processor's time of a process; return the memory of one of the command's."""
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        key = (folder.name, fields[19])
        if key not in self._found:
            self._found[key] = self._recognised(folder)
        if not (process := self._found[key]):
            return 0
        process.now = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if first:
            process.before = process.now
        process.program = _program((folder / "cmdline").read_bytes()) or process.program
        return 0 if process.of_cluster else int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    def _recognised(self, folder: Path) -> _Process | None:
        environment = (folder / "environ").read_bytes().split(b"\0")
        of_cluster = any(role in environment for role in self._roles)
        return _Process("", 0.0, 0.0, of_cluster) if of_cluster or self._ours in environment else None


def _program(command_line: bytes) -> str:
    """Return a program's name; of Python the module that it runs."""
    words = [word.decode(errors="replace") for word in command_line.split(b"\0") if word]
    if not words:
        return ""
    name = Path(words[0]).name
    if not name.startswith("python"):
        return name
    if "-m" in words[:-1]:
        return f"python -m {words[words.index('-m') + 1]}"
    script = next((word for word in words[1:] if not word.startswith("-")), "")
    return f"python {Path(script).name}" if "-c" not in words else "python -c"
