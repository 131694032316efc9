"""Requests to the API server of one context of a kubeconfig.

The Kubernetes project's own client reads the kubeconfig and logs in (client certificates, tokens, exec plugins, OIDC),
and its connections are used: proxies, TLS and all. It is imported only where `plain_login` does not do: that takes a
quarter of a second, which every wait would begin with.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from kube import plain_login
from kube.errors import ClusterError
from kube.kubeconfig import parsed, shown
from kube.plain_login import Login
from names import IN_CLUSTER, is_kubeconfig

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration
    from urllib3 import BaseHTTPResponse
    from websocket import WebSocket

_CONNECTIONS = 32
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
# A plugin may open a browser for somebody to log in.
_LOGIN_SECONDS = 120.0
# As kubectl does, whatever the environment's proxy is: the proxy would look for the server on its own machine.
_NEVER_BY_PROXY = "localhost,127.0.0.0/8,::1"

Query = Mapping[str, str | int]


class Connection:
    """One API server, connected to by the first request. It may be used by several threads at once."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._kubeconfig = kubeconfig
        self.context = context
        self._lock = threading.RLock()
        self._login: Login | None = None
        self._client: ApiClient | None = None

    def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON that is answered. Raises `ClusterError`."""
        with self.open(method, path, query, body, headers) as answer:
            return self.decoded(answer.read(), path)

    def decoded(self, text: bytes, path: str) -> Any:
        """Return the JSON object that was answered for a path. Raises `ClusterError`."""
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self.stranger(path)
        return found

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        """Give an answer that is yet to be read; it fails where nothing comes for so many seconds. Raises `ClusterError`."""
        from urllib3.exceptions import HTTPError

        try:
            answer = self._request(method, path, query, body, headers, _ANSWER_SECONDS if seconds is None else seconds)
            try:
                if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise self._refusal(method, path, answer.status, answer.read())
                yield answer
            finally:
                # Nobody reads the rest of a watch: the connection cannot be used again.
                answer.close()
        except HTTPError as error:
            raise self._silence(error) from None

    def text(self, path: str) -> str:
        """Return the text that is answered for a path."""
        with self.open("GET", path) as answer:
            return answer.read().decode(errors="replace")

    def websocket(self, path: str, query: Query) -> WebSocket:
        """Open a path as a WebSocket. Raises `ClusterError`."""
        from kubernetes.client import ApiException
        from kubernetes.stream import ws_client
        from websocket import WebSocketBadStatusException, WebSocketException

        client = self._whole_client()
        url = ws_client.get_websocket_url(f"{client.configuration.host}{path}", list(query.items()))
        try:
            return ws_client.create_websocket(client.configuration, url, _credentials(client))
        except WebSocketBadStatusException as error:
            raise self._refusal("GET", path, error.status_code, error.resp_body or b"") from None
        except (WebSocketException, ApiException, OSError) as error:
            raise self._silence(error) from None

    def _request(
        self, method: str, path: str, query: Query | None, body: Any, headers: Mapping[str, str] | None, seconds: float
    ) -> BaseHTTPResponse:
        for last in (False, True):
            login = self._connected()
            given = {
                "Accept": "application/json",
                "User-Agent": "kong-istio",
                **login.credentials(),
                **(headers or {}),
            }
            if body is not None:
                given.setdefault("Content-Type", "application/json")
            answer: BaseHTTPResponse = login.pool.request(
                method,
                f"{login.host}{path}{f'?{urlencode(query)}' if query else ''}",
                body=None if body is None else json.dumps(body).encode(),
                headers=given,
                preload_content=False,
                retries=False,
                timeout=_timeout(seconds),
            )
            if last or answer.status != HTTPStatus.UNAUTHORIZED:
                return answer
            # A token may have run out, and its file or its plugin have another by now.
            answer.close()
            self._forget(login)
        raise AssertionError("never reached")

    def _connected(self) -> Login:
        with self._lock:
            if self._login is None:
                self._login = plain_login.read(self._kubeconfig, self.context, _CONNECTIONS)
            if self._login is None:
                self._login = _login_of(self._whole_client())
            return self._login

    def _whole_client(self) -> ApiClient:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._kubeconfig, self.context)
            return self._client

    def _forget(self, login: Login) -> None:
        with self._lock:
            if self._login is login:
                self._login = self._client = None

    def _refusal(self, method: str, path: str, status: int, body: bytes) -> ClusterError:
        if status == HTTPStatus.UNAUTHORIZED:
            return ClusterError(f"The API server of context {self.context} refuses the credentials.", code=status)
        if status < HTTPStatus.BAD_REQUEST:
            return self.stranger(path)
        try:
            message = json.loads(body)["message"]
        except (ValueError, LookupError, TypeError):
            message = f"The API server of context {self.context} answers {status} to {method} {path}."
        return ClusterError(str(message), code=status)

    def stranger(self, path: str) -> ClusterError:
        """Return the error for an answer that no API server would give."""
        return ClusterError(f"{path} is answered by something that is no Kubernetes API server.")

    def _silence(self, error: Exception) -> ClusterError:
        from urllib3.exceptions import SSLError

        # A certificate that is not trusted will not be a moment later.
        lasting = isinstance(error, SSLError)
        return ClusterError(
            f"The API server of context {self.context} does not answer: {_reason(error)}.", passing=not lasting
        )


def _connect(kubeconfig: str, context: str) -> ApiClient:
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException
    from urllib3 import disable_warnings
    from urllib3.exceptions import InsecureRequestWarning
    from yaml import YAMLError

    paths = shown(kubeconfig) or os.environ.get("KUBECONFIG") or os.fspath(Path.home() / ".kube" / "config")
    configuration = Configuration()
    # Else the number of processors says it, and each request above is warned of.
    configuration.connection_pool_maxsize = _CONNECTIONS
    with _logged() as said:
        try:
            _within(_LOGIN_SECONDS, lambda: _load(kubeconfig, paths, context, configuration), context)
        except ConfigException as error:
            raise ClusterError(_unusable(paths, context, str(error))) from None
        except OSError as error:
            raise ClusterError(f"The kubeconfig {paths} leads to {error.filename}: {error.strerror}.") from None
        except (ValueError, LookupError, TypeError, AttributeError, YAMLError):
            # What it says may quote the file, and with it a secret.
            raise ClusterError(f"The kubeconfig {paths} cannot be read as one: fix it, or name another one.") from None
    if said:
        raise ClusterError(f"Context {context} gives no credentials: {said[-1].rstrip('.')}.")
    if not configuration.verify_ssl:
        # The kubeconfig says so, and whoever wrote it knows: kubectl does not warn either.
        disable_warnings(InsecureRequestWarning)
    configuration.no_proxy = ",".join(part for part in (configuration.no_proxy, _NEVER_BY_PROXY) if part)
    return ApiClient(configuration)


def _load(kubeconfig: str, paths: str, context: str, configuration: Configuration) -> None:
    from kubernetes.config import load_kube_config, load_kube_config_from_dict

    if kubeconfig == IN_CLUSTER or is_kubeconfig(kubeconfig):
        load_kube_config_from_dict(parsed(kubeconfig), context, configuration, persist_config=False)
    else:
        load_kube_config(paths, context, configuration)


def _within(seconds: float, login: Callable[[], None], context: str) -> None:
    """Run a login, which an exec plugin may take without end: it may wait for somebody who is not there."""
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            login()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise ClusterError(
            f"The login of context {context} has no end after {seconds:.0f} s: its exec plugin waits for something, maybe for "
            "somebody; log in by hand first, or give the context a token."
        )
    if raised:
        raise raised[0]


def _unusable(paths: str, context: str, why: str) -> str:
    if f"with name {context} in" in why:
        return f"The kubeconfig {paths} has no context {context}."
    if "No configuration found" in why:
        return f"The kubeconfig {paths} does not exist."
    return f"The kubeconfig {paths} does not lead to a cluster: {why.rstrip('.')}."


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Give what is logged: an exec plugin that fails is only logged, and the login goes on without credentials."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(handler)


def _login_of(client: ApiClient) -> Login:
    pool, host = client.rest_client.pool_manager, client.configuration.host
    return Login(host=host, pool=pool, credentials=lambda: _credentials(client))


def _credentials(client: ApiClient) -> dict[str, str]:
    # Asks the plugin for another token where this one has run out.
    return {each["key"]: each["value"] for each in client.configuration.auth_settings().values() if each["value"]}


def _timeout(seconds: float) -> Any:
    from urllib3 import Timeout

    return Timeout(connect=_CONNECT_SECONDS, read=seconds)


def _reason(error: BaseException) -> str:
    """Return the innermost reason: what urllib3 says itself begins with the address of an object."""
    inside = next((each for each in (error.__cause__, *error.args[::-1]) if isinstance(each, BaseException)), None)
    if inside:
        return _reason(inside)
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return re.sub(r"^\w+\(host=.*?\): ", "", text).rstrip(".")
