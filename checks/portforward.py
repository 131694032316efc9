"""Port-forwards, as the checks open them: one that cannot be opened is a failure of the check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from checks.framework import Failed
from checks.target import Target
from kube import ClusterError


@contextmanager
def open_port(target: Target, namespace: str, resource: str, port: int) -> Iterator[str]:
    """Do as `Cluster.port_forward` does. Raises `Failed` where it cannot be opened."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(target.cluster.port_forward(namespace, resource, port))
        except ClusterError as problem:
            raise Failed(
                f"a port-forward to {resource} in {namespace}",
                str(problem).rstrip("."),
                cause="nothing runs there, or this user may not open a port-forward to it",
                look=target.command("--namespace", namespace, "port-forward", resource, f":{port}"),
            ) from None
        yield url
