"""The Istio mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from commands import istio_cni_ready
from commands.cluster_access import Access
from components.namespace import Namespaces
from components.shared import project_command, traffic_policies
from components.shared.images import cni_images, istiod_images
from components.shared.kubernetes_object import KubernetesObject
from components.shared.merging import merged
from components.shared.pod_security import POD
from components.shared.releases import ChartSource, release
from components.shared.scheduling import spread
from settings import Images, Istio

NAMESPACE = "istio-system"


@dataclass(frozen=True, kw_only=True)
class IstioMeshArgs:
    """`istio`: the settings. `base`, `istiod`, `cni`: the charts. `images`: where images come from.

    `namespaces`: how namespaces are made.
    """

    istio: Istio
    base: ChartSource
    istiod: ChartSource
    cni: ChartSource
    access: Access
    images: Images
    namespaces: Namespaces


class IstioMesh(pulumi.ComponentResource):
    """Istio's control plane. Type `kong-istio:index:IstioMesh`.

    Creates: Namespace `istio-system`; Release `istio-base` (definitions, validation webhook); Release `istiod`;
    Command `istiod-ready` (`python -m commands.istiod_ready`); PeerAuthentication `default` for the whole mesh. With
    `istio.cni` also Namespace and Release `istio-cni`, and Command `istio-cni-ready` (`python -m
    commands.istio_cni_ready`). What the agent does to nodes only `privileged` lets pass, so it has a namespace of its own.
    Attributes: `home`, the namespace and what its pods wait for; `definitions`, to depend on where Istio's kinds are needed; `ready`, to depend on where a
    pod starts that must have a sidecar; `base_version`, `version`: what the charts say is installed.
    Raises in `up`: the sentence of `istiod-ready` or `istio-cni-ready`, after `istio.readyTimeoutSeconds`.
    """

    def __init__(self, name: str, args: IstioMeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:IstioMesh", name, {"mtls": args.istio.mtls}, opts)
        home = args.namespaces.make(NAMESPACE, self, level="restricted", policies=traffic_policies.mesh_policies())
        self.home = home
        self.definitions = release(
            "istio-base",
            args.base,
            NAMESPACE,
            base_values(args.istio),
            pulumi.ResourceOptions(parent=self, depends_on=home),
        )
        values = istiod_values(args.istio, args.images)
        self.istiod = release(
            "istiod",
            args.istiod,
            NAMESPACE,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=[self.definitions]),
        )
        self.ready = project_command.run(
            "istiod-ready",
            "commands.istiod_ready",
            [*_wait_arguments(args), *project_command.digest(args.istiod, values)],
            # Without a node agent, a pod would start with its traffic unredirected.
            pulumi.ResourceOptions(parent=self, depends_on=[self.istiod, *self._node_agent(args)]),
        )
        KubernetesObject(
            "peer-authentication",
            peer_authentication(args.istio.mtls),
            # The validation webhook refuses Istio's kinds until istiod answers it.
            pulumi.ResourceOptions(parent=self, depends_on=[self.ready]),
        )
        self.version = self.istiod.status.app_version
        self.register_outputs({"version": self.version})

    def _node_agent(self, args: IstioMeshArgs) -> list[pulumi.Resource]:
        """Install the node agent if there is to be one; return what waits until it runs everywhere."""
        if not args.istio.cni:
            return []
        name = istio_cni_ready.NAMESPACE
        home = args.namespaces.make(name, self, level="privileged", policies=traffic_policies.node_agent_policies(name))
        values = cni_values(args.istio, args.images)
        installed = release("istio-cni", args.cni, name, values, pulumi.ResourceOptions(parent=self, depends_on=home))
        ready = project_command.run(
            "istio-cni-ready",
            "commands.istio_cni_ready",
            [
                *(*args.access.arguments(), "--timeout", str(args.istio.ready_timeout_seconds)),
                *project_command.digest(args.cni, values),
            ],
            pulumi.ResourceOptions(parent=self, depends_on=[installed]),
        )
        return [ready]


def base_values(istio: Istio) -> dict[str, Any]:
    """Return the values of the chart base."""
    return merged({"defaultRevision": "default"}, istio.base_values)


def istiod_values(istio: Istio, images: Images) -> dict[str, Any]:
    """Return the values of the chart istiod."""
    # The setting says how many there are; by default the chart leaves that to an autoscaler.
    values: dict[str, Any] = {
        "autoscaleEnabled": False,
        "replicaCount": istio.replicas,
        # What the chart's pods, and all sidecars, lack for the level `restricted`.
        "seccompProfile": POD["seccompProfile"],
        "global": {"proxy": {"seccompProfile": POD["seccompProfile"]}},
    }
    if istio.cni:
        values["cni"] = {"enabled": True}
    if istio.replicas > 1:
        # With several, the chart brings a disruption budget that keeps one.
        values["topologySpreadConstraints"] = spread({"app": "istiod"})
    if istio.resources:
        # Below `pilot`, as that is where profiles have theirs, which the chart lays over what stands at the top.
        values["pilot"] = {"resources": istio.resources}
    if istio.profile:
        values["profile"] = istio.profile
    if not istio.injection:
        # Without the webhook's configuration, pods start without asking for a sidecar.
        values["global"]["operatorManageWebhooks"] = True
    return merged(merged(values, istiod_images(images)), istio.istiod_values)


def cni_values(istio: Istio, images: Images) -> dict[str, Any]:
    """Return the values of the chart cni. Where nodes keep their plug-ins, the platform tells both charts."""
    platform = (istio.istiod_values.get("global") or {}).get("platform")
    values = {
        **({"profile": istio.profile} if istio.profile else {}),
        **({"global": {"platform": platform}} if platform else {}),
        # The chart's own requests, and the limit of memory that it lacks.
        "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"memory": "512Mi"}},
    }
    return merged(merged(values, cni_images(images)), istio.cni_values)


def peer_authentication(mtls: str) -> Mapping[str, Any]:
    """Return the rule for every workload of the mesh; in the root namespace it holds for all of them."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {"mtls": {"mode": mtls}},
    }


def _wait_arguments(args: IstioMeshArgs) -> list[str]:
    arguments = [*args.access.arguments(), "--timeout", str(args.istio.ready_timeout_seconds)]
    return arguments if args.istio.injection else [*arguments, "--no-injection"]
