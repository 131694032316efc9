"""The Istio mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi

from components.namespace import GuardedNamespace, GuardedNamespaceArgs, NamespaceOutputs
from components.shared import project_command, revision_tags, traffic_policies
from components.shared.images import cni_images, istiod_images
from components.shared.kubernetes_object import KubernetesObject
from components.shared.manifests import Manifest
from components.shared.merging import merged
from components.shared.pod_security import POD, Level
from components.shared.releases import ChartSource, Release, release
from components.shared.scheduling import spread
from components.shared.standards import Standards
from names import ISTIO_BASE, ISTIO_CNI, ISTIO_CNI_NAMESPACE, ISTIO_NAMESPACE, ISTIOD, of_revision
from settings import Images, Istio
from settings.control_planes import ControlPlane, control_planes, of_tag, stable, tags


@dataclass(frozen=True, kw_only=True)
class IstioMeshArgs:
    """`istio`: the settings. `charts`: the sources of base, istiod and cni, and of a canary's istiod by its release's name.

    `level`: of Pod Security, of istio-system, which the dashboards are in as well. `leftovers`: makes what a destroy clears, once
    there is the namespace given.
    """

    istio: Istio
    charts: Mapping[str, ChartSource]
    standards: Standards
    level: Level = "restricted"
    leftovers: Callable[[pulumi.Resource], pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class MeshOutputs:
    """`namespace`: istio-system. `crds`: to depend on where Istio's kinds are needed. `version`: of istiod's chart.

    `installed`: to depend on for what is best made while istiod starts.

    `digest`: an argument that changes with the control planes. `ready`: to depend on where a pod starts that must have a sidecar, and where one of Istio's kinds is created, which
    its validation webhook refuses until istiod answers.
    """

    namespace: NamespaceOutputs
    crds: pulumi.Resource
    installed: Sequence[pulumi.Resource]
    ready: pulumi.Resource
    version: pulumi.Output[str]
    digest: Sequence[str]


class IstioMesh(pulumi.ComponentResource):
    """Istio's control plane. Type `kong-istio:index:IstioMesh`.

    Creates: Namespace `istio-system`; Release `istio-base` (CRDs, validation webhook); for each control plane a Release,
    `istiod` or `istiod-<revision>`, whatever its part: a canary that becomes the stable one stays the same resource; Command
    `istiod-ready` (`python -m commands.istiod_ready`) waits for all of them; for each also Command `<release>-unused`, which does
    nothing until it is deleted, and then refuses while pods have its sidecars, unless the whole stack goes; for each revision tag
    a MutatingWebhookConfiguration `istio-revision-tag-<tag>`; PeerAuthentication `default` for the whole mesh.
    With `istio.cni` also Namespace and Release `istio-cni`, and Command `istio-cni-ready`
    (`python -m commands.istio_cni_ready`). What istio-cni does to nodes only the level `privileged` admits, so it has a
    namespace of its own.
    Outputs: `MeshOutputs`.
    Raises in `up`: the sentence of `istiod-ready` or `istio-cni-ready`, after `istio.readyTimeoutSeconds`.
    """

    def __init__(self, name: str, args: IstioMeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:IstioMesh", name, {"mtls": args.istio.mtls}, opts)
        home = self._namespace(ISTIO_NAMESPACE, args.level, traffic_policies.mesh_policies(), args)
        namespace = replace(home, ready=[*home.ready, args.leftovers(home.namespace)])
        crds = release(
            ISTIO_BASE,
            args.charts["base"],
            ISTIO_NAMESPACE,
            base_values(args.istio),
            pulumi.ResourceOptions(parent=self, depends_on=namespace.ready),
            access=args.standards.access,
        )
        digest = project_command.digest(*_looked_at(args))
        installed = [self._istiod(plane, args, crds) for plane in control_planes(args.istio)]
        ready = project_command.run(
            "istiod-ready",
            "commands.istiod_ready",
            args.standards.access,
            [*_wait_arguments(args), *digest],
            # Without istio-cni where it is to be, a pod would start with its traffic unredirected.
            pulumi.ResourceOptions(parent=self, depends_on=[*self._unused(args, installed), *self._istio_cni(args)]),
        )
        KubernetesObject(
            "peer-authentication",
            peer_authentication(args.istio.mtls),
            pulumi.ResourceOptions(parent=self, depends_on=[ready]),
        )
        self._revision_tags(args, ready)
        self.outputs = MeshOutputs(
            namespace=namespace,
            crds=crds,
            installed=installed,
            ready=ready,
            version=installed[0].app_version,
            digest=digest,
        )
        self.register_outputs({"version": self.outputs.version})

    def _namespace(
        self, name: str, level: Level, policies: Sequence[Manifest], args: IstioMeshArgs
    ) -> NamespaceOutputs:
        given = GuardedNamespaceArgs(standards=args.standards, level=level, policies=policies, releases=True)
        return GuardedNamespace(name, given, pulumi.ResourceOptions(parent=self)).outputs

    def _istiod(self, plane: ControlPlane, args: IstioMeshArgs, crds: pulumi.Resource) -> Release:
        return release(
            of_revision(ISTIOD, plane.revision),
            chart_of(plane, args.charts),
            ISTIO_NAMESPACE,
            istiod_values(args.istio, args.standards.images, plane),
            pulumi.ResourceOptions(parent=self, depends_on=[crds]),
            access=args.standards.access,
        )

    def _unused(self, args: IstioMeshArgs, installed: Sequence[Release]) -> list[pulumi.Resource]:
        """Return what stands before the deletion of each control plane; to depend on in place of it."""
        return [
            project_command.run_when_deleted(
                f"{of_revision(ISTIOD, plane.revision)}-unused",
                "unused_revision",
                args.standards.access,
                ["--revision", plane.label],
                pulumi.ResourceOptions(parent=self, depends_on=[release]),
            )
            for plane, release in zip(control_planes(args.istio), installed, strict=True)
        ]

    def _revision_tags(self, args: IstioMeshArgs, ready: pulumi.Resource) -> None:
        for tag in tags(args.istio) if args.istio.injection else ():
            plane = of_tag(args.istio, tag)
            values = istiod_values(args.istio, args.standards.images, plane)
            made = revision_tags.webhooks_of(tag, plane, (values.get("istiodRemote") or {}).get("injectionURL", ""))
            KubernetesObject(made["metadata"]["name"], made, pulumi.ResourceOptions(parent=self, depends_on=[ready]))

    def _istio_cni(self, args: IstioMeshArgs) -> list[pulumi.Resource]:
        """Install istio-cni if the settings say so; return what waits until it runs on every node."""
        if not args.istio.cni:
            return []
        policies = traffic_policies.istio_cni_policies(ISTIO_CNI_NAMESPACE)
        namespace = self._namespace(ISTIO_CNI_NAMESPACE, "privileged", policies, args)
        values = cni_values(args.istio, args.standards.images)
        installed = release(
            ISTIO_CNI,
            args.charts["cni"],
            ISTIO_CNI_NAMESPACE,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=namespace.ready),
            access=args.standards.access,
        )
        ready = project_command.run(
            "istio-cni-ready",
            "commands.istio_cni_ready",
            args.standards.access,
            [
                *("--timeout", str(args.istio.ready_timeout_seconds)),
                *project_command.digest(args.charts["cni"], values),
            ],
            pulumi.ResourceOptions(parent=self, depends_on=[installed]),
        )
        return [ready]


def base_values(istio: Istio) -> dict[str, Any]:
    """Return the values of the chart base, whose webhook has Istio's objects validated by the stable control plane."""
    return merged({"defaultRevision": stable(istio).label}, istio.base_values)


def chart_of(plane: ControlPlane, charts: Mapping[str, ChartSource]) -> ChartSource:
    """Return the source of a control plane's chart."""
    return charts.get(of_revision(ISTIOD, plane.revision), charts[ISTIOD])


def istiod_values(istio: Istio, images: Images, plane: ControlPlane | None = None) -> dict[str, Any]:
    """Return the values of the chart istiod for one of the control planes; without one for the stable one."""
    plane = plane or stable(istio)
    # The setting says how many there are; by default the chart leaves that to an autoscaler.
    values: dict[str, Any] = {
        "autoscaleEnabled": False,
        "replicaCount": istio.replicas,
        # What the chart's pods, and all sidecars, lack for the level `restricted`.
        "seccompProfile": POD["seccompProfile"],
        "global": {"proxy": {"seccompProfile": POD["seccompProfile"]}},
    }
    labels = {"istio.io/rev": plane.revision} if plane.revision else {}
    if plane.revision:
        values["revision"] = plane.revision
    if istio.cni:
        values["cni"] = {"enabled": True}
    if istio.replicas > 1:
        # With several, the chart brings a disruption budget that keeps one.
        values["topologySpreadConstraints"] = spread({"app": "istiod", **labels})
    if istio.resources:
        # Below `pilot`, as that is where profiles have theirs, which the chart lays over what stands at the top.
        values["pilot"] = {"resources": istio.resources}
    if istio.profile:
        values["profile"] = istio.profile
    if not istio.injection:
        # Without the webhook's configuration, pods start without asking for a sidecar.
        values["global"]["operatorManageWebhooks"] = True
    return merged(merged(merged(values, istiod_images(images)), istio.istiod_values), plane.values)


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
        "metadata": {"name": "default", "namespace": ISTIO_NAMESPACE},
        "spec": {"mtls": {"mode": mtls}},
    }


def _wait_arguments(args: IstioMeshArgs) -> list[str]:
    revisions = [plane.revision for plane in control_planes(args.istio)]
    return [
        *("--timeout", str(args.istio.ready_timeout_seconds)),
        *(f"--revision={revision}" for revision in revisions if revisions != [""]),
        *([] if args.istio.injection else ["--no-injection"]),
    ]


def _looked_at(args: IstioMeshArgs) -> list[Any]:
    planes = control_planes(args.istio)
    values = [istiod_values(args.istio, args.standards.images, plane) for plane in planes]
    return [
        each for pair in zip([chart_of(plane, args.charts) for plane in planes], values, strict=True) for each in pair
    ]
