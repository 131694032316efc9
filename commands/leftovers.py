"""Clears away what Helm leaves of Istio and Kong, and nothing that the stack did not make.

The stack's state carries the text of this file, so that a destroy needs nothing of a checkout: it imports the standard
library alone, and asks the API server by the package kubernetes or, without it, by kubectl.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

Object = dict[str, Any]
Objects = list[Object]

#: The label of Kong's CRDs that are the stack's; Istio's are known by Helm's annotations.
MARK = "kong-istio/release"
#: The annotation in which istiod says what it did to a pod.
STATUS = "sidecar.istio.io/status"
KONG_NAMESPACE, KONG_DEPLOYMENT = "kong-istio", "kong-istio-kong"
_KONG_CONTROLLERS = ("kubernetes-ingress-controller", "kong-operator", "gateway-operator")

# istiod writes them into every namespace that it serves, over what is there
# (istio: pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
_CONFIG_MAPS = ("istio-ca-root-cert", "istio-ca-crl")
# It creates its GatewayClasses where the kind is there (istio: pilot/pkg/config/kube/gatewaycommon/gatewayclass.go).
_GATEWAY_CONTROLLERS = "istio.io/"
_ISTIODS_MANAGER = "pilot-discovery"  # the name of its program, with which it begins

# In place of a kubeconfig: the service account of the pod that this runs in.
_IN_CLUSTER = "in-cluster"

_GONE_SECONDS = 60
# The longest grace period of the stack's pods, which is Prometheus'.
_PODS_SECONDS = 300
# So soon after a Deployment the garbage collector has begun with its pods.
_COLLECTED_SECONDS = 3
_PATIENCE_SECONDS = 60
_ANSWER_SECONDS = 30
_PAUSE_SECONDS = 0.5
_AT_ONCE = 16
# Pods in a sentence.
_SHOWN = 5
_REMEDY = (
    "Where the cluster is gone for good, `PULUMI_K8S_DELETE_UNREACHABLE=true pulumi destroy --refresh` has the stack forget "
    "it."
)
_MOVED = (
    "Nothing was deleted: the context {context} leads to another cluster than the stack is in (its kube-system is {found}, "
    "and was {own}): have the context lead to that one, or, where it is gone, `pulumi state delete --all --force --stack "
    "{stack}` has the stack forget it and touches no cluster."
)
_PASSING = (429, 500, 502, 503, 504)


class LeftoversError(Exception):
    """Why something is left, in one sentence."""


class UnreachableError(LeftoversError):
    """A cluster that does not answer, or that the kubeconfig does not know."""


class Cluster(Protocol):
    """What is asked here; `kube.Cluster` answers it too."""

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Objects:
        """Return the objects of a kind; none where there is no such kind."""


def main() -> None:
    """Clear up from the command line."""
    options = _options()
    api = Api(options.kubeconfig, options.context)
    own, found = os.environ.get("CLUSTER_UID"), api.uid()
    if own not in (None, found):
        if options.guard:
            raise LeftoversError(_MOVED.format(context=options.context, found=found, own=own, stack=options.guard))
        # A context may lead to another cluster than when the stack came up. What was to be cleared went with its own.
        print(
            f"The context {options.context} leads to another cluster than the stack was in: nothing was done.",
            file=sys.stderr,
        )
        return
    if options.guard:
        return
    if options.pods_of:
        wait_for_pods(api, options.pods_of)
        return
    if options.unused_revision:
        refuse_while_used(api, options.unused_revision)
        return
    # First, as what is Istio's is told by the age of its CRDs.
    classes, maps = gateway_classes(api, options.istio), config_maps(api, options.istio)
    api.delete("gatewayclasses", [item for item in classes if not _has_gateways(api, item)])
    api.delete("configmaps", maps)
    if not options.keep_crds:
        delete_crds(api, options.istio)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kubeconfig", default="", type=_given, help="path of the kubeconfig file, or what is in it")
    parser.add_argument("--context", required=True, help="name of the context")
    # States of former versions have no --istio, and the second name of --keep-crds.
    parser.add_argument(
        "--istio", default="istio-system/istio-base", help="namespace/name of Istio's release with CRDs"
    )
    parser.add_argument("--keep-crds", "--keep-definitions", action="store_true", help="leave the CRDs")
    parser.add_argument("--guard", metavar="STACK", help="only fail where the context leads to another cluster")
    parser.add_argument(
        "--unused-revision", metavar="REVISION", help="only fail while pods have sidecars of this Istio"
    )
    parser.add_argument("--pods-of", metavar="NAMESPACE", help="only wait until its pods that end have ended")
    return parser.parse_args()


def _given(text: str) -> str:
    """Return an argument, or what the variable holds that it names in place of a secret."""
    name = text.removeprefix("env:")
    if name != text and name not in os.environ:
        raise argparse.ArgumentTypeError(f"{name} is not set: only the stack itself gives it to its commands")
    return os.environ[name] if name != text else text


# --- whose is it --------------------------------------------------------------------------------------------------


def crds(cluster: Cluster, istio: str) -> Objects:
    """Return the CRDs that are the stack's; `istio` is the release that Helm marks Istio's with."""
    found = cluster.list("customresourcedefinitions")
    return [item for item in found if release(item) == istio or MARK in _labels(item)]


def config_maps(cluster: Cluster, istio: str) -> Objects:
    """Return what istiod wrote into every namespace, save what another istiod in the cluster writes as well."""
    roots, more = (cluster.list("configmaps", fields=f"metadata.name={name}") for name in _CONFIG_MAPS)
    written = {_namespace(item): item.get("data") for item in roots}
    strangers = {_namespace(item) for item in _istiods(cluster, istio)}
    if strangers - written.keys():
        # One that has written nothing yet: nobody knows which are its own.
        return []
    theirs = [written[namespace] for namespace in strangers]
    return [item for item in (*roots, *more) if written.get(_namespace(item)) not in theirs]


def gateway_classes(cluster: Cluster, istio: str) -> Objects:
    """Return the GatewayClasses that istiod made, unless another istiod is there, which would make them again."""
    if _istiods(cluster, istio):
        return []
    base = [age(item) for item in cluster.list("customresourcedefinitions") if release(item) == istio]
    return [
        item
        for item in cluster.list("gatewayclasses")
        if str(item["spec"]["controllerName"]).startswith(_GATEWAY_CONTROLLERS)
        and all(manager.startswith(_ISTIODS_MANAGER) for manager in _managers(item))
        and (not base or age(item) >= min(base))
    ]


def needed(cluster: Cluster, own: Objects, istio: str) -> list[tuple[Object, str]]:
    """Return those of the stack's CRDs that somebody still needs, each with who that is."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        used = list(pool.map(lambda item: bool(cluster.list(item["metadata"]["name"])), own))
    strangers = {True: kongs(cluster), False: _istiods(cluster, istio)}
    found: list[tuple[Object, str]] = []
    for item, is_used in zip(own, used, strict=True):
        others = strangers[MARK in _labels(item) and release(item) != istio]
        if is_used:
            found.append((item, "there are still objects of it"))
        elif others:
            found.append((item, f"{_namespace(others[0])}/{others[0]['metadata']['name']} needs it"))
    return found


def _istiods(cluster: Cluster, istio: str) -> Objects:
    own = istio.partition("/")[0]
    return [item for item in cluster.list("deployments", labels="app=istiod") if _namespace(item) != own]


def kongs(cluster: Cluster) -> Objects:
    """Return the controllers of Kong in the cluster; at the end of a destroy none is the stack's."""

    def is_one(item: Object) -> bool:
        images = [str(container["image"]) for container in item["spec"]["template"]["spec"]["containers"]]
        return any(name in image for name in _KONG_CONTROLLERS for image in images)

    return [item for item in cluster.list("deployments") if is_one(item)]


def _has_gateways(cluster: Cluster, gateway_class: Object) -> bool:
    name = gateway_class["metadata"]["name"]
    return any(item["spec"]["gatewayClassName"] == name for item in cluster.list("gateways"))


def release(item: Object) -> str:
    """Return the namespace and name of the Helm release that an object is marked with, as `namespace/name`."""
    annotations = item["metadata"].get("annotations") or {}
    return f"{annotations.get('meta.helm.sh/release-namespace')}/{annotations.get('meta.helm.sh/release-name')}"


def age(item: Object) -> str:
    """Return when an object was created, such as 2026-01-31T12:00:00Z, which compares as text."""
    return str(item["metadata"].get("creationTimestamp", ""))


def _managers(item: Object) -> list[str]:
    return [str(entry.get("manager")) for entry in item["metadata"].get("managedFields") or []]


def _labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))


# --- what is done about it ----------------------------------------------------------------------------------------


def delete_crds(api: Api, istio: str) -> None:
    """Delete the CRDs that are the stack's, save those that somebody needs; these are named."""
    own = crds(api, istio)
    kept = {item["metadata"]["name"]: (item, why) for item, why in needed(api, own, istio)}
    for _, (item, why) in sorted(kept.items()):
        print(f"Kept the CRD of {item['spec']['names']['kind']} ({item['spec']['group']}): {why}.", file=sys.stderr)
    api.delete("customresourcedefinitions", [item for item in own if item["metadata"]["name"] not in kept])


def wait_for_pods(api: Cluster, namespace: str) -> None:
    """Wait until the pods of a namespace that end have ended, before the namespace is deleted.

    Kubernetes looks at a namespace that goes, and whose pods still end, only after half of their grace period again
    (kubernetes: pkg/controller/namespace/namespace_controller.go), and Prometheus' is five minutes.
    """
    started = seen = time.monotonic()
    while (now := time.monotonic()) < started + _PODS_SECONDS:
        pods = api.list("pods", namespace)
        if any("deletionTimestamp" in pod["metadata"] for pod in pods):
            seen = now
        elif not pods or now > seen + _COLLECTED_SECONDS:
            return
        time.sleep(_PAUSE_SECONDS)


def refuse_while_used(api: Cluster, revision: str) -> None:
    """Raise while pods have sidecars of a revision of Istio. Where the stack's Kong has gone, the whole stack goes."""
    if not api.list("deployments", KONG_NAMESPACE, fields=f"metadata.name={KONG_DEPLOYMENT}"):
        return
    if used := users(api.list("pods"), revision):
        raise LeftoversError(still_used(revision, used))


def users(pods: Objects, revision: str) -> list[str]:
    """Return the pods that have a sidecar of a revision of Istio, as namespace/name, without those that end or have ended."""

    def is_one(pod: Object) -> bool:
        annotations, phase = pod["metadata"].get("annotations") or {}, (pod.get("status") or {}).get("phase")
        gone = "deletionTimestamp" in pod["metadata"] or phase in ("Succeeded", "Failed")
        return not gone and revision_of(annotations) == revision

    return [f"{_namespace(pod)}/{pod['metadata']['name']}" for pod in pods if is_one(pod)]


def revision_of(annotations: dict[str, str]) -> str:
    """Return the revision of the istiod that injected a pod; empty where none did (istio/istio, pkg/kube/inject/webhook.go)."""
    if STATUS not in annotations:
        return ""
    try:
        found = json.loads(annotations[STATUS]).get("revision")
    except (ValueError, AttributeError):
        found = None
    return str(found or annotations.get("istio.io/rev") or "default")


def still_used(revision: str, used: list[str]) -> str:
    """Return the sentence for a revision of Istio that is to go, and that pods still use."""
    shown = f"{', '.join(used[:_SHOWN])}{f' and {len(used) - _SHOWN} more' if len(used) > _SHOWN else ''}"
    return (
        f"The revision {revision} of Istio is still used by {shown}: put it back into the settings (istio.revision, or "
        "istio.canary), move the stack's namespaces by istio.canary.namespaces and others by their label istio.io/rev and a restart "
        "of their pods, `pulumi up`, and take it out after that."
    )


# --- how the cluster is asked -------------------------------------------------------------------------------------


class Api:
    """The API server of one context of a kubeconfig, by the package kubernetes or, without it, by kubectl."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._context = context
        given = (
            kubeconfig
            if _is_content(kubeconfig) or kubeconfig in ("", _IN_CLUSTER)
            else str(Path(kubeconfig).expanduser())
        )
        self._request = _by_package(given, context) or _by_kubectl(given, context)
        self._roots = {
            "configmaps": "/api/v1",
            "pods": "/api/v1",
            "deployments": "/apis/apps/v1",
            "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
            "gatewayclasses": "/apis/gateway.networking.k8s.io/v1",
            "gateways": "/apis/gateway.networking.k8s.io/v1",
        }

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Objects:
        """Return the objects of a kind; none where there is no such kind. A CRD that was listed is one by its name."""
        query = urlencode({"labelSelector": labels, "fieldSelector": fields})
        found = self._ask("GET", f"{self._path(kind, namespace or '')}?{query}")
        items = list((found or {}).get("items") or [])
        if kind == "customresourcedefinitions":
            for item in items:
                served = next(each["name"] for each in item["spec"]["versions"] if each["served"])
                self._roots[item["metadata"]["name"]] = f"/apis/{item['spec']['group']}/{served}"
        return items

    def uid(self) -> str:
        """Return what tells a cluster from all others."""
        return str(((self._ask("GET", "/api/v1/namespaces/kube-system") or {}).get("metadata") or {}).get("uid"))

    def delete(self, kind: str, items: Objects) -> None:
        """Delete objects of a kind, and wait until they are gone."""
        paths = [f"{self._path(kind, _namespace(item))}/{item['metadata']['name']}" for item in items]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: self._ask("DELETE", path), paths))
        left, end = {item["metadata"]["uid"] for item in items}, time.monotonic() + _GONE_SECONDS
        while left:
            there = [item for item in self.list(kind) if item["metadata"]["uid"] in left]
            left &= {item["metadata"]["uid"] for item in there}
            if left and time.monotonic() >= end:
                raise LeftoversError(
                    f"{kind}/{there[0]['metadata']['name']} is not gone {_GONE_SECONDS} s after its deletion: look at "
                    "what waits in its metadata.finalizers."
                )
            time.sleep(_PAUSE_SECONDS if left else 0)

    def _path(self, kind: str, namespace: str) -> str:
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{self._roots[kind]}{inside}/{kind.partition('.')[0]}"

    def _ask(self, method: str, path: str) -> Object | None:
        """Return what is answered, None where there is no such thing. An API server may be away for a minute."""
        end = time.monotonic() + (0 if _is_given_up() else _PATIENCE_SECONDS)
        while True:
            status, answer = self._request(method, path)
            if status == HTTPStatus.NOT_FOUND:
                return None
            if status < HTTPStatus.BAD_REQUEST and status:
                return dict(json.loads(answer or "{}"))
            if (status and status not in _PASSING) or time.monotonic() >= end:
                why = f"The API server of context {self._context} does not do {method} {path}: {_one_line(answer)}."
                raise LeftoversError(why) if status else UnreachableError(f"{why} {_REMEDY}")
            time.sleep(_PAUSE_SECONDS)


# Method and path -> HTTP status, 0 for no answer, and what was answered.
Request = Callable[[str, str], tuple[int, str]]


def _by_package(kubeconfig: str, context: str) -> Request | None:
    try:
        import yaml
        from kubernetes import client, config
        from urllib3.exceptions import HTTPError
    except ImportError:
        return None
    found = client.Configuration()
    # As kubectl does, whatever the environment's proxy is.
    found.no_proxy = ",".join(filter(None, (found.no_proxy, "localhost,127.0.0.0/8,::1")))
    try:
        if kubeconfig == _IN_CLUSTER:
            config.load_incluster_config(client_configuration=found)
        elif _is_content(kubeconfig):
            config.load_kube_config_from_dict(yaml.safe_load(kubeconfig), context, found, persist_config=False)
        else:
            config.load_kube_config(kubeconfig or None, context, found)
    except Exception as error:  # whatever is wrong with it: its text may quote a secret
        why = f"The kubeconfig does not lead to context {context} ({type(error).__name__})."
        raise UnreachableError(f"{why} {_REMEDY}") from None
    pool = client.ApiClient(found).rest_client.pool_manager

    def request(method: str, path: str) -> tuple[int, str]:
        given = {each["key"]: each["value"] for each in found.auth_settings().values() if each["value"]}
        try:
            answer = pool.request(method, found.host + path, headers=given, timeout=_ANSWER_SECONDS, retries=False)
        except HTTPError as error:
            return 0, str(error)
        return answer.status, answer.data.decode(errors="replace")

    return request


def _by_kubectl(kubeconfig: str, context: str) -> Request:
    if not shutil.which("kubectl"):
        raise LeftoversError(
            "There is neither the Python package kubernetes nor kubectl here: `pulumi install` installs the first, then "
            "run the same again."
        )
    if _is_content(kubeconfig):
        # Only its owner may read it, and it goes with this process.
        file = tempfile.NamedTemporaryFile("w", suffix=".kubeconfig")  # noqa: SIM115
        file.write(kubeconfig)
        file.flush()
        kubeconfig = file.name
        atexit.register(file.close)
    # In a pod kubectl takes its service account by itself.
    own = ["kubectl"] if kubeconfig == _IN_CLUSTER else ["kubectl", *_option(kubeconfig), "--context", context]
    limit = [f"--request-timeout={_ANSWER_SECONDS}s"]

    def request(method: str, path: str) -> tuple[int, str]:
        verb = "get" if method == "GET" else "delete"
        done = subprocess.run(
            [*own, *limit, verb, "--raw", path], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return HTTPStatus.OK, done.stdout
        if "(NotFound)" in done.stderr:
            return HTTPStatus.NOT_FOUND, ""
        refused = "Error from server (Forbidden)" in done.stderr or "logged in" in done.stderr
        return HTTPStatus.FORBIDDEN if refused else 0, done.stderr

    return request


def _is_given_up() -> bool:
    """Return whether the user has told the provider to forget a cluster that does not answer."""
    return os.environ.get("PULUMI_K8S_DELETE_UNREACHABLE") == "true"


def _option(kubeconfig: str) -> list[str]:
    return ["--kubeconfig", kubeconfig] if kubeconfig else []


def _is_content(kubeconfig: str) -> bool:
    return "\n" in kubeconfig or kubeconfig.lstrip().startswith("{")


def _one_line(answer: str) -> str:
    try:
        text = str(json.loads(answer)["message"])
    except (ValueError, LookupError, TypeError):
        text = answer
    return " ".join(text.split()).rstrip(".") or "it does not answer"


if __name__ == "__main__":
    try:
        main()
    except LeftoversError as error:
        if not (isinstance(error, UnreachableError) and _is_given_up()):
            sys.exit(str(error))
