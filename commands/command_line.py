"""What the commands of this package share: options that name the cluster, errors as one sentence, polling."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from commands.cluster_identity import in_another_cluster
from kube import Cluster, ClusterError, Patience

T = TypeVar("T")

# Before the name of a variable, in place of an argument that no command line may show.
FROM_ENVIRONMENT = "env:"

_POLL_SECONDS = 0.2
# Longer than `Patience` lasts.
_ANSWER_SECONDS = 120


class CommandError(Exception):
    """Why a command failed, and what to do about it."""


class OtherClusterError(CommandError):
    """The context leads to another cluster than when the stack came up."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that name the cluster."""
    created = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    created.add_argument("--kubeconfig", default="", type=given, help="path of the kubeconfig file, or what is in it")
    created.add_argument("--context", required=True, help="name of the context")
    created.add_argument(
        "--digest", help="of what is looked at: another one is a reason to look again, and nothing more"
    )
    return created


def given(text: str) -> str:
    """Return an argument, or what the variable holds that it names."""
    if not text.startswith(FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(FROM_ENVIRONMENT)
    if name not in os.environ:
        raise argparse.ArgumentTypeError(f"{name} is not set: only the stack itself gives it to its commands")
    return os.environ[name]


def connect(options: argparse.Namespace) -> Cluster:
    """Return the cluster that the options name. Raises `OtherClusterError` where it is not the Command's own."""
    cluster = Cluster(options.kubeconfig, options.context)
    if in_another_cluster(cluster):
        raise OtherClusterError(
            f"The context {options.context} leads to another cluster than the one that this was meant for: nothing was done."
        )
    return cluster


def run(command: Callable[[], None]) -> None:
    """Run a command; an error ends the process with its sentence on standard error."""
    try:
        command()
    except (CommandError, ClusterError) as error:
        sys.exit(str(error))


def poll(look: Callable[[], T | None], seconds: float, *, pause: float = _POLL_SECONDS) -> T | None:
    """Return what `look` finds, as soon as it does, or None after that many seconds; `pause` is between two looks.

    An API server may fail to answer once in a while: its failure is raised when it lasts.
    """
    end = time.monotonic() + seconds
    patience = Patience()
    while True:
        over = time.monotonic() >= end
        try:
            found = look()
        except ClusterError as error:
            patience.wait_out(error, time.monotonic(), over=over)
        else:
            patience.answered()
            if found is not None or over:
                return found
        time.sleep(pause)


def patiently(look: Callable[[], T]) -> T:
    """Return what `look` finds; an API server that is away for a moment, or slow, is asked again."""
    found = poll(lambda: (look(),), _ANSWER_SECONDS)
    assert found is not None  # noqa: S101 -- `poll` ends with what `look` finds, or with its error
    return found[0]
