"""Logs in by the commonest kubeconfigs, without the Kubernetes project's client, whose import takes a quarter of a second.

That is one file or content, no proxy, and a user with a client certificate or a token: what kind, k3s and the sandbox write.
All else is the client's to read, and so is whatever is wrong with it: nothing here raises.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import yaml

import quick_yaml
from names import IN_CLUSTER, is_kubeconfig

if TYPE_CHECKING:
    from urllib3 import PoolManager

_CLUSTER = {"server", "certificate-authority", "certificate-authority-data", "extensions"}
_USER = {"client-certificate", "client-certificate-data", "client-key", "client-key-data", "token"}


@dataclass(frozen=True, kw_only=True)
class Login:
    """An API server, and what lets one in. `credentials`: the headers of a request."""

    host: str
    pool: PoolManager
    credentials: Callable[[], Mapping[str, str]]


def read(kubeconfig: str, context: str, connections: int) -> Login | None:
    """Return the login, or None where it is the client's to read."""
    try:
        return None if kubeconfig == IN_CLUSTER or getproxies() else _read(kubeconfig, context, connections)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None


def _read(kubeconfig: str, context: str, connections: int) -> Login | None:
    from urllib3 import PoolManager

    path = Path() if is_kubeconfig(kubeconfig) else Path(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
    text = kubeconfig if is_kubeconfig(kubeconfig) else path.expanduser().read_text(encoding="utf-8")
    config = quick_yaml.load(text)
    used = _entry(config, "context", context)
    cluster, user = _entry(config, "cluster", used["cluster"]), _entry(config, "user", used["user"])
    host = cluster["server"].rstrip("/")
    if not (cluster.keys() <= _CLUSTER and user.keys() <= _USER and host.startswith(("http://", "https://"))):
        return None
    trust = _trust(cluster, user, path.expanduser().parent) if host.startswith("https:") else None
    headers = {"authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    return Login(host=host, pool=PoolManager(maxsize=connections, ssl_context=trust), credentials=lambda: headers)


def _entry(config: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    (found,) = [one[kind] for one in config[f"{kind}s"] if one["name"] == name]
    return dict(found)


def _trust(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    """Return whom to trust, and what to show. Files are relative to the kubeconfig's folder; what stands in it wins."""
    from urllib3.util.ssl_ import create_urllib3_context

    def bytes_of(fields: Mapping[str, Any], name: str) -> bytes:
        return b64decode(fields[f"{name}-data"]) if f"{name}-data" in fields else (folder / fields[name]).read_bytes()

    found = create_urllib3_context()
    if any(name.startswith("certificate-authority") for name in cluster):
        found.load_verify_locations(cadata=bytes_of(cluster, "certificate-authority").decode())
    else:
        found.load_default_certs()
    if any(name.startswith("client-") for name in user):
        # Python takes them from a file alone; only its owner may read this one, and it goes at once.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(bytes_of(user, "client-certificate") + b"\n" + bytes_of(user, "client-key"))
            file.flush()
            found.load_cert_chain(file.name, password=lambda: "")
    return found
