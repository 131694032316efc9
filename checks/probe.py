"""A stranger to the mesh: a pod outside it that sends one request in plain text and tells what came back.

It lives in a namespace of its own, which goes when the block ends, whatever ends that: a failure and Ctrl-C too.
It runs Kong's image, which is on Kong's node already and has bash, whatever the applications' images have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from checks import endpoints
from checks.framework import Failed, NotChecked, eventually
from checks.target import RoutedApplication, Target
from kube import ClusterError
from names import KONG_NAMESPACE, PROBE_NAMESPACE

_OWNED = {"app.kubernetes.io/managed-by": PROBE_NAMESPACE}
_KONG_CONTAINER = "proxy"
_GONE_SECONDS = 60
_CREATED_SECONDS = 20
_POD_SECONDS = 90
_POD_DEADLINE_SECONDS = 60
_PAUSE = 1
_STATUS = re.compile(r"HTTP/[\d.]+ (\d{3})")

# Its last word goes where the kubelet picks it up. A refused connection and one that is cut are different things:
# only the second one was accepted, and then refused by whoever read the request.
_SCRIPT = r"""
tell() { printf '%s' "$1" > "${LAST_WORD:-/dev/termination-log}"; exit 0; }
exchange() {
  exec 3<>"/dev/tcp/$HOST/$PORT" || exit 3
  printf 'GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n' "$TARGET_PATH" "$HOST" "$PORT" >&3
  IFS= read -r -t 10 line <&3
  (( $? > 128 )) && exit 4
  printf '%s' "${line%$'\r'}"
}
line=$(trap '' PIPE; exchange 2>/dev/null)
case $? in
  3) tell unreachable ;;
  4) tell silent ;;
esac
tell "${line:-closed}"
"""


@dataclass(frozen=True)
class Reply:
    """What the stranger got: an HTTP status, or 0 and how its request ended."""

    status: int
    how: str


Ask = Callable[[RoutedApplication], Reply]


def host(application: RoutedApplication) -> str:
    """Return the name by which a pod calls an application's Service."""
    return f"{application.service}.{application.namespace}.svc"


@contextmanager
def outside(target: Target) -> Iterator[Ask]:
    """Give what sends a request to an application from outside the mesh."""
    _check_namespace_is_free(target)
    try:
        eventually(lambda: _create(target, _namespace()), _CREATED_SECONDS, _PAUSE)
        yield lambda application: _ask(target, application)
    finally:
        # Without waiting for its end, which Ctrl-C should not have to do.
        endpoints.ask(target, lambda cluster: cluster.delete("namespaces", PROBE_NAMESPACE))


def _check_namespace_is_free(target: Target) -> None:
    """Clear away what a run left that was killed; raise `NotChecked` for a namespace that is somebody else's."""

    def look() -> None:
        found = endpoints.ask(target, lambda cluster: cluster.get("namespaces", PROBE_NAMESPACE))
        if not found:
            return
        labels = found["metadata"].get("labels") or {}
        if not _OWNED.items() <= labels.items():
            raise NotChecked(f"there is a namespace {PROBE_NAMESPACE} that no check created")
        if not found["metadata"].get("deletionTimestamp"):
            endpoints.ask(target, lambda cluster: cluster.delete("namespaces", PROBE_NAMESPACE))
        raise Failed(
            f"no namespace {PROBE_NAMESPACE}",
            "one that an earlier run left, and that does not go",
            cause="something in it waits for a finalizer",
            look=target.command("get", "namespace", PROBE_NAMESPACE, "--output=yaml"),
        )

    eventually(look, _GONE_SECONDS, _PAUSE)


def _create(target: Target, manifest: dict[str, Any]) -> None:
    try:
        target.cluster.create(manifest)
    except ClusterError as error:
        raise Failed(
            f"{manifest['kind']} {manifest['metadata']['name']} created",
            str(error).rstrip("."),
            cause="this user may not create it, or a policy of the cluster forbids it",
            look=target.command("auth", "can-i", "create", "namespaces,pods", "--namespace", PROBE_NAMESPACE),
        ) from None


def _ask(target: Target, application: RoutedApplication) -> Reply:
    kong = _kong_pod(target)
    pod = _pod(kong, application)
    # The namespace's service account, without which no pod is admitted, comes a moment after the namespace.
    eventually(lambda: _create(target, pod), _CREATED_SECONDS, _PAUSE)
    said = eventually(lambda: _last_word(target, pod["metadata"]["name"]), _POD_SECONDS, _PAUSE)
    if said == "unreachable":
        raise NotChecked(
            f"a pod in {PROBE_NAMESPACE} cannot connect to {host(application)}: that says nothing of the mesh"
        )
    if found := _STATUS.match(said):
        return Reply(int(found[1]), f"is answered {found[1]}")
    return Reply(0, {"closed": "is cut off", "silent": "gets no answer"}.get(said, f"is answered “{said[:40]}”"))


def _kong_pod(target: Target) -> dict[str, Any]:
    labels = "app.kubernetes.io/component=app"
    pods = endpoints.ask(target, lambda cluster: cluster.list("pods", KONG_NAMESPACE, labels=labels))
    if not pods:
        raise NotChecked(f"no pod of Kong in {KONG_NAMESPACE}, whose image the check would run")
    return pods[0]


def _last_word(target: Target, name: str) -> str:
    pod = endpoints.ask(target, lambda cluster: cluster.get("pods", name, PROBE_NAMESPACE)) or {}
    status = pod.get("status") or {}
    if status.get("reason") == "DeadlineExceeded":
        return "unreachable"
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return str(ended.get("message") or f"exit code {ended.get('exitCode')}")
    raise Failed(
        f"the pod {PROBE_NAMESPACE}/{name} to run and end",
        f"it is {status.get('phase', 'not there')}",
        cause="its image cannot be pulled, or no node takes it",
        look=target.command("get", "events", "--namespace", PROBE_NAMESPACE),
    )


def _namespace() -> dict[str, Any]:
    labels = {**_OWNED, "istio-injection": "disabled"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PROBE_NAMESPACE, "labels": labels}}


def _pod(kong: dict[str, Any], application: RoutedApplication) -> dict[str, Any]:
    """Return a pod that even the strictest Pod Security level admits."""
    images = {container["name"]: container["image"] for container in kong["spec"]["containers"]}
    environment = {"HOST": host(application), "PORT": str(application.port), "TARGET_PATH": application.path}
    container = {
        "name": "stranger",
        "image": images[_KONG_CONTAINER],
        "command": ["bash", "-c", _SCRIPT],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"stranger-to-{application.name}"[:63],
            "namespace": PROBE_NAMESPACE,
            "labels": {**_OWNED, "sidecar.istio.io/inject": "false"},
        },
        "spec": {
            # Where the image is.
            "nodeName": kong["spec"]["nodeName"],
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _POD_DEADLINE_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }
