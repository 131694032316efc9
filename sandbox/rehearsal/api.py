"""The little of the Kubernetes API that a rehearsal needs: server-side apply, and watching for readiness.

A process per object (kubectl) would take longer than many an object does, and the timeline would show that.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import yaml
from pulumi import RunError

Object = dict[str, Any]

FIELD_MANAGER = "rehearsal"
# A watch is renewed after so many seconds, which is also how soon a wait notices that it may stop.
_WATCH = 5
# A kind whose CRD was only just made takes a moment to appear.
_DISCOVERY = 10


class ApiError(RunError):
    """The API server refused a request; `code` is its HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """The cluster of a kubeconfig that kwokctl wrote: one context, certificates in files."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self.context: str = config["current-context"]
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server: str = cluster["server"]
        tls = _tls(cluster, user)
        # The cluster is on this machine: no proxy of the environment leads there.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=tls))
        self._kinds: dict[tuple[str, str], Object] = {}
        self.stopped = threading.Event()

    def _open(self, method: str, path: str, query: Mapping[str, Any], body: Object | None = None) -> Any:
        request = Request(  # noqa: S310 - the server of a kubeconfig
            f"{self._server}{path}?{urlencode(query)}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={} if body is None else {"Content-Type": "application/apply-patch+yaml"},
        )
        try:
            return self._opener.open(request, timeout=60)
        except HTTPError as error:
            text = error.read().decode(errors="replace")
            message = json.loads(text).get("message", text) if text.startswith("{") else text
            raise ApiError(error.code, message.strip() or str(error)) from None
        except (URLError, TimeoutError) as error:
            raise RunError(f"{self._server} does not answer: {getattr(error, 'reason', error)}.") from None

    def get(self, path: str, missing: Object | None = None) -> Object:
        """Return what lies at a path, or `missing` where that is given and nothing does."""
        try:
            with self._open("GET", path, {}) as response:
                return dict(json.load(response))
        except ApiError as error:
            if missing is None or error.code != 404:
                raise
            return missing

    def path(self, obj: Object) -> str:
        """Return where an object lives."""
        found = self._kind(obj["apiVersion"], obj["kind"])
        namespace = f"/namespaces/{obj['metadata'].get('namespace', 'default')}" if found["namespaced"] else ""
        return f"{_prefix(obj['apiVersion'])}{namespace}/{found['name']}/{obj['metadata']['name']}"

    def _kind(self, version: str, kind: str) -> Object:
        deadline = time.monotonic() + _DISCOVERY
        while (version, kind) not in self._kinds:
            listed = self.get(_prefix(version), missing={"resources": []})["resources"]
            self._kinds |= {(version, each["kind"]): each for each in listed if "/" not in each["name"]}
            if (version, kind) not in self._kinds:
                if self.stopped.is_set() or time.monotonic() > deadline:
                    raise RunError(f"The cluster knows no {kind} of {version}.")
                time.sleep(0.2)
        return self._kinds[version, kind]

    def apply(self, obj: Object) -> tuple[str, Object]:
        """Apply an object server-side; return what that did, and the live object."""
        path = self.path(obj)
        before = self.get(path, missing={})
        with self._open("PATCH", path, {"fieldManager": FIELD_MANAGER}, obj) as response:
            live = json.load(response)
        if not before:
            return "created", live
        return "unchanged" if _wanted(live) == _wanted(before) else "changed", live

    def wait(self, path: str, query: Mapping[str, str], ready: Callable[[Object], bool], seconds: float) -> bool:
        """Watch a collection until one of its objects is ready; return False when time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.stopped.is_set():
            for event in self._watch(path, query):
                if event["type"] in ("ADDED", "MODIFIED") and ready(event["object"]):
                    return True
        return False

    def _watch(self, path: str, query: Mapping[str, str]) -> Iterator[Object]:
        # Without a resourceVersion a watch begins with what is there.
        with self._open("GET", path, {**query, "watch": 1, "timeoutSeconds": _WATCH}) as response:
            for line in response:
                yield json.loads(line)


def _wanted(obj: Object) -> Object:
    """Return an object without what the cluster keeps about it."""
    kept = {key: value for key, value in obj["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    return {**obj, "metadata": kept, "status": None}


def _prefix(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
