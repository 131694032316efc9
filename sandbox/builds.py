"""Programs built from Go modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox import SandboxError
from sandbox.installed import cached_path, install
from sandbox.paths import CHECKOUT, tool_cache
from sandbox.programs import Tool

_MODULES = CHECKOUT.root / "sandbox" / "go"
_GO_HINT = "Install Go from https://go.dev/dl/"


def building_ahead(tools: Sequence[Tool]) -> str:
    """Say what will be built, how large it becomes and about how long it takes."""
    megabytes = sum(tool.megabytes for tool in tools)
    minutes = max(1, round(sum(tool.minutes for tool in tools)))
    noun = "program" if len(tools) == 1 else "programs"
    return (
        f"building {len(tools)} {noun} with Go, this once: {', '.join(tool.name for tool in tools)}\n"
        f"  about {megabytes} MB and {minutes} min on two cores; kept in {tool_cache()}"
    )


def go_environment() -> dict[str, str]:
    """Return the environment for the go command."""
    # Go counts its own use in the user's configuration folder, which is none of our business to change. The
    # user's settings for Go lie there too, and still hold.
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    settings = os.environ.get("GOENV") or str(configuration / "go" / "env")
    return {
        **os.environ,
        "XDG_CONFIG_HOME": str(tool_cache() / ".go-config"),
        "GOENV": settings,
        "GOFLAGS": "",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def go_problem(folder: str) -> str:
    """Say why nothing can be built from a module below sandbox/go/; nothing if it can."""
    if not shutil.which("go"):
        return f"there is no Go on this machine. {_GO_HINT}"
    answer = subprocess.run(
        ["go", "env", "GOVERSION"],
        cwd=_MODULES / folder,
        env=go_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    stated = re.search(r"^go (\S+)", (_MODULES / folder / "go.mod").read_text(), re.MULTILINE)
    minimum = stated[1] if stated else "0"
    if answer.returncode or _numbers(answer.stdout) < _numbers(minimum):
        return f"Go is too old: sandbox/go/{folder} needs {minimum}. {_GO_HINT}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def build(tool: Tool, position: str) -> Path:
    """Build one program into the cache. The lock is held."""
    target = cached_path(tool)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        program = Path(folder) / tool.name
        flags = f"-s -w {tool.ldflags}"
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(program)]
        print(f"  {position}: {tool.name} {tool.version} from {tool.package}", flush=True)
        started = time.monotonic()
        log = target.parent / f"{tool.name}.build.log"
        if _run_reporting([*command, tool.package], _MODULES / tool.folder, log, tool.name):
            raise SandboxError(_build_failure(tool, log))
        log.unlink()
        install(program, target)
        print(f"  {position}: {tool.name} built in {time.monotonic() - started:.0f} s", flush=True)
    return target


def _run_reporting(command: Sequence[str], folder: Path, log: Path, name: str) -> int:
    """Run a long command, saying twice a minute that it still runs, and return its exit code."""
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=go_environment(), stdout=output, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    return process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    print(f"    {name}: {time.monotonic() - started:.0f} s", flush=True)
        finally:
            process.kill()


def _build_failure(tool: Tool, log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    reason = lines[-1].strip() if lines else "go said nothing"
    return (
        f"{tool.name} {tool.version} could not be built from {tool.package}: {reason}. The whole story is in "
        f"{log}; if it speaks of the network, set GOPROXY to a proxy that you can reach and try again."
    )
