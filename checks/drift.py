"""Row 18: nobody has changed in the cluster what the stack made, not inside its Helm releases either.

Pulumi reads of a release only what Helm remembers of it, so the objects in it are compared here: each field that the
release's manifest sets, with what is there. Nothing is written, and no value is told.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import quick_yaml
from checks import endpoints, unchanged
from checks.framework import Check, Failed
from checks.selected_stack import Stack
from checks.target import Target
from commands import ownership
from components import kong_crds
from components.shared.releases import REPAIR
from kube import Cluster, Object
from names import KONG, RELEASES

_SECONDS = 60
_SHOWN = 10
_AT_ONCE = 8
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|Ki|Mi|Gi|Ti|M|G|T)?")
_UNITS = {
    **{"m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12)},
    **{f"{unit}i": Decimal(1024**power) for power, unit in enumerate("KMGT", start=1)},
}
# Maps in which another entry changes what the object does, although the manifest says nothing of it.
_WHOLE = {("Service", "spec.selector"), ("ConfigMap", "data"), ("Secret", "data")}


def checks(stack: Stack) -> tuple[Check, ...]:
    """Return the checks for a stack."""
    return (
        Check(
            number="18",
            name="objects as made",
            statement="What Pulumi made is as it made it.",
            how="pulumi preview --refresh --expect-no-changes",
            look=unchanged.preview(stack, "--refresh", remedy=f"pulumi up --refresh --stack {stack.name}"),
            seconds=unchanged.SECONDS,
        ),
        Check(
            number="18b",
            name="releases as installed",
            statement="The objects in the Helm releases are as their charts say.",
            how="each release's manifest, field by field, against the cluster",
            look=_releases(stack),
            seconds=_SECONDS,
        ),
    )


def _releases(stack: Stack) -> Callable[[Target], str]:
    def look(target: Target) -> str:
        found = endpoints.ask(target, lambda cluster: drifted(cluster, target.further_releases))
        crds = [kong_crds.marked(item) for item in kong_crds.read(stack.root, target.kong_crds)]
        changed = [text for texts in found.values() for text in texts]
        changed += endpoints.ask(target, lambda cluster: _differing_crds(cluster, crds))
        if not changed:
            return f"{len(found)} releases as installed"
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise Failed(
            "every object as its chart says",
            f"{'; '.join(changed[:_SHOWN])}{more}",
            cause="somebody changed it in the cluster; what Helm cannot put back is to be deleted before",
            look=f"{REPAIR}=true pulumi up --refresh --stack {stack.name}",
            certain=True,
        )

    return look


def drifted(cluster: Cluster, further: Collection[str] = ()) -> dict[str, list[str]]:
    """Return, for each of the stack's releases, what differs from its manifest; `further`: the applications' releases."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found: dict[str, list[str]] = {}
        for secret in _newest(ownership.release_secrets(cluster, further)):
            namespace = secret["metadata"]["namespace"]
            installed = objects(secret)
            there = pool.map(lambda item, inside=namespace: cluster.counterpart(item, inside), installed)
            pairs = zip(installed, there, strict=True)
            found[ownership.release_id(secret)] = [text for wanted, live in pairs for text in compared(wanted, live)]
    return found


def _differing_crds(cluster: Cluster, crds: Sequence[Object]) -> list[str]:
    """Return what differs from Kong's CRDs as the stack brings them."""
    return [text for crd in crds for text in compared(crd, cluster.counterpart(crd, ""))]


def _newest(secrets: list[Object]) -> list[Object]:
    """Return, of each release, the Secret of what is deployed."""
    deployed = [item for item in secrets if item["metadata"]["labels"].get("status") == "deployed"]
    newest = {
        ownership.release_id(item): item
        for item in sorted(deployed, key=lambda item: int(item["metadata"]["labels"]["version"]))
    }
    return list(newest.values())


def objects(secret: Object) -> list[Object]:
    """Return what a release installed: the manifest, and the CRDs that came with the chart; Kong's are no release's."""
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    kongs = ownership.release_id(secret) == f"{RELEASES[KONG]}/{KONG}"
    crds = [
        base64.b64decode(file["data"]).decode()
        for file in (release.get("chart") or {}).get("files") or []
        if file["name"].startswith("crds/") and not kongs
    ]
    documents = [item for text in (release["manifest"], *crds) for item in quick_yaml.load_all(text)]
    return [item for item in documents if isinstance(item, dict) and item.get("kind")]


def compared(wanted: Object, live: Object | None) -> list[str]:
    """Return what differs from a manifest, such as `Service istio-system/grafana: spec.type`."""
    kind, metadata = wanted["kind"], (live or wanted)["metadata"]
    namespace = metadata.get("namespace")
    name = f"{kind} {namespace + '/' if namespace else ''}{metadata['name']}"
    if live is None:
        return [f"{name} is not there"]
    marks = {key: wanted["metadata"].get(key) for key in ("labels", "annotations")}
    own = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if kind == "Secret":
        own = _encoded(own)
    paths = [*_differing(marks, live["metadata"], "metadata", kind), *_differing(own, live, "", kind)]
    if kind == "CustomResourceDefinition":
        # One of another version differs in hundreds of fields of its schema.
        paths = list(dict.fromkeys(path.split("[")[0] for path in paths))
    return [f"{name}: {path}" for path in paths if not _by_istiod(kind, path)]


def _encoded(secret: Object) -> Object:
    plain = {key: base64.b64encode(str(text).encode()).decode() for key, text in secret.get("stringData", {}).items()}
    rest = {key: value for key, value in secret.items() if key != "stringData"}
    return {**rest, "data": {**(secret.get("data") or {}), **plain}}


def _by_istiod(kind: str, path: str) -> bool:
    # It closes its webhook once it can answer (istio: pkg/webhooks/validation/controller/controller.go).
    return kind == "ValidatingWebhookConfiguration" and path.endswith("failurePolicy")


def _differing(wanted: Any, found: Any, path: str, kind: str) -> Iterator[str]:
    """Yield the paths at which there is something else than is wanted; the API server adds fields, and leaves out empty ones."""
    if isinstance(wanted, dict) and isinstance(found or {}, dict):
        found = found or {}
        for key, value in wanted.items():
            yield from _differing(value, found.get(key), f"{path}.{key}".lstrip("."), kind)
        if (kind, path) in _WHOLE:
            yield from (f"{path}.{key}" for key in found.keys() - wanted.keys())
    elif isinstance(wanted, list) and isinstance(found or [], list):
        found = found or []
        if len(wanted) != len(found):
            yield f"{path} has {len(found)} entries, not {len(wanted)}"
            return
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differing(one, other, f"{path}[{number}]", kind)
    elif wanted is not None and not _equal(wanted, found):
        yield path


def _equal(wanted: Any, found: Any) -> bool:
    if wanted == found or (not wanted and not found):
        return True
    one, other = _quantity(wanted), _quantity(found)
    return one is not None and one == other


def _quantity(value: Any) -> Decimal | None:
    """Return a quantity as a number: the API server writes 1000m as 1."""
    found = _QUANTITY.fullmatch(str(value)) if not isinstance(value, bool) else None
    return Decimal(found[1]) * _UNITS.get(found[2], Decimal(1)) if found else None
