"""Waits until Deployments, StatefulSets and DaemonSets are rolled out: named ones, or all of a Helm release.

Of a release also its Services of type LoadBalancer have to have an address. What has longest to be ready is looked at last,
and all times count from the start.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

from commands import command_line, kong_ready, rollouts
from commands.command_line import CommandError
from kube import Cluster


@dataclass(frozen=True, order=True)
class Awaited:
    """`seconds`: that it has to be ready. `kind`: its Kubernetes kind."""

    seconds: int
    kind: str
    name: str


def main() -> None:
    """Wait from the command line."""
    options = _options()
    cluster = command_line.connect(options)
    started = time.monotonic()
    awaited = list(options.workload)
    if options.release:
        awaited += command_line.patiently(lambda: _of_release(cluster, options))
    for one in sorted(awaited):
        _wait(cluster, one, options, max(one.seconds - (time.monotonic() - started), 0))
    print(json.dumps({"ready": sorted(f"{one.kind}/{one.name}" for one in awaited)}))


def _options() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--workload", type=_awaited, action="append", default=[], metavar="KIND/NAME=SECONDS")
    parser.add_argument("--release", default="", help="whose workloads there are")
    parser.add_argument("--timeout", type=int, default=300, help="seconds to wait for what is of the release")
    parser.add_argument("--setting", default="", help="what gives them longer")
    return parser.parse_args()


def _awaited(text: str) -> Awaited:
    what, _, seconds = text.rpartition("=")
    kind, _, name = what.partition("/")
    return Awaited(int(seconds), kind, name)


def _of_release(cluster: Cluster, options: argparse.Namespace) -> list[Awaited]:
    marks = {"meta.helm.sh/release-name": options.release, "meta.helm.sh/release-namespace": options.namespace}
    return [
        Awaited(options.timeout, kind, item["metadata"]["name"])
        for kind, kinds in {**{kind: f"{kind.lower()}s" for kind in rollouts.COMPLETE}, "Service": "services"}.items()
        for item in cluster.list(kinds, options.namespace)
        if marks.items() <= (item["metadata"].get("annotations") or {}).items()
    ]


def _wait(cluster: Cluster, one: Awaited, options: argparse.Namespace, seconds: float) -> None:
    if one.kind != "Service":
        rollouts.wait(
            cluster, one.kind, options.namespace, one.name, seconds, limit=one.seconds, setting=options.setting
        )
    elif not cluster.wait_until("services", one.name, options.namespace, _is_reached, seconds):
        raise CommandError(
            f"The Service {options.namespace}/{one.name} has no load balancer address after {one.seconds} s: have the cluster "
            f"give it one (quota, MetalLB, cloud-provider-kind), or change its type{_or_raise(options)}; then run `pulumi up` again."
        )


def _or_raise(options: argparse.Namespace) -> str:
    return f", or raise {options.setting}" if options.setting else ""


def _is_reached(service: dict[str, Any]) -> bool:
    spec = service["spec"]
    return spec.get("type") != "LoadBalancer" or bool(spec.get("externalIPs") or kong_ready.balancer_address(service))


if __name__ == "__main__":
    command_line.run(main)
