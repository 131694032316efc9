"""`python -m sandbox.rehearsal`: brings the program up in the sandbox without the engine, or with `--plan` only says what."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pulumi import RunError

from display.console import console
from plan.program import record_stack, run
from plan.recording import Recording, Resource
from plan.stack_config import ROOT, Project, StackConfig
from sandbox.rehearsal import timeline
from sandbox.rehearsal.apply import Applier, Sandbox


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line on the project at `root`; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        recording = _rehearse(options, root)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    graph = options.graph or root / ".sandbox" / "graph.mmd"
    graph.parent.mkdir(exist_ok=True)
    graph.write_text(timeline.mermaid(recording))
    to = console(sys.stdout)
    to.print()
    (timeline.show_tree if options.plan else timeline.show_timeline)(recording, to)
    for line in ("", *timeline.outputs(recording), f"Graph: {graph}"):
        to.print(line, soft_wrap=True)
    if options.outputs:
        options.outputs.write_text(json.dumps(timeline.public_outputs(recording)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.rehearsal", description=__doc__)
    parser.add_argument("--plan", action="store_true", help="only record what would be made; needs no sandbox")
    stack = parser.add_mutually_exclusive_group()
    stack.add_argument("--stack", metavar="NAME", help="read Pulumi.NAME.yaml")
    stack.add_argument("--config-file", metavar="FILE", type=Path, help="read this stack file")
    parser.add_argument("--graph", metavar="FILE", type=Path, help="where to write the Mermaid graph")
    parser.add_argument(
        "--outputs", metavar="FILE", type=Path, help="write the stack's outputs as JSON, without secrets"
    )
    return parser


def _config(options: argparse.Namespace, root: Path) -> StackConfig:
    project = Project(root)
    own = root / ".sandbox" / "Pulumi.sandbox.yaml"
    if options.config_file:
        return project.read(options.config_file)
    if options.stack is None and own.is_file():
        return project.read(own)
    return project.read(project.stack_file(options.stack or "sandbox"))


def _rehearse(options: argparse.Namespace, root: Path) -> Recording:
    config = _config(options, root)
    if options.plan:
        return record_stack(config, root=root)
    from sandbox import tools  # a plan needs no sandbox

    sandbox = Sandbox(root / ".sandbox", tools.environment())

    def say(resource: Resource) -> None:
        print(timeline.progress(resource), flush=True)

    applier = Applier(root, sandbox)
    # Commands may name a cluster too, and need not wait for a provider: look at all before anything runs.
    for resource in record_stack(config, root=root).resources.values():
        applier.refuse_other_cluster(resource)
    return run(config, applier, preview=False, root=root, on_done=say, environment=sandbox.environment)


if __name__ == "__main__":
    sys.exit(main())
