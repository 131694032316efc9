"""Revision tags: webhooks by which namespaces of others are served by a control plane that they know by another name.

The chart istiod makes them too, but each is of one release there: Helm could not move it to another's. istiod puts its CA into
every webhook that is labelled with its revision (istio/istio, pkg/webhooks/webhookpatch.go).
"""

from __future__ import annotations

from typing import Any

from commands.when_deleted.leftovers import MARK
from components.shared.manifests import Manifest
from names import ISTIO_NAMESPACE, ISTIOD, REVISION_TAG_WEBHOOK, of_revision
from settings.control_planes import DEFAULT_REVISION, ControlPlane

_INJECT = "sidecar.istio.io/inject"
_REVISION = "istio.io/rev"
_SIDECARS = "istio-injection"
Selector = dict[str, Any]


def webhooks_of(tag: str, plane: ControlPlane, url: str = "") -> Manifest:
    """Return the webhooks of a tag, as the chart's templates/revision-tags-mwc.yaml has them. `url`: in place of the Service."""
    labels = {
        "istio.io/tag": tag,
        _REVISION: plane.label,
        "app": "sidecar-injector",
        MARK: of_revision(ISTIOD, plane.revision),
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"{REVISION_TAG_WEBHOOK}-{tag}", "labels": labels},
        "webhooks": [_webhook(prefix, plane, url, *selectors) for prefix, selectors in _selectors(tag).items()],
    }


def _selectors(tag: str) -> dict[str, tuple[list[Selector], list[Selector]]]:
    """Return of which namespaces and of which pods in them each webhook is."""
    not_refused = _is(_INJECT, "NotIn", "false")
    found = {
        "rev.namespace": ([_is(_REVISION, "In", tag), _is(_SIDECARS, "DoesNotExist")], [not_refused]),
        "rev.object": (
            [_is(_REVISION, "DoesNotExist"), _is(_SIDECARS, "DoesNotExist")],
            [not_refused, _is(_REVISION, "In", tag)],
        ),
    }
    if tag != DEFAULT_REVISION:
        return found
    return {
        **found,
        "namespace": ([_is(_SIDECARS, "In", "enabled")], [not_refused]),
        "object": (
            [_is(_SIDECARS, "DoesNotExist"), _is(_REVISION, "DoesNotExist")],
            [_is(_INJECT, "In", "true"), _is(_REVISION, "DoesNotExist")],
        ),
    }


def _is(key: str, operator: str, *values: str) -> Selector:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _webhook(
    prefix: str, plane: ControlPlane, url: str, namespaces: list[Selector], pods: list[Selector]
) -> dict[str, Any]:
    service = {
        "name": of_revision(ISTIOD, plane.revision),
        "namespace": ISTIO_NAMESPACE,
        "path": "/inject",
        "port": 443,
    }
    return {
        "name": f"{prefix}.sidecar-injector.istio.io",
        "clientConfig": {"url": url} if url else {"service": service},
        "sideEffects": "None",
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
    }
