"""What the project's policies say of a stack, as findings of a preview."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Protocol

import yaml

from preview import stack_settings
from preview.changes import Finding, Policies
from preview.schema import FINDINGS, NAME_CHARACTERS, SENTENCE_CHARACTERS, clean

_MODULE = "policy"


class PolicyFinding(Protocol):
    """What is read of a finding of the policies."""

    @property
    def rule(self) -> str:
        """The name of the policy."""

    @property
    def severity(self) -> str:
        """Whether it is mandatory or advisory."""

    @property
    def resource(self) -> str:
        """What breaks it."""

    @property
    def what(self) -> str:
        """In which way."""

    @property
    def remedy(self) -> str:
        """What to do about it."""


def ask(root: Path, stack: str, charts: Mapping[str, str], excuses: Sequence[Path] = ()) -> Policies:
    """Run the policies over a copy of a stack's file; a project without any has no findings.

    `excuses`: files of what the policies are to overlook.
    """
    if importlib.util.find_spec(_MODULE) is None:
        return Policies()
    with tempfile.TemporaryDirectory(prefix="policies-") as folder:
        file = Path(folder) / f"Pulumi.{stack}.yaml"
        file.write_text(yaml.safe_dump(stack_settings.for_rehearsal(root / file.name, charts)))
        try:
            with chdir(root):
                found: Iterable[PolicyFinding] = list(importlib.import_module(_MODULE).findings(file, excuses))
        # Whatever a rule stumbles over, the rest of the preview is worth reading.
        except Exception as problem:
            sentence = f"{type(problem).__name__}: {problem}"
            return Policies(asked=True, problem=clean(" ".join(sentence.split()))[:SENTENCE_CHARACTERS])
    return Policies(asked=True, findings=tuple(_finding(each) for each in found)[:FINDINGS])


def _finding(given: PolicyFinding) -> Finding:
    def line(text: object) -> str:
        return clean(" ".join(str(text).split()))

    return Finding(
        rule=line(given.rule)[:NAME_CHARACTERS],
        severity=line(given.severity)[:NAME_CHARACTERS],
        resource=line(given.resource)[:NAME_CHARACTERS],
        what=line(given.what)[:SENTENCE_CHARACTERS],
        remedy=line(given.remedy)[:SENTENCE_CHARACTERS],
    )
