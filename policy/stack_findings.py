"""What the rules find in a stack without an engine: in what the program registers, and in what its charts render to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from plan import rendering
from plan.program import record_stack
from plan.recording import Recording
from plan.stack_config import ROOT, Project
from policy import pack_config
from policy.objects import Object, mapping, of_resource
from policy.pack_config import PackConfig
from policy.rule import Finding
from policy.rules import RULES


def findings(config_file: Path, excuses: Sequence[Path] = ()) -> list[Finding]:
    """Return what the rules find in the stack of a stack file, mandatory ones first.

    `excuses`: configurations besides the stack's own, each over those before it. Raises `RunError`.
    """
    config = Project(ROOT).read(config_file)
    own = pack_config.file_of(config.stack)
    excused = PackConfig()
    for file in [*([own] if own.is_file() else []), *excuses]:
        excused = pack_config.read(file, RULES).over(excused)
    recording = record_stack(config)
    return judge([*registered(recording), *rendered(recording)], excused)


def registered(recording: Recording) -> Iterator[Object]:
    """Yield what the program registers, as far as rules look at it."""
    for key, resource in recording.resources.items():
        item = of_resource(resource.type, resource.name, resource.inputs, key, resource.secret_inputs)
        if item:
            yield item


def rendered(recording: Recording) -> Iterator[Object]:
    """Yield the objects of every release, which the release hides from Pulumi's engine. Raises `RunError`."""
    for key, source in rendering.sources(recording, ROOT).items():
        release = recording.resources[key]
        for body in source.objects if release.kind == "Release" else ():
            # Helm puts an object into the release's namespace unless the chart names one.
            metadata = {"namespace": release.inputs["namespace"], **mapping(body.get("metadata"))}
            yield Object(body={**body, "metadata": metadata}, resource=key, release=source.name)


def judge(objects: Sequence[Object], excused: PackConfig) -> list[Finding]:
    """Return what the rules find in objects, mandatory ones first, each once and always in the same order."""
    found: set[Finding] = set()
    for rule in RULES:
        level = excused.level(rule)
        if level == "disabled":
            continue
        for violation in rule.violations(objects, excused.options.get(rule.name, {})):
            found.add(
                Finding(
                    rule=rule.name,
                    severity="mandatory" if level == "mandatory" else "advisory",
                    resource=violation.where,
                    what=violation.what,
                    remedy=violation.remedy,
                )
            )
    # A recording's order is not the same each time.
    order = {rule.name: number for number, rule in enumerate(RULES)}
    return sorted(found, key=lambda f: (not f.mandatory, order[f.rule], f.resource, f.what))
