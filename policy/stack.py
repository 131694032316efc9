"""The rules over a stack without an engine: what the program registers, and what the charts make of its releases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from plan.program import record_stack
from plan.recording import Recording
from plan.stack_config import ROOT, Project
from policy import configuration, rendered
from policy.configuration import Configuration
from policy.objects import of_resource
from policy.rule import Finding, Object
from policy.rules import RULES


def findings(config_file: Path, excuses: Sequence[Path] = ()) -> list[Finding]:
    """Return what the rules find in the stack of a stack file, mandatory ones first.

    `excuses`: configurations besides the stack's own, each over those before it. Raises `RunError`.
    """
    config = Project(ROOT).read(config_file)
    own = configuration.file_of(config.stack)
    chosen = Configuration()
    for file in [*([own] if own.is_file() else []), *excuses]:
        chosen = configuration.read(file, RULES).over(chosen)
    recording = record_stack(config)
    return judge([*registered(recording), *rendered.objects(recording, ROOT)], chosen)


def registered(recording: Recording) -> Iterator[Object]:
    """Yield what the program registers, as far as rules look at it."""
    for key, resource in recording.resources.items():
        item = of_resource(resource.type, resource.name, resource.inputs, key, resource.secret_inputs)
        if item:
            yield item


def judge(objects: Sequence[Object], chosen: Configuration) -> list[Finding]:
    """Return what the rules find in objects, mandatory ones first, each once and always in the same order."""
    found: set[Finding] = set()
    for rule in RULES:
        level = chosen.level(rule)
        if level == "disabled":
            continue
        for violation in rule.violations(objects, chosen.options.get(rule.name, {})):
            finding = Finding(
                rule=rule.name,
                severity="mandatory" if level == "mandatory" else "advisory",
                resource=violation.object.label if violation.object else "the stack",
                what=violation.what,
                remedy=violation.remedy,
            )
            found.add(finding)
    # A recording's order is not the same each time.
    order = {rule.name: number for number, rule in enumerate(RULES)}
    return sorted(found, key=lambda f: (f.severity == "advisory", order[f.rule], f.resource, f.what))
