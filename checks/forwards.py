"""Kiali, Grafana and Prometheus on this machine, until Ctrl-C: port-forwards, with the links and how to log in."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType

from checks import nodes, selected_stack
from checks.describe import describe
from checks.selected_stack import StackError
from checks.target import Target
from kube import ClusterError
from names import DASHBOARD_PORTS, ISTIO_NAMESPACE, kiali_graph_path
from settings import SettingsError

_USAGE = 2
_OUTPUT = "--output=jsonpath={.data.%s}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Forward until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m checks.forwards", description=__doc__)
    parser.add_argument("--stack", default="", metavar="NAME", help="else the selected one, or the sandbox's")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        stack = selected_stack.find(options.stack)
        target = describe(stack.settings())
        stack.enter()
        forward(nodes.known(target))
    except (StackError, SettingsError, ClusterError) as problem:
        print(problem, file=sys.stderr)
        return 1 if isinstance(problem, ClusterError) else _USAGE
    except KeyboardInterrupt:
        pass
    return 0


def forward(target: Target) -> None:
    """Forward to the dashboards that the stack has, and print where they are; never returns by itself."""
    names = target.dashboards
    if target.simulated:
        raise StackError("Nodes are simulated: no dashboard runs that a port-forward could lead to.")
    if not names:
        raise StackError("The stack has no dashboards (observability in its settings).")
    with ExitStack() as forwards:
        for name in names:
            port = DASHBOARD_PORTS[name]
            forwards.enter_context(
                target.cluster.port_forward(ISTIO_NAMESPACE, f"service/{name}", port, local_port=port)
            )
        print("\n".join(links(target)), "\nCtrl-C ends it.", sep="\n", flush=True)
        while True:
            signal.pause()


def links(target: Target) -> list[str]:
    """Return where the dashboards are, and how to log in where that is asked for."""
    found = []
    home = ("--namespace", ISTIO_NAMESPACE)
    if target.kiali:
        found.append(f"Kiali       http://localhost:{DASHBOARD_PORTS['kiali']}{kiali_graph_path(target.namespaces)}")
        if target.kiali_auth == "token":
            found.append(f"  token     {target.command(*home, 'create', 'token', 'kiali')}")
    if target.grafana:
        found.append(f"Grafana     http://localhost:{DASHBOARD_PORTS['grafana']}/dashboards")
        if not target.grafana_anonymous:
            found += [
                f"  {what:<9} {target.command(*home, 'get', 'secret', target.grafana_secret, _OUTPUT % key)} | base64 --decode"
                for what, key in (("user", "admin-user"), ("password", "admin-password"))
            ]
    if target.prometheus:
        found.append(f"Prometheus  http://localhost:{DASHBOARD_PORTS['prometheus']}/graph")
    return found


def _interrupt(_: int, __: FrameType | None) -> None:
    # A second Ctrl-C must not leave a port-forward behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
