"""The stack's images, brought onto the node before the stack: each with its size, and with what waits for it.

Pods would pull them one by one, and an `up` would show nothing but Deployments that are not available.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pulumi import RunError

import workloads
from plan.inventory import Image, take
from plan.stack_config import Project
from sandbox import SandboxError, kind_program
from sandbox.containers import NoAnswerError, Runtime
from sandbox.kind_record import Record
from sandbox.paths import CHECKOUT, Paths

_AT_ONCE = 3
_TRIES = 3
_PAUSE_SECONDS = 1
_PULL_SECONDS = 900
_LIST_SECONDS = 60
_MEGABYTE = 10**6

_REMEDIES = (
    (
        r"toomanyrequests|rate limit",
        "the registry allows no more pulls for now: log in to it, or name a mirror in images.registry",
    ),
    (
        r"x509|certificate",
        "its certificate is not trusted: name the bundle that has its authority in SSL_CERT_FILE, `make down`, `make up`",
    ),
    (
        r"unauthorized|authentication required|denied",
        "the registry wants a login: `docker login`, with a mirror in images.registry",
    ),
    (r"not found|manifest unknown", "the registry does not have it: see images.registry and images.references"),
    (
        r"no space left",
        "there is no room left on the node: `docker system prune`, or a larger disk for the virtual machine",
    ),
    (
        r"no such host|timeout|unreachable|refused|reset|EOF",
        "the registry does not answer: connect to the network, or set HTTPS_PROXY",
    ),
)


@dataclass(frozen=True)
class _Node:
    """The one node of the sandbox's cluster."""

    record: Record
    runtime: Runtime
    paths: Paths

    @property
    def container(self) -> str:
        return f"{self.record.cluster}-control-plane"

    def sizes(self) -> dict[str, int]:
        """Return what is on it: reference to compressed size in bytes."""
        # By itself, crictl waits for 2 s; a containerd that unpacks images on a slow disk takes longer.
        crictl = ("crictl", f"--timeout={_LIST_SECONDS}s", "images", "--output", "json")
        done = self.runtime.run("exec", self.container, *crictl, seconds=_LIST_SECONDS)
        if done.returncode:
            raise SandboxError(f"the node {self.container} does not tell its images: {_last(done.stderr)}.")
        found: dict[str, int] = {}
        for image in json.loads(done.stdout)["images"]:
            for name in [*(image.get("repoTags") or []), *(image.get("repoDigests") or [])]:
                found[name] = int(image.get("size") or 0)
        return found

    def pull(self, reference: str) -> str:
        """Have the node pull an image; return why not."""
        done = self.runtime.run("exec", self.container, "crictl", "pull", reference, seconds=_PULL_SECONDS)
        return _last(done.stderr or done.stdout) if done.returncode else ""

    def load(self, reference: str) -> str:
        """Have this machine pull an image and hand it to the node; return why not. A digest alone would lose its name so."""
        if "@" in reference:
            return self.pull(reference)
        done = self.runtime.run("pull", reference, seconds=_PULL_SECONDS)
        if done.returncode:
            return _last(done.stderr)
        with tempfile.TemporaryDirectory(dir=self.paths.temporary) as folder:
            archive = str(Path(folder) / "image.tar")
            return self._save(reference, archive) or self._hand_over(archive)

    def _save(self, reference: str, archive: str) -> str:
        # An index that names other platforms' layers, which are not here, could not be loaded. Older programs know no platform.
        platform = self.runtime.run("exec", self.container, "uname", "-m").stdout.strip()
        arguments = ["save", "--output", archive]
        named = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}.get(platform)
        for further in ([f"--platform={named}"] if named else [], []):
            done = self.runtime.run(*arguments, *further, reference, seconds=_PULL_SECONDS)
            if not done.returncode:
                return ""
        return _last(done.stderr)

    def _hand_over(self, archive: str) -> str:
        command = [str(self.paths.programs / "kind"), "load", "image-archive", archive, "--name", self.record.cluster]
        try:
            done = subprocess.run(
                command,
                env=kind_program.environment(self.runtime),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PULL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"`kind load` did not end within {_PULL_SECONDS} s"
        return _last(done.stderr) if done.returncode else ""


def bring(paths: Paths = CHECKOUT) -> None:
    """Bring every image of the stack onto the node, and say how far that is. Raises `SandboxError`."""
    record = Record.load(paths)
    if record is None:
        raise SandboxError("this sandbox has no kind cluster; run `make up`.")
    node = _Node(record, Runtime(record.runtime), paths)
    images = _wanted(paths)
    there = node.sizes()
    missing = [image for image in images if _on_node(image.pulled_as) not in there]
    if not missing:
        print(f"all {len(images)} images are on the node", flush=True)
        return
    by_hand = bool(kind_program.registry(paths)) or kind_program.behind_proxy()
    how = f"by {node.runtime.title} and `kind load`" if by_hand else "by the node"
    print(f"{len(missing)} of {len(images)} images are missing; pulled {how}, {_AT_ONCE} at a time", flush=True)
    _pull_all(missing, node, node.load if by_hand else node.pull)


def _wanted(paths: Paths) -> list[Image]:
    try:
        return list(take(Project(paths.root).read(paths.stack_file), paths.root).images)
    except RunError as problem:
        raise SandboxError(f"the stack's images cannot be listed: {problem}") from None


def _on_node(reference: str) -> str:
    """Return how containerd calls an image: by its digest, if it has one, without the tag."""
    image = workloads.Image.parse(reference)
    return f"{image.name}@{image.digest}" if image.digest else image.tagged


def _pull_all(images: list[Image], node: _Node, pull: Callable[[str], str]) -> None:
    started, problems = time.monotonic(), list[str]()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, (image, problem) in enumerate(_as_they_come(pool, images, pull), start=1):
            if problem:
                problems.append(_sentence(image, problem))
            size = node.sizes().get(_on_node(image.pulled_as), 0)
            state = "FAILED" if problem else f"{size / _MEGABYTE:.0f} MB"
            waiting = ", ".join(image.needed_by)
            seconds = time.monotonic() - started
            print(
                f"  {number:>2}/{len(images)} {seconds:4.0f} s {state:>7}  {image.pulled_as}  for {waiting}", flush=True
            )
    if problems:
        raise SandboxError(problems[0] + (f" {len(problems) - 1} more could not be pulled." if problems[1:] else ""))


def _as_they_come(
    pool: ThreadPoolExecutor, images: list[Image], pull: Callable[[str], str]
) -> Iterator[tuple[Image, str]]:
    begun = {pool.submit(_patiently, pull, image.pulled_as): image for image in images}
    for done in as_completed(begun):
        yield begun[done], done.result()


def _patiently(pull: Callable[[str], str], reference: str) -> str:
    """Pull, more than once where the network may have been at fault; return why not."""
    problem = ""
    for attempt in range(_TRIES):
        time.sleep(attempt * _PAUSE_SECONDS)
        try:
            problem = pull(reference)
        except NoAnswerError as silence:
            problem = str(silence)
        if not problem or re.search(r"not found|manifest unknown|unauthorized|denied|x509|no space", problem):
            break
    return problem


def _sentence(image: Image, problem: str) -> str:
    remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, problem)), "run `make up` again")
    return f"the image {image.pulled_as}, which {' and '.join(image.needed_by)} would wait for, cannot be pulled ({problem}): {remedy}."


def _last(said: str) -> str:
    """Return a program's last word; crictl's is in a line of a log."""
    lines = said.strip().splitlines()
    last = re.sub(r'^time="[^"]*" level=fatal msg="(.*)"$', r"\1", lines[-1].strip()) if lines else "nothing was said"
    return last.replace('\\"', '"').rstrip(".")
