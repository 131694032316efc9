"""An application in the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from components.namespace import Namespaces
from components.shared import client_host, manifests, pod_security, traffic_policies
from components.shared.images import in_manifest, pod_spec
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.shared.manifests import Manifest
from settings import Images, Route, Settings

# Kong then calls the Service by its name, which the mesh knows, instead of its pods, which it does not.
# Only this spelling counts (https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/).
SERVICE_UPSTREAM = "ingress.kubernetes.io/service-upstream"


@dataclass(frozen=True, kw_only=True)
class ApplicationArgs:
    """`objects`: the manifests, read by `manifests.read`. `route`: the Service and port that Kong calls.

    `through_mesh`: Kong calls that Service, not its pods. `mesh_ready`: there, injected pods get their sidecar.
    `definitions`: API group -> what defines its kinds, for the application's own custom objects.
    `images`: where images come from. `namespaces`: how namespaces are made. `only_kong_calls`: nobody else may call the
    routed Service. `resources`: requests and limits of containers that have none.
    """

    namespace: str
    objects: Sequence[Manifest]
    route: Route
    through_mesh: bool
    mesh_ready: pulumi.Resource
    definitions: Mapping[str, pulumi.Resource]
    images: Images
    namespaces: Namespaces
    resources: Mapping[str, Any] = field(default_factory=dict)
    only_kong_calls: bool = False


class Application(pulumi.ComponentResource):
    """An application's objects in a namespace of their own. Type `kong-istio:index:Application`.

    Creates: the Namespace, labelled for injection, and every object of the manifests as a resource of its own; with
    `only_kong_calls` an AuthorizationPolicy. Pods wait for the mesh, for what they mount and for the policies that guard
    them; the rest waits for the namespace alone.
    Attributes: `namespace`; `service`, the routed Service, to depend on.
    """

    def __init__(self, name: str, args: ApplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Application", name, {"namespace": args.namespace}, opts)
        self.namespace = args.namespace
        service = traffic_policies.routed(args.objects, args.route.service)
        policies = traffic_policies.application_policies(args.namespace, service, args.route)
        home, *guards = args.namespaces.make(args.namespace, self, policies=policies)
        if args.only_kong_calls:
            # The validation webhook refuses Istio's kinds until istiod answers it.
            opts = pulumi.ResourceOptions(parent=self, depends_on=[home, args.mesh_ready])
            policy = traffic_policies.only_kong_calls(args.namespace, service)
            guards.append(KubernetesObject(f"{name}-only-kong-calls", policy, opts))
        made: dict[int, pulumi.Resource] = {}
        for item in _supports_first(args.objects):
            needed = [made[id(other)] for other in manifests.needed_by(item, list(args.objects)) if id(other) in made]
            needed += [args.mesh_ready, *guards] if manifests.makes_pods(item) else _definitions(item, args)
            opts = pulumi.ResourceOptions(parent=self, depends_on=[home, *needed])
            made[id(item)] = KubernetesObject(_resource_name(name, item), prepared(item, args), opts)
        self.service = made[id(service)]
        self.register_outputs({"namespace": self.namespace})


def read_applications(chosen: Settings, root: Path, *, harden: bool) -> dict[str, list[Manifest]]:
    """Return each application's objects by its name, once they are known to fit the settings. Raises `ManifestError`.

    `root` is the folder that paths start from. `harden`: the namespaces enforce Pod Security's level restricted.
    """
    found = {}
    for index, application in enumerate(chosen.applications):
        where, route = f"applications[{index}]", application.route
        objects = manifests.read(root / Path(application.manifests).expanduser(), application.namespace)
        check_route(objects, route.service, route.port, where)
        traffic_policies.check_selector(traffic_policies.routed(objects, route.service), where, chosen.security)
        if (chosen.kong.routing, chosen.kong.client_host) == ("mesh", "serviceEntry"):
            client_host.check(traffic_policies.routed(objects, route.service), route, where)
        if harden:
            pod_security.check(objects, where)
        found[application.name] = objects
    return found


def prepared(item: Manifest, args: ApplicationArgs) -> dict[str, Any]:
    """Return an object as it is deployed: annotated, with its images as the settings say, its secrets marked as such."""
    manifest = dict(item)
    if manifest["kind"] == "Service":
        annotations = {SKIP_AWAIT: "true"}
        if manifest["metadata"]["name"] == args.route.service and args.through_mesh:
            annotations[SERVICE_UPSTREAM] = "true"
        # The provider waits 10 s for a Service's endpoints, and the pods behind it are awaited anyhow.
        manifest["metadata"] = _annotated(manifest["metadata"], annotations)
    if manifest["kind"] == "Secret":
        for field in ("data", "stringData"):
            if field in manifest:
                manifest[field] = pulumi.Output.secret(manifest[field])
    manifest = sized(in_manifest(manifest, args.images), args.resources)
    return pod_security.hardened(manifest) if args.namespaces.harden and manifests.makes_pods(item) else manifest


def sized(manifest: Manifest, resources: Mapping[str, Any]) -> Manifest:
    """Return an object whose containers have requests and limits: these ones where the manifest says none."""
    if not resources or not manifests.makes_pods(manifest):
        return manifest
    result = deepcopy(manifest)
    for container in (pod_spec(result) or {}).get("containers") or []:
        container.setdefault("resources", dict(resources))
    return result


def check_route(objects: Sequence[Manifest], service: str, port: int, where: str) -> None:
    """Raise `ManifestError` where the manifests have no such Service, or the Service no such port."""
    services = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Service"}
    if service not in services:
        raise manifests.ManifestError(
            f"{where}.route.service is {service}: the manifests have no such Service "
            f"(there are: {', '.join(sorted(services)) or 'none'})."
        )
    ports = [entry["port"] for entry in (services[service].get("spec") or {}).get("ports") or []]
    if port not in ports:
        raise manifests.ManifestError(
            f"{where}.route.port is {port}: the Service {service} has no such port "
            f"(there are: {', '.join(str(number) for number in ports) or 'none'})."
        )


def _supports_first(objects: Sequence[Manifest]) -> list[Manifest]:
    return sorted(objects, key=lambda item: manifests.makes_pods(item) or manifests.is_custom(item))


def _definitions(item: Manifest, args: ApplicationArgs) -> list[pulumi.Resource]:
    """Return what of the platform defines an object's kind."""
    if manifests.is_custom(item):
        return [made for suffix, made in args.definitions.items() if manifests.group_of(item).endswith(suffix)]
    return []


def _resource_name(application: str, item: Manifest) -> str:
    return f"{application}-{item['kind']}-{item['metadata']['name']}".lower()


def _annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotations}}
