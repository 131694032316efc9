"""Ways into the cluster that a command or a check opens for itself, and always closes again."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from cluster.kubectl import Kubectl, NoKubectlError

_READY_SECONDS = 10.0
_ENDING_SECONDS = 5.0
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


class PortForwardError(Exception):
    """What was said in place of a port-forward, without its full stop."""


def words(namespace: str, resource: str, port: int) -> list[str]:
    """Return the arguments of kubectl that open a port of this machine, one that is free."""
    return ["--namespace", namespace, "port-forward", "--address", "127.0.0.1", resource, f":{port}"]


@contextmanager
def open_port(kubectl: Kubectl, namespace: str, resource: str, port: int) -> Iterator[str]:
    """Give the URL on loopback behind which a port of a Service (`service/NAME`), Deployment or pod answers.

    It ends with the block, whatever ends that. Raises `PortForwardError` where it cannot be opened.
    """
    process = _start(kubectl, words(namespace, resource, port))
    lines: queue.Queue[str | None] = queue.Queue()
    # Read for as long as it runs: it prints a line for every connection, and would stop at a full pipe.
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{_opened_port(lines)}"
    finally:
        _end(process)


def _start(kubectl: Kubectl, arguments: list[str]) -> subprocess.Popen[str]:
    try:
        command = kubectl.command(*arguments)
    except NoKubectlError:
        raise PortForwardError("no kubectl on PATH") from None
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line.strip())
    lines.put(None)


def _opened_port(lines: queue.Queue[str | None]) -> int:
    said = ""
    while True:
        try:
            line = lines.get(timeout=_READY_SECONDS)
        except queue.Empty:
            raise PortForwardError(said or f"nothing within {_READY_SECONDS:.0f} s") from None
        if line is None:
            raise PortForwardError(said.rstrip(".") or "its end")
        if found := _FORWARDING.search(line):
            return int(found[1])
        said = line or said


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
