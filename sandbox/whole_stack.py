"""The whole stack in the sandbox, brought up and taken down: what `make up` and `make down` do.

Pulumi's engine does it where it is installed; elsewhere the same program is rehearsed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from sandbox import (
    SandboxError,
    choice,
    identity,
    isolation,
    processes,
    pulumi_engine,
    screen,
    state_folder,
    tools,
)
from sandbox.facts import KIND, SIMULATED
from sandbox.locks import locked
from sandbox.machine_settings import SALT
from sandbox.paths import CHECKOUT

STACK = "sandbox"

_TITLES = {
    KIND: "sandbox: a kind cluster of its own, in a container",
    SIMULATED: "sandbox: a Kubernetes control plane on this machine",
}

_WAITING = "another `make up` or `make down` works on this stack; waiting for it"

# The state may name a plugin of another version than the one that is here.
_NO_DOWNLOADS = {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}


class Steps:
    """What was done, and how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce and time a step."""
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def bring_up(kind: str = "") -> int:
    """Bring the sandbox and the stack up, and say what is there."""
    steps = Steps()
    chosen = choice.choose(kind)
    print(chosen.line, flush=True)
    if chosen.kind == SIMULATED and tools.lacks(tools.CONTROL_PLANE):
        with steps.step("what will be made, as soon as its programs are here"):
            _show_overview()
    # The CLI takes its time to say its version.
    asking = Thread(target=pulumi_engine.look_ahead, daemon=True)
    asking.start()
    with steps.step(_TITLES[chosen.kind]):
        facts = chosen.cluster.up()
    if chosen.kind == KIND:
        # A simulated sandbox does not wait for the import, which is Pulumi's.
        from sandbox import node_images

        with steps.step("images"):
            node_images.bring()
    asking.join()
    missing = pulumi_engine.missing()
    with _alone():
        if missing:
            print(f"\nRehearsing: {missing}")
            with steps.step("rehearsal of the stack"):
                outputs = _rehearse()
        else:
            outputs = _bring_up_by_engine(steps)
    screen.show(facts, outputs, steps.seconds, rehearsed=bool(missing))
    return 0


@contextmanager
def _alone() -> Iterator[None]:
    """Be the only run on the stack: wait for one that another command leads, and end one whose command was killed."""
    with locked(CHECKOUT.state, waiting=_WAITING):
        if not CHECKOUT.facts.exists():
            raise SandboxError("The sandbox was taken down meanwhile: run `make up` again.")
        if left := identity.running(CHECKOUT, identity.STACK):
            print(f"Ending what an earlier run left behind: processes {', '.join(map(str, sorted(left)))}.", flush=True)
            processes.kill(left)
        yield


def _bring_up_by_engine(steps: Steps) -> dict[str, Any]:
    select_stack()
    if state_folder.is_cut_off(STACK):
        with steps.step("recovery, as an earlier run was cut off"):
            _recover()
    with steps.step("pulumi up"):
        _pulumi("up", "--yes", "--skip-preview", "--suppress-permalink=true")
    return state_folder.outputs(STACK)


def take_down() -> int:
    """Destroy the stack, end the sandbox and remove its folder.

    Nothing is downloaded for it: without Pulumi the sandbox ends all the same, as nothing of the stack outlives its etcd.
    """
    steps = Steps()
    cluster = choice.present()
    found = cluster.status()
    # An `up` that failed or was killed leaves the folder, and what already ran, without facts.
    if not CHECKOUT.sandbox.exists():
        print("Its folder was gone; what still ran of it is ended." if cluster.down() else "There is no sandbox.")
        return 0
    code = 0
    missing = pulumi_engine.missing(download=False)
    if missing and _has_state():
        print(f"\nThe stack ends with the sandbox, undestroyed: {missing} Nothing of it outlives the sandbox's etcd.")
    if found.facts and found.ready and not missing and state_folder.holds(STACK):
        with steps.step("pulumi destroy"):
            try:
                identity.prove(found.facts, CHECKOUT)
                with _alone():
                    if state_folder.is_cut_off(STACK):
                        _recover(**_NO_DOWNLOADS)
                    _pulumi("destroy", "--yes", "--skip-preview", "--suppress-permalink=true", **_NO_DOWNLOADS)
            except SandboxError as problem:
                print(f"\n{problem} The sandbox ends all the same.", file=sys.stderr)
                code = 1
    with steps.step("sandbox down"):
        cluster.down()
    _print_steps(steps)
    return code


def _show_overview() -> None:
    """Give people something to read while programs are obtained. What is wrong with the settings is said later."""
    subprocess.run(
        [sys.executable, "-m", "sandbox.overview"], cwd=CHECKOUT.root, stderr=subprocess.DEVNULL, check=False
    )


def _rehearse() -> dict[str, Any]:
    outputs = CHECKOUT.sandbox / "outputs.json"
    command = [sys.executable, "-m", "sandbox.rehearsal", "--outputs", os.fspath(outputs)]
    marked = os.environ | identity.mark(CHECKOUT, identity.STACK)
    if subprocess.run(command, cwd=CHECKOUT.root, env=marked, check=False).returncode:
        raise SandboxError("The rehearsal failed; what stopped it stands above.")
    return dict(json.loads(outputs.read_text()))


def _recover(**environment: str) -> None:
    command = [sys.executable, "-m", "recovery", "--stack", STACK, "--only-if-interrupted", "--then", "nothing"]
    if subprocess.run(command, cwd=CHECKOUT.root, env={**os.environ, **environment}, check=False).returncode:
        raise SandboxError("The stack could not be recovered; what stopped it stands above.")


def select_stack() -> None:
    """Create the sandbox's stack unless it is there."""
    if not state_folder.holds(STACK):
        create(STACK, CHECKOUT.root / "Pulumi.yaml", CHECKOUT.stack_file)


def create(name: str, project: Path, stack_file: Path) -> None:
    """Create a stack of a project in the sandbox's state, and add its salt to its stack file.

    `stack init` writes into the stack file beside the project's, which is committed: it gets a folder of its own.
    """
    with tempfile.TemporaryDirectory(dir=CHECKOUT.sandbox) as folder:
        shutil.copy(project, folder)
        pulumi_output("stack", "init", name, folder=Path(folder))
        made = yaml.safe_load((Path(folder) / f"Pulumi.{name}.yaml").read_text())
    if SALT not in yaml.safe_load(stack_file.read_text()):
        # Without it, Pulumi would make another one, and derive a key of each at the first `up`: a sixth of a second.
        with stack_file.open("a") as file:
            yaml.safe_dump({SALT: made[SALT]}, file)


def _has_state() -> bool:
    """Return whether Pulumi has created something here, as its files say."""
    return any((CHECKOUT.state / ".pulumi" / "stacks").rglob(f"{STACK}.json*"))


def _pulumi(*arguments: str, **environment: str) -> None:
    """Run a command on the stack, with its output where this program's goes."""
    config = os.path.relpath(CHECKOUT.stack_file, CHECKOUT.root)
    command = ["pulumi", *arguments, "--stack", STACK, "--config-file", config]
    if not sys.stdout.isatty():
        command.append("--non-interactive")
    marked = isolation.environment() | identity.mark(CHECKOUT, identity.STACK) | environment
    with subprocess.Popen(command, cwd=CHECKOUT.root, env=marked) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal interrupts Pulumi too, which then ends by itself: killed, it would leave its lock on the stack.
            process.wait()
            raise
    if code:
        raise SandboxError(
            f"`pulumi {arguments[0]}` failed; what stopped it stands above. `make up` goes on from here, `make down` clears up."
        )


def pulumi_output(*arguments: str, folder: Path = CHECKOUT.root) -> str:
    """Return what a command prints that needs no settings."""
    command = ["pulumi", *arguments, "--non-interactive"]
    done = subprocess.run(command, cwd=folder, env=isolation.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return str(done.stdout)


def _print_steps(steps: Steps) -> None:
    print("\nTime")
    for name, seconds in steps.seconds.items():
        print(f"  {seconds:7.1f} s  {name}")
