"""A namespace of the stack, with its Pod Security level and with the policies that guard its pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.shared import project_command
from components.shared.kubernetes_object import KubernetesObject
from components.shared.manifests import Manifest
from components.shared.pod_security import Level
from components.shared.standards import REVISION, SIDECARS, Standards


@dataclass(frozen=True, kw_only=True)
class GuardedNamespaceArgs:
    """`level`: of Pod Security; None for a namespace whose pods get a sidecar. `policies`: its NetworkPolicies.

    `injects`: what a namespace waits for that is moved to a revision: before its istiod injects, pods would start without one.

    `labels`, `annotations`: further ones. `releases`: Helm installs into it.
    """

    standards: Standards
    level: Level | None = None
    injects: pulumi.Resource | None = None
    policies: Sequence[Manifest] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    releases: bool = False


@dataclass(frozen=True, kw_only=True)
class NamespaceOutputs:
    """`namespace`: to depend on for what starts no pod. `ready`: for what does: also its guards and what it pulls with."""

    name: str
    namespace: pulumi.Resource
    ready: Sequence[pulumi.Resource]


class GuardedNamespace(pulumi.ComponentResource):
    """A namespace and what guards it. Type `kong-istio:index:GuardedNamespace`.

    Creates: the Namespace, called like the component; with `security.networkPolicies` its NetworkPolicies; for each of
    `images.pullSecrets` a Command that waits for that Secret. Pods that wait for `outputs.ready` are guarded from their
    start, and can pull. With `releases` also Command `<name>-pods-gone`, which does nothing until it is deleted: then it
    waits until the pods have ended, which Helm does not. A namespace that is deleted before takes half of their grace
    period to end, of Prometheus' 150 s.
    """

    def __init__(self, name: str, args: GuardedNamespaceArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("kong-istio:index:GuardedNamespace", name, {}, opts)
        # Before there was this component, its children were those of the component that it belongs to.
        moved = [pulumi.Alias(parent=opts.parent)]
        own = args.standards.namespace_labels(name, args.level)
        # The label without a revision would win.
        given = {key: value for key, value in args.labels.items() if key != SIDECARS or REVISION not in own}
        labels = {**given, **own}
        metadata: Any = {"name": name, "labels": labels}
        if args.annotations:
            metadata["annotations"] = dict(args.annotations)
        namespace = KubernetesObject(
            name,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
            pulumi.ResourceOptions(
                parent=self,
                protect=args.standards.protect,
                aliases=moved,
                depends_on=[args.injects] if args.injects and REVISION in own else None,
            ),
        )
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace], aliases=moved)
        guards = [
            KubernetesObject(f"{name}-{policy['metadata']['name']}", policy, inside)
            for policy in (args.policies if args.standards.network_policies else ())
        ]
        pods_gone = [
            project_command.run_when_deleted(
                f"{name}-pods-gone",
                "pods_gone",
                args.standards.access,
                ["--namespace", name],
                inside,
            )
            for _ in range(args.releases)
        ]
        pull_secrets = [
            args.standards.named_secrets.wait(f"{name}-pull-{secret}", "registry", name, secret, inside)
            for secret in args.standards.images.pull_secrets
        ]
        self.outputs = NamespaceOutputs(
            name=name, namespace=namespace, ready=[namespace, *pods_gone, *guards, *pull_secrets]
        )
        self.register_outputs({"name": name})
