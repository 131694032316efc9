"""Kiali's API: logging in, and asking for JSON."""

from __future__ import annotations

from typing import Any

from checks import endpoints
from checks.framework import Failed
from checks.target import Target
from commands import http_client
from commands.http_client import NoAnswer
from names import ISTIO_NAMESPACE, KIALI

ROOT = "/kiali"


def session(target: Target, url: str) -> dict[str, str]:
    """Return the headers of a session: none where Kiali asks for none.

    With the strategy `token` Kiali reads no Authorization header: it takes the token once, as a form, and answers
    with cookies.
    """
    if target.kiali_auth == "anonymous":
        return {}
    token = endpoints.ask(target, lambda cluster: cluster.create_token(KIALI, ISTIO_NAMESPACE))
    try:
        answer = http_client.post_form(f"{url}{ROOT}/api/authenticate", {"token": token})
    except NoAnswer as reason:
        raise unanswered(target, reason) from None
    if answer.status != 200 or not answer.cookies:
        raise Failed(
            "a session of Kiali for the token of its own service account",
            f"{answer.status}: {answer.excerpt}",
            cause="Kiali's strategy is not the one of the settings, or its service account may not read namespaces",
            look=logs(target),
        )
    return {"Cookie": answer.cookies}


def get(target: Target, url: str, path: str, headers: dict[str, str]) -> Any:
    """Return the JSON that Kiali answers for a path of its API."""
    try:
        answer = http_client.get(f"{url}{ROOT}/api/{path}", headers)
        if answer.status != 200:
            raise NoAnswer(f"{answer.status}: {answer.excerpt}")
        return answer.json()
    except NoAnswer as reason:
        raise unanswered(target, reason) from None


def unanswered(target: Target, reason: NoAnswer) -> Failed:
    """Return the failure for a Kiali that gives no usable answer."""
    return Failed(
        "an answer of Kiali",
        str(reason),
        cause="Kiali is still starting, cannot read Prometheus, or something else answers at its address",
        look=logs(target),
    )


def logs(target: Target) -> str:
    """Return the command that shows what Kiali logged."""
    return target.logs(ISTIO_NAMESPACE, KIALI)
