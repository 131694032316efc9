"""The few things that are asked of GitHub's REST API, each answer within bounds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

ARTIFACT_BYTES = 5 * 1024 * 1024
_ANSWER_BYTES = 10 * 1024 * 1024
_PAGES = 20
_PER_PAGE = 100
_SECONDS = 30
_BOT = "github-actions[bot]"


class GitHubError(RuntimeError):
    """What GitHub refused, or did not answer, in one sentence."""


class _NoRedirect(HTTPRedirectHandler):
    """Follows nothing: urllib would take the token along to wherever it is sent."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse, so that the caller sees where it was sent."""
        return


_OPENER = build_opener(_NoRedirect)


class GitHub:
    """One repository, as a token may see it."""

    def __init__(self, api: str, repository: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._repository = repository
        self._token = token

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> GitHub:
        """Return the repository that a workflow runs in."""
        try:
            token, repository = environment["GITHUB_TOKEN"], environment["GITHUB_REPOSITORY"]
        except KeyError as missing:
            raise GitHubError(f"{missing.args[0]} is not set: this command runs in a workflow.") from None
        return cls(environment.get("GITHUB_API_URL", "https://api.github.com"), repository, token)

    # --- what a comment needs ---------------------------------------------------------------------------------

    def pull_requests(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the open pull requests whose newest commit is the one that a run was for.

        The repository and branch that it came from have to be the same too: the commit of somebody else's pull request
        can be pushed to a fork by anybody.
        """
        sha, source = str(run["head_sha"]), str((run.get("head_repository") or {}).get("full_name", ""))
        owner, branch = source.split("/")[0], str(run.get("head_branch") or "")
        # The first list lacks commits of forks at times, the second those of a branch that has been renamed.
        found = [
            *self._all(f"commits/{quote(sha, safe='')}/pulls"),
            *self._all("pulls?" + urlencode({"state": "open", "head": f"{owner}:{branch}"})),
        ]
        matching = {pull["number"]: pull for pull in found if _is_for(pull, sha, source, self._repository)}
        return [matching[number] for number in sorted(matching)]

    def artifact(self, run: int, name: str) -> bytes | None:
        """Return the archive of an artefact of a run; None where there is none."""
        listed = self._json("GET", f"actions/runs/{run}/artifacts?" + urlencode({"name": name, "per_page": _PER_PAGE}))
        for artifact in listed.get("artifacts", []):
            if artifact["name"] == name and not artifact.get("expired"):
                if artifact["size_in_bytes"] > ARTIFACT_BYTES:
                    raise GitHubError(f"The artefact is larger than {ARTIFACT_BYTES} bytes.")
                return self._archive(int(artifact["id"]))
        return None

    def put_comment(self, pull_request: int, marker: str, body: str) -> str:
        """Write a comment in place of the one that begins with `marker`, or a first one; return its address."""
        for comment in self._all(f"issues/{pull_request}/comments"):
            # Anybody may write the marker; only our own comment is ours to change.
            author = (comment.get("user") or {}).get("login")
            if author == _BOT and str(comment["body"]).startswith(marker):
                answer = self._json("PATCH", f"issues/comments/{int(comment['id'])}", {"body": body})
                return str(answer["html_url"])
        return str(self._json("POST", f"issues/{pull_request}/comments", {"body": body})["html_url"])

    # --- the protocol -----------------------------------------------------------------------------------------

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        for page in range(1, _PAGES + 1):
            joint = "&" if "?" in path else "?"
            found = self._json("GET", f"{path}{joint}{urlencode({'per_page': _PER_PAGE, 'page': page})}")
            yield from found
            if len(found) < _PER_PAGE:
                return

    def _json(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        _, said = self._send(Request(self._address(path), data, self._headers(), method=method))  # noqa: S310
        try:
            return json.loads(said)
        except ValueError:
            raise GitHubError(
                f"GitHub answered {method} {path.split('?')[0]} with something that is not JSON."
            ) from None

    def _archive(self, artifact: int) -> bytes:
        path = f"actions/artifacts/{artifact}/zip"
        target, said = self._send(Request(self._address(path), headers=self._headers()))  # noqa: S310
        if not target:
            return said
        # A store that is not GitHub's API: it gets no token. No plain text, save where the API itself is.
        if urlsplit(target).scheme not in ("https", urlsplit(self._api).scheme):
            raise GitHubError("GitHub sends an artefact's download to an address without TLS.")
        return self._send(Request(target), ARTIFACT_BYTES)[1]  # noqa: S310

    def _address(self, path: str) -> str:
        return f"{self._api}/repos/{self._repository}/{path}"

    def _headers(self) -> dict[str, str]:
        return {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def _send(self, request: Request, limit: int = _ANSWER_BYTES) -> tuple[str, bytes]:
        """Return where a redirect leads, or what was answered."""
        what = f"{request.get_method()} {urlsplit(request.full_url).path}"
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                said: bytes = answer.read(limit + 1)
        except HTTPError as error:
            with error:
                if 300 <= error.code < 400:
                    return str(error.headers.get("Location", "")), b""
            raise GitHubError(f"GitHub refused {what}: {error.code} {error.reason}.") from None
        except (URLError, OSError) as error:
            raise GitHubError(f"GitHub did not answer {what}: {getattr(error, 'reason', error)}.") from None
        if len(said) > limit:
            raise GitHubError(f"The answer to {what} is larger than {limit} bytes.")
        return "", said


def _is_for(pull: Mapping[str, Any], sha: str, source: str, repository: str) -> bool:
    head, base = pull["head"], pull["base"]
    # The repository of a head is null once its fork is deleted.
    return bool(
        pull["state"] == "open"
        and head["sha"] == sha
        and (head.get("repo") or {}).get("full_name") == source
        and (base.get("repo") or {}).get("full_name") == repository
    )
