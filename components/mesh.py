"""The Istio mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from cluster.access import Access
from components import commands
from components.charts import ChartSource, merged, release
from components.objects import KubernetesObject, namespace
from settings import Istio

NAMESPACE = "istio-system"


@dataclass(frozen=True, kw_only=True)
class IstioMeshArgs:
    """`istio`: the settings. `base`, `istiod`: the charts. `registry`: a mirror of the images, or empty."""

    istio: Istio
    base: ChartSource
    istiod: ChartSource
    access: Access
    registry: str = ""


class IstioMesh(pulumi.ComponentResource):
    """Istio's control plane. Type `kong-istio:index:IstioMesh`.

    Creates: Namespace `istio-system`; Release `istio-base` (definitions, validation webhook); Release `istiod`;
    Command `istiod-ready` (`python -m cluster.mesh_ready`); PeerAuthentication `default` for the whole mesh.
    Attributes: `namespace`; `definitions`, to depend on where Istio's kinds are needed; `ready`, to depend on where a
    pod starts that must have a sidecar; `base_version`, `version`: what the charts say is installed.
    Raises in `up`: the sentence of `istiod-ready`, after `istio.readyTimeoutSeconds`.
    """

    def __init__(self, name: str, args: IstioMeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:IstioMesh", name, {"mtls": args.istio.mtls}, opts)
        self.namespace = KubernetesObject(
            NAMESPACE, namespace(NAMESPACE, injected=False), pulumi.ResourceOptions(parent=self)
        )
        self.definitions = release(
            "istio-base",
            args.base,
            NAMESPACE,
            base_values(args.istio),
            pulumi.ResourceOptions(parent=self, depends_on=[self.namespace]),
        )
        values = istiod_values(args.istio, args.registry)
        self.istiod = release(
            "istiod",
            args.istiod,
            NAMESPACE,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=[self.definitions]),
        )
        self.ready = commands.run(
            "istiod-ready",
            "cluster.mesh_ready",
            [*_wait_arguments(args), *commands.digest(args.istiod, values)],
            pulumi.ResourceOptions(parent=self, depends_on=[self.istiod]),
        )
        KubernetesObject(
            "peer-authentication",
            peer_authentication(args.istio.mtls),
            # The validation webhook refuses Istio's kinds until istiod answers it.
            pulumi.ResourceOptions(parent=self, depends_on=[self.ready]),
        )
        self.version = self.istiod.status.app_version
        self.register_outputs({"version": self.version})


def base_values(istio: Istio) -> dict[str, Any]:
    """Return the values of the chart base."""
    return merged({"defaultRevision": "default"}, istio.base_values)


def istiod_values(istio: Istio, registry: str) -> dict[str, Any]:
    """Return the values of the chart istiod."""
    values: dict[str, Any] = {}
    if istio.profile:
        values["profile"] = istio.profile
    if not istio.injection:
        # Without the webhook's configuration, pods start without asking for a sidecar.
        values["global"] = {"operatorManageWebhooks": True}
    if registry:
        values = merged(values, {"global": {"hub": f"{registry}/release"}})
    return merged(values, istio.istiod_values)


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
