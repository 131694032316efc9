"""The mesh refuses plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import names
from policy.objects import Object, mapping, pick
from policy.rule import Option, Options, Rule, Violation

_REMEDY = "set istio.mtls to STRICT"


def accepted_plain_text(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look for the rule of the whole mesh, and at every exception from it."""
    allowed = {"STRICT", "PERMISSIVE"} if options["permissive"] else {"STRICT"}
    whole_mesh = False
    for item in objects:
        if item.kind == "PeerAuthentication":
            whole_mesh |= item.namespace == names.ISTIO_NAMESPACE and not pick(item.body, "spec", "selector")
            yield from _peers(item, allowed)
        elif item.kind == "DestinationRule" and pick(item.body, "spec", "trafficPolicy", "tls", "mode") == "DISABLE":
            yield Violation(item, "callers of its host use plain text (DISABLE)", "set the mode to ISTIO_MUTUAL")
    if not whole_mesh:
        yield Violation(
            None,
            f"nothing says how the whole mesh is spoken to: {names.ISTIO_NAMESPACE} has no PeerAuthentication",
            _REMEDY,
        )


def _peers(item: Object, allowed: set[str]) -> Iterator[Violation]:
    ports = mapping(pick(item.body, "spec", "portLevelMtls"))
    modes = {f"port {port}": pick(said, "mode") for port, said in ports.items()}
    own = pick(item.body, "spec", "mtls", "mode")
    # One for some workloads may speak of single ports only, and inherits the rest.
    if own is not None or not ports:
        modes["its mode"] = own
    for where, mode in modes.items():
        if mode not in allowed:
            yield Violation(item, f"{where} is {mode or 'not said'}: plain text is taken", _REMEDY)


RULE = Rule(
    name="mesh-refuses-plain-text",
    description="The whole mesh takes mutual TLS only (STRICT), without exceptions.",
    find=accepted_plain_text,
    scope="stack",
    options={"permissive": Option(False, "The mode PERMISSIVE is allowed; DISABLE never is.")},
)
