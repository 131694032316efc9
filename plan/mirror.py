"""`python -m plan.mirror`: lists every image and chart that a stack needs, with versions and sources, to mirror them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pulumi import RunError

from plan.inventory import Inventory, take
from plan.stack_config import ROOT, Project, add_stack_options


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line on the project at `root`; return its exit status."""
    options = _parser().parse_args(arguments)
    # A preview without a cluster warns of that, and none is needed here.
    logging.disable(logging.WARNING)
    try:
        inventory = take(Project(root).selected(options), root)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        logging.disable(logging.NOTSET)
    print(json.dumps(dataclasses.asdict(inventory), indent=2) if options.json else "\n".join(_tables(inventory)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m plan.mirror", description=__doc__)
    add_stack_options(parser, required=True)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _tables(inventory: Inventory) -> Iterator[str]:
    images = [(image.source, image.pulled_as, ", ".join(image.needed_by)) for image in inventory.images]
    as_published = all(source == pulled for source, pulled, _ in images)
    yield f"{len(images)} images"
    if as_published:
        yield from _table(("image", "needed by"), [(source, needed) for source, _, needed in images])
    else:
        yield from _table(("image", "pulled as", "needed by"), images)
    charts = [
        (chart.name, chart.version, chart.source, _taken(chart.taken_from, chart.taken_version, chart.source))
        for chart in inventory.charts
    ]
    yield from ("", f"{len(charts)} charts")
    yield from _table(("chart", "version", "repository", "this stack has it from"), charts)


def _taken(where: str, version: str, source: str) -> str:
    return "there" if where == source else f"{where} {version}".rstrip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
