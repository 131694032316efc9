"""Puts an application's objects into its namespace, and with them what refers to the namespace that they name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from components.shared.object_kinds import Manifest, is_kubernetes
from settings import RESERVED_NAMESPACES

_BINDINGS = {"RoleBinding", "ClusterRoleBinding"}
# Fields that hold the name of a namespace, or names, wherever they stand.
_NAMESPACE = {"namespace", "kubernetes.io/metadata.name"}
_NAMESPACES = {"namespaces", "matchNames"}
# cert-manager's, with a namespace and a name.
_INJECTIONS = {"cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret"}
# The data of ConfigMaps and Secrets, whose keys mean what the application says.
_DATA = {"data", "stringData", "binaryData"}


class PlacementError(Exception):
    """Why objects cannot be put into the namespace, in one sentence."""


class Found(NamedTuple):
    """An object, and where it was found: the file, document and line."""

    where: str
    manifest: Manifest


def placed(
    found: Sequence[Found], namespace: str, is_namespaced: Callable[[Manifest], bool], *, override: bool
) -> list[Found]:
    """Return the objects, those of namespaces in `namespace`.

    `override`: objects that name another namespace, the same in all of them, are moved, and all references to it with
    them. Raises `PlacementError` for an object that names another one otherwise.
    """
    inside = [is_namespaced(item) for _, item in found]
    other = _other_namespace(found, inside, namespace, override=override)
    if other:
        services = [item["metadata"]["name"] for _, item in found if is_kubernetes(item, "Service")]
        move = _Move(other, namespace, services)
        found = [Found(where, move.of_object(item)) for where, item in found]
    return [
        Found(where, _in(item, namespace if scoped else None))
        for (where, item), scoped in zip(found, inside, strict=True)
    ]


def _in(item: Manifest, namespace: str | None) -> Manifest:
    metadata = {**item["metadata"], "namespace": namespace}
    if namespace is None:
        # As kubectl does: some files have one all the same.
        del metadata["namespace"]
    return {**item, "metadata": metadata}


def _other_namespace(found: Sequence[Found], inside: Sequence[bool], namespace: str, *, override: bool) -> str:
    """Return the namespace that the objects name in place of the application's; empty where they name none."""
    named = [entry for entry in _named(found, inside) if entry[1] != namespace]
    if not named:
        return ""
    where, other, what = named[0]
    if not override:
        or_there = "" if other in RESERVED_NAMESPACES else f", or its namespace to {other}"
        raise PlacementError(
            f"{where} puts {what} into the namespace {other}: the application's is {namespace}; set the application's "
            f"overrideNamespace to true, which moves all objects from {other} to {namespace}{or_there}."
        )
    stray = next((entry for entry in named if entry[1] != other), None)
    if stray:
        raise PlacementError(
            f"{stray[0]} puts {stray[2]} into the namespace {stray[1]}, and {where} puts {what} into {other}: "
            "overrideNamespace moves the objects of one namespace; make an application of each."
        )
    return other


def _named(found: Sequence[Found], inside: Sequence[bool]) -> Iterator[tuple[str, str, str]]:
    """Yield each namespace that an object names for itself, or a binding for an account of these manifests."""
    accounts = {item["metadata"]["name"] for _, item in found if item["kind"] == "ServiceAccount"}
    for (where, item), scoped in zip(found, inside, strict=True):
        what = f"{item['kind']} {item['metadata']['name']}"
        if scoped and "namespace" in item["metadata"]:
            yield where, _one_line(item["metadata"]["namespace"]), what
        for subject in item.get("subjects", []) if item["kind"] in _BINDINGS else []:
            account, home = subject.get("name"), subject.get("namespace")
            # kubectl puts objects into `default`, whose own account has the same name.
            bound = account in accounts or account == home == "default"
            if bound and home and subject.get("kind") == "ServiceAccount":
                yield where, _one_line(home), f"ServiceAccount {account}, a subject of {what},"


def _one_line(text: str) -> str:
    return " ".join(text.split())


class _Move:
    """Changes what in an object names one namespace so that it names another."""

    def __init__(self, before: str, after: str, services: Sequence[str]) -> None:
        self._before, self._after = before, after
        hosts = "|".join(re.escape(name) for name in services) or "(?!)"
        # Accounts as users, as groups and in certificates; options such as --namespace=; host names of the Services.
        ahead = rf"\bsystem:serviceaccounts?:|\bns/|\bnamespace=|(?<![\w.-])(?:{hosts})\."
        self._texts = re.compile(rf"({ahead}){re.escape(before)}(?=\.svc\b|[^\w.-]|$)")

    def of_object(self, item: Manifest) -> Manifest:
        moved: Manifest = self.of(item)
        if (item["kind"], item["metadata"]["name"]) == ("Namespace", self._before):
            moved["metadata"]["name"] = self._after
        return moved

    def of(self, value: Any, field: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self.of(inner, "" if field in _DATA else key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner, "namespace" if field in _NAMESPACES else "") for inner in value]
        return self._text(value, field) if isinstance(value, str) else value

    def _text(self, value: str, field: str) -> str:
        if field in _NAMESPACE and value == self._before:
            return self._after
        if field in _INJECTIONS and value.startswith(f"{self._before}/"):
            return f"{self._after}{value.removeprefix(self._before)}"
        return self._texts.sub(lambda found: found[1] + self._after, value)
