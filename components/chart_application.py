"""An application in the mesh that is a Helm chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.application import ApplicationOutputs, for_kong
from components.mesh import MeshOutputs
from components.namespace import GuardedNamespace, GuardedNamespaceArgs, NamespaceOutputs
from components.shared import project_command, traffic_policies, workloads_ready
from components.shared.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.shared.manifests import Manifest
from components.shared.releases import ChartSource, release
from components.shared.standards import Standards
from settings import Application, ApplicationChart


@dataclass(frozen=True, kw_only=True)
class ChartApplicationArgs:
    """`application`: the settings, `chart`: of these. `source`: where Helm finds it.

    `services`: what is known of the Services that are routed to, as manifests. `through_mesh`: Kong calls these, not
    their pods. `crds`: what creates the CRDs of the stack, which the chart may have objects of. `only_kong_calls`: nobody
    else may call the routed Service.
    """

    application: Application
    chart: ApplicationChart
    source: ChartSource
    services: Sequence[Manifest]
    through_mesh: bool
    mesh: MeshOutputs
    crds: Sequence[pulumi.Resource]
    standards: Standards
    only_kong_calls: bool = False


class ChartApplication(pulumi.ComponentResource):
    """A Helm release in a namespace of its own. Type `kong-istio:index:ChartApplication`.

    Creates: the Namespace, labelled for injection; the Release, once istiod injects and Kong runs; Command
    `<name>-pods-ready` (`python -m commands.workloads_ready`), which waits for what it made; Command
    `<name>-services-ready` (`python -m commands.services_ready`), which looks for the routed Services; a ServicePatch for
    each, which tells Kong how to call it; with `only_kong_calls` an AuthorizationPolicy for each.
    Outputs: `ApplicationOutputs`.
    Raises in `up`: the sentence of `<name>-pods-ready` after `chart.timeoutSeconds`; the sentence of `<name>-services-ready` for a Service
    that the chart did not make.
    """

    def __init__(self, name: str, args: ChartApplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        namespace = args.application.namespace
        super().__init__("kong-istio:index:ChartApplication", name, {"namespace": namespace}, opts)
        policies = traffic_policies.application_policies(namespace, args.services, args.application.routes)
        home = GuardedNamespace(
            namespace,
            GuardedNamespaceArgs(standards=args.standards, injects=args.mesh.ready, policies=policies, releases=True),
            pulumi.ResourceOptions(parent=self),
        ).outputs
        guarded = [*home.ready, args.mesh.ready, *args.crds, *self._only_kong_calls(name, home, args)]
        installed = release(
            args.chart.release_name or name,
            args.source,
            namespace,
            args.chart.values,
            pulumi.ResourceOptions(parent=self, depends_on=guarded),
            access=args.standards.access,
        )
        ready = workloads_ready.of_release(
            f"{name}-pods-ready",
            installed,
            namespace,
            pulumi.ResourceOptions(parent=self),
            access=args.standards.access,
            release=args.chart.release_name or name,
            seconds=args.chart.timeout_seconds,
            setting="chart.timeoutSeconds",
            looked_at=[args.source, args.chart.values],
        )
        self.outputs = ApplicationOutputs(
            namespace=namespace,
            services=self._services(name, installed, ready, args),
            manifests={item["metadata"]["name"]: item for item in args.services},
            # Those that the settings do not define, the chart does.
            plugins={plugin.name: ready for route in args.application.routes for plugin in route.plugins},
        )
        self.register_outputs({"namespace": namespace})

    def _only_kong_calls(
        self, name: str, home: NamespaceOutputs, args: ChartApplicationArgs
    ) -> Sequence[pulumi.Resource]:
        # The validation webhook refuses Istio's kinds until istiod answers it.
        opts = pulumi.ResourceOptions(parent=self, depends_on=[home.namespace, args.mesh.ready])
        policies = [traffic_policies.only_kong_calls(home.name, item) for item in args.services if args.only_kong_calls]
        return [KubernetesObject(f"{name}-{policy['metadata']['name']}", policy, opts) for policy in policies]

    def _services(
        self, name: str, installed: pulumi.Resource, ready: pulumi.Resource, args: ChartApplicationArgs
    ) -> Mapping[str, pulumi.Resource]:
        """Return the routed Services, found and annotated."""
        if not args.services:
            return {}
        found = project_command.run(
            f"{name}-services-ready",
            "commands.services_ready",
            args.standards.access,
            _arguments(args),
            pulumi.ResourceOptions(parent=self, depends_on=[installed, ready]),
        )
        # A patch of what is gone cannot be taken back, and a Service goes with its release.
        opts = pulumi.ResourceOptions(parent=self, depends_on=[found], deleted_with=installed)
        services: dict[str, pulumi.Resource] = {}
        for item in args.services:
            service = item["metadata"]["name"]
            annotations = for_kong(service, args.application, through_mesh=args.through_mesh)
            services[service] = _annotated(name, item, annotations, opts) if annotations else found
        return services


def _annotated(
    name: str, service: Manifest, annotations: Mapping[str, str], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    # Its pods are there.
    metadata = {**service["metadata"], "annotations": {**annotations, SKIP_AWAIT: "true"}}
    patch = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    return KubernetesObject(f"{name}-service-{metadata['name']}", patch, opts, adopt=True)


def _arguments(args: ChartApplicationArgs) -> list[project_command.Argument]:
    application, chart = args.application, args.chart
    services = [(item["metadata"]["name"], port["port"]) for item in args.services for port in item["spec"]["ports"]]
    return [
        *("--application", application.name, "--namespace", application.namespace),
        *("--release", chart.release_name or application.name),
        *(f"--service={name}={port}" for name, port in services),
        *project_command.digest(args.source, chart.values),
    ]
