"""What goes wrong between this machine and an API server, in one sentence."""

from __future__ import annotations

from http import HTTPStatus

_PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


# An API server that restarts, or whose load balancer does, is back by then.
_LASTING_SECONDS = 60.0


class ClusterError(Exception):
    """Why the cluster did not do what it was asked for.

    `code` is the HTTP status that the API server answered, None where it did not answer. `passing` says that the
    same question may be answered a moment later: a connection that was cut, a server that is overloaded or restarts.
    """

    def __init__(self, message: str, *, code: int | None = None, passing: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code
        self.passing = passing or code in _PASSING


class Patience:
    """For how long an API server may fail to answer: a minute from its first failure, if that may pass at all."""

    def __init__(self) -> None:
        self._since: float | None = None

    def answered(self) -> None:
        """Forget earlier failures."""
        self._since = None

    def wait_out(self, error: ClusterError, now: float, *, over: bool) -> None:
        """Raise the error unless it may pass, has not lasted, and there is time left (not `over`)."""
        self._since = now if self._since is None else self._since
        if not error.passing or over or now - self._since >= _LASTING_SECONDS:
            raise error
