"""Ways into the cluster, as the checks open them: one that cannot be opened is a failure of the check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from checks.model import Failed
from checks.target import Target
from cluster import portforward


@contextmanager
def open_port(target: Target, namespace: str, resource: str, port: int) -> Iterator[str]:
    """Do as `cluster.portforward.open_port` does. Raises `Failed` where it cannot be opened."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(portforward.open_port(target.kubectl(), namespace, resource, port))
        except portforward.PortForwardError as problem:
            raise Failed(
                f"a port-forward to {resource} in {namespace}",
                str(problem),
                cause="nothing runs there, or this user may not open a way to it",
                look=target.command(*portforward.words(namespace, resource, port)),
            ) from None
        yield url
