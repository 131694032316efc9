"""A Helm release as the cluster remembers it: Secrets, one a revision, each with what Helm knows, zipped."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from commands import ownership, rollouts
from components.shared import kubernetes_yaml
from kube import Cluster, Object
from recovery import RecoveryError

_KEEP = "helm.sh/resource-policy"
_GONE_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class HelmRelease:
    """A release. `secrets`: of its revisions, the newest last."""

    namespace: str
    name: str
    secrets: list[Object]

    @classmethod
    def find(cls, cluster: Cluster, namespace: str, name: str) -> HelmRelease | None:
        """Return a release, or None where Helm remembers none."""
        found = cluster.list("secrets", namespace, labels=f"owner=helm,name={name}")
        secrets = sorted(found, key=lambda each: int(each["metadata"]["labels"]["version"]))
        return cls(namespace=namespace, name=name, secrets=secrets) if secrets else None

    @property
    def status(self) -> str:
        """What Helm wrote last: such as deployed, failed, pending-install, pending-upgrade and uninstalling."""
        return str(self.secrets[-1]["metadata"]["labels"]["status"])

    def uninstall(self, cluster: Cluster) -> None:
        """Delete the release and its objects, save those that the chart says are to be kept."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda item: delete(cluster, item), self._own(cluster)))
        for secret in self.secrets:
            delete(cluster, secret)

    def fail(self, cluster: Cluster) -> None:
        """Write down that the last revision failed, as Helm does unless it is killed: it then takes an upgrade."""
        secret = self.secrets[-1]
        told = _unpacked(secret)
        told["info"]["status"] = "failed"
        packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(told).encode()))).decode()
        labels = {**secret["metadata"]["labels"], "status": "failed"}
        patch = {"metadata": {"labels": labels}, "data": {"release": packed}}
        cluster.patch("secrets", secret["metadata"]["name"], self.namespace, patch)

    def trouble(self, cluster: Cluster) -> str:
        """Return what keeps its workloads from being available, as ` (…)`; empty where nothing does, or nothing is known."""
        own = [(item["kind"], item["metadata"]["name"]) for item in self._listed() if item["kind"] in rollouts.COMPLETE]
        return next(filter(None, (rollouts.trouble(cluster, self.namespace, name, kind) for kind, name in own)), "")

    def _listed(self) -> list[Object]:
        """Return the manifests of every revision."""
        texts = {str(_unpacked(secret).get("manifest") or "") for secret in self.secrets}
        return [document.value for text in texts for document in kubernetes_yaml.read(text.encode()) if document.value]

    def _own(self, cluster: Cluster) -> Iterator[Object]:
        """Yield what there is of its objects, save those that are to be kept."""
        seen = set()
        for item in self._listed():
            found = live(cluster, item, self.namespace)
            if not found or found["metadata"]["uid"] in seen or ownership.release_of(found) != self.name:
                continue
            seen.add(found["metadata"]["uid"])
            if (found["metadata"].get("annotations") or {}).get(_KEEP) != "keep":
                yield found


def live(cluster: Cluster, manifest: Object, namespace: str = "default") -> Object | None:
    """Return the object of a manifest as the cluster has it; `namespace`: unless the manifest says."""
    metadata = manifest["metadata"]
    return cluster.get(kind_of(manifest), metadata["name"], metadata.get("namespace") or namespace)


def kind_of(manifest: Object) -> str:
    """Return the kind with its group, as kubectl would take it."""
    group, slash, _ = str(manifest["apiVersion"]).rpartition("/")
    return f"{manifest['kind']}.{group}" if slash else str(manifest["kind"])


def delete(cluster: Cluster, item: Object) -> None:
    """Delete an object, and wait until it is gone. Raises `RecoveryError`."""
    metadata = item["metadata"]
    if not cluster.delete(kind_of(item), metadata["name"], metadata.get("namespace", ""), seconds=_GONE_SECONDS):
        raise RecoveryError(
            f"The {item['kind']} {metadata['name']} is not gone {_GONE_SECONDS} s after its deletion: look at what waits in its "
            "metadata.finalizers."
        )


def _unpacked(secret: Object) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"])))))
