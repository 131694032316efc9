"""A cluster, as far as the checks ask for it. A pod that is created there runs its command at once."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kube
from kube import ClusterError

from .clock import START
from .kiali import TOKEN

Object = dict[str, Any]


class Cluster(kube.Cluster):
    """`objects`: (kind, namespace) -> name -> object. `stranger`: where the pods' calls really go, host and port."""

    def __init__(self) -> None:
        super().__init__("", "fake")
        self.objects: dict[tuple[str, str], dict[str, Object]] = {}
        self.stranger = ("127.0.0.1", 9)
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

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return self.objects.get((kind, namespace), {}).get(name)

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> list[Object]:
        found = [
            item
            for (found, home), items in self.objects.items()
            if found == kind and namespace in (None, home)
            for item in items.values()
        ]
        return [item for item in found if has_labels(item, labels) and _has_fields(item, fields)]

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        kind, metadata = manifest["kind"], manifest["metadata"]
        assert not dry_run, "no webhook runs here"
        if kind == "Namespace":
            self.put("namespaces", "", manifest)
            return manifest
        namespace = metadata["namespace"]
        if namespace not in self.objects.get(("namespaces", ""), {}):
            raise ClusterError(f'namespaces "{namespace}" not found', code=404)
        ended = {"state": {"terminated": self._ran(manifest)}}
        self.put("pods", namespace, {**manifest, "status": {"phase": "Succeeded", "containerStatuses": [ended]}})
        return manifest

    def delete(self, kind: str, name: str, namespace: str = "", *, seconds: float = 0) -> bool:  # noqa: ARG002 -- gone at once
        self.objects.get((kind, namespace), {}).pop(name, None)
        if kind == "namespaces":
            self.objects.pop(("pods", name), None)
        return True

    def create_token(self, service_account: str, namespace: str) -> str:
        if (service_account, namespace) != ("kiali", "istio-system"):
            raise ClusterError(f"there is no service account {namespace}/{service_account}", code=404)
        return TOKEN

    def _ran(self, pod: Object) -> Object:
        container = pod["spec"]["containers"][0]
        host, port = self.stranger
        with tempfile.TemporaryDirectory() as folder:
            word = Path(folder) / "termination-log"
            given = {entry["name"]: entry["value"] for entry in container["env"]}
            environment = {"PATH": os.environ["PATH"], **given, "HOST": host, "PORT": str(port), "LAST_WORD": str(word)}
            done = subprocess.run(container["command"], env=environment, check=False, timeout=20)
            return {"exitCode": done.returncode, "message": word.read_text() if word.exists() else ""}


def has_labels(item: Object, selector: str) -> bool:
    """Return whether an object has labels such as `owner=helm,name in (istiod,kiali)`."""
    labels = item["metadata"].get("labels") or {}
    terms = re.findall(r"([^,=\s]+)(?:=([^,]*)| in \(([^)]*)\))", selector)
    return all(labels.get(key) in (any_of.split(",") if any_of else [value]) for key, value, any_of in terms)


def _has_fields(item: Object, selector: str) -> bool:
    fields = {"metadata.name": item["metadata"]["name"], "source": (item.get("source") or {}).get("component")}
    return all(fields[key] == value for key, _, value in (term.partition("=") for term in selector.split(",") if term))


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
