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


class ClusterError(Exception):
    """Why the cluster did not do what it was asked for.

    `code` is the HTTP status that the API server answered, None where it did not answer. `passing` says that the
    same question may be answered a moment later: a connection that was cut, a server that is overloaded or restarts.
    """

    def __init__(self, message: str, *, code: int | None = None, passing: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code
        self.passing = passing or code in _PASSING
