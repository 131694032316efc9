"""Every namespace enforces a Pod Security level, and those of the mesh have sidecars put in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import names
from policy.objects import Object, sidecar
from policy.rule import Option, Options, Rule, Violation

_ENFORCE = "pod-security.kubernetes.io/enforce"
_LEVELS = ("restricted", "baseline", "privileged")
# Istio's own: its control plane has no sidecar, and its gateways are proxies themselves.
_OUTSIDE = [
    names.ISTIO_NAMESPACE,
    names.ISTIO_CNI_NAMESPACE,
    names.INGRESS_GATEWAY_NAMESPACE,
    names.EGRESS_GATEWAY_NAMESPACE,
]


def missing_labels(objects: Sequence[Object], options: Options) -> Iterator[Violation]:
    """Look at namespaces, and at pods of the mesh that ask to be left out of it."""
    for item in objects:
        if item.kind == "Namespace":
            yield from _injection(item, options)
            yield from _level(item, options)
        elif item.namespace not in options["outside"]:
            yield from _left_out(item)


def _injection(item: Object, options: Options) -> Iterator[Violation]:
    if item.name in options["outside"]:
        return
    if item.labels.get("istio-injection") != "enabled" and not item.labels.get("istio.io/rev"):
        yield Violation(
            item,
            "its pods get no sidecar: it has no label for injection",
            "label it istio-injection: enabled, or name it as outside in policy/config.<stack>.json",
        )


def _level(item: Object, options: Options) -> Iterator[Violation]:
    level = item.labels.get(_ENFORCE)
    if level not in _LEVELS:
        yield Violation(
            item,
            f"it enforces no Pod Security level ({_ENFORCE} is {level or 'missing'})",
            "set security.podSecurity to true",
        )
    # No other level passes what istio-cni does to nodes.
    elif level == "privileged" and item.name != names.ISTIO_CNI_NAMESPACE and not options["privileged"]:
        yield Violation(
            item,
            "its Pod Security level is privileged, which refuses nothing",
            "set istio.cni to true: pods with a sidecar then pass the level restricted",
        )


def _left_out(item: Object) -> Iterator[Violation]:
    if sidecar(item) == "false":
        yield Violation(
            item,
            "its pods refuse their sidecar (sidecar.istio.io/inject is false)",
            "take the label out, or deploy it outside of the mesh",
        )


RULE = Rule(
    name="namespaces-are-labelled",
    description="Every namespace enforces a Pod Security level, and those of the mesh have sidecars put in.",
    find=missing_labels,
    options={
        "privileged": Option(False, "The level may be privileged, as it must without istio.cni."),
        "outside": Option(_OUTSIDE, "Namespaces that are not of the mesh"),
    },
)
