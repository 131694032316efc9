"""Which kinds a cluster has, and at which paths their objects are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kube.connection import Connection

Object = dict[str, Any]


def label_selector(labels: Mapping[str, str]) -> str:
    """Return the selector of what has all of these labels."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


# All groups with all their kinds in one answer, since Kubernetes 1.30; else it is a request for each group's version.
_AGGREGATED = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind as the API server serves it. `names`: what kubectl would take for it, in lower case."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    names: frozenset[str]

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of a collection; "" as namespace is all of them."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.plural}{f'/{name}' if name else ''}"


class Kinds:
    """The kinds of a cluster, asked for once, and again for one that is not known: its CRD may be new."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: list[Kind] = []
        self._lock = threading.Lock()

    def named(self, name: str) -> Kind | None:
        """Return a kind by what kubectl would take for it: pods, pod, po, kongplugins.configuration.konghq.com."""
        expected = name.lower()
        return self._find(lambda kind: expected in kind.names)

    def of(self, manifest: Object) -> Kind | None:
        """Return the kind of a manifest."""
        expected = (manifest["apiVersion"], manifest["kind"])
        return self._find(lambda kind: (kind.api_version, kind.kind) == expected)

    def _find(self, fits: Callable[[Kind], bool]) -> Kind | None:
        with self._lock:
            known = self._known
            found = next((kind for kind in known if fits(kind)), None)
            if not found:
                self._known = [kind for root in ("/api", "/apis") for kind in self._ask(root)]
                found = next((kind for kind in self._known if fits(kind)), None)
            return found

    def _ask(self, root: str) -> Iterator[Kind]:
        found = self._connection.ask("GET", root, headers=_AGGREGATED)
        if "items" not in found:
            raise self._connection.stranger(root)
        for group in found["items"]:
            name = (group.get("metadata") or {}).get("name", "")
            # The version that the server prefers comes first, and so wins where only a name is given.
            for version in group["versions"]:
                for resource in version.get("resources") or []:
                    yield _kind(name, version["version"], resource)


def _kind(group: str, version: str, resource: Object) -> Kind:
    kind, plural = (resource.get("responseKind") or {}).get("kind", ""), resource["resource"]
    short = {plural, resource.get("singularResource") or kind, kind, *(resource.get("shortNames") or [])}
    full = {f"{name}.{group}" for name in short} if group else set()
    return Kind(
        api_version=f"{group}/{version}" if group else version,
        kind=kind,
        plural=plural,
        namespaced=resource["scope"] == "Namespaced",
        names=frozenset(name.lower() for name in short | full),
    )
