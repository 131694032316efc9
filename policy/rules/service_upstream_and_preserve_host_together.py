"""Kong calls a Service through the mesh only with two annotations that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policy.objects import Object, items, pick
from policy.rule import Options, Rule, Violation

_UPSTREAM = "ingress.kubernetes.io/service-upstream"
_HOST = "konghq.com/preserve-host"


def unpaired_annotations(objects: Sequence[Object], options: Options) -> Iterator[Violation]:  # noqa: ARG001 -- nothing is excused
    """Look at every Ingress and the Services behind it, as far as they are of the stack."""
    services = {(item.namespace, item.name): item for item in objects if item.kind == "Service"}
    patched = {(item.namespace, item.name) for item in objects if item.kind == "ServicePatch" and _by_name(item)}
    known = {str(host) for item in objects if item.kind == "ServiceEntry" for host in _hosts(item)}
    for item in objects:
        if item.kind != "Ingress":
            continue
        by_service = str(item.annotations.get(_HOST)).lower() == "false"
        asked = {str(rule.get("host") or "") for rule in items(pick(item.body, "spec", "rules"))}
        # Then the mesh knows what clients ask for, and finds the Service by that.
        by_host = bool(asked) and asked <= known
        for name in sorted(_backends(item)):
            service = services.get((item.namespace, name))
            if service is None:
                continue
            upstream = _by_name(service) or (item.namespace, name) in patched
            if upstream and not by_service and not by_host:
                yield Violation(
                    item,
                    f"Kong calls the Service {name} under its client's host name, which the mesh does not know: "
                    "its sidecar passes the request on in plain text",
                    f'annotate the Ingress with {_HOST}: "false", or give its hosts a ServiceEntry',
                )
            elif by_service and not upstream:
                yield Violation(
                    service,
                    f"Kong calls its pods under the Service's name (Ingress {item.name}), which bypasses the mesh",
                    f'annotate the Service with {_UPSTREAM}: "true"',
                )


def _by_name(item: Object) -> bool:
    return str(item.annotations.get(_UPSTREAM)).lower() == "true"


def _hosts(item: Object) -> Sequence[Any]:
    found = pick(item.body, "spec", "hosts")
    return found if isinstance(found, list) else []


def _backends(item: Object) -> set[str]:
    paths = [path for rule in items(pick(item.body, "spec", "rules")) for path in items(pick(rule, "http", "paths"))]
    backends = [pick(item.body, "spec", "defaultBackend"), *(path.get("backend") for path in paths)]
    return {str(name) for backend in backends if (name := pick(backend, "service", "name"))}


RULE = Rule(
    name="service-upstream-and-preserve-host-together",
    description="A Service that Kong calls through the mesh is annotated service-upstream, its Ingress preserve-host.",
    find=unpaired_annotations,
    scope="stack",
)
