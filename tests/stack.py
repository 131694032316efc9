"""A private copy of the project, and the whole stack on that copy's own sandbox."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kube import Cluster
from sandbox import builds, containers, isolation
from sandbox.choice import VARIABLE
from sandbox.facts import KIND, SIMULATED, Facts
from sandbox.paths import CHECKOUT, CONTEXT, Paths, tool_cache

T = TypeVar("T")
Answer = subprocess.CompletedProcess[str]
Object = dict[str, Any]

#: The options that point a command at the sandbox, from the project's folder.
CLUSTER = ("--kubeconfig", ".sandbox/kubeconfig", "--context", CONTEXT)

# What of the user's environment could lead a run out of the copy, or into the user's own files.
_STRAY = re.compile(r"(XDG|PULUMI|HELM|GIT|KUBE|KWOK)\w*|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV")
_NOT_COPIED = ("venv", ".venv", ".sandbox", ".git", "__pycache__", ".*_cache", "*.egg-info")
# Nothing may follow it: a run that did would ask a server that is not there.
_SOMEBODYS_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: somebodys, cluster: {server: "https://127.0.0.1:9"}}]
contexts: [{name: somebodys, context: {cluster: somebodys, user: somebody}}]
users: [{name: somebody, user: {token: somebodys-token}}]
current-context: somebodys
"""


@dataclass(frozen=True)
class Project:
    """A copy of the checkout with a home folder of its own."""

    paths: Paths
    home: Path
    #: Without what a sandbox adds.
    environment: dict[str, str]
    #: The home folder as it was before anything ran.
    home_before: dict[str, tuple[str, ...]]

    def run(self, *command: str, environment: Mapping[str, str] | None = None, stdin: str = "") -> Answer:
        """Run a program in the copy's folder; its exit code is for the caller to judge."""
        return subprocess.run(
            command,
            cwd=self.paths.root,
            env=dict(environment or self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def python(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Answer:
        """Run the copy's Python, by the path that people and Pulumi use."""
        return self.run("venv/bin/python", *arguments, environment=environment)

    def assert_home_untouched(self, when: str) -> None:
        """Fail if a file of the home folder came, went or changed."""
        now = snapshot(self.home)
        differing = sorted(
            name for name in now.keys() | self.home_before.keys() if now.get(name) != self.home_before.get(name)
        )
        assert not differing, f"{when}, these differ in the user's home folder: {', '.join(differing)}"


class Stack:
    """The stack in the copy's sandbox."""

    def __init__(self, project: Project, *, checks: bool = True) -> None:
        self.project = project
        #: Whether its settings run the checks at the end of an `up`.
        self.checks = checks
        self.paths = project.paths
        self.outputs: Object = {}
        #: What `up` printed.
        self.said = ""
        #: Why the stack was rehearsed; empty where Pulumi's engine brought it up.
        self.rehearsed = ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment for programs that work on the sandbox."""
        path = os.pathsep.join([str(self.paths.programs), self.project.environment["PATH"]])
        return {**self.project.environment, **isolation.variables(self.paths), "PATH": path}

    @property
    def cluster(self) -> Cluster:
        """The sandbox's cluster, for looks that have to be quick."""
        return Cluster(str(self.paths.kubeconfig), self.paths.context)

    @property
    def facts(self) -> Facts:
        """What `up` found out about this machine."""
        found = Facts.load(self.paths.facts)
        assert found, "there are no facts, so no `up` came to its end"
        return found

    def up(self) -> None:
        """Run what `make up` runs."""
        answer = self.project.python("-m", "sandbox", "up", "--with-stack")
        self.said = said(answer)
        assert answer.returncode == 0, (
            f"`python -m sandbox up --with-stack` ended with {answer.returncode}:\n{self.said}"
        )
        reason = re.search(r"^Rehearsing: (.+)$", self.said, re.MULTILINE)
        self.rehearsed = reason[1] if reason else ""
        self.outputs = self._outputs()
        if self.checks:
            assert self.outputs["checks"]["failedChecks"] == [], self.said

    def up_unless_it_is(self) -> None:
        """Bring the stack up if a test that failed has left it half destroyed."""
        answer = self.try_kubectl("get", "ingress", "productpage", "--namespace=bookinfo")
        if answer.returncode:
            self.up()

    def down(self) -> None:
        """Run what `make down` runs, and look that nothing is left of the sandbox."""
        answer = self.project.python("-m", "sandbox", "down", "--with-stack")
        assert answer.returncode == 0, (
            f"`python -m sandbox down --with-stack` ended with {answer.returncode}:\n{said(answer)}"
        )
        assert not self.paths.sandbox.exists(), f"`down` has left its folder:\n{said(answer)}"
        wait_for(lambda: not running(self.paths.root), "the end of every process that `up` started")

    def _outputs(self) -> Object:
        if self.rehearsed:
            written = self.paths.sandbox / "outputs.json"
            assert written.exists(), f"the rehearsal wrote no {written.name}:\n{self.said}"
            return dict(json.loads(written.read_text()))
        return dict(json.loads(self.run("pulumi", "stack", "output", "--json", "--stack=sandbox", "--non-interactive")))

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a program on the sandbox and return what it prints; its failure is the test's."""
        answer = self.project.run(*command, environment=self.environment, stdin=stdin)
        assert answer.returncode == 0, f"`{' '.join(command)}` ended with {answer.returncode}:\n{said(answer)}"
        return answer.stdout

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return what it prints."""
        return self.run(str(self.paths.programs / "kubectl"), *arguments, stdin=stdin)

    def try_kubectl(self, *arguments: str, stdin: str = "") -> Answer:
        """Run a kubectl that may be refused."""
        kubectl = str(self.paths.programs / "kubectl")
        return self.project.run(kubectl, *arguments, environment=self.environment, stdin=stdin)

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """Return one object."""
        where = [f"--namespace={namespace}"] if namespace else []
        return dict(json.loads(self.kubectl("get", kind, name, *where, "--output=json")))

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        """Return the objects of a kind; without a namespace, of all."""
        where = f"--namespace={namespace}" if namespace else "--all-namespaces"
        return list(json.loads(self.kubectl("get", kind, where, "--output=json"))["items"])


def make_project(folder: Path) -> Project:
    """Copy the checkout into a folder, as a clean git repository where there is git."""
    root, home = folder / "project", folder / "home"
    _copy_checkout(root)
    (root / "venv").symlink_to(sys.prefix)
    (home / ".kube").mkdir(parents=True)
    (home / ".kube" / "config").write_text(_SOMEBODYS_KUBECONFIG)
    project = Project(Paths(root), home, _environment(home), snapshot(home))
    if shutil.which("git"):
        _commit(project)
    return project


def said(answer: Answer) -> str:
    """Return everything that a program printed."""
    return answer.stdout + answer.stderr


def snapshot(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return everything in a folder: relative path to mode, size and checksum."""
    return {str(path.relative_to(folder)): _state(path) for path in sorted(folder.rglob("*"))}


def running(folder: Path) -> list[str]:
    """Return the command lines of processes that name a folder."""
    listed = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


def wait_for(look: Callable[[], T | None], what: str, seconds: float = 20) -> T:
    """Return what `look` finds as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.1)
    return found


def _state(path: Path) -> tuple[str, ...]:
    status = path.lstat()
    mode = oct(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return mode, str(path.readlink())
    if stat.S_ISREG(status.st_mode):
        return mode, str(status.st_size), hashlib.sha256(path.read_bytes()).hexdigest()
    return (mode,)


def _copy_checkout(target: Path) -> None:
    files = _files_of_git()
    if not files:
        shutil.copytree(CHECKOUT.root, target, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    for name in files:
        # A file that was deleted stays listed until that is committed.
        if (CHECKOUT.root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT.root / name, target / name, follow_symlinks=False)


def _files_of_git() -> list[str]:
    """Return the files that git knows or would add; none where there is no git or no repository."""
    if not shutil.which("git"):
        return []
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT.root, capture_output=True, text=True, check=False)
    return [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []


def _environment(home: Path) -> dict[str, str]:
    """Return an environment whose home folder is private, and whose caches of tools are the real ones."""
    own = {name: value for name, value in os.environ.items() if not _STRAY.fullmatch(name)}
    cache = tool_cache().parent.parent
    # Whatever runs containers here: these tests are of the simulated cluster, unless they are asked for the other.
    kind = {VARIABLE: os.environ.get(VARIABLE) or SIMULATED}
    if kind[VARIABLE] == KIND:
        # Where the daemon listens may stand in the home folder.
        found = containers.answering()[0].environment
        kind |= {name: found[name] for name in ("DOCKER_HOST",) if name in found}
    return own | _go_settings() | kind | {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "GIT_CONFIG_NOSYSTEM": "1"}


def _go_settings() -> dict[str, str]:
    """Return where Go keeps what it downloaded and compiled, which would follow the home folder."""
    if not shutil.which("go"):
        return {}
    environment = builds.go_environment()
    folders = subprocess.run(
        ["go", "env", "-json", "GOPATH", "GOMODCACHE", "GOCACHE"],
        cwd=CHECKOUT.root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {**json.loads(folders.stdout), "GOENV": environment["GOENV"]}


def _commit(project: Project) -> None:
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=copy")):
        if arguments[0] == "add":
            # The project ignores the folder `venv`, and this one is a link.
            (project.paths.root / ".git" / "info").mkdir(exist_ok=True)
            (project.paths.root / ".git" / "info" / "exclude").write_text("/venv\n")
        answer = project.run(*git, *arguments)
        assert answer.returncode == 0, f"git {arguments[0]} failed: {said(answer)}"
