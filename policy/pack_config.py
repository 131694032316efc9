"""What a stack is excused from: the file that Pulumi takes as `--policy-pack-config`, read as Pulumi reads it.

A rule's entry is its severity (`mandatory`, `advisory`, `disabled`), or its options and, as `enforcementLevel`, that.
A stack without a file, `policy/config.<stack>.json`, is excused from nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi import RunError

from policy.rule import Options, Rule

_FOLDER = Path(__file__).resolve().parent
_LEVEL = "enforcementLevel"
_LEVELS = ("mandatory", "advisory", "disabled")


@dataclass(frozen=True)
class PackConfig:
    """By rule: its severity where that is another one, and its options where they differ."""

    levels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Options] = field(default_factory=dict)

    def level(self, rule: Rule) -> str:
        """Return a rule's severity, or `disabled`."""
        return self.levels.get(rule.name, rule.severity)

    def over(self, other: PackConfig) -> PackConfig:
        """Return this configuration, and what it does not say as the other has it."""
        options = {name: {**other.options.get(name, {}), **given} for name, given in self.options.items()}
        return PackConfig({**other.levels, **self.levels}, {**other.options, **options})


def file_of(stack: str) -> Path:
    """Return where the configuration of a stack stands, if it has one."""
    return _FOLDER / f"config.{stack}.json"


def read(file: Path, rules: tuple[Rule, ...]) -> PackConfig:
    """Read a configuration. Raises `RunError` for one that excuses from what there is not."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise RunError(f"There is no policy configuration {file}.") from None
    except ValueError as error:
        raise RunError(f"{file} is not JSON: {error}.") from None
    known = {rule.name: rule for rule in rules}
    levels: dict[str, str] = {}
    options: dict[str, Options] = {}
    for name, entry in (said if isinstance(said, dict) else {"": said}).items():
        if name not in known:
            raise RunError(f"{file} speaks of {name or 'no rule'}; the rules are {', '.join(known)}.")
        given = {_LEVEL: entry} if isinstance(entry, str) else entry
        if level := _level(given, known[name], file):
            levels[name] = level
        options[name] = _options(given, known[name], file)
    return PackConfig(levels, options)


def _level(given: Any, rule: Rule, file: Path) -> str:
    level = given.get(_LEVEL, "") if isinstance(given, dict) else None
    if level not in ("", *_LEVELS):
        raise RunError(f"{file} gives {rule.name} {json.dumps(given)}: it takes {', '.join(_LEVELS)}, or options.")
    return str(level)


def _options(given: Mapping[str, Any], rule: Rule, file: Path) -> Options:
    options = {key: value for key, value in given.items() if key != _LEVEL}
    for key, value in options.items():
        if key not in rule.options:
            raise RunError(f"{file}: {rule.name} has no option {key}; it has {', '.join(rule.options) or 'none'}.")
        if not isinstance(value, type(rule.options[key].default)):
            raise RunError(f"{file}: {rule.name}.{key} must be of the type {rule.options[key].schema['type']}.")
    return options
