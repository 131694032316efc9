"""How what runs when a resource is deleted asks the cluster.

The stack's state carries this text within that of each file that imports it, so a destroy needs nothing of a checkout: it
imports the standard library alone, and asks the API server by the package kubernetes or, without it, by kubectl.
"""

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
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

Object = dict[str, Any]
Objects = list[Object]

# In place of a kubeconfig: the service account of the pod that this runs in.
_IN_CLUSTER = "in-cluster"

_PATIENCE_SECONDS = 60
_ANSWER_SECONDS = 30
#: Between two looks.
PAUSE_SECONDS = 0.25
#: Requests at once.
AT_ONCE = 16
# The longest grace period of the stack's pods, which is Prometheus'.
_PODS_SECONDS = 300
# So soon after a Deployment the garbage collector has begun with its pods.
_COLLECTED_SECONDS = 3
_REMEDY = (
    "Where the cluster is gone for good, `PULUMI_K8S_DELETE_UNREACHABLE=true pulumi destroy --refresh` has the stack forget "
    "it."
)
#: The variable that says which cluster the stack is in.
CLUSTER_UID = "CLUSTER_UID"
_PASSING = (429, 500, 502, 503, 504)


class LeftoversError(Exception):
    """Why something is left, in one sentence."""


class UnreachableError(LeftoversError):
    """A cluster that does not answer, or that the kubeconfig does not know."""


class Cluster(Protocol):
    """What is asked here; `kube.Cluster` answers it too."""

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Objects:
        """Return the objects of a kind; none where there is no such kind."""


# Method and path -> HTTP status, 0 for no answer, and what was answered.
Request = Callable[[str, str], tuple[int, str]]


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

    def delete(self, kind: str, item: Object) -> bool:
        """Delete an object; return whether it is yet to go, as it has finalizers."""
        found = self._ask("DELETE", f"{self._path(kind, namespace_of(item))}/{item['metadata']['name']}")
        return found is not None and found.get("kind") != "Status"

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
            time.sleep(PAUSE_SECONDS)


def _by_package(kubeconfig: str, context: str) -> Request | None:
    try:
        import yaml
        from kubernetes import client, config
        from urllib3.exceptions import HTTPError
    except ImportError:
        return None
    found = client.Configuration()
    # Else the number of processors says it, and each request above is warned of.
    found.connection_pool_maxsize = 3 * AT_ONCE
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


def run(main: Callable[[], None]) -> None:
    """Run a program: why something is left ends it with one sentence, unless the user has given up the cluster."""
    try:
        main()
    except LeftoversError as error:
        if not (isinstance(error, UnreachableError) and _is_given_up()):
            sys.exit(str(error))


def parser(does: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that name the cluster."""
    found = argparse.ArgumentParser(description=(does or "").split("\n", 1)[0])
    found.add_argument("--kubeconfig", default="", type=_given, help="path of the kubeconfig file, or what is in it")
    found.add_argument("--context", required=True, help="name of the context")
    return found


def connect(options: argparse.Namespace) -> Api | None:
    """Return the API server, but not that of another cluster than when the stack came up: what was to go went with its own."""
    api = Api(options.kubeconfig, options.context)
    if not stranger(api):
        return api
    print(
        f"The context {options.context} leads to another cluster than the stack was in: nothing was done.",
        file=sys.stderr,
    )
    return None


def wait_for_pods(cluster: Cluster, namespace: str, labels: str = "") -> None:
    """Wait until the pods of a namespace that end have ended."""
    started = seen = time.monotonic()
    while (now := time.monotonic()) < started + _PODS_SECONDS:
        pods = cluster.list("pods", namespace, labels=labels)
        if any("deletionTimestamp" in pod["metadata"] for pod in pods):
            seen = now
        elif not pods or now > seen + _COLLECTED_SECONDS:
            return
        time.sleep(PAUSE_SECONDS)


def stranger(api: Api) -> str:
    """Return the UID of a cluster that is another one than the stack's, else nothing."""
    found = api.uid()
    return "" if os.environ.get(CLUSTER_UID, found) == found else found


def _given(text: str) -> str:
    """Return an argument, or what the variable holds that it names in place of a secret."""
    name = text.removeprefix("env:")
    if name != text and name not in os.environ:
        raise argparse.ArgumentTypeError(f"{name} is not set: only the stack itself gives it to its commands")
    return os.environ[name] if name != text else text


def namespace_of(item: Object) -> str:
    """Return the namespace of an object, or nothing."""
    return str(item["metadata"].get("namespace", ""))


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
