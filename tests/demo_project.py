"""A small project with all that a program may register: components, providers, a chart, a command, a secret."""

from __future__ import annotations

from pathlib import Path

MANIFEST = """
name: demo
runtime: python
config:
  replicas: {type: integer, default: 2}
  debug: {type: boolean, default: false}
  names: {type: array, items: {type: string}, default: [b, a]}
  more: {type: object, default: {}}
  version: {type: string, default: ""}
  password: {type: string}
  pulumi:disable-default-providers: {value: ["*"]}
"""

PROGRAM = """
import pulumi, pulumi_command, pulumi_kubernetes as k8s

config = pulumi.Config()
if config.require_int("replicas") > 9:
    raise pulumi.RunError("demo:replicas is too large.")
more = config.require_object("more")
password = config.require_secret("password")
cluster = k8s.Provider("cluster", kubeconfig=more.get("kubeconfig"), context=more.get("context"))
local = pulumi_command.Provider("local")
prefix = more.get("prefix", "demo")


class Part(pulumi.ComponentResource):
    def __init__(self, name, opts):
        super().__init__("demo:index:Part", name, {}, opts)
        self.namespace = k8s.core.v1.Namespace(
            f"{name}-namespace", metadata={"name": f"{prefix}-{name}"}, opts=pulumi.ResourceOptions(parent=self)
        )
        self.secret = k8s.core.v1.Secret(
            f"{name}-secret",
            metadata={"name": "login", "namespace": self.namespace.metadata["name"]},
            string_data={"password": password},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.deployment = k8s.apps.v1.Deployment(
            f"{name}-deployment",
            metadata={"name": "web", "namespace": self.namespace.metadata["name"]},
            spec={
                "replicas": config.require_int("replicas"),
                "selector": {"match_labels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "web"}]},
                },
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


check = pulumi_command.local.Command(
    "check", create="echo checked $WHO", environment={"WHO": "it"}, opts=pulumi.ResourceOptions(provider=local)
)
first = Part("first", pulumi.ResourceOptions(providers=[cluster], depends_on=[check]))
second = Part("second", pulumi.ResourceOptions(providers=[cluster], depends_on=[first]))
chart = k8s.helm.v3.Release(
    "chart",
    name="chart",
    namespace=first.namespace.metadata["name"],
    chart="chart",
    values={"replicas": 1},
    opts=pulumi.ResourceOptions(provider=cluster),
)
pulumi.export("chart", chart.status.version)
pulumi.export("checked", check.stdout)
pulumi.export("password", password)
"""

CHART = """
apiVersion: v1
kind: ConfigMap
metadata: {name: chart}
data: {replicas: "{{ .Values.replicas }}"}
"""


def make_demo(folder: Path) -> Path:
    """Write the project into a folder."""
    (folder / "Pulumi.yaml").write_text(MANIFEST)
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "chart" / "templates").mkdir(parents=True)
    (folder / "chart" / "Chart.yaml").write_text("{apiVersion: v2, name: chart, version: 1.2.3}")
    (folder / "chart" / "templates" / "all.yaml").write_text(CHART)
    return folder
