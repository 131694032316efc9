"""`python -m policy`: the rules over a stack, without an engine and without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pulumi import RunError

from plan.stack_config import ROOT, Project
from policy import examples
from policy.rule import Finding
from policy.rules import RULES
from policy.stack_findings import findings


def main(arguments: Sequence[str]) -> int:
    """Print what the rules find; return 1 where a mandatory one found something, 2 where they could not look."""
    options = _parser().parse_args(arguments)
    if options.table:
        print(examples.table())
        return 0
    try:
        file = options.config_file or Project(ROOT).stack_file(options.stack)
        found = findings(file, options.policy_config)
    except RunError as error:
        print(f"policy: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        print(report(found))
    return int(any(finding.mandatory for finding in found))


def report(found: Sequence[Finding]) -> str:
    """Return findings for people, rule by rule; what is found of several things alike is said once."""
    groups: dict[tuple[str, str], dict[tuple[str, str], list[str]]] = {}
    for finding in found:
        alike = groups.setdefault((finding.severity, finding.rule), {})
        alike.setdefault((finding.what, finding.remedy), []).append(finding.resource)
    lines: list[str] = []
    for (severity, rule), alike in groups.items():
        lines.append(f"{severity:9}  {rule}")
        for (what, remedy), resources in alike.items():
            lines += [f"  {', '.join(dict.fromkeys(resources))}: {what}", f"    -> {remedy}"]
    mandatory = sum(finding.mandatory for finding in found)
    return "\n".join(
        [*lines, f"{len(RULES)} rules: {mandatory} mandatory and {len(found) - mandatory} advisory findings"]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m policy", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--stack", help="the name of a stack, whose file is Pulumi.<stack>.yaml")
    what.add_argument("--config-file", type=Path, help="another stack file")
    what.add_argument("--table", action="store_true", help="the rules, and the examples that each passes and finds")
    parser.add_argument(
        "--policy-config",
        type=Path,
        action="append",
        default=[],
        help="what the stack is excused from besides policy/config.<stack>.json; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser
