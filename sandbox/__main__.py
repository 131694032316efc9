"""`python -m sandbox`: the control plane on this machine, alone or with the whole stack on it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from names import SANDBOX_NAME
from sandbox import SandboxError, choice, fetching, isolation, processes, tools, whole_stack
from sandbox.facts import KIND, SIMULATED, Facts
from sandbox.paths import CHECKOUT, Paths, tool_cache


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    _select(options.name)
    fetching.name_bundle()
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever reads (head, say) has read enough; the interpreter must not try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SandboxError as problem:
        print(f"sandbox: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. `make up` goes on from here, `make down` clears up.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A control plane on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, name, meaning, whole in (
        (_up, "up", "start it, or fix one that is half dead", "bring the stack up in it too (`make up`)"),
        (_down, "down", "end it, and remove its folder", "destroy the stack in it first (`make down`)"),
        (_status, "status", "what runs", ""),
        (_kubeconfig, "kubeconfig", "print the path of its kubeconfig", ""),
        (_env, "env", "print its environment, for a shell's eval", ""),
        (_clean, "clean", "remove the cache of programs that all checkouts share", ""),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.set_defaults(run=run)
        command.add_argument("--name", type=_sandbox_name, default=CHECKOUT.name, help="which sandbox, of several")
        if whole:
            command.add_argument("--with-stack", action="store_true", help=whole)
        if name == "up":
            command.add_argument(
                "--kind", choices=(KIND, SIMULATED), default="", help="what its cluster is; else chosen by itself"
            )
    return parser


def _sandbox_name(text: str) -> str:
    try:
        return Paths(CHECKOUT.root, text).name
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _select(name: str) -> None:
    """Have this process, and whatever it starts, mean the sandbox of this name."""
    CHECKOUT.select(name)
    os.environ[SANDBOX_NAME] = name


def _up(options: argparse.Namespace) -> int:
    if options.with_stack:
        return whole_stack.bring_up(options.kind)
    started = time.monotonic()
    chosen = choice.choose(options.kind)
    print(chosen.line, flush=True)
    facts = chosen.cluster.up()
    _print_facts(facts)
    print(f"the sandbox is up ({time.monotonic() - started:.1f} s)")
    return 0


def _down(options: argparse.Namespace) -> int:
    if options.with_stack:
        return whole_stack.take_down()
    print("the sandbox is gone" if choice.present().down() else "there is no sandbox")
    return 0


def _status(_: argparse.Namespace) -> int:
    found = choice.present().status()
    if found.facts is None:
        print("there is no sandbox; `python -m sandbox up` starts one")
        return 1
    for name, state in found.lines:
        print(f"{name:<24} {state}")
    _print_facts(found.facts)
    if not found.live:
        print("half of it ended; `python -m sandbox up` fixes it")
    return 0 if found.live else 1


def _kubeconfig(_: argparse.Namespace) -> int:
    if not CHECKOUT.kubeconfig.exists():
        raise SandboxError("there is no sandbox, and so no kubeconfig. `python -m sandbox up` starts one.")
    print(CHECKOUT.kubeconfig)
    return 0


def _env(_: argparse.Namespace) -> int:
    print(isolation.exports())
    return 0


def _clean(_: argparse.Namespace) -> int:
    print(f"removed {tool_cache()}" if tools.remove_cache() else f"there is no {tool_cache()}")
    return 0


def _print_facts(facts: Facts) -> None:
    for name, origin in facts.origins.items():
        print(f"chart {name:<18} {origin}")
    if facts.kind == KIND:
        print("sidecar injection        by istiod in the cluster")
    elif facts.not_shown:
        print(f"sidecar injection        not shown: {facts.not_shown}")
    else:
        print(f"sidecar injection        by {Path(facts.istiod).name} on this machine")
    print(f"API server               https://127.0.0.1:{facts.ports['kube-apiserver']}")
    print(f"kubeconfig               {os.path.relpath(CHECKOUT.kubeconfig)}")


if __name__ == "__main__":
    # What is written may be a key, or somebody's password.
    os.umask(processes.PRIVATE)
    sys.exit(main())
