"""What a program registers: its resources, what each waits for, and the critical path through them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from pulumi import RunError
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor, Mocks

from display.critical_path import critical_path

_STACK = "pulumi:pulumi:Stack"

#: The resource whose registration the present call serves.
released: ContextVar[Resource] = ContextVar("released")


@dataclass(kw_only=True)
class Resource:
    """One resource as the program registers it.

    Other resources are named by their URN while the program runs, and by their key in a `Recording`.
    """

    urn: str
    type: str
    name: str
    custom: bool
    inputs: dict[str, Any]
    secret_inputs: frozenset[str] = frozenset()
    parent: str | None = None
    provider: str | None = None
    dependencies: frozenset[str] = frozenset()
    property_dependencies: dict[str, frozenset[str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    finished: float = 0.0
    outcome: str = ""

    @property
    def kind(self) -> str:
        """The last part of the type, like `Release` or `Namespace`."""
        return "Provider" if self.is_provider else self.type.rsplit(":", 1)[-1]

    @property
    def label(self) -> str:
        """Kind and name."""
        return f"{self.kind}/{self.name}"

    @property
    def duration(self) -> float:
        """Seconds from its release until it was ready."""
        return self.finished - self.started

    @property
    def is_provider(self) -> bool:
        """Whether it only tells other resources where to go."""
        return self.type.startswith("pulumi:providers:")

    @property
    def waits_for(self) -> frozenset[str]:
        """All that must be there first: a child is registered after its parent and its provider."""
        return self.dependencies | ({self.parent, self.provider} - {None})  # type: ignore[operator]

    def renamed(self, keys: dict[str, str]) -> Resource:
        """Return a copy that names other resources by their keys; the stack itself has none."""

        def rename(urns: Iterable[str]) -> frozenset[str]:
            return frozenset(keys[urn] for urn in urns if urn in keys)

        return replace(
            self,
            parent=keys.get(self.parent or ""),
            provider=keys.get(self.provider or ""),
            dependencies=rename(self.dependencies),
            property_dependencies={key: rename(urns) for key, urns in self.property_dependencies.items()},
        )


class Recording:
    """The graph of one run. A resource's key is its name, or `Kind/name` where several share the name."""

    def __init__(self, resources: Iterable[Resource], outputs: dict[str, Any], secret_outputs: set[str]) -> None:
        found = list(resources)
        names = Counter(resource.name for resource in found)
        keys = {r.urn: r.name if names[r.name] == 1 else r.label for r in found}
        self.resources = {keys[r.urn]: r.renamed(keys) for r in found}
        self.outputs = outputs
        self.secret_outputs = secret_outputs
        self.waits_for = cache(self._waits_for)

    def _waits_for(self, key: str) -> frozenset[str]:
        """Return the keys of all that must be there before a resource, however far away."""
        direct = self.resources[key].waits_for
        return direct.union(*(self.waits_for(other) for other in direct))

    def children(self, key: str | None) -> list[str]:
        """Return the keys of what a component, or with None the stack, is the parent of."""
        return sorted(other for other, resource in self.resources.items() if resource.parent == key)

    def leaves(self, key: str) -> set[str]:
        """Return what the SDK makes of a dependency: a component stands for the resources below it."""
        if self.resources[key].custom:
            return {key}
        return set().union(*(self.leaves(child) for child in self.children(key)))

    def depends_on(self, later: str, earlier: str) -> bool:
        """Tell whether `later` always waits for `earlier`, directly or through others.

        A component waits when it or everything below it does, and is waited for when everything below it is.
        """

        def waits(key: str) -> bool:
            before = self.waits_for(key)
            return needed <= before if needed else earlier in before

        needed = self.leaves(earlier)
        below = self.leaves(later)
        return waits(later) or (bool(below) and all(waits(leaf) for leaf in below))

    def critical_path(self) -> list[str]:
        """Return the keys of what held up the end, first to last."""
        finished = {key: resource.finished for key, resource in self.resources.items()}
        path = critical_path(finished, lambda key: self.resources[key].waits_for)
        return [key for key in path if self.resources[key].outcome]


class Recorder(MockMonitor):
    """The mocks' engine, which also notes every registration: what it asks for, and when."""

    def __init__(self, mocks: Mocks, on_done: Callable[[Resource], None] | None = None) -> None:
        super().__init__(mocks)
        self.noted: dict[str, Resource] = {}
        self.outputs: dict[str, Any] = {}
        self.secret_outputs: set[str] = set()
        self._on_done = on_done
        self._lock = threading.Lock()
        self._start = time.monotonic()

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Return the URN that the engine gives: with the types of all parents, which mocks leave out."""
        above = parent.split("::")[2] if parent else _STACK
        qualified = type_ if above == _STACK else f"{above}${type_}"
        return super().make_urn("", qualified, name)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name in the engine's protocol
        """Note one registration while the mocks answer it."""
        if request.type == _STACK:
            return super().RegisterResource(request)  # type: ignore[no-untyped-call]
        resource = self._note(request)
        released.set(resource)
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        resource.finished = time.monotonic() - self._start
        if self._on_done and resource.outcome:
            with self._lock:
                self._on_done(resource)
        return response

    def _note(self, request: Any) -> Resource:
        inputs, secret = reveal(rpc.deserialize_properties(request.object))
        resource = Resource(
            urn=self.make_urn(request.parent, request.type, request.name),
            type=request.type,
            name=request.name,
            custom=request.custom,
            inputs=inputs,
            secret_inputs=secret,
            parent=request.parent or None,
            provider=request.provider.rsplit("::", 1)[0] or None,
            dependencies=frozenset(request.dependencies),
            property_dependencies={k: frozenset(v.urns) for k, v in request.propertyDependencies.items() if v.urns},
            options={**_options(request), **self._aliases(request)},
            started=time.monotonic() - self._start,
        )
        with self._lock:
            if resource.urn in self.noted:
                raise RunError(f"Two resources have the URN {resource.urn}; give one of them another name.")
            self.noted[resource.urn] = resource
        return resource

    def _aliases(self, request: Any) -> dict[str, list[str]]:
        """Return the URNs that a resource also answers to, as the engine computes them."""

        def urn(alias: Any) -> str:
            spec = alias.spec
            parent = "" if spec.noParent else spec.parentUrn or request.parent
            return alias.urn or self.make_urn(parent, spec.type or request.type, spec.name or request.name)

        found = [urn(alias) for alias in request.aliases]
        return {"aliases": found} if found else {}

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the name in the engine's protocol
        """Keep the outputs of the stack."""
        if f"::{_STACK}::" in request.urn:
            # The mocks' stack registers none when it is created; those of the program come when it ends.
            outputs, secret = reveal(rpc.deserialize_properties(request.outputs))
            self.outputs |= outputs
            self.secret_outputs |= secret
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def recording(self) -> Recording:
        """Return the graph as far as it got."""
        return Recording(self.noted.values(), self.outputs, self.secret_outputs)


def _options(request: Any) -> dict[str, Any]:
    timeouts = request.customTimeouts
    options = {
        "protect": request.protect,
        "retain_on_delete": request.retainOnDelete,
        "delete_before_replace": request.deleteBeforeReplace,
        "deleted_with": request.deletedWith,
        "ignore_changes": list(request.ignoreChanges),
        "replace_on_changes": list(request.replaceOnChanges),
        "additional_secret_outputs": list(request.additionalSecretOutputs),
        "custom_timeouts": {k: getattr(timeouts, k) for k in ("create", "update", "delete") if getattr(timeouts, k)},
    }
    return {key: value for key, value in options.items() if value}


def reveal(properties: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return plain properties, whole numbers as integers, and the keys of the secret ones.

    The protocol knows only floats, and mocks pass secrets on in their wrapping.
    """
    secret = frozenset(key for key, value in properties.items() if rpc.is_rpc_secret(value))
    return {key: _whole(rpc.unwrap_rpc_secret(value)) for key, value in properties.items()}, secret


def _whole(value: Any) -> Any:
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value
