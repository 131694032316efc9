"""The examples of every rule: `examples/<rule>.yaml`, objects that pass and objects that it finds something in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from policy.objects import Object
from policy.rule import Options, Rule, Violation
from policy.rules import RULES

_FOLDER = Path(__file__).resolve().parent / "examples"


@dataclass(frozen=True, kw_only=True)
class Example:
    """Objects, with options where they differ, and what the rule has to say of them: a part of each finding.

    `secret`: their fields that are secrets to Pulumi, None where that is not known.
    """

    rule: Rule
    name: str
    objects: Sequence[Mapping[str, Any]]
    finds: Sequence[str]
    options: Options
    secret: frozenset[str] | None = None

    def violations(self) -> list[Violation]:
        """Return what the rule finds."""
        objects = [Object(body=body, secret=self.secret) for body in self.objects]
        return list(self.rule.violations(objects, self.options))

    @property
    def found(self) -> list[str]:
        """What the rule finds, and where."""
        return [f"{violation.where}: {violation.what}" for violation in self.violations()]

    @property
    def holds(self) -> bool:
        """Whether the rule finds what it has to, in that order, and nothing else."""
        found = self.found
        return len(found) == len(self.finds) and all(part in text for part, text in zip(self.finds, found, strict=True))


def read() -> Iterator[Example]:
    """Yield all examples, rule by rule."""
    for rule in RULES:
        for entry in yaml.safe_load_all((_FOLDER / f"{rule.name}.yaml").read_text(encoding="utf-8")):
            marked = entry.get("secret")
            yield Example(
                rule=rule,
                name=entry["example"],
                objects=entry["objects"],
                finds=entry.get("finds", []),
                options=entry.get("options", {}),
                secret=None if marked is None else frozenset(marked),
            )


def table() -> str:
    """Return a table in Markdown: each rule, how many examples it passes and finds something in, and which."""
    lines = ["| rule | severity | passes | finds | examples |", "| --- | --- | ---: | ---: | --- |"]
    everything = list(read())
    for rule in RULES:
        own = [example for example in everything if example.rule is rule]
        shown = "; ".join(f"{'✗' if e.finds else '✓'} {e.name}{'' if e.holds else ' (WRONG)'}" for e in own)
        passing = sum(not example.finds for example in own)
        lines.append(f"| {rule.name} | {rule.severity} | {passing} | {len(own) - passing} | {shown} |")
    return "\n".join(lines)
