"""An application in the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import manifests
from components.charts import mirrored
from components.manifests import Manifest
from components.objects import SKIP_AWAIT, KubernetesObject, namespace

# Kong then calls the Service by its name, which the mesh knows, instead of its pods, which it does not.
# Only this spelling counts (https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/).
SERVICE_UPSTREAM = "ingress.kubernetes.io/service-upstream"


@dataclass(frozen=True, kw_only=True)
class ApplicationArgs:
    """`objects`: the manifests, read by `manifests.read`. `routed_service`: the Service that Kong calls.

    `through_mesh`: Kong calls that Service, not its pods. `mesh_ready`: there, injected pods get their sidecar.
    `definitions`: API group -> what defines its kinds, for the application's own custom objects.
    """

    namespace: str
    objects: Sequence[Manifest]
    routed_service: str
    through_mesh: bool
    mesh_ready: pulumi.Resource
    definitions: Mapping[str, pulumi.Resource]
    registry: str = ""


class Application(pulumi.ComponentResource):
    """An application's objects in a namespace of their own. Type `kong-istio:index:Application`.

    Creates: the Namespace, labelled for injection, and every object of the manifests as a resource of its own. Pods
    wait for the mesh and for what they mount; the rest waits for the namespace alone.
    Attributes: `namespace`; `service`, the routed Service, to depend on.
    """

    service: pulumi.Resource

    def __init__(self, name: str, args: ApplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Application", name, {"namespace": args.namespace}, opts)
        self.namespace = args.namespace
        home = KubernetesObject(
            args.namespace, namespace(args.namespace, injected=True), pulumi.ResourceOptions(parent=self)
        )
        made: dict[int, pulumi.Resource] = {}
        for item in _supports_first(args.objects):
            needed = [made[id(other)] for other in manifests.needed_by(item, list(args.objects)) if id(other) in made]
            opts = pulumi.ResourceOptions(parent=self, depends_on=[home, *needed, *_platform(item, args)])
            made[id(item)] = KubernetesObject(_resource_name(name, item), prepared(item, args), opts)
            if (item["kind"], item["metadata"]["name"]) == ("Service", args.routed_service):
                self.service = made[id(item)]
        self.register_outputs({"namespace": self.namespace})


def prepared(item: Manifest, args: ApplicationArgs) -> dict[str, Any]:
    """Return an object as it is deployed: annotated, with its images from the mirror, its secrets marked as such."""
    manifest = dict(item)
    if manifest["kind"] == "Service":
        annotations = {SKIP_AWAIT: "true"}
        if manifest["metadata"]["name"] == args.routed_service and args.through_mesh:
            annotations[SERVICE_UPSTREAM] = "true"
        # The provider waits 10 s for a Service's endpoints, and the pods behind it are awaited anyhow.
        manifest["metadata"] = _annotated(manifest["metadata"], annotations)
    if manifest["kind"] == "Secret":
        for field in ("data", "stringData"):
            if field in manifest:
                manifest[field] = pulumi.Output.secret(manifest[field])
    return dict(_mirrored(manifest, args.registry)) if args.registry and manifests.makes_pods(item) else manifest


def check_route(objects: Sequence[Manifest], service: str, port: int, where: str) -> None:
    """Raise `ManifestError` where the manifests have no such Service, or the Service no such port."""
    services = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Service"}
    if service not in services:
        raise manifests.ManifestError(
            f"{where}.route.service is {service}: the manifests have no such Service "
            f"(there are: {', '.join(sorted(services)) or 'none'})."
        )
    ports = [entry["port"] for entry in services[service]["spec"].get("ports") or []]
    if port not in ports:
        raise manifests.ManifestError(
            f"{where}.route.port is {port}: the Service {service} has no such port "
            f"(there are: {', '.join(str(number) for number in ports) or 'none'})."
        )


def _supports_first(objects: Sequence[Manifest]) -> list[Manifest]:
    return sorted(objects, key=lambda item: manifests.makes_pods(item) or manifests.is_custom(item))


def _platform(item: Manifest, args: ApplicationArgs) -> list[pulumi.Resource]:
    """Return what of the platform an object needs before it can be made."""
    if manifests.makes_pods(item):
        return [args.mesh_ready]
    if manifests.is_custom(item):
        return [made for suffix, made in args.definitions.items() if manifests.group_of(item).endswith(suffix)]
    return []


def _resource_name(application: str, item: Manifest) -> str:
    return f"{application}-{item['kind']}-{item['metadata']['name']}".lower()


def _annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotations}}


def _mirrored(value: Any, registry: str) -> Any:
    """Return the object with each container's image from the mirror."""
    if isinstance(value, dict):
        return {
            key: mirrored(inner, registry) if key == "image" and isinstance(inner, str) else _mirrored(inner, registry)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_mirrored(inner, registry) for inner in value]
    return value
