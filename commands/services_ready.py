"""Looks whether a Helm release has made the Services that are routed to: what a chart makes shows once it is installed."""

from __future__ import annotations

import argparse
import json
from typing import Any

from commands import command_line
from commands.command_line import CommandError

# An operator that the chart brings may make a Service of its own, a little later.
_SECONDS = 20
_POLL_SECONDS = 1


def main() -> None:
    """Look from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    problem = ""

    def fits() -> bool | None:
        nonlocal problem
        services = {str(item["metadata"]["name"]): item for item in cluster.list("services", options.namespace)}
        found = (wrong(services, name, port) for name, port in options.service)
        problem = next((one for one in found if one), "")
        return None if problem else True

    if not command_line.poll(fits, options.timeout, pause=_POLL_SECONDS):
        raise CommandError(
            f"The Helm release {options.release} {problem}: correct the route of the application {options.application}, or "
            "the values of its chart."
        )
    print(json.dumps({"services": [name for name, _ in options.service]}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--application", required=True, help="whose chart it is")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--release", required=True)
    parser.add_argument("--service", type=_service, action="append", default=[], metavar="NAME=PORT")
    parser.add_argument("--timeout", type=int, default=_SECONDS, help="seconds to wait for them")
    return parser.parse_args()


def _service(text: str) -> tuple[str, int]:
    name, _, port = text.partition("=")
    return name, int(port)


def wrong(services: dict[str, dict[str, Any]], name: str, port: int) -> str:
    """Return what keeps a Service from being routed to; empty where nothing does. `services`: those that there are."""
    if name not in services:
        return f"made no Service {name} (there are: {', '.join(sorted(services)) or 'none'})"
    ports = [int(entry["port"]) for entry in services[name]["spec"].get("ports") or []]
    if port not in ports:
        listed = ", ".join(str(number) for number in ports)
        return f"made the Service {name} without the port {port} (there are: {listed or 'none'})"
    return ""


if __name__ == "__main__":
    command_line.run(main)
