"""What the tests of policies share: the shipped stacks with charts of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plan.stack_config import Project
from sandbox import SandboxError, chart_sources, tools
from sandbox.paths import CHECKOUT, Paths
from sandbox.programs import TOOLS

STACKS = ("sandbox", "dev", "staging", "prod")
FOLDER = CHECKOUT.root / "policy"
OFFLINE = FOLDER / "offline.json"
#: The policy pack has an environment of its own.
PACK = FOLDER / "venv" / "bin" / "python"
NO_PACK = "the policy pack's own environment is not installed: `make policy/venv/ready` does that"


def local_charts(root: Path) -> dict[str, str]:
    """Return a folder for every chart: stand-ins, and Istio's own from its Go module; skip the test without them."""
    if tools.find(TOOLS["helm"]) is None:
        pytest.skip("there is no helm of the pinned version here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KONG_ISTIO_OFFLINE", "1")
        try:
            sources = chart_sources.resolve({}, Paths(root))
        except SandboxError as error:
            pytest.skip(str(error))
    return {name: str((root / source.path).resolve()) for name, source in sources.items()}


def stack_file(folder: Path, chart_folders: dict[str, str], stack: str, **changes: Any) -> Path:
    """Write a shipped stack's file with other charts, and with some changes to its settings."""
    config = yaml.safe_load(Project().stack_file(stack).read_text())["config"]
    # The stand-in has no admission webhook.
    own: dict[str, Any] = {"charts": chart_folders, "kong": {"admissionWebhook": False}}
    for said in (own, changes):
        for key, change in said.items():
            before = config.get(f"kong-istio:{key}")
            config[f"kong-istio:{key}"] = {**before, **change} if isinstance(before, dict) else change
    file = folder / f"Pulumi.{stack}.yaml"
    file.write_text(yaml.safe_dump({"config": config}))
    return file
