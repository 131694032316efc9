"""`python -m sandbox.rehearsal`: brings the program up in the sandbox without Pulumi's engine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pulumi import RunError

from display.console import console
from plan import graph_drawing
from plan.program import record_stack, run
from plan.recording import Recording, Resource
from plan.stack_config import ROOT, Project, StackConfig, add_stack_options
from sandbox import isolation
from sandbox.paths import CHECKOUT, Paths
from sandbox.rehearsal import timeline
from sandbox.rehearsal.apply import Applier, Sandbox


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line on the project at `root`; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        recording = _rehearse(Project(root).selected(options), root)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    graph = options.graph or Paths(root, CHECKOUT.name).sandbox / "graph.mmd"
    graph.write_text(graph_drawing.mermaid(recording))
    to = console(sys.stdout)
    to.print()
    timeline.show_timeline(recording, to)
    for line in ("", *graph_drawing.outputs(recording), f"Graph: {graph}"):
        to.print(line, soft_wrap=True)
    if options.outputs:
        public = {key: value for key, value in recording.outputs.items() if key not in recording.secret_outputs}
        options.outputs.write_text(json.dumps(public))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.rehearsal", description=__doc__)
    add_stack_options(parser, required=False)
    parser.add_argument("--graph", metavar="FILE", type=Path, help="where to write the Mermaid graph")
    parser.add_argument(
        "--outputs", metavar="FILE", type=Path, help="write the stack's outputs as JSON, without secrets"
    )
    return parser


def _rehearse(config: StackConfig, root: Path) -> Recording:
    sandbox = Sandbox(Paths(root, CHECKOUT.name), isolation.environment())

    def say(resource: Resource) -> None:
        print(timeline.progress(resource), flush=True)

    applier = Applier(root, sandbox)
    # Commands may name a cluster too, and need not wait for a provider: look at all before anything runs.
    for resource in record_stack(config, root=root).resources.values():
        applier.refuse_other_cluster(resource)
    return run(config, applier, preview=False, root=root, on_done=say, environment=sandbox.environment)


if __name__ == "__main__":
    sys.exit(main())
