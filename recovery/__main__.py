"""`python -m recovery`: brings a stack to its goal whose `pulumi up` or `pulumi destroy` was cut off.

It takes off the lock of a process that has ended, clears up what is half made or half deleted, has the engine look at what
there is, and goes on with `pulumi up`. What it would do is shown first; it asks, save on the sandbox's stack.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from checks import selected_stack
from checks.describe import describe
from checks.selected_stack import SANDBOX, Stack, StackError
from kube import Cluster, ClusterError
from recovery import RecoveryError
from recovery.engine import Engine, Lock
from recovery.remains import Remedy, remedies
from settings import SettingsError

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Recover a stack; return the exit code, that of `pulumi up` where it goes on with it."""
    options = _parser().parse_args(arguments)
    try:
        stack = selected_stack.find(options.stack)
        yes = options.yes or stack.name == SANDBOX
        recover(stack, yes=yes, only_if_interrupted=options.only_if_interrupted)
        if options.then != "nothing":
            _go_on(stack, options.then, yes=yes)
        return 0
    except (RecoveryError, StackError, SettingsError, ClusterError) as problem:
        print(f"recovery: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nrecovery: interrupted; run it again", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recovery", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--stack", default="", metavar="NAME", help="else the selected one, or the sandbox's")
    parser.add_argument(
        "--yes", action="store_true", help="do not ask; the stack's lock is of a process that has ended"
    )
    parser.add_argument("--then", choices=("up", "destroy", "nothing"), default="up", help="what to go on with (up)")
    parser.add_argument(
        "--only-if-interrupted", action="store_true", help="look no further where the last update came to a good end"
    )
    return parser


def recover(stack: Stack, *, yes: bool, only_if_interrupted: bool = False) -> None:
    """Clear up, so that an `up` or a `destroy` goes on. Raises `RecoveryError` and what the look at the stack raises."""
    engine = Engine(stack)
    interrupted = engine.interrupted
    lock = engine.lock()
    if lock and lock.running:
        raise RecoveryError(
            f"The stack {stack.name} is locked by {lock.running}, which is running: wait for its end, or end it by Ctrl-C."
        )
    if only_if_interrupted and not interrupted and not lock:
        return
    target = describe(stack.settings())
    stack.enter()
    if engine.state.cluster not in ("", target.cluster.uid()):
        raise RecoveryError(
            f"The context {target.context} leads to another cluster than at the last `up`, where nothing was cut off: name that "
            f"one in kubeContext, or have the stack made anew with `pulumi refresh --stack {stack.name}` and `pulumi up`."
        )
    found = remedies(target.cluster, engine.state, engine.planned())
    to_do = [each for each in found if each.perform]
    _show(stack, engine, lock, found)
    if lock or engine.state.begun or to_do:
        _confirm(yes)
        _perform(target.cluster, engine, lock, to_do)


def _show(stack: Stack, engine: Engine, lock: Lock | None, found: Sequence[Remedy]) -> None:
    lines = [f"take off the lock {lock}"] if lock else []
    lines += [each.text for each in found if each.perform]
    if begun := len(engine.state.begun):
        lines.append(f"have the engine look at everything, and forget what never ended ({begun} begun)")
    print(f"What was cut off in the stack {stack.name}, and is to be done:" if lines else "Nothing was cut off.")
    print("".join(f"  * {line}\n" for line in lines), end="")
    if left := [each.text for each in found if not each.perform]:
        print("In the way of an `up`, and left alone:")
        print("".join(f"  * {text}; delete or rename it, or import it into the state\n" for text in left), end="")
    sys.stdout.flush()


def _confirm(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise RecoveryError("Nothing was done: say so with --yes (`make recover YES=1`).")
    if input("Do this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise RecoveryError("Nothing was done.")


def _perform(cluster: Cluster, engine: Engine, lock: Lock | None, to_do: Sequence[Remedy]) -> None:
    if lock:
        engine.unlock()
    for remedy in to_do:
        if remedy.perform:
            remedy.perform(cluster)
    engine.look_again([each.unfinished for each in to_do if each.unfinished])


def _go_on(stack: Stack, verb: str, *, yes: bool) -> NoReturn:
    print(f"\n== pulumi {verb}", flush=True)
    stack.become_pulumi(verb, *(("--yes", "--skip-preview") if yes else ()))


if __name__ == "__main__":
    sys.exit(main())
