"""Which kind of cluster a sandbox has: kind's, with real pods, or the simulated one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from sandbox import SandboxError, containers, kind_cluster, kwok_cluster
from sandbox.facts import KIND, SIMULATED, Facts
from sandbox.paths import CHECKOUT, Paths

#: In the environment, or on make's command line.
VARIABLE = "SANDBOX"


class Status(Protocol):
    """What runs of a sandbox. `lines`: what of it, and how, for people."""

    @property
    def facts(self) -> Facts | None:
        """What `up` found out; nothing where none came to its end."""

    @property
    def ready(self) -> bool:
        """Whether the API server answers."""

    @property
    def live(self) -> bool:
        """Whether all of it runs."""

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What runs."""


class Cluster(Protocol):
    """What a kind of cluster can do; the modules `kind_cluster` and `kwok_cluster` do it."""

    def up(self, paths: Paths = ...) -> Facts:
        """Bring it up, or mend it."""

    def down(self, paths: Paths = ...) -> bool:
        """End it and remove every trace; say whether there was any."""

    def status(self, paths: Paths = ...) -> Status:
        """Find out what runs."""


@dataclass(frozen=True)
class Choice:
    """`kind`: which. `why`: in words, for the line that says so."""

    kind: str
    why: str

    @property
    def cluster(self) -> Cluster:
        """What does it."""
        return cluster_of(self.kind)

    @property
    def line(self) -> str:
        """Which and why."""
        return f"Sandbox: {self.kind}, {self.why}."


def cluster_of(kind: str) -> Cluster:
    """Return what does a kind of cluster."""
    return kind_cluster if kind == KIND else kwok_cluster


def present(paths: Paths = CHECKOUT) -> Cluster:
    """Return what does the cluster that this sandbox has; the simulated one where there is none."""
    return cluster_of(existing(paths) or SIMULATED)


def existing(paths: Paths = CHECKOUT) -> str:
    """Return the kind that this sandbox is of; nothing where there is none."""
    if paths.kind_record.exists():
        return KIND
    return SIMULATED if paths.sandbox.exists() else ""


def choose(asked: str = "", paths: Paths = CHECKOUT) -> Choice:
    """Choose for an `up`: what there is, else what is asked for, else kind where containers run. Raises `SandboxError`."""
    asked = asked or os.environ.get(VARIABLE, "")
    if asked not in ("", KIND, SIMULATED):
        raise SandboxError(f"{VARIABLE} is {asked!r}: it must be {KIND} or {SIMULATED}, or empty to have it chosen.")
    if there := existing(paths):
        other = (
            f"; for the other kind `make down` first, then `make up {VARIABLE}={asked}`"
            if asked not in ("", there)
            else ""
        )
        return Choice(there, f"as before{other}")
    if asked == SIMULATED:
        return Choice(SIMULATED, f"as {VARIABLE} says")
    return _by_containers(asked)


def _by_containers(asked: str) -> Choice:
    try:
        runtime, machine = containers.answering()
        kind_cluster.can_be_had()
    except SandboxError as problem:
        if asked:
            text = str(problem).rstrip(".")
            raise SandboxError(f"{VARIABLE} is kind, and {text}; or `make up {VARIABLE}=simulated`.") from None
        return Choice(SIMULATED, f"as {str(problem).rstrip('.')}")
    size = f"{machine.memory / 2**30:.0f} GiB, {machine.processors} processors"
    return Choice(KIND, f"as {VARIABLE} says" if asked else f"as {runtime.title} answers ({size})")
