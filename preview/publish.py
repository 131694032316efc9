"""From a finished run of a pull request's workflow to the comment on that pull request."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preview import artifact, comment
from preview.artifact import Previews
from preview.comment import Context
from preview.github import GitHub, GitHubError

#: The name that the pull request's workflow gives to its artefact.
ARTIFACT = "previews"


def finished_run(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the run that a `workflow_run` event is about, as GitHub describes it."""
    try:
        event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        run = dict(event["workflow_run"])
        if int(run["id"]) < 1 or not run["head_sha"]:
            raise ValueError
    except (KeyError, TypeError, ValueError, OSError):
        raise GitHubError(
            "There is no finished run to comment on: this command is for the event workflow_run."
        ) from None
    return run


def publish(github: GitHub, run: Mapping[str, Any]) -> list[str]:
    """Comment on every pull request whose newest commit the run was for; return what was done, as sentences."""
    pulls = github.pull_requests(run)
    if not pulls:
        return [f"No open pull request ends with {run['head_sha']}: nothing to comment on."]
    previews = _previews(github, int(run["id"]))
    done = []
    for pull in pulls:
        context = _context(run, pull)
        body = comment.render(previews.readable, previews.problems, context)
        done.append(f"Commented: {github.put_comment(int(pull['number']), comment.MARKER, body)}")
    return done


def _context(run: Mapping[str, Any], pull: Mapping[str, Any]) -> Context:
    source, own = ((pull[side].get("repo") or {}).get("full_name") for side in ("head", "base"))
    return Context(
        head=str(run["head_sha"]),
        base=str(pull["base"]["ref"]),
        run=str(run.get("html_url") or ""),
        fork="" if source == own else str(source),
    )


def _previews(github: GitHub, run: int) -> Previews:
    try:
        content = github.artifact(run, ARTIFACT)
    except GitHubError as problem:
        return Previews(readable=(), problems=(str(problem),))
    if content is None:
        return Previews(readable=(), problems=("The run has no previews: it failed before.",))
    return artifact.from_zip(content)
