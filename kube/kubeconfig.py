"""What leads to a cluster: the path of a kubeconfig, its content, or the service account of the pod that this runs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

import quick_yaml
from kube.errors import ClusterError
from names import IN_CLUSTER, is_kubeconfig

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def shown(given: str) -> str:
    """Return what a sentence calls a kubeconfig; never what is in it."""
    if is_kubeconfig(given):
        return "in the settings"
    return "of this pod's service account" if given == IN_CLUSTER else given


def content(given: str) -> str:
    """Return the content that is given, or made of the pod's service account. Raises `ClusterError`."""
    return _of_the_pod() if given == IN_CLUSTER else given


def parsed(given: str) -> dict[str, Any]:
    """Return a content's fields. Raises `ClusterError` for what is none."""
    try:
        found = quick_yaml.load(content(given))
    except (ValueError, yaml.YAMLError):
        # What it says may quote the text, and with it a secret.
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("clusters"), list):
        raise ClusterError(
            f"The kubeconfig {shown(given)} has no clusters, so it is none: store what `kubectl config view --minify --flatten "
            "--raw` prints."
        )
    return found


def _of_the_pod() -> str:
    """Return a kubeconfig that names the token and the CA by their files, which Kubernetes renews; no secret is in it."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host or not (_ACCOUNT / "token").is_file():
        raise ClusterError(
            f"kubeconfig is {IN_CLUSTER}, and this is no pod with a service account (KUBERNETES_SERVICE_HOST, "
            f"{_ACCOUNT}/token): run Pulumi in one, or set kubeconfig to a file."
        )
    server = f"https://{f'[{host}]' if ':' in host else host}:{port or 443}"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": IN_CLUSTER,
                    "cluster": {"server": server, "certificate-authority": os.fspath(_ACCOUNT / "ca.crt")},
                }
            ],
            "users": [{"name": IN_CLUSTER, "user": {"tokenFile": os.fspath(_ACCOUNT / "token")}}],
            "contexts": [{"name": IN_CLUSTER, "context": {"cluster": IN_CLUSTER, "user": IN_CLUSTER}}],
        }
    )
