"""The preview of one stack: what `collect` writes, and what `schema` lets through."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

#: Of the format; a reader takes no other.
VERSION = 1


class Change(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    SAME = "same"


class Part(StrEnum):
    """Where a difference is."""

    VALUES = "values"
    MANIFESTS = "manifests"
    OBJECTS = "objects"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource in the graph; others are named by their place in the preview's list."""

    kind: str
    name: str
    change: Change
    parent: int | None = None
    after: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A unified diff of one thing, or a note on why there is none."""

    part: Part
    name: str
    text: str = ""
    note: str = ""

    @property
    def added(self) -> int:
        """The number of lines that are new."""
        return sum(line.startswith("+") for line in self.text.splitlines())

    @property
    def removed(self) -> int:
        """The number of lines that are gone."""
        return sum(line.startswith("-") for line in self.text.splitlines())


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A policy that a stack breaks."""

    rule: str
    severity: str
    resource: str
    what: str
    remedy: str

    @property
    def mandatory(self) -> bool:
        """Whether it fails a pull request; anything but advice does."""
        return self.severity != "advisory"


@dataclass(frozen=True, kw_only=True)
class Policies:
    """What the policies said, if the project has any; `problem` where they could not be asked."""

    asked: bool = False
    findings: tuple[Finding, ...] = ()
    problem: str = ""

    def by_rule(self, *, mandatory: bool) -> list[list[Finding]]:
        """Return the findings that are mandatory, or those that are not, policy by policy."""
        rules: dict[tuple[str, str], list[Finding]] = {}
        for each in self.findings:
            if each.mandatory is mandatory:
                rules.setdefault((each.rule, each.remedy), []).append(each)
        return list(rules.values())


@dataclass(frozen=True, kw_only=True)
class Preview:
    """All that is to be said of one stack. `problem` stops its preview, `base_problem` only the comparison."""

    stack: str
    compared: bool = False
    problem: str = ""
    base_problem: str = ""
    resources: tuple[Resource, ...] = ()
    differences: tuple[Difference, ...] = ()
    policies: Policies = field(default_factory=Policies)
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, *changes: Change) -> int:
        """Return how many resources change so; the stack itself is none of them."""
        return sum(resource.change in changes for resource in self.resources)

    @property
    def failed(self) -> bool:
        """Whether a pull request should not be merged like this."""
        return bool(self.problem or self.policies.problem) or any(f.mandatory for f in self.policies.findings)

    def to_json(self) -> str:
        """Return the text that `schema.read` reads."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1)
