"""`python -m checks`: what must be true of a stack that is up, looked at."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from checks import drift, gone, nodes, report, runner, selected_stack, unchanged
from checks.describe import describe
from checks.framework import Check, Outcome
from checks.registry import AFTER_TRAFFIC, PARTS, UnknownCheckError, named
from checks.report import Run, junit, machine, printed, webpage
from checks.report.progress import Progress
from checks.selected_stack import Stack, StackError
from checks.target import Target, from_json, to_json
from checks.traffic import CHECKS as TRAFFIC
from commands import command_line
from display.console import console
from settings import Settings, SettingsError, restore

_USAGE = 2
_INTERRUPTED = 130
_MOST_REQUESTS = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 nothing failed, 1 something did, 2 there was nothing to look at."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given if given and given[0] in (*_COMMANDS, "-h", "--help") else ["run", *given])
    _interrupt_once()
    try:
        code = _COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except (StackError, UnknownCheckError, SettingsError) as problem:
        print(f"checks: {problem}", file=sys.stderr)
        return _USAGE
    except BrokenPipeError:
        # Whoever reads (head, say) has read enough; the interpreter must not try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("checks: interrupted; what the checks had created is removed", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(_COMMANDS))
    run = _command(commands, "run", "what must be true of a stack that is up (the default)")
    run.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these checks alone, by name or number")
    run.add_argument("--load", action="store_true", help="also those that send load or create something")
    traffic = _command(commands, "traffic", "requests through Kong, at a pace that stays under the limit")
    traffic.add_argument("--requests", type=_requests, help=f"how many, up to {_MOST_REQUESTS}")
    _command(commands, "unchanged", "a second `pulumi up` would change nothing")
    _command(commands, "drift", "nobody has changed in the cluster what the stack made")
    _command(commands, "gone", "nothing of a destroyed stack is left")
    _subject(commands, "describe", "print what there is to check of a stack, for --target")
    return parser


def _subject(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, description: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=description, description=description)
    of = parser.add_mutually_exclusive_group()
    of.add_argument(
        "--stack", default="", metavar="NAME", help="a stack of this project; else the selected one, or the sandbox's"
    )
    form = "FILE|-|JSON"
    of.add_argument("--settings", metavar=form, help="a stack's settings by their keys, in place of a stack")
    # What no settings on a command line may show.
    parser.add_argument("--kubeconfig", type=command_line.given, default="", help=argparse.SUPPRESS)
    of.add_argument("--target", metavar=form, help="what `describe` prints, in place of a stack")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, description: str
) -> argparse.ArgumentParser:
    parser = _subject(commands, name, description)
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page")
    parser.add_argument("--reports", type=Path, metavar="FOLDER", help="write all three")
    parser.add_argument(
        "--counts", action="store_true", help="print only counts and what failed, as JSON; all else to standard error"
    )
    parser.add_argument("--warn", action="store_true", help="end with 0 where a check failed")
    parser.add_argument("--digest", help=argparse.SUPPRESS)
    return parser


def _requests(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_REQUESTS:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to {_MOST_REQUESTS}")
    return int(text)


# --- commands -------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    checks = named(options.only)
    subject, target = _target(options)
    if options.load:
        target = dataclasses.replace(target, load=True)
    return _perform(options, subject, target, checks)


def _traffic(options: argparse.Namespace) -> int:
    subject, target = _target(options)
    requests = options.requests or target.requests
    return _perform(options, subject, dataclasses.replace(target, load=True, requests=requests), TRAFFIC)


def _unchanged(options: argparse.Namespace) -> int:
    stack = _asked(options)
    return _perform(options, f"the stack {stack.name}", Target(), unchanged.checks(stack), at_once=False)


def _drift(options: argparse.Namespace) -> int:
    stack = _asked(options)
    subject, target = _target(options)
    return _perform(options, subject, target, drift.checks(stack), at_once=False)


def _asked(options: argparse.Namespace) -> Stack:
    """Return the stack that Pulumi is asked about."""
    if options.target or options.settings:
        raise StackError(
            f"`{options.command}` asks Pulumi, so it needs a stack (--stack), and no --target or --settings."
        )
    return selected_stack.find(options.stack)


def _gone(options: argparse.Namespace) -> int:
    if options.target:
        subject, target = _target(options)
        return _perform(options, subject, target, gone.checks(keep_crds=False))
    subject, settings = _settings(options)
    return _perform(options, subject, _described(settings), gone.checks(keep_crds=settings.keep_crds))


def _describe(options: argparse.Namespace) -> int:
    print(to_json(_target(options)[1]))
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "traffic": _traffic,
    "unchanged": _unchanged,
    "drift": _drift,
    "gone": _gone,
    "describe": _describe,
}


# --- what they share ------------------------------------------------------------------------------------------


def _target(options: argparse.Namespace) -> tuple[str, Target]:
    """Return what is checked: its name for people, and the target."""
    if not options.target:
        subject, settings = _settings(options)
        return subject, _described(settings)
    try:
        target = from_json(_text("target", options.target))
    except (ValueError, TypeError, AttributeError) as error:
        raise StackError(f"The target is not what `python -m checks describe` prints: {error}.") from None
    return f"the stack in {target.context or '(no context)'}", target


def _settings(options: argparse.Namespace) -> tuple[str, Settings]:
    """Return a stack's name for people, and its settings."""
    if not options.settings:
        stack = selected_stack.find(options.stack)
        settings = stack.settings()
        stack.enter()
        return f"the stack {stack.name}", settings
    try:
        settings = restore(dict(json.loads(_text("settings", options.settings))))
    except (ValueError, TypeError) as error:
        raise StackError(f"The settings are no JSON object: {error}.") from None
    if options.kubeconfig:
        settings = settings.model_copy(update={"kubeconfig": options.kubeconfig})
    return f"the stack in {settings.context}", settings


def _described(settings: Settings) -> Target:
    if not settings.context:
        raise StackError("The stack names no cluster: set kubeContext in its settings.")
    return describe(settings)


def _text(what: str, given: str) -> str:
    """Return what an option gives: JSON, the name of a file with it, or - for standard input."""
    if given.lstrip().startswith("{"):
        return given
    try:
        return sys.stdin.read() if given == "-" else Path(given).read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(f"The {what} {given} cannot be read: {error.strerror}.") from None


def _perform(
    options: argparse.Namespace, subject: str, target: Target, checks: tuple[Check, ...], *, at_once: bool = True
) -> int:
    """Run checks, tell of them in every form that was asked for, and return the exit code."""
    print(f"Checking {subject}", file=sys.stderr, flush=True)
    started, clock = datetime.now(UTC), time.monotonic()
    target = nodes.known(target)
    # Without load there is no traffic to look for afterwards: the sooner the checks' own requests, the sooner they are seen.
    last = AFTER_TRAFFIC if target.load else frozenset()
    results = runner.run(checks, target, Progress(console(sys.stderr)), last=last, at_once=at_once)
    run = Run(
        subject=subject,
        results=results,
        started=started,
        seconds=time.monotonic() - clock,
        target=target,
        parts=PARTS,
    )
    _write(options, run)
    _tell(options, run)
    return 0 if options.warn else run.exit_code


def _write(options: argparse.Namespace, run: Run) -> None:
    renderers = {
        "junit": (junit.render, report.JUNIT),
        "json": (machine.render, report.JSON),
        "html": (webpage.render, report.HTML),
    }
    for form, (render, name) in renderers.items():
        named_files = [getattr(options, form), options.reports and options.reports / name]
        for path in filter(None, named_files):
            try:
                report.write(path, render(run))
            except OSError as error:
                raise StackError(f"The report {path} cannot be written: {error.strerror}.") from None


def _tell(options: argparse.Namespace, run: Run) -> None:
    to = console(sys.stderr if options.counts else sys.stdout)
    if not options.counts:
        to.print()
        printed.show(run, to)
        return
    for result in run.having(Outcome.FAILED):
        printed.show_failure(result, to)
    failed = [result.check.name for result in run.having(Outcome.FAILED)]
    names = ", ".join(failed)
    to.print(f"Checks: {run.summary}{f' (failed: {names})' if failed else ''}.", soft_wrap=True)
    print(json.dumps({**run.counts, "failedChecks": failed}))


def _interrupt_once() -> None:
    """Have the first interrupt end the run, and later ones not disturb its clearing up."""

    def interrupt(_: int, __: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


if __name__ == "__main__":
    sys.exit(main())
