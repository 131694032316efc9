"""Runs `__main__.py` under the SDK's mocks, which release each resource when all it waits for has returned."""

from __future__ import annotations

import asyncio
import contextvars
import os
import runpy
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, reset_options, rpc, set_all_config, set_mocks
from pulumi.runtime.stack import run_pulumi_func

from plan.recording import Recorder, Recording, Resource, released
from plan.stack_config import ROOT, Project, StackConfig

#: Creates a resource, and returns its id and its outputs.
Perform = Callable[[Resource], tuple[str, dict[str, Any]]]

# The mocks use a thread for as long as a resource takes; so many may take their time at once.
_THREADS = 16


class _Mocks(Mocks):
    def __init__(self, perform: Perform) -> None:
        self._perform = perform

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        if args.token in ("pulumi:pulumi:readStackResourceOutputs", "pulumi:pulumi:readStackOutputs"):
            # Nothing is kept from one run to the next, and nothing is known of other stacks.
            return {"outputs": {}}, []
        raise pulumi.RunError(f"The rehearsal has no answer to the function {args.token}.")

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.custom:
            return "", args.inputs
        resource = released.get()
        if resource.provider is None and not resource.is_provider:
            self._refuse_default_provider(resource)
        id_, outputs = self._perform(resource)
        secret = resource.secret_inputs.union(resource.options.get("additional_secret_outputs", ()))
        if resource.kind == "Secret":
            secret |= {"data", "stringData"}
        return id_, {k: rpc.wrap_rpc_secret(v) if k in secret else v for k, v in outputs.items()}

    def _refuse_default_provider(self, resource: Resource) -> None:
        package = resource.type.split(":")[0]
        disabled = pulumi.Config("pulumi").get_object("disable-default-providers") or []
        if {"*", package} & set(disabled):
            raise pulumi.RunError(f"{resource.label} names no provider, and {package}'s default one is disabled.")


def record(
    config: Mapping[str, Any] | None = None,
    secrets: Collection[str] = (),
    preview: bool = True,
    *,
    root: Path = ROOT,
    stack: str = "test",
) -> Recording:
    """Run the program without any cluster and return what it registers.

    `config` is what a stack file would say (keys with or without the project's name); the defaults of
    `Pulumi.yaml` and its types apply. `secrets` names the keys whose values are secret. Outputs that only a
    cluster knows are unknown in a preview, and invented otherwise.
    """
    return record_stack(Project(root).configure(config or {}, secrets, stack), preview=preview, root=root)


def record_stack(config: StackConfig, *, preview: bool = True, root: Path = ROOT) -> Recording:
    """Do what `record` does, with the configuration of a stack."""
    return run(config, _preview if preview else _pretend, preview=preview, root=root)


def _preview(resource: Resource) -> tuple[str, dict[str, Any]]:
    return "", resource.inputs


def _pretend(resource: Resource) -> tuple[str, dict[str, Any]]:
    invented: dict[str, Any] = {}
    if resource.kind == "Release":
        shared = {key: resource.inputs[key] for key in ("name", "namespace", "version") if key in resource.inputs}
        invented = {"status": {"status": "deployed", "appVersion": "", **shared}}
    elif resource.kind == "Command":
        invented = {"stdout": "", "stderr": ""}
    return resource.name, {**resource.inputs, **invented}


def run(
    config: StackConfig,
    perform: Perform,
    *,
    preview: bool,
    root: Path = ROOT,
    on_done: Callable[[Resource], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Recording:
    """Run the program of a project once; `environment` is what it sees instead of this process's own."""
    recorder = Recorder(_Mocks(perform), on_done)

    def program() -> None:
        runpy.run_path(str(root), run_name="__main__")  # as the engine's language host does
        stack = pulumi.runtime.get_root_resource()
        if isinstance(stack, pulumi.ComponentResource):
            stack.register_outputs(getattr(stack, "outputs", {}))

    async def main() -> None:
        project = Project(root).name
        reset_options(root_directory=str(root))
        set_all_config(config.values, secret_keys=sorted(config.secrets))
        set_mocks(recorder.mocks, project, config.stack, preview, monitor=recorder, organization="organization")
        await run_pulumi_func(program)

    # All of the SDK's state lives in context variables: a copy of them keeps runs apart.
    with chdir(root), _surroundings(environment or os.environ), _loop() as runner:
        runner.run(main(), context=contextvars.copy_context())
    return recorder.recording()


@contextmanager
def _loop() -> Iterator[asyncio.Runner]:
    loops: list[asyncio.AbstractEventLoop] = []

    def give_loop() -> None:  # the mocks would open one for each thread, and never close it
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            loop.set_default_executor(ThreadPoolExecutor(_THREADS, initializer=give_loop))
            # After a failure asyncio would also report every output that waited for it.
            loop.set_exception_handler(lambda *_: None)
            yield runner
    finally:
        for each in loops:
            each.close()


@contextmanager
def _surroundings(environment: Mapping[str, str]) -> Iterator[None]:
    """Put back what a program changes of its process: for the engine, each run has a process of its own."""
    before, during = dict(os.environ), dict(environment)
    interrupt, debug = signal.getsignal(signal.SIGINT), pulumi.log.debug
    os.environ.clear()
    os.environ.update(during)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        pulumi.log.debug = debug
        os.environ.clear()
        os.environ.update(before)
