"""Kiali, Grafana and Prometheus on this machine, until Ctrl-C: port-forwards, with the links and the way to log in."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from urllib.parse import urlencode

from checks import selected_stack
from checks.describe import describe
from checks.endpoints import DASHBOARDS_NAMESPACE, PORTS
from checks.selected_stack import StackError
from checks.target import Target
from settings import SettingsError

_READY_SECONDS = 15.0
_ENDING_SECONDS = 5.0
_POLL_SECONDS = 0.1
_LONGEST_OUTPUT = 1 << 16
_USAGE = 2


class ForwardError(Exception):
    """Why a dashboard cannot be reached, or could and now cannot."""


class Forward:
    """A port-forward to one dashboard, at its own port here."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        # A file, as nobody reads the line that kubectl prints for every connection: a pipe would fill up.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 -- open for as long as the forward
        self._process = subprocess.Popen(
            [*command, "port-forward", "--address=127.0.0.1", f"service/{name}", str(PORTS[name])],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            # Ctrl-C is answered here, and once.
            start_new_session=True,
        )

    def wait(self) -> None:
        """Wait until it forwards. Raises `ForwardError`."""
        end = time.monotonic() + _READY_SECONDS
        while "Forwarding from" not in self._output():
            self.check()
            if time.monotonic() > end:
                raise ForwardError(f"The port-forward to {self.name} did not begin within {_READY_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise `ForwardError` where it has ended."""
        if self._process.poll() is not None:
            lines = self._output().strip().splitlines() or ["kubectl said nothing"]
            raise ForwardError(f"The port-forward to {self.name} has ended: {lines[-1]}")

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _output(self) -> str:
        # Not `read`, which would move the place where kubectl writes.
        return os.pread(self._said.fileno(), _LONGEST_OUTPUT, 0).decode("utf-8", "replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Forward until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m checks.forwards", description=__doc__)
    parser.add_argument("--stack", default="", metavar="NAME", help="else the selected one, or the sandbox's")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        stack = selected_stack.find(options.stack)
        forward(describe(stack.settings()), stack.environment)
    except (StackError, SettingsError, ForwardError) as problem:
        print(problem, file=sys.stderr)
        return 1 if isinstance(problem, ForwardError) else _USAGE
    except KeyboardInterrupt:
        pass
    return 0


def forward(target: Target, environment: Mapping[str, str]) -> None:
    """Forward to the dashboards that the stack has, and print where they are; never returns by itself."""
    names = [name for name in PORTS if getattr(target, name)]
    if target.simulated:
        raise StackError("Nodes are simulated: no dashboard runs that a port-forward could lead to.")
    if not names:
        raise StackError("The stack has no dashboards (observability in its settings).")
    command = _kubectl(target, environment)
    running: list[Forward] = []
    try:
        for name in names:
            running.append(Forward(name, command, environment))
        for one in running:
            one.wait()
        print("\n".join(links(target)), "\nCtrl-C ends it.", sep="\n", flush=True)
        while True:
            for one in running:
                one.check()
            time.sleep(_POLL_SECONDS)
    finally:
        for one in running:
            one.end()


def links(target: Target) -> list[str]:
    """Return where the dashboards are, and how to log in where that is asked for."""
    found = []
    home = ("--namespace", DASHBOARDS_NAMESPACE)
    if target.kiali:
        found.append(f"Kiali       http://localhost:{PORTS['kiali']}{kiali_graph_path(target.namespaces)}")
        if target.kiali_auth == "token":
            found.append(f"  token     {target.command(*home, 'create', 'token', 'kiali')}")
    if target.grafana:
        found.append(f"Grafana     http://localhost:{PORTS['grafana']}/dashboards")
        field = "--output=jsonpath={.data.admin-password}"
        if not target.grafana_anonymous:
            secret = target.command(*home, "get", "secret", "grafana-admin", field)
            found.append(f"  password  {secret} | base64 --decode    (user admin)")
    if target.prometheus:
        found.append(f"Prometheus  http://localhost:{PORTS['prometheus']}/graph")
    return found


def kiali_graph_path(namespaces: Sequence[str]) -> str:
    """Return the path of Kiali's graph of some namespaces."""
    query = urlencode({"namespaces": ",".join(namespaces), "graphType": "workload", "duration": "600"}, safe=",")
    return f"/kiali/console/graph/namespaces?{query}"


def _kubectl(target: Target, environment: Mapping[str, str]) -> list[str]:
    program = shutil.which("kubectl", path=environment.get("PATH"))
    if not program:
        raise StackError("kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools/).")
    kubeconfig = ["--kubeconfig", os.fspath(Path(target.kubeconfig).expanduser())] if target.kubeconfig else []
    return [program, *kubeconfig, "--context", target.context, "--namespace", DASHBOARDS_NAMESPACE]


def _interrupt(_: int, __: FrameType | None) -> None:
    # A second Ctrl-C must not leave a port-forward behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
