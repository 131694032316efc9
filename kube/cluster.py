"""What is asked of a cluster: objects as plain dicts, by the names of kinds that kubectl takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Literal

from kube import forward
from kube.connection import Connection, Query
from kube.errors import ClusterError, Patience
from kube.resource_kinds import Kind, Kinds, Object

Objects = list[Object]
PatchType = Literal["merge", "strategic-merge", "json"]

# So many objects a request, as kubectl asks for.
_PAGE = 500
# A watch is renewed after so many seconds: one whose connection is dead says nothing, and nobody would notice.
_WATCH_SECONDS = 30
_PAUSE_SECONDS = 0.5


class Cluster:
    """The cluster of one context of a kubeconfig. It may be used by several threads at once.

    `kubeconfig` is a path, or empty for what kubectl would read ($KUBECONFIG with all its files, else ~/.kube/config).
    Nothing is read or connected before the first question. Every method raises `ClusterError`.
    """

    def __init__(self, kubeconfig: str, context: str) -> None:
        self.context = context
        self._connection = Connection(kubeconfig, context)
        self._kinds = Kinds(self._connection)

    def raw(self, path: str) -> Any:
        """Return the JSON at a path, such as /version."""
        return self._connection.ask("GET", path)

    def is_ready(self) -> bool:
        """Return whether the API server says that it is ready."""
        try:
            return self._connection.text("/readyz") == "ok"
        except ClusterError:
            return False

    def uid(self) -> str:
        """Return the UID of the cluster, which is that of its first namespace. Raises `ClusterError`."""
        try:
            return str(self.raw("/api/v1/namespaces/kube-system")["metadata"]["uid"])
        except (KeyError, TypeError):
            raise ClusterError(f"The server of context {self.context} is no API server.") from None

    def has(self, kind: str) -> bool:
        """Return whether the cluster has a kind."""
        return self._kinds.named(kind) is not None

    def is_namespaced(self, manifest: Object) -> bool | None:
        """Return whether objects of a manifest's kind are in a namespace, or None where the cluster has no such kind."""
        found = self._kinds.of(manifest)
        return found.namespaced if found else None

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None where there is none of that name or kind."""
        return self._read(self._kinds.named(kind), namespace, name)

    def counterpart(self, manifest: Object, namespace: str) -> Object | None:
        """Return what there is of an object, in the version of its manifest; `namespace`: where that names none."""
        metadata = manifest["metadata"]
        return self._read(self._kinds.of(manifest), metadata.get("namespace") or namespace, metadata["name"])

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Objects:
        """Return the objects of a namespace, or of all; none where the cluster has no such kind.

        `labels` and `fields` are selectors as kubectl takes them.
        """
        found = self._kinds.named(kind)
        return self._list(found, namespace, labels, fields)[0] if found else []

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create an object; return it as the API server has it, or would have it."""
        kind, namespace = self._place(manifest)
        return dict(self._connection.ask("POST", kind.path(namespace), _dry(dry_run), manifest))

    def apply(self, manifest: Object, *, manager: str, force: bool = False, dry_run: bool = False) -> Object:
        """Apply an object server-side in the name of a field manager; `force` takes the fields of others over."""
        kind, namespace = self._place(manifest)
        query = {"fieldManager": manager, "force": str(force).lower(), **_dry(dry_run)}
        path = kind.path(namespace, manifest["metadata"]["name"])
        # YAML holds JSON.
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return dict(self._connection.ask("PATCH", path, query, manifest, headers))

    def patch(self, kind: str, name: str, namespace: str, patch: Any, *, how: PatchType = "merge") -> Object:
        """Change an object."""
        path = self._kind(kind).path(namespace, name)
        return dict(
            self._connection.ask("PATCH", path, body=patch, headers={"Content-Type": f"application/{how}-patch+json"})
        )

    def delete(self, kind: str, name: str, namespace: str = "", *, seconds: float = 0) -> bool:
        """Delete an object, and wait up to so many seconds until it is gone. Return whether it is, or goes."""
        found = self.get(kind, name, namespace)
        if not found:
            return True
        body = {"propagationPolicy": "Background", "preconditions": {"uid": found["metadata"]["uid"]}}
        try:
            self._connection.ask("DELETE", self._kind(kind).path(namespace, name), body=body)
        except ClusterError as error:
            # Gone meanwhile, or created again by somebody else: what was to be deleted is not there any more.
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                return True
            raise
        if not seconds:
            return True
        uid = found["metadata"]["uid"]
        return any(not left or left["metadata"]["uid"] != uid for left in self.follow(kind, name, namespace, seconds))

    def create_token(self, service_account: str, namespace: str) -> str:
        """Return a new token of a service account, which ends by itself (after an hour, as a rule)."""
        path = f"{self._kind('serviceaccounts').path(namespace, service_account)}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self._connection.ask("POST", path, body=request)["status"]["token"])

    def wait_until(
        self, kind: str, name: str, namespace: str, is_so: Callable[[Object], bool], seconds: float
    ) -> Object | None:
        """Return an object as soon as it is so, or None where it is not within so many seconds."""
        return next((found for found in self.follow(kind, name, namespace, seconds) if found and is_so(found)), None)

    def follow(self, kind: str, name: str, namespace: str, seconds: float) -> Iterator[Object | None]:
        """Yield an object as it is, and whenever it changes, for so many seconds; None while there is none.

        It is looked at once at least. An API server that does not answer for a while is waited for, and asked again;
        raises `ClusterError` where that lasts, and for what will not pass, such as refused credentials.
        """
        end = time.monotonic() + seconds
        patience = Patience()
        while True:
            try:
                for found in self._states(kind, name, namespace, end):
                    patience.answered()
                    yield found
                patience.answered()
            except ClusterError as error:
                now = time.monotonic()
                patience.wait_out(error, now, over=now >= end)
            if (left := end - time.monotonic()) <= 0:
                return
            time.sleep(min(_PAUSE_SECONDS, left))

    def port_forward(
        self, namespace: str, resource: str, port: int, *, local_port: int = 0
    ) -> AbstractContextManager[str]:
        """Give the URL on loopback behind which a port of a Service (`service/NAME`), Deployment or pod answers.

        It ends with the block. Raises `ClusterError` where it cannot be opened; a connection that fails later is closed,
        and the next one looks for a pod again.
        """
        return forward.forwarding(self, self._connection, namespace, resource, port, local_port)

    def _read(self, kind: Kind | None, namespace: str, name: str) -> Object | None:
        try:
            return dict(self._connection.ask("GET", kind.path(namespace, name))) if kind else None
        except ClusterError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _states(self, kind: str, name: str, namespace: str, end: float) -> Iterator[Object | None]:
        """Yield what an object is now, and what it becomes while one watch lasts."""
        found = self._kinds.named(kind)
        if not found:
            yield None
            return
        field = f"metadata.name={name}"
        items, version = self._list(found, namespace, "", field)
        yield items[0] if items else None
        left = end - time.monotonic()
        if left <= 0 or not version:
            return
        lasts = max(1, min(_WATCH_SECONDS, math.ceil(left)))
        query: Query = {"fieldSelector": field, "watch": "true", "resourceVersion": version, "timeoutSeconds": lasts}
        with self._connection.open("GET", found.path(namespace), query, seconds=min(left, lasts) + 1) as answer:
            for line in answer:
                event = self._connection.decoded(line, found.path(namespace))
                if event["type"] == "ERROR":
                    # The version is too old for the API server, as a rule: what is there now is asked for again.
                    return
                yield None if event["type"] == "DELETED" else event["object"]

    def _list(self, kind: Kind, namespace: str | None, labels: str, fields: str) -> tuple[Objects, str]:
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query: dict[str, str | int] = {key: value for key, value in selectors.items() if value}
        try:
            return self._pages(kind, namespace, {**query, "limit": _PAGE})
        except ClusterError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                # Its CRD was there, and is not any more.
                return [], ""
            if error.code != HTTPStatus.GONE:
                raise
            # So many pages that the first is out of date.
            return self._pages(kind, namespace, query)

    def _pages(self, kind: Kind, namespace: str | None, query: dict[str, str | int]) -> tuple[Objects, str]:
        items: Objects = []
        while True:
            page = self._connection.ask("GET", kind.path(namespace or ""), query)
            # The API server leaves out of a list what is the same in all of it.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page["items"] or []]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            query = {**query, "continue": metadata["continue"]}

    def _kind(self, name: str) -> Kind:
        if found := self._kinds.named(name):
            return found
        raise ClusterError(f"The cluster has no {name}.", code=HTTPStatus.NOT_FOUND)

    def _place(self, manifest: Object) -> tuple[Kind, str]:
        kind = self._kinds.of(manifest)
        if not kind:
            text = f"The cluster has no {manifest['kind']} of {manifest['apiVersion']}."
            raise ClusterError(text, code=HTTPStatus.NOT_FOUND)
        return kind, str(manifest.get("metadata", {}).get("namespace") or "default")


def _dry(run: bool) -> dict[str, str | int]:
    return {"dryRun": "All"} if run else {}
