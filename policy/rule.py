"""What rules look at, what they say, and what a stack may be excused from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

#: `mandatory` stops an `up`; `advisory` is only said. Pulumi's own words.
Severity = Literal["mandatory", "advisory"]
#: What a rule has to see at once: one object, or all of the stack.
Scope = Literal["object", "stack"]
Options = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Object:
    """A Kubernetes object, or another resource in the same shape: kind, metadata, and its inputs as `spec`.

    `resource`: the Pulumi resource that brings it. `release`: the Helm release that it is rendered from.
    `secret`: the top-level fields that are secrets to Pulumi; None where that is not known, as in a policy pack.
    """

    body: Mapping[str, Any]
    resource: str = ""
    release: str = ""
    secret: frozenset[str] | None = None

    @property
    def kind(self) -> str:
        """Its kind; `Release` is a Helm release, `Command` a command of pulumi-command."""
        return str(self.body.get("kind", ""))

    @property
    def group(self) -> str:
        """Its API group; the core group is empty."""
        group, slash, _ = str(self.body.get("apiVersion", "")).partition("/")
        return group if slash else ""

    @property
    def name(self) -> str:
        """Its name."""
        return str(pick(self.body, "metadata", "name") or "")

    @property
    def namespace(self) -> str:
        """Its namespace; empty for what is in none."""
        return str(pick(self.body, "metadata", "namespace") or "")

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Its annotations."""
        return mapping(pick(self.body, "metadata", "annotations"))

    @property
    def labels(self) -> Mapping[str, Any]:
        """Its labels."""
        return mapping(pick(self.body, "metadata", "labels"))

    @property
    def label(self) -> str:
        """What people call it."""
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}" + (f" (release {self.release})" if self.release else "")


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What a rule found: in which object (None: in the stack as a whole), what it is, and what to do about it."""

    object: Object | None
    what: str
    remedy: str


Check = Callable[[Sequence[Object], Options], Iterator[Violation]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `options`: what a stack may be excused from, with the strict defaults.

    `schema`: the JSON schema of each option. `check` gets one object after the other, or with the scope `stack` all.
    """

    name: str
    description: str
    check: Check
    scope: Scope = "object"
    severity: Severity = "mandatory"
    options: Options = field(default_factory=dict)
    schema: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def violations(self, objects: Sequence[Object], given: Options) -> Iterator[Violation]:
        """Yield what the rule finds, with the options that differ from the defaults."""
        options = {**self.options, **given}
        if self.scope == "stack":
            yield from self.check(objects, options)
            return
        for item in objects:
            yield from self.check([item], options)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A violation for people and programs: all of it text."""

    rule: str
    severity: Severity
    resource: str
    what: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """Return its fields."""
        return asdict(self)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping, an empty one in place of anything else: values may be unknown in a preview."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list, and nothing for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def pick(value: Any, *path: str) -> Any:
    """Go down into mappings; None where the path ends early."""
    for step in path:
        value = mapping(value).get(step)
    return value
