"""`python -m preview`: what a change would do to the stacks, without a cluster or credentials."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from preview import archive, comment, publish
from preview.changes import Preview
from preview.github import GitHub, GitHubError

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 where a preview or a mandatory policy failed, 2 where nothing could be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given if given and given[0] in (*_COMMANDS, "-h", "--help") else ["show", *given])
    try:
        return _COMMANDS[options.command](options)
    except (GitHubError, UsageError) as problem:
        print(f"preview: {problem}", file=sys.stderr)
        return _USAGE


class UsageError(RuntimeError):
    """Something that cannot be previewed as asked, in one sentence."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m preview", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="show|collect|render|comment")
    for name, text in (
        ("show", "preview stacks and say it here (the default)"),
        ("collect", "write one JSON for each"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--stack", action="append", metavar="NAME", help="a stack, again for more; else all")
        command.add_argument("--base", metavar="COMMIT", help="what to compare with; else origin/main, main or HEAD")
        command.add_argument(
            "--charts-of", type=Path, metavar="FILE", help="take the setting charts of this stack file"
        )
        command.add_argument(
            "--excuses",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="what the policies are to overlook",
        )
        if name == "collect":
            command.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where to write")
    render = commands.add_parser("render", help="JSON files as the comment", description="JSON files as the comment")
    render.add_argument("folder", type=Path, help="where `collect` wrote")
    render.add_argument("--head", default="this change", help="what to call what was previewed")
    render.add_argument("--base", default="its base", help="what to call what it is compared with")
    text = "write the comment of the run that the event workflow_run is about"
    commands.add_parser("comment", help=text, description=text)
    return parser


def _show(options: argparse.Namespace) -> int:
    # What comments has the standard library alone.
    from display.console import console
    from preview import terminal

    previews = list(_collected(options))
    terminal.show(previews, console(sys.stdout))
    return int(any(preview.failed for preview in previews))


def _collect(options: argparse.Namespace) -> int:
    options.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for preview in _collected(options):
        (options.output / f"{preview.stack}.json").write_text(preview.to_json(), encoding="utf-8")
        print(f"{preview.stack}: {'failed' if preview.failed else 'done'}", flush=True)
        failed |= preview.failed
    return failed


def _collected(options: argparse.Namespace) -> Iterator[Preview]:
    from preview import collect, pulumi_preview, stack_settings, tree

    known = collect.stacks()
    for name in options.stack or ():
        if name not in known:
            raise UsageError(f"There is no stack {name}; there are: {', '.join(known)}.")
    if missing := pulumi_preview.missing():
        raise UsageError(missing)
    try:
        charts = stack_settings.charts_of(options.charts_of) if options.charts_of else {}
        base = tree.usual_base(collect.ROOT) if options.base is None else options.base
        with collect.trees(base) as (head, before):
            for name in options.stack or known:
                yield collect.collect(name, head, before, charts, [file.resolve() for file in options.excuses])
    except (tree.TreeError, OSError) as problem:
        raise UsageError(str(problem)) from None


def _render(options: argparse.Namespace) -> int:
    found = archive.from_folder(options.folder)
    print(comment.render(found.readable, found.problems, comment.Context(head=options.head, base=options.base)), end="")
    return 0


def _comment(_: argparse.Namespace) -> int:
    print(json.dumps(publish.publish(GitHub.from_environment(), publish.finished_run()), indent=1))
    return 0


_COMMANDS = {"show": _show, "collect": _collect, "render": _render, "comment": _comment}

if __name__ == "__main__":
    sys.exit(main())
