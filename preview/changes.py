"""The preview of one stack: what is written for the comment, each text and list with the most that is read of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Final

from policy.rule import Finding

#: Of the format; a reader takes no other.
VERSION: Final = 2


@dataclass(frozen=True)
class Bound:
    """The most characters of a text, or items of a list. A text is one line where it is not said to have several."""

    most: int
    lines: bool = False


#: A text that names no other bound.
SENTENCE: Final = Bound(1500)
DIFFERENCES: Final = Bound(300)
RESOURCES: Final = Bound(1000)
DIFFERENCE: Final = Bound(20_000, lines=True)
Name = Annotated[str, Bound(253)]


class Change(StrEnum):
    """What happens to a resource, with the sign and the word for it."""

    sign: str
    word: str

    def __new__(cls, value: str, sign: str, word: str) -> Change:
        """Keep the two beside the value."""
        member = str.__new__(cls, value)
        member._value_, member.sign, member.word = value, sign, word
        return member

    CREATE = "create", "+", "created"
    UPDATE = "update", "~", "changed"
    DELETE = "delete", "-", "deleted"
    SAME = "same", "", "unchanged"


class Part(StrEnum):
    """Where a difference is."""

    VALUES = "values"
    MANIFESTS = "manifests"
    OBJECTS = "objects"


@dataclass(frozen=True, kw_only=True)
class ChangedResource:
    """One resource in the graph; others are named by their place in the preview's list."""

    kind: Name
    name: Name
    change: Change
    parent: int | None = None
    after: Annotated[tuple[int, ...], Bound(200)] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A unified diff of one thing, or a note on why there is none."""

    part: Part
    name: Name
    text: Annotated[str, DIFFERENCE] = ""
    note: str = ""

    def lines(self, sign: str) -> int:
        """Return how many lines are new (`+`), or gone (`-`)."""
        return sum(line.startswith(sign) for line in self.text.splitlines())


@dataclass(frozen=True, kw_only=True)
class Preview:
    """All that is to be said of one stack. `problem` stops its preview, the others only a part of it."""

    stack: Name
    problem: str = ""
    base_problem: str = ""
    policy_problem: str = ""
    resources: Annotated[tuple[ChangedResource, ...], RESOURCES] = ()
    differences: Annotated[tuple[Difference, ...], DIFFERENCES] = ()
    findings: Annotated[tuple[Finding, ...], Bound(300)] = ()
    seconds: float = 0.0

    def count(self, change: Change) -> int:
        """Return how many resources change so; the stack itself is none of them."""
        return sum(resource.change is change for resource in self.resources)

    def by_rule(self, *, mandatory: bool) -> list[list[Finding]]:
        """Return the findings that are mandatory, or those that are not, rule by rule."""
        rules: dict[tuple[str, str], list[Finding]] = {}
        for each in self.findings:
            if each.mandatory is mandatory:
                rules.setdefault((each.rule, each.remedy), []).append(each)
        return list(rules.values())

    @property
    def failed(self) -> bool:
        """Whether a pull request should not be merged like this."""
        return bool(self.problem or self.policy_problem) or any(finding.mandatory for finding in self.findings)

    def to_json(self) -> str:
        """Return the text that `schema.read` reads."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1)
