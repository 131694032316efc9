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
#: By its name, what an option of a rule is set to.
Options = Mapping[str, Any]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Option:
    """What a stack may be excused from: the strict default, and what it is."""

    default: bool | list[str]
    meaning: str

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema, as Pulumi takes it."""
        kind = {"type": "boolean"} if isinstance(self.default, bool) else {"type": "array", "items": {"type": "string"}}
        return {**kind, "description": self.meaning}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `options`: what a stack may be excused from.

    `find` gets one object after the other, or with the scope `stack` all.
    """

    name: str
    description: str
    find: Find
    scope: Scope = "object"
    severity: Severity = "mandatory"
    options: Mapping[str, Option] = field(default_factory=dict)

    def violations(self, objects: Sequence[Object], given: Options) -> Iterator[Violation]:
        """Yield what the rule finds, with the options that differ from the defaults."""
        options = {**{name: option.default for name, option in self.options.items()}, **given}
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
