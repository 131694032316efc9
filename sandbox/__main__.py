"""`python -m sandbox up|down|status|kubeconfig|env|clean`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox import kwok_cluster, tools
from sandbox.errors import SandboxError
from sandbox.facts import Facts
from sandbox.paths import CHECKOUT, tool_cache


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    commands = {"up": _up, "down": _down, "status": _status, "kubeconfig": _kubeconfig, "env": _env, "clean": _clean}
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A control plane on this machine.")
    parser.add_argument(
        "command",
        choices=commands,
        help="up, down, status; kubeconfig prints its path; env prints the environment for a shell's eval; "
        "clean removes the cache of tools that all checkouts share",
    )
    try:
        code = commands[parser.parse_args(arguments).command]()
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
        print("sandbox: interrupted", file=sys.stderr)
        return 130


def _up() -> int:
    started = time.monotonic()
    facts = kwok_cluster.up()
    _print_facts(facts)
    print(f"the sandbox is up ({time.monotonic() - started:.1f} s)")
    return 0


def _down() -> int:
    print("the sandbox is gone" if kwok_cluster.down() else "there is no sandbox")
    return 0


def _status() -> int:
    found = kwok_cluster.status()
    if found.facts is None:
        print("there is no sandbox; `python -m sandbox up` makes one")
        return 1
    for name, pid in found.components.items():
        print(f"{name:<24} {f'runs, process {pid}' if pid else 'does not run'}")
    print(f"{'API server':<24} {'ready' if found.ready else 'does not answer'}")
    if not found.facts.not_shown:
        print(f"{'istiod':<24} {_istiod_state(found)}")
    _print_facts(found.facts)
    if not found.live:
        print("half of it died; `python -m sandbox up` mends it")
    return 0 if found.live else 1


def _istiod_state(found: kwok_cluster.Status) -> str:
    if found.istiod:
        return "runs"
    return "waits for Istio to be installed" if found.watcher else "does not run"


def _kubeconfig() -> int:
    if not CHECKOUT.kubeconfig.exists():
        raise SandboxError("there is no sandbox, and so no kubeconfig. `python -m sandbox up` makes one.")
    print(CHECKOUT.kubeconfig)
    return 0


def _env() -> int:
    print(tools.exports())
    return 0


def _clean() -> int:
    print(f"removed {tool_cache()}" if tools.remove_cache() else f"there is no {tool_cache()}")
    return 0


def _print_facts(facts: Facts) -> None:
    for name, origin in facts.origins.items():
        print(f"chart {name:<18} {origin}")
    if facts.not_shown:
        print(f"sidecar injection        not shown: {facts.not_shown}")
    else:
        print(f"sidecar injection        by {Path(facts.istiod).name} on this machine")
    print(f"API server               https://127.0.0.1:{facts.ports['kube-apiserver']}")
    print(f"kubeconfig               {os.path.relpath(CHECKOUT.kubeconfig)}")


if __name__ == "__main__":
    sys.exit(main())
