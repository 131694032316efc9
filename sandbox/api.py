"""Just enough of a client for the sandbox's own API server."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPResponse
from typing import Any

from sandbox.paths import Paths

# Names and ids are all that is asked for; what the objects hold can be large.
_METADATA = "application/json;as=PartialObjectMetadata{kind};g=meta.k8s.io;v=v1"


class Api:
    """The API server at a port of this machine, spoken to with kwokctl's certificates."""

    def __init__(self, paths: Paths, port: int) -> None:
        keys = paths.cluster / "pki"
        self._address = f"https://127.0.0.1:{port}"
        context = ssl.create_default_context(cafile=keys / "ca.crt")
        context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
        )

    def ready(self) -> bool:
        """Say whether the API server says that it is ready."""
        try:
            with closing(self._open("/readyz", "text/plain", timeout=5)) as answer:
                return answer.status == 200
        except OSError:
            return False

    def watch_uid(self, path: str, name: str) -> Iterator[str]:
        """Yield the uid of an object of a collection now and whenever it changes; "" while there is none.

        Ends when the API server ends the watch, as it does every few minutes.
        """
        query = f"{path}?fieldSelector=metadata.name%3D{name}"
        with closing(self._open(query, _METADATA.format(kind="List"), timeout=10)) as answer:
            listed = json.load(answer)
        yield from [item["metadata"]["uid"] for item in listed["items"] or []] or [""]
        query += f"&watch=1&timeoutSeconds=240&resourceVersion={listed['metadata']['resourceVersion']}"
        with closing(self._open(query, _METADATA.format(kind=""), timeout=300)) as answer:
            for line in answer:
                event: dict[str, Any] = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]["metadata"]["uid"]
                elif event["type"] == "DELETED":
                    yield ""
                elif event["type"] == "ERROR":
                    return

    def _open(self, path: str, accept: str, *, timeout: float) -> HTTPResponse:
        request = urllib.request.Request(self._address + path, headers={"Accept": accept})  # noqa: S310
        answer: HTTPResponse = self._opener.open(request, timeout=timeout)
        return answer
