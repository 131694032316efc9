"""Ways into the cluster that a check opens for itself, and always closes again."""

from __future__ import annotations

import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from checks.model import Failed
from checks.target import Target

_READY_SECONDS = 10.0
_ENDING_SECONDS = 5.0
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


@contextmanager
def open_port(target: Target, namespace: str, resource: str, port: int) -> Iterator[str]:
    """Give the URL on loopback behind which a port of a Service (`service/NAME`), Deployment or pod answers.

    It ends with the block, whatever ends that. Raises `Failed` where it cannot be opened.
    """
    words = ["--namespace", namespace, "port-forward", "--address", "127.0.0.1", resource, f":{port}"]
    process = _start(target, words)
    lines: queue.Queue[str | None] = queue.Queue()
    # Read for as long as it runs: it prints a line for every connection, and would stop at a full pipe.
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{_opened_port(target, words, lines)}"
    finally:
        _end(process)


def _start(target: Target, words: list[str]) -> subprocess.Popen[str]:
    program = shutil.which("kubectl")
    if not program:
        raise _no_way(target, words, "no kubectl on PATH")
    kubeconfig = ["--kubeconfig", str(Path(target.kubeconfig).expanduser())] if target.kubeconfig else []
    return subprocess.Popen(
        [program, *kubeconfig, "--context", target.context, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line.strip())
    lines.put(None)


def _opened_port(target: Target, words: list[str], lines: queue.Queue[str | None]) -> int:
    said = ""
    while True:
        try:
            line = lines.get(timeout=_READY_SECONDS)
        except queue.Empty:
            raise _no_way(target, words, said or f"nothing within {_READY_SECONDS:.0f} s") from None
        if line is None:
            raise _no_way(target, words, said or "its end")
        if found := _FORWARDING.search(line):
            return int(found[1])
        said = line or said


def _no_way(target: Target, words: list[str], seen: str) -> Failed:
    return Failed(
        f"a port-forward to {words[-2]} in {words[1]}",
        seen.rstrip("."),
        cause="nothing runs there, or this user may not open a way to it",
        look=target.command(*words),
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
