"""What a rule is, and what it says; its options are what a stack may be excused from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from policy.objects import Object

#: `mandatory` stops an `up`; `advisory` is only said. Pulumi's own words.
Severity = Literal["mandatory", "advisory"]
#: What a rule has to see at once: one object, or all of the stack.
Scope = Literal["object", "stack"]
Options = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What a rule found: in which object (None: in the stack as a whole), what it is, and what to do about it."""

    object: Object | None
    what: str
    remedy: str

    @property
    def where(self) -> str:
        """What people call the object."""
        return self.object.label if self.object else "the stack"


Find = Callable[[Sequence[Object], Options], Iterator[Violation]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `options`: what a stack may be excused from, with the strict defaults.

    `schema`: the JSON schema of each option. `find` gets one object after the other, or with the scope `stack` all.
    """

    name: str
    description: str
    find: Find
    scope: Scope = "object"
    severity: Severity = "mandatory"
    options: Options = field(default_factory=dict)
    schema: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def violations(self, objects: Sequence[Object], given: Options) -> Iterator[Violation]:
        """Yield what the rule finds, with the options that differ from the defaults."""
        options = {**self.options, **given}
        if self.scope == "stack":
            yield from self.find(objects, options)
            return
        for item in objects:
            yield from self.find([item], options)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A violation for people and programs: all of it text."""

    rule: str
    severity: Severity
    resource: str
    what: str
    remedy: str

    @property
    def mandatory(self) -> bool:
        """Whether it stops an `up`, and fails a pull request."""
        return self.severity != "advisory"
