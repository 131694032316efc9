"""An application in the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pulumi

from components.mesh import MeshOutputs
from components.namespace import GuardedNamespace, GuardedNamespaceArgs, NamespaceOutputs
from components.shared import manifests, pod_security, traffic_policies
from components.shared.images import in_manifest, pod_spec
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.shared.manifests import Manifest
from components.shared.standards import Standards
from settings import Application as ApplicationSettings
from settings import Security

# Kong then calls the Service by its name, which the mesh knows, instead of its pods, which it does not.
# Only this spelling counts (https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/).
SERVICE_UPSTREAM = "ingress.kubernetes.io/service-upstream"


@dataclass(frozen=True, kw_only=True)
class ApplicationArgs:
    """`application`: the settings. `objects`: its manifests, read by `manifests.read`.

    `through_mesh`: Kong calls the routed Service, not its pods. `crds`: API group -> what creates the CRDs of its kinds,
    for the application's own custom resources. `only_kong_calls`: nobody else may call
    the routed Service.
    """

    application: ApplicationSettings
    objects: Sequence[Manifest]
    through_mesh: bool
    mesh: MeshOutputs
    crds: Mapping[str, pulumi.Resource]
    standards: Standards
    only_kong_calls: bool = False


@dataclass(frozen=True, kw_only=True)
class ApplicationOutputs:
    """`service`: the routed Service, to depend on. `routed_service`: its manifest."""

    namespace: str
    service: pulumi.Resource
    routed_service: Manifest


class Application(pulumi.ComponentResource):
    """An application's objects in a namespace of their own. Type `kong-istio:index:Application`.

    Creates: the Namespace, labelled for injection and as the manifests label it, and every other object of the manifests
    as a resource of its own; with `only_kong_calls` an AuthorizationPolicy. Pods wait for the mesh, for what they mount
    and for the policies that guard them; the rest waits for the namespace alone.
    Outputs: `ApplicationOutputs`.
    """

    def __init__(self, name: str, args: ApplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        route, namespace = args.application.route, args.application.namespace
        super().__init__("kong-istio:index:Application", name, {"namespace": namespace}, opts)
        routed = traffic_policies.routed(args.objects, route.service)
        given = GuardedNamespaceArgs(
            standards=args.standards,
            policies=traffic_policies.application_policies(namespace, routed, route),
            labels=manifests.home_metadata(args.objects, namespace, "labels"),
            annotations=manifests.home_metadata(args.objects, namespace, "annotations"),
        )
        home = GuardedNamespace(namespace, given, pulumi.ResourceOptions(parent=self)).outputs
        guarded = [*home.ready, args.mesh.ready, *self._only_kong_calls(name, routed, home, args)]
        created: dict[int, pulumi.Resource] = {}
        for item in _supports_first([item for item in args.objects if not manifests.is_home(item, namespace)]):
            needed = [
                created[id(other)] for other in manifests.needed_by(item, list(args.objects)) if id(other) in created
            ]
            needed += guarded if manifests.makes_pods(item) else [home.namespace, *_crds(item, args)]
            created[id(item)] = KubernetesObject(
                _resource_name(name, item),
                prepared(item, args),
                pulumi.ResourceOptions(parent=self, depends_on=needed),
            )
        self.outputs = ApplicationOutputs(namespace=namespace, service=created[id(routed)], routed_service=routed)
        self.register_outputs({"namespace": namespace})

    def _only_kong_calls(
        self, name: str, routed: Manifest, home: NamespaceOutputs, args: ApplicationArgs
    ) -> list[pulumi.Resource]:
        if not args.only_kong_calls:
            return []
        # The validation webhook refuses Istio's kinds until istiod answers it.
        opts = pulumi.ResourceOptions(parent=self, depends_on=[home.namespace, args.mesh.ready])
        policy = traffic_policies.only_kong_calls(home.name, routed)
        return [KubernetesObject(f"{name}-only-kong-calls", policy, opts)]


def guards(application: ApplicationSettings, objects: Sequence[Manifest], security: Security) -> list[Manifest]:
    """Return what the stack makes in an application's namespace to say who may call whom."""
    routed = traffic_policies.routed(objects, application.route.service)
    made: list[Manifest] = []
    if security.network_policies:
        made += traffic_policies.application_policies(application.namespace, routed, application.route)
    if security.only_kong_calls:
        made.append(traffic_policies.only_kong_calls(application.namespace, routed))
    return made


def prepared(item: Manifest, args: ApplicationArgs) -> dict[str, Any]:
    """Return an object as it is deployed: annotated, with its images as the settings say, its secrets marked as such."""
    manifest = dict(item)
    if manifest["kind"] == "Service":
        annotations = {SKIP_AWAIT: "true"}
        if manifest["metadata"]["name"] == args.application.route.service and args.through_mesh:
            annotations[SERVICE_UPSTREAM] = "true"
        # The provider waits 10 s for a Service's endpoints, and the pods behind it are awaited anyhow.
        manifest["metadata"] = _annotated(manifest["metadata"], annotations)
    if manifest["kind"] == "Secret":
        for field in ("data", "stringData"):
            if field in manifest:
                manifest[field] = pulumi.Output.secret(manifest[field])
    manifest = sized(in_manifest(manifest, args.standards.images), args.application.resources)
    return pod_security.hardened(manifest) if args.standards.harden and manifests.makes_pods(item) else manifest


def sized(manifest: Manifest, resources: Mapping[str, Any]) -> Manifest:
    """Return an object whose containers have requests and limits: these ones where the manifest says none."""
    if not resources or not manifests.makes_pods(manifest):
        return manifest
    result = deepcopy(manifest)
    for container in (pod_spec(result) or {}).get("containers") or []:
        container.setdefault("resources", dict(resources))
    return result


def _supports_first(objects: Sequence[Manifest]) -> list[Manifest]:
    return sorted(objects, key=lambda item: manifests.makes_pods(item) or manifests.is_custom(item))


def _crds(item: Manifest, args: ApplicationArgs) -> list[pulumi.Resource]:
    """Return what of the stack creates the CRD of an object's kind."""
    if manifests.is_custom(item):
        return [created for group, created in args.crds.items() if manifests.group_of(item).endswith(group)]
    return []


def _resource_name(application: str, item: Manifest) -> str:
    return f"{application}-{item['kind']}-{item['metadata']['name']}".lower()


def _annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotations}}
