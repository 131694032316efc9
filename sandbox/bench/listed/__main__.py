"""Registers what another program registered, from a list, and does nothing else: hardly a program makes the same sooner.

The list is a stack's state, `<stack>.json` in the folder that it runs in.
"""

import atexit
import gc
import json
from pathlib import Path
from typing import Any

import pulumi

# What the state has in place of a secret.
_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105

# As fast as the SDK can be: what `process.py` does.
pulumi.log.debug = lambda *_, **__: None
gc.disable()
atexit.register(gc.freeze)


def value(written: Any) -> Any:
    """Return an input as a program gives it."""
    if isinstance(written, dict):
        if _SECRET in written:
            return pulumi.Output.secret(json.loads(written["plaintext"]))
        return {key: value(inner) for key, inner in written.items()}
    return [value(inner) for inner in written] if isinstance(written, list) else written


made: dict[str, pulumi.Resource] = {}
for one in json.loads(Path(f"{pulumi.get_stack()}.json").read_text()):
    urn, kind = one["urn"], one["type"]
    name, inputs = urn.rpartition("::")[2], value(one.get("inputs") or {})
    opts = pulumi.ResourceOptions(
        parent=made.get(one.get("parent", "")), depends_on=[made[before] for before in one.get("dependencies") or []]
    )
    if kind.startswith("pulumi:providers:"):
        opts.version = inputs.pop("version", None)
        inputs.pop("__internal", None)
        made[urn] = pulumi.ProviderResource(kind.rpartition(":")[2], name, inputs, opts)
    elif one.get("custom"):
        opts.provider = made[one["provider"].rpartition("::")[0]]  # type: ignore[assignment]  # a provider
        made[urn] = pulumi.CustomResource(kind, name, inputs, opts)
    else:
        component = made[urn] = pulumi.ComponentResource(kind, name, inputs, opts)
        component.register_outputs(value(one.get("outputs") or {}))
