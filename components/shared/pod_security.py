"""Pod Security: the level that a namespace enforces, and workloads that pass the strictest one.

The levels and what each refuses: https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

from components.shared.images import pod_spec
from components.shared.manifests import Manifest, ManifestError
from components.shared.merging import merged
from settings import Istio, Observability
from versions import KUBERNETES_TESTED

Level = Literal["privileged", "restricted"]

#: What `restricted` wants said of every pod, and of every container.
POD: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_CONTAINERS = ("initContainers", "containers")


def injected_level(istio: Istio) -> Level:
    """Return the strictest level that pods with a sidecar pass.

    Without istio-cni each of them starts with a container that redirects its traffic, as root and with the
    capabilities NET_ADMIN and NET_RAW, which `baseline` refuses as well (istio/istio#35894).
    """
    return "restricted" if istio.cni or not istio.injection else "privileged"


def observed_level(observability: Observability) -> Level:
    """Return the strictest level that the pods in Istio's namespace pass, with what further values add to Prometheus.

    node-exporter, which looks at its node from inside, and whatever uses the node's network or folders pass none.
    """
    prometheus = observability.prometheus
    if not prometheus.enabled:
        return "restricted"
    exporter, server = (_part(prometheus.values, name) for name in ("prometheus-node-exporter", "server"))
    needs_node = exporter.get("enabled") or server.get("hostNetwork") or server.get("extraHostPathMounts")
    return "privileged" if needs_node else "restricted"


def hardened_values(further: Mapping[str, Any]) -> dict[str, Any]:
    """Return what those of Prometheus' charts that further values switch on lack for `restricted`."""
    lacking = {
        "alertmanager": {"podSecurityContext": POD, "securityContext": CONTAINER},
        "prometheus-pushgateway": {"securityContext": POD, "containerSecurityContext": CONTAINER},
    }
    return {name: values for name, values in lacking.items() if _part(further, name).get("enabled")}


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}


def labels(level: Level) -> dict[str, str]:
    """Return the labels of a namespace that enforces a level, and warns at the strictest.

    The levels grow stricter with Kubernetes. What is enforced is that of the version that the stack was tested with, so
    that an upgrade of the cluster refuses no pod that ran before it; the warnings are the newest, and tell in time.
    Both are said, as an API server may have other defaults.
    """
    tested = f"v{'.'.join(str(part) for part in KUBERNETES_TESTED)}"
    modes = {"enforce": (level, tested), "warn": ("restricted", "latest"), "audit": ("restricted", "latest")}
    return {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode, said in modes.items()
        for suffix, value in zip(("", "-version"), said, strict=True)
    }


def hardened(manifest: Manifest) -> Manifest:
    """Return an object whose pods say what `restricted` wants; what the manifest says itself stays.

    The node then starts no container as root: an image must name another user, by number, or the manifest must.
    """
    result = deepcopy(manifest)
    spec = pod_spec(result)
    if spec is not None:
        spec["securityContext"] = merged(POD, spec.get("securityContext") or {})
        for container in _containers(spec):
            container["securityContext"] = merged(CONTAINER, container.get("securityContext") or {})
    return result


def check_pods(objects: Sequence[Manifest], where: str) -> None:
    """Raise `ManifestError` for pods that say what `restricted` refuses: `hardened` leaves that as it is."""
    for item in objects:
        for field in _refused(pod_spec(item) or {}):
            raise ManifestError(
                f"{where}.manifests: {item['kind']} {item['metadata']['name']} has {field}, which Pod Security's level "
                "restricted refuses, the level of its namespace under istio.cni; take it out, or set "
                "security.podSecurity to false."
            )


def _refused(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of a pod's specification that are against the level, in words."""
    yield from (f"{field}: true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    for volume in spec.get("volumes") or []:
        yield from (f"a volume of the kind {kind}" for kind in volume if kind not in _VOLUMES | {"name"})
    yield from _refused_context(spec.get("securityContext") or {})
    for container in _containers(spec):
        yield from ("a hostPort" for port in container.get("ports") or [] if port.get("hostPort"))
        yield from _refused_context(container.get("securityContext") or {})


def _refused_context(context: Mapping[str, Any]) -> Iterator[str]:
    wrong = {"privileged": True, "allowPrivilegeEscalation": True, "runAsNonRoot": False, "runAsUser": 0}
    for field, value in wrong.items():
        # False is 0 to Python, and a user is not.
        if context.get(field) == value and type(context[field]) is type(value):
            yield f"{field}: {str(value).lower()}"
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield "seccompProfile.type: Unconfined"
    yield from _refused_capabilities(context.get("capabilities") or {})


def _refused_capabilities(capabilities: Mapping[str, Any]) -> Iterator[str]:
    added: Iterable[str] = capabilities.get("add") or []
    yield from (f"the capability {name}" for name in added if name != "NET_BIND_SERVICE")
    if "ALL" not in capabilities.get("drop", ["ALL"]):
        yield "capabilities.drop without ALL"


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [container for key in _CONTAINERS for container in spec.get(key) or []]
