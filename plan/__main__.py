"""`python -m plan --stack NAME`: shows what a stack would register; needs no cluster, no engine and no secret."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pulumi import RunError

from display.console import console
from plan import graph_drawing
from plan.program import record_stack
from plan.stack_config import ROOT, Project, add_stack_options


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line on the project at `root`; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m plan", description=__doc__)
    add_stack_options(parser, required=True)
    parser.add_argument("--graph", metavar="FILE", type=Path, help="write the graph as Mermaid")
    options = parser.parse_args(arguments)
    try:
        recording = record_stack(Project(root).selected(options), root=root)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    if options.graph:
        options.graph.write_text(graph_drawing.mermaid(recording))
    to = console(sys.stdout)
    to.print(graph_drawing.tree(recording))
    for line in ("", *graph_drawing.outputs(recording)):
        to.print(line, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
