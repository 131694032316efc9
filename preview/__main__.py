"""`python -m preview`: what a change would do to the stacks, without a cluster or credentials."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from preview import comment, publish
from preview.changes import Preview
from preview.github import GitHub, GitHubError

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a preview or a mandatory policy failed, 2 where nothing could be done."""
    options = _parser().parse_args(arguments)
    try:
        return _comment() if options.command else _preview(options)
    except (GitHubError, UsageError) as problem:
        print(f"preview: {problem}", file=sys.stderr)
        return _USAGE


class UsageError(RuntimeError):
    """Something that cannot be previewed as asked, in one sentence."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m preview", description=__doc__)
    comments = "`comment`, in a workflow: write the comment of the run that the event workflow_run is about"
    parser.add_argument("command", nargs="?", choices=("comment",), metavar="comment", help=comments)
    parser.add_argument("--stack", action="append", metavar="NAME", help="a stack, again for more; else all")
    parser.add_argument("--base", metavar="COMMIT", help="what to compare with; else origin/main, main or HEAD")
    charts = (
        "take the charts that this stack file names, such as .sandbox/Pulumi.sandbox.yaml where no repository answers"
    )
    parser.add_argument("--charts-of", type=Path, metavar="FILE", help=charts)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="also write a JSON file for each stack here")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="also append the comment to this file")
    return parser


def _comment() -> int:
    print(json.dumps(publish.publish(GitHub.from_environment(), publish.finished_run()), indent=1))
    return 0


def _preview(options: argparse.Namespace) -> int:
    # `comment` has the standard library alone.
    from display.console import console
    from plan.stack_config import ROOT, Project
    from preview import collect, project_copies, pulumi_preview, terminal

    known = Project(ROOT).stacks()
    if unknown := [name for name in options.stack or () if name not in known]:
        raise UsageError(f"There is no stack {unknown[0]}; there are: {', '.join(known)}.")
    if missing := pulumi_preview.missing():
        raise UsageError(missing)
    previews: list[Preview] = []
    try:
        charts = pulumi_preview.charts_of(options.charts_of) if options.charts_of else {}
        with project_copies.copies(ROOT, options.base) as (head, base):
            for stack in options.stack or known:
                previews.append(collect.collect(stack, head, base, charts))
                terminal.show(previews[-1], console(sys.stdout))
                _write(previews[-1], options.output)
        if options.summary:
            context = comment.Context(head="this change", base=options.base or "its base")
            with options.summary.open("a", encoding="utf-8") as file:
                file.write(comment.render(previews, (), context))
    except (project_copies.GitError, OSError) as problem:
        raise UsageError(str(problem)) from None
    return int(any(preview.failed for preview in previews))


def _write(preview: Preview, folder: Path | None) -> None:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{preview.stack}.json").write_text(preview.to_json(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
