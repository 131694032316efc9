"""The programs of the sandbox: found, downloaded or built, and the environment to run them in."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from sandbox import SandboxError
from sandbox.locks import locked
from sandbox.paths import CHECKOUT, Paths, tool_cache
from sandbox.programs import TOOLS, Tool

ISTIOD = "pilot-discovery"
CONTROL_PLANE = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
    "kwokctl",
    "helm",
)

_MODULES = CHECKOUT.root / "sandbox" / "go"
_WAITING = "another process is getting tools ready; waiting for it"
_GO_HINT = "Install Go from https://go.dev/dl/"
# Variables of the user's shell that would lead helm, kubectl or pulumi somewhere else.
_MISLEADING = re.compile(r"HELM_KUBE\w+|HELM_NAMESPACE|HELM_DRIVER\w*|PULUMI_CONFIG_PASSPHRASE|PULUMI_STACK")


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Return the path of each program, having it downloaded or built where need be."""
    expected = [TOOLS[name] for name in names]
    found = {tool.name: path for tool in expected if (path := find(tool))}
    missing = [tool for tool in expected if tool.name not in found]
    if missing:
        with locked(tool_cache(), waiting=_WAITING):
            found |= _obtain(missing)
    return found


def find(tool: Tool) -> Path | None:
    """Look for the right version of a program: in the cache of tools, then on PATH."""
    cached = cached_path(tool)
    if os.access(cached, os.X_OK):
        return cached
    located = shutil.which(tool.name)
    return Path(located) if located and says_version(Path(located), tool) else None


def cached_path(tool: Tool) -> Path:
    """Return where the cache of tools keeps a program."""
    return tool_cache() / f"{tool.name}-{tool.version}"


def remove_cache() -> bool:
    """Remove the cache of tools; say whether there was one."""
    if not tool_cache().exists():
        return False
    with locked(tool_cache(), waiting=_WAITING):
        shutil.rmtree(tool_cache())
    return True


def says_version(program: Path, tool: Tool) -> bool:
    """Say whether a program calls itself the version that is pinned."""
    if not tool.version_arguments:
        return False
    with tempfile.TemporaryDirectory() as home:
        try:
            answer = subprocess.run(
                [program, *tool.version_arguments],
                # Somebody else's wrapper may want to write down that it was called.
                env={**os.environ, "HOME": home},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    said = answer.stdout + answer.stderr
    return bool(re.search(rf"(?<![\d.]){re.escape(tool.version)}(?![\d.]|-\w)", said.replace("v", " ")))


def _obtain(tools: Sequence[Tool]) -> dict[str, Path]:
    """Download or build what is missing. The lock is held."""
    obtained: dict[str, Path] = {}
    to_build: list[Tool] = []
    for tool in tools:
        # The process that held the lock may have got it in the meantime.
        if path := find(tool) or _downloaded(tool):
            obtained[tool.name] = path
        else:
            to_build.append(tool)
    for tool in to_build:
        if problem := go_problem(tool.folder):
            raise SandboxError(
                f"{tool.name} {tool.version} is neither on this machine nor to be built: {problem} and try again."
            )
    if to_build:
        print(building_ahead(to_build), flush=True)
    for number, tool in enumerate(to_build, start=1):
        obtained[tool.name] = _build(tool, f"{number} of {len(to_build)}")
    return obtained


def building_ahead(tools: Sequence[Tool]) -> str:
    """Say what will be built, how large it becomes and about how long it takes."""
    megabytes = sum(tool.megabytes for tool in tools)
    minutes = max(1, round(sum(tool.minutes for tool in tools)))
    noun = "program" if len(tools) == 1 else "programs"
    return (
        f"building {len(tools)} {noun} with Go, this once: {', '.join(tool.name for tool in tools)}\n"
        f"  about {megabytes} MB and {minutes} min on two cores; kept in {tool_cache()}"
    )


# --- official downloads ---------------------------------------------------------------------------------------


def this_platform() -> tuple[str, str]:
    """Return this machine's system and processor as Go and the official builds call them."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _downloaded(tool: Tool) -> Path | None:
    """Return the official build, or nothing, having said why there is none."""
    system, processor = this_platform()
    checksum = tool.sha256.get(f"{system}-{processor}")
    if not checksum or os.environ.get("KONG_ISTIO_OFFLINE"):
        return None
    names = {"version": tool.version, "os": system, "arch": processor}
    try:
        return download(tool.download.format(**names), checksum, cached_path(tool), member=tool.member.format(**names))
    except (OSError, SandboxError) as problem:
        print(f"no official build of {tool.name} {tool.version} ({problem}); building it instead", flush=True)
        return None


def download(address: str, checksum: str, target: Path, *, member: str = "", loopback_http: bool = False) -> Path:
    """Fetch a program, or the archive it is a member of, and install it if the checksum is right."""
    parts = urlsplit(address)
    if parts.scheme != "https" and not (loopback_http and parts.hostname == "127.0.0.1"):
        raise SandboxError(f"{address} is not an https address")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        fetched = Path(folder) / "fetched"
        with urllib.request.urlopen(address, timeout=10) as answer, fetched.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
        actual = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if actual != checksum:
            raise SandboxError(f"the checksum of {address} is {actual}, not {checksum}")
        _install(_extracted(fetched, member) if member else fetched, target)
    return target


def _extracted(archive: Path, member: str) -> Path:
    """Unpack one member of a .tar.gz next to it."""
    program = archive.with_name("program")
    with tarfile.open(archive, "r:gz") as tar:
        try:
            content = tar.extractfile(member)
        except KeyError:
            content = None
        if content is None:
            raise SandboxError(f"there is no {member} in the archive")
        with content, program.open("wb") as file:
            shutil.copyfileobj(content, file)
    return program


def _install(program: Path, target: Path) -> None:
    """Make a file executable and put it in its place at once, so that nobody sees half of it."""
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    program.replace(target)


# --- builds from Go modules -----------------------------------------------------------------------------------


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


def _build(tool: Tool, position: str) -> Path:
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
        _install(program, target)
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


# --- the environment of a sandbox -----------------------------------------------------------------------------


def link(programs: Mapping[str, Path], paths: Paths = CHECKOUT) -> None:
    """Give the tools their plain names in the sandbox's folder for PATH."""
    paths.programs.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        (paths.programs / name).unlink(missing_ok=True)
        (paths.programs / name).symlink_to(program)


def variables(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return what `environment` adds to the environment that this process has."""
    return {
        "PATH": os.pathsep.join([str(paths.programs), os.environ.get("PATH", os.defpath)]),
        "KUBECONFIG": str(paths.kubeconfig),
        "KUBECACHEDIR": str(paths.sandbox / "cache" / "kube"),
        # kubectl's own preferences file.
        "KUBERC": "off",
        "KWOK_WORKDIR": str(paths.kwok),
        # kwokctl leaves kubeconfigs there.
        "TMPDIR": str(paths.temporary),
        "HELM_CACHE_HOME": str(paths.sandbox / "helm" / "cache"),
        "HELM_CONFIG_HOME": str(paths.sandbox / "helm" / "config"),
        "HELM_DATA_HOME": str(paths.sandbox / "helm" / "data"),
        "PULUMI_HOME": str(paths.sandbox / "pulumi"),
        "PULUMI_BACKEND_URL": paths.state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(paths.passphrase),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def environment(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return the environment in which helm, kubectl and pulumi work on the sandbox and nothing else."""
    own = {name: value for name, value in os.environ.items() if not _MISLEADING.fullmatch(name)}
    return own | variables(paths)


def exports(paths: Paths = CHECKOUT) -> str:
    """Return the environment as lines for a shell."""
    unset = [f"unset {name}" for name in sorted(os.environ) if _MISLEADING.fullmatch(name)]
    return "\n".join([*unset, *(f"export {name}={shlex.quote(value)}" for name, value in variables(paths).items())])
