"""An application in the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pulumi

from components.mesh import MeshOutputs
from components.namespace import GuardedNamespace, GuardedNamespaceArgs, NamespaceOutputs
from components.shared import manifests, pod_security, route_plugins, routed_service, traffic_policies, workloads_ready
from components.shared.images import in_manifest, pod_spec
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.shared.manifests import Manifest
from components.shared.object_kinds import is_kubernetes
from components.shared.standards import Standards
from settings import Application as ApplicationSettings
from settings import Security

# Kong then calls the Service by its name, which the mesh knows, instead of its pods, which it does not.
# Only this spelling counts (https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/).
SERVICE_UPSTREAM = "ingress.kubernetes.io/service-upstream"


@dataclass(frozen=True, kw_only=True)
class ApplicationArgs:
    """`application`: the settings. `objects`: its manifests, read by `manifests.read`.

    `through_mesh`: Kong calls routed Services, not their pods. `crds`: API group -> what creates the CRDs of its kinds,
    for the application's own custom resources. `only_kong_calls`: nobody else may call
    a routed Service.
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
    """`services`, `plugins`: its routed Services, and the plugins that the manifests define, to depend on, by their names.

    `manifests`: of the routed Services.
    """

    namespace: str
    services: Mapping[str, pulumi.Resource]
    manifests: Mapping[str, Manifest]
    plugins: Mapping[str, pulumi.Resource]


class Application(pulumi.ComponentResource):
    """An application's objects in a namespace of their own. Type `kong-istio:index:Application`.

    Creates: the Namespace, labelled for injection and as the manifests label it, and every other object of the manifests
    as a resource of its own; with `only_kong_calls` an AuthorizationPolicy for each routed Service. Pods, and
    custom objects, whose controller may start some, wait for the mesh, for what they mount and for the policies that guard
    them; the rest waits for the namespace alone. Command `<name>-pods-ready`
    (`python -m commands.workloads_ready`) waits until its Deployments, StatefulSets and DaemonSets are ready; for Jobs and
    single Pods the provider does.
    Outputs: `ApplicationOutputs`.
    Raises in `up`: the sentence of `<name>-pods-ready`, after 600 s or what an annotation `pulumi.com/timeoutSeconds` says.
    """

    def __init__(self, name: str, args: ApplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        routes, namespace = args.application.routes, args.application.namespace
        super().__init__("kong-istio:index:Application", name, {"namespace": namespace}, opts)
        routed = _routed(args.application, args.objects)
        given = GuardedNamespaceArgs(
            standards=args.standards,
            injects=args.mesh.ready,
            policies=traffic_policies.application_policies(namespace, args.objects, routes),
            labels=manifests.home_metadata(args.objects, namespace, "labels"),
            annotations=manifests.home_metadata(args.objects, namespace, "annotations"),
        )
        home = GuardedNamespace(namespace, given, pulumi.ResourceOptions(parent=self)).outputs
        guarded = [*home.ready, args.mesh.ready, *self._only_kong_calls(name, routed, home, args)]
        created: dict[int, pulumi.Resource] = {}
        deployed: list[tuple[Manifest, pulumi.Resource]] = []
        for item in _supports_first([item for item in args.objects if not manifests.is_home(item, namespace)]):
            needed = [
                created[id(other)] for other in manifests.needed_by(item, list(args.objects)) if id(other) in created
            ]
            needed += [*(guarded if _starts_pods(item) else [home.namespace]), *_crds(item, args)]
            manifest = prepared(item, args)
            created[id(item)] = KubernetesObject(
                _resource_name(name, item),
                workloads_ready.left_to_the_command(manifest),
                pulumi.ResourceOptions(parent=self, depends_on=needed),
            )
            deployed.append((manifest, created[id(item)]))
        workloads_ready.of_manifests(
            f"{name}-pods-ready",
            deployed,
            namespace,
            pulumi.ResourceOptions(parent=self),
            access=args.standards.access,
        )
        self.outputs = ApplicationOutputs(
            namespace=namespace,
            services={name: created[id(service)] for name, service in routed.items()},
            manifests=routed,
            plugins={name: created[id(plugin)] for name, plugin in route_plugins.defined(args.objects).items()},
        )
        self.register_outputs({"namespace": namespace})

    def _only_kong_calls(
        self, name: str, routed: Mapping[str, Manifest], home: NamespaceOutputs, args: ApplicationArgs
    ) -> list[pulumi.Resource]:
        if not args.only_kong_calls:
            return []
        # The validation webhook refuses Istio's kinds until istiod answers it.
        needed = [home.namespace, args.mesh.ready]
        created: list[pulumi.Resource] = []
        for index, (service, manifest) in enumerate(routed.items()):
            unique, aliases = place(f"{name}-only-kong-calls", service, args.application, first=not index)
            opts = pulumi.ResourceOptions(parent=self, depends_on=needed, aliases=aliases)
            policy = traffic_policies.only_kong_calls(home.name, manifest)
            created.append(KubernetesObject(unique, policy, opts))
        return created


def place(name: str, which: str, application: ApplicationSettings, *, first: bool) -> tuple[str, list[pulumi.Alias]]:
    """Return the name of a resource that an application has one of for each route, and what else it may be called so far.

    The short form's has nothing to tell it apart. Who goes from one form to the other keeps the only, or first, one.
    """
    long = f"{name}.{which}"
    if application.route:
        return name, [pulumi.Alias(name=long)]
    return long, [pulumi.Alias(name=name)] if first else []


def guards(application: ApplicationSettings, objects: Sequence[Manifest], security: Security) -> list[Manifest]:
    """Return what the stack makes in an application's namespace to say who may call whom."""
    made: list[Manifest] = []
    if security.network_policies:
        made += traffic_policies.application_policies(application.namespace, objects, application.routes)
    if security.only_kong_calls:
        routed = _routed(application, objects).values()
        made += [traffic_policies.only_kong_calls(application.namespace, service) for service in routed]
    return made


def _routed(application: ApplicationSettings, objects: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return the Services that an application's routes lead to, each once, by their names."""
    return {route.service: traffic_policies.routed(objects, route.service) for route in application.routes}


def prepared(item: Manifest, args: ApplicationArgs) -> dict[str, Any]:
    """Return an object as it is deployed: annotated, with its images as the settings say, its secrets marked as such."""
    manifest = dict(item)
    if is_kubernetes(manifest, "Service"):
        annotations = {
            SKIP_AWAIT: "true",
            **for_kong(manifest["metadata"]["name"], args.application, through_mesh=args.through_mesh),
        }
        # The provider waits 10 s for a Service's endpoints, and the pods behind it are awaited anyhow.
        manifest["metadata"] = _annotated(manifest["metadata"], annotations)
    if is_kubernetes(manifest, "Secret"):
        for field in ("data", "stringData"):
            if field in manifest:
                manifest[field] = pulumi.Output.secret(manifest[field])
    manifest = sized(in_manifest(manifest, args.standards.images), args.application.resources)
    return pod_security.hardened(manifest) if args.standards.harden and manifests.makes_pods(item) else manifest


def for_kong(service: str, application: ApplicationSettings, *, through_mesh: bool) -> dict[str, str]:
    """Return the annotations by which a routed Service tells Kong how to call it."""
    route = next((route for route in application.routes if route.service == service), None)
    if not route:
        return {}
    upstream = {SERVICE_UPSTREAM: "true"} if through_mesh else {}
    return {**upstream, **({routed_service.PROTOCOL: route.protocol} if route.protocol != "http" else {})}


def sized(manifest: Manifest, resources: Mapping[str, Any]) -> Manifest:
    """Return an object whose containers have requests and limits: these ones where the manifest says none."""
    if not resources or not manifests.makes_pods(manifest):
        return manifest
    result = deepcopy(manifest)
    for container in (pod_spec(result) or {}).get("containers") or []:
        container.setdefault("resources", dict(resources))
    return result


def _starts_pods(item: Manifest) -> bool:
    # For a custom object, a controller may: without istiod they would have no sidecar.
    return manifests.makes_pods(item) or manifests.is_custom(item)


def _supports_first(objects: Sequence[Manifest]) -> list[Manifest]:
    return sorted(objects, key=_starts_pods)


def _crds(item: Manifest, args: ApplicationArgs) -> list[pulumi.Resource]:
    """Return what of the stack creates the CRD of an object's kind."""
    if manifests.is_custom(item):
        return [created for group, created in args.crds.items() if manifests.group_of(item).endswith(group)]
    return []


def _resource_name(application: str, item: Manifest) -> str:
    return f"{application}-{item['kind']}-{item['metadata']['name']}".lower()


def _annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotations}}
