"""A cluster, as far as the checks ask kubectl for it. A pod that is created there runs its command at once."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commands.kubectl import Kubectl, KubectlError

from .clock import START
from .kiali import TOKEN

Object = dict[str, Any]


class Cluster(Kubectl):
    """`objects`: (kind, namespace) -> name -> object. `stranger`: where the pods' calls really go, host and port."""

    def __init__(self) -> None:
        super().__init__([])
        self.objects: dict[tuple[str, str], dict[str, Object]] = {}
        self.stranger = ("127.0.0.1", 9)
        self.commands: list[str] = []
        self.put("pods", "kong-istio", _kong_pod())
        self.put("ingresses", "bookinfo", _ingress())
        self.put("kongplugins.configuration.konghq.com", "bookinfo", _plugin())
        done = "successfully applied Kong configuration to https://localhost:8444"
        self.put("events", "", event("Pod", "kong-istio", "kong-istio-kong-0", "KongConfigurationSucceeded", done, -30))
        for name in ("prometheus", "grafana", "kiali"):
            self.put("services", "istio-system", {"metadata": {"name": name}, "spec": {"type": "ClusterIP"}})

    def put(self, kind: str, namespace: str, item: Object) -> None:
        self.objects.setdefault((kind, namespace), {})[item["metadata"]["name"]] = item

    def refuse(self, kind: str, namespace: str, name: str) -> None:
        """Have the controller tell that it refuses an object."""
        self.put("events", "", event(kind, namespace, name, "KongConfigurationApplyFailed", "invalid path", 5))

    def get(self, *arguments: str) -> Object | None:
        kind, name, *options = arguments
        kinds = {"ingress": "ingresses"}.get(kind, f"{kind}s")
        return self.objects.get((kinds, _namespace(options)), {}).get(name)

    def list(self, *arguments: str) -> list[Object]:
        kind, *options = arguments
        return list(self.objects.get((kind, _namespace(options)), {}).values())

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        self.commands.append(" ".join(arguments))
        if arguments[:3] == ("create", "token", "kiali"):
            return f"{TOKEN}\n"
        if arguments[0] == "create" and stdin:
            self._create(json.loads(stdin))
            return ""
        if arguments[:2] == ("delete", "namespace"):
            self.objects.get(("namespaces", ""), {}).pop(arguments[2], None)
            self.objects.pop(("pods", arguments[2]), None)
            return ""
        raise KubectlError(f"this cluster does not know {' '.join(arguments)}")

    def _create(self, item: Object) -> None:
        if item["kind"] == "Namespace":
            self.put("namespaces", "", item)
            return
        namespace = item["metadata"]["namespace"]
        if namespace not in self.objects.get(("namespaces", ""), {}):
            raise KubectlError(f'namespaces "{namespace}" not found')
        item["status"] = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": self._ran(item)}}]}
        self.put("pods", namespace, item)

    def _ran(self, pod: Object) -> Object:
        container = pod["spec"]["containers"][0]
        host, port = self.stranger
        with tempfile.TemporaryDirectory() as folder:
            word = Path(folder) / "termination-log"
            given = {entry["name"]: entry["value"] for entry in container["env"]}
            environment = {"PATH": os.environ["PATH"], **given, "HOST": host, "PORT": str(port), "LAST_WORD": str(word)}
            done = subprocess.run(container["command"], env=environment, check=False, timeout=20)
            return {"exitCode": done.returncode, "message": word.read_text() if word.exists() else ""}


def _namespace(options: tuple[str, ...] | list[str]) -> str:
    return next((option.partition("=")[2] for option in options if option.startswith("--namespace=")), "")


def _kong_pod() -> Object:
    containers = [
        {"name": "ingress-controller", "image": "kong/kubernetes-ingress-controller:3.5.13"},
        {"name": "proxy", "image": "kong:3.9.1"},
    ]
    labels = {"app.kubernetes.io/component": "app", "app.kubernetes.io/instance": "kong-istio"}
    metadata = {"name": "kong-istio-kong-0", "namespace": "kong-istio", "labels": labels}
    return {
        "metadata": metadata,
        "spec": {"nodeName": "node-0", "containers": containers},
        "status": {"phase": "Running"},
    }


def _ingress() -> Object:
    annotations = {"konghq.com/plugins": "rate-limit", "konghq.com/preserve-host": "false"}
    backend = {"service": {"name": "productpage", "port": {"number": 9080}}}
    path = {"backend": backend, "path": "/", "pathType": "ImplementationSpecific"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**_named("productpage"), "annotations": annotations},
        "spec": {"ingressClassName": "kong", "rules": [{"http": {"paths": [path]}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.97.0.100"}]}},
    }


def _plugin() -> Object:
    return {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongPlugin",
        "metadata": _named("rate-limit"),
        "plugin": "rate-limiting",
        "config": {"minute": 30, "policy": "local"},
    }


def _named(name: str) -> Object:
    return {"name": name, "namespace": "bookinfo", "creationTimestamp": _stamp(-60)}


def event(kind: str, namespace: str, name: str, reason: str, message: str, seconds: float) -> Object:
    """Return an event of the controller's."""
    about = {"apiVersion": "v1", "kind": kind, "name": name, "namespace": namespace}
    return {
        "metadata": {"name": f"{name}.{reason}"},
        "reason": reason,
        "type": "Normal" if reason.endswith("Succeeded") else "Warning",
        "message": message,
        "involvedObject": about,
        "reportingComponent": "kong-client",
        "source": {"component": "kong-client"},
        "lastTimestamp": _stamp(seconds),
        "eventTime": None,
        "series": None,
        "count": 25,
    }


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
