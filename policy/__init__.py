"""What holds for every stack, whatever its settings say: rules over Kubernetes objects and Helm releases.

The rules know neither the components nor the settings. Two programs run them: Pulumi takes this folder as a policy pack
for what a program registers; `python -m policy` runs them without an engine, also over what the releases' charts render
to, which a release hides from the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from policy.rule import Finding

if TYPE_CHECKING:
    from policy.rule import Severity

__all__ = ["Finding", "Severity", "findings"]


def findings(config_file: Path, excuses: Sequence[Path] = ()) -> list[Finding]:
    """Return what the rules find in the stack of a stack file, mandatory ones first.

    The file's name tells the stack: `Pulumi.<stack>.yaml`, excused by `policy/config.<stack>.json` where there is one.
    `excuses`: further ones, such as `policy/offline.json`. Raises `pulumi.RunError`.
    """
    # Not above: the policy pack's environment has nothing of what a recording needs.
    from policy.stack_findings import findings as of_stack

    return of_stack(config_file, excuses)
