"""From a finished run to the comment: which pull request, and by which token."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from previews import PREVIEW, ROOT, zipped

from preview import (
    publish,
)
from preview.__main__ import main
from preview.comment import MARKER
from preview.github import GitHub, GitHubError

SHA = "a" * 40
RUN = {
    "id": 7,
    "head_sha": SHA,
    "head_branch": "feature?&x=`id`",
    "head_repository": {"full_name": "stranger/fork"},
    "html_url": "https://github.example/o/r/actions/runs/7",
}


def pull(number: int, **more: Any) -> dict[str, Any]:
    head = {"sha": SHA, "repo": {"full_name": "stranger/fork"}}
    base = {"ref": "main", "repo": {"full_name": "o/r"}}
    return {"number": number, "state": "open", "head": head, "base": base, **more}


@dataclass
class Fake:
    """GitHub as far as a comment needs it."""

    address: str = ""
    of_commit: list[dict[str, Any]] = field(default_factory=list)
    of_branch: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    archive: bytes = b""
    comments: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> Any:
        page = re.search(r"[?&]page=(\d+)", path)
        start = (int(page[1]) - 1) * 100 if page else 0
        route = path.partition("?")[0].removeprefix("/repos/o/r/")
        if method in ("POST", "PATCH"):
            return self._write(method, route, sent)
        lists = {f"commits/{SHA}/pulls": self.of_commit, "pulls": self.of_branch, "issues/3/comments": self.comments}
        if route in lists:
            return lists[route][start : start + 100]
        return {"artifacts": self.artifacts} if route == "actions/runs/7/artifacts" else None

    def _write(self, method: str, route: str, sent: dict[str, Any]) -> Any:
        if method == "PATCH":
            number = int(route.rsplit("/", 1)[-1])
            next(each for each in self.comments if each["id"] == number)["body"] = sent["body"]
            return {"html_url": f"https://github.example/{number}"}
        self.comments.append({"id": 900 + len(self.comments), "user": {"login": "github-actions[bot]"}, **sent})
        return {"html_url": "https://github.example/new"}


@pytest.fixture
def fake() -> Iterator[Fake]:
    found = Fake()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(length) or b"{}")
            found.requests.append((self.command, self.path, self.headers.get("Authorization") or ""))
            if self.path.endswith("/zip"):
                self.send_response(302)
                self.send_header("Location", f"{found.address}/store")
                self.end_headers()
                return
            said = found.archive if self.path == "/store" else found.answer(self.command, self.path, sent)
            self.send_response(404 if said is None else 200)
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    found.artifacts = [{"id": 5, "name": "previews", "size_in_bytes": 100, "expired": False}]
    found.archive = zipped(**{"dev.json": PREVIEW.to_json().encode()})
    found.of_branch = [pull(3)]
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def published(fake: Fake, run: dict[str, Any] = RUN) -> list[str]:
    return publish.publish(GitHub(fake.address, "o/r", "token"), run)


def test_a_first_run_comments_and_a_second_one_replaces_that(fake: Fake) -> None:
    assert published(fake) == ["Commented: https://github.example/new"]
    fake.archive = zipped(a=replace(PREVIEW, stack="prod").to_json().encode())
    published(fake)
    assert [each["body"].count("`prod`") > 0 for each in fake.comments] == [True]
    assert fake.comments[0]["body"].startswith(MARKER)


def test_a_comment_that_a_forks_code_computed_says_so(fake: Fake) -> None:
    published(fake)
    line = "⚠️ **Computed by the code of `stranger/fork`**, a fork, which may write here what it likes: read the change itself."
    assert fake.comments[0]["body"].splitlines().count(line) == 1
    own = {"full_name": "o/r"}
    fake.of_branch = [pull(3, head={"sha": SHA, "repo": own})]
    fake.comments.clear()
    publish.publish(GitHub(fake.address, "o/r", "token"), {**RUN, "head_repository": own})
    assert "fork" not in fake.comments[0]["body"]


def test_only_our_own_comment_is_replaced_however_many_there_are(fake: Fake) -> None:
    fake.comments = [{"id": n, "user": {"login": "stranger"}, "body": f"{MARKER} mine"} for n in range(149)]
    fake.comments += [{"id": 149, "user": None, "body": f"{MARKER} mine"}]
    fake.comments += [{"id": 200, "user": {"login": "github-actions[bot]"}, "body": "of another workflow"}]
    fake.comments += [{"id": 201, "user": {"login": "github-actions[bot]"}, "body": MARKER}]
    assert published(fake) == ["Commented: https://github.example/201"]
    assert all(each["body"].endswith("mine") for each in fake.comments[:150])


@pytest.mark.parametrize(
    "other",
    [
        pull(3, head={"sha": "b" * 40, "repo": {"full_name": "stranger/fork"}}),
        pull(3, head={"sha": SHA, "repo": {"full_name": "victim/fork"}}),
        pull(3, head={"sha": SHA, "repo": None}),
        pull(3, base={"ref": "main", "repo": {"full_name": "else/where"}}),
        pull(3, state="closed"),
    ],
    ids=["newer commit", "same commit elsewhere", "fork is gone", "another repository", "closed"],
)
def test_nothing_is_written_on_a_pull_request_that_the_run_was_not_for(fake: Fake, other: dict[str, Any]) -> None:
    fake.of_commit, fake.of_branch = [other], [other]
    assert "nothing to comment on" in published(fake)[0]
    assert {method for method, _, _ in fake.requests} == {"GET"}


def test_the_branch_name_of_a_stranger_stays_one_parameter(fake: Fake) -> None:
    published(fake)
    asked = next(path for _, path, _ in fake.requests if path.startswith("/repos/o/r/pulls?"))
    assert "head=stranger%3Afeature%3F%26x%3D%60id%60&" in asked


def test_the_token_goes_to_github_only(fake: Fake) -> None:
    published(fake)
    assert {path == "/store": token for _, path, token in fake.requests} == {False: "Bearer token", True: ""}


@pytest.mark.parametrize(
    ("artifacts", "archive_", "sentence"),
    [
        ([], b"", "The run has no previews"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 10**9}], b"", "larger than"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 1}], b" " * (6 * 1024 * 1024), "larger than"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 1}], b"no archive", "not a ZIP archive"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 1, "expired": True}], b"", "The run has no previews"),
    ],
    ids=["none", "too large", "larger than it says", "no archive", "expired"],
)
def test_what_is_wrong_with_the_artefact_is_in_the_comment(
    fake: Fake, artifacts: list[dict[str, Any]], archive_: bytes, sentence: str
) -> None:
    fake.artifacts, fake.archive = artifacts, archive_
    published(fake)
    assert sentence in fake.comments[0]["body"]


def test_what_github_refuses_is_a_sentence(fake: Fake) -> None:
    with pytest.raises(GitHubError, match="refused GET /repos/o/r/nothing: 404"):
        list(GitHub(fake.address, "o/r", "token")._all("nothing"))


@pytest.fixture
def event(fake: Fake, tmp_path: Path) -> dict[str, str]:
    """Return what a workflow's environment says of a finished run."""
    (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}))
    return {
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_API_URL": fake.address,
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_TOKEN": "token",
    }


def test_the_command_takes_all_from_the_event(
    event: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in event.items():
        monkeypatch.setenv(name, value)
    assert main(["comment"]) == 0
    assert "https://github.example/new" in capsys.readouterr().out
    monkeypatch.delenv("GITHUB_EVENT_PATH")
    assert main(["comment"]) == 2


def test_whatever_comments_needs_no_package(fake: Fake, event: dict[str, str]) -> None:
    # -S: without site-packages, as in the job that has a token.
    command = [sys.executable, "-S", "-m", "preview", "comment"]
    done = subprocess.run(command, cwd=ROOT, env=event, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [each["body"].startswith(MARKER) for each in fake.comments] == [True]
