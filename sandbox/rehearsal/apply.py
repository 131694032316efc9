"""Creates released resources in the sandbox, and waits for what Pulumi's providers would wait for.

Releases go through helm, objects through server-side apply, commands through a shell. What is equal already
is left alone. Nothing is ever deleted: the sandbox's `down` ends it all.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pulumi import RunError

from kube import Cluster, ClusterError, Object
from plan.recording import Resource
from sandbox import SandboxError, identity
from sandbox.facts import Facts
from sandbox.paths import Paths

_FIELD_MANAGER = "rehearsal"
_OBJECT_TIMEOUT = 600  # seconds, as in Pulumi's provider
_RELEASE_TIMEOUT = 300
# A kind whose CRD was only just created takes a moment to appear.
_DISCOVERY_SECONDS = 10
# How soon a wait notices that it is to stop.
_WATCH_SECONDS = 5
_PAUSE_SECONDS = 0.2

# Any other input of a Release would change what Pulumi does, and so is refused here.
_RELEASE_INPUTS = {
    *("chart", "compat", "createNamespace", "maxHistory", "name", "namespace", "repositoryOpts", "skipAwait"),
    *("skipCrds", "timeout", "values", "version"),
}


class Sandbox:
    """The one cluster that a rehearsal applies to. Raises `RunError` where no sandbox is up."""

    def __init__(self, paths: Paths, environment: Mapping[str, str]) -> None:
        self.kubeconfig = paths.kubeconfig
        self.cluster = Cluster(str(self.kubeconfig), paths.context)
        facts = Facts.load(paths.facts)
        if not facts or not self.cluster.is_ready():
            raise RunError("No sandbox is up: start one with `python -m sandbox up`.")
        try:
            # Tells this cluster from an earlier one of the same name.
            self.id = identity.prove(facts, paths)
        except SandboxError as problem:
            raise RunError(str(problem)) from None
        self.environment = {**environment, "KUBECONFIG": str(self.kubeconfig)}
        self.memory = paths.sandbox / "rehearsal.json"


class Applier:
    """Creates one resource after the other in the sandbox; several threads may call it at once."""

    def __init__(self, root: Path, sandbox: Sandbox) -> None:
        self._root = root
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __call__(self, resource: Resource) -> tuple[str, Object]:
        """Create a resource and return its id and its outputs; note on it what that did."""
        self.refuse_other_cluster(resource)
        try:
            return self._apply(resource)
        except Exception as error:
            self._stopped.set()  # as in the engine, nothing new begins, but what runs may end
            if isinstance(error, RunError | ClusterError):
                raise RunError(f"{resource.label}: {_without_secrets(str(error), resource)}") from None
            raise

    def _apply(self, resource: Resource) -> tuple[str, Object]:
        match resource.type.split(":"):
            case ["pulumi", "providers", _]:
                return resource.name, resource.inputs
            case ["kubernetes", "helm.sh/v3", "Release"]:
                resource.outcome, status = self._release(resource.inputs)
                id_ = f"{status['namespace']}/{status['name']}"
                return id_, {**resource.inputs, "status": status, "resourceNames": {}}
            case ["kubernetes", _, _] if {"apiVersion", "kind"} <= resource.inputs.keys():
                resource.outcome, live = self._object(resource)
                metadata = live["metadata"]
                return "/".join(filter(None, (metadata.get("namespace"), metadata["name"]))), live
            case ["command", "local", "Command"]:
                resource.outcome, outputs = self._command(resource)
                return resource.name, {**resource.inputs, **outputs}
        raise RunError(f"the rehearsal cannot create a {resource.type}.")

    def refuse_other_cluster(self, resource: Resource) -> None:
        """Raise for a provider that names another cluster than the sandbox."""
        if resource.type != "pulumi:providers:kubernetes":
            return
        ours, context = self._sandbox.kubeconfig.resolve(), self._sandbox.cluster.context
        kubeconfig = resource.inputs.get("kubeconfig") or str(ours)
        if (self._root / Path(kubeconfig).expanduser()).resolve() != ours:
            raise RunError(f"{resource.label} names a kubeconfig that is not the sandbox's.")
        if resource.inputs.get("context", context) != context:
            raise RunError(f"{resource.label} names a context that is not the sandbox's, {context}.")

    def _run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("env", self._sandbox.environment)
        options.setdefault("cwd", self._root)
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)

    # Releases

    def _helm(self, *arguments: str, values: str | None = None) -> Any:
        command = ["helm", *arguments, "--output", "json", "--kubeconfig", str(self._sandbox.kubeconfig)]
        done = self._run(command, input=values)
        if done.returncode:
            raise RunError(_last_line(done.stderr, "Error: "))
        return json.loads(done.stdout)

    def _release(self, inputs: Object) -> tuple[str, Object]:
        unknown = {key for key, value in inputs.items() if value} - _RELEASE_INPUTS
        if unknown:
            raise RunError(f"the rehearsal does not know what to do with {', '.join(sorted(unknown))}.")
        where = (inputs["name"], "--namespace", inputs.get("namespace", "default"))
        before = self._deployed(where)
        if before and before["status"] == "deployed" and before.pop("values") == inputs.get("values", {}):
            chart, version = self._chart(inputs)
            if (before["chart"], before["version"]) == (chart, version):
                return "unchanged", before
        arguments = [
            *("upgrade", *where, inputs["chart"], "--install", "--reset-values", "--values", "-"),
            *("--timeout", f"{inputs.get('timeout') or _RELEASE_TIMEOUT}s"),
            *([] if inputs.get("skipAwait") else ["--wait"]),
            *(["--skip-crds"] if inputs.get("skipCrds") else []),
            *(["--create-namespace"] if inputs.get("createNamespace") else []),
        ]
        options = {"--version": inputs.get("version"), "--repo": inputs.get("repositoryOpts", {}).get("repo")}
        options["--history-max"] = inputs.get("maxHistory")
        for option, value in options.items():
            arguments += [option, str(value)] if value else []
        done = self._helm(*arguments, values=json.dumps(inputs.get("values", {})))
        return "changed" if before else "created", {
            "name": done["name"],
            "namespace": done["namespace"],
            "status": done["info"]["status"],
            "revision": done["version"],
            "chart": done["chart"]["metadata"]["name"],
            "version": done["chart"]["metadata"]["version"],
            "appVersion": done["chart"]["metadata"].get("appVersion", ""),
        }

    def _deployed(self, where: tuple[str, ...]) -> Object | None:
        try:
            known = self._helm("get", "metadata", *where)
            values = self._helm("get", "values", *where) or {}
        except RunError as error:
            if "not found" in str(error):
                return None
            raise
        kept = ("name", "namespace", "status", "revision", "chart", "version", "appVersion")
        return {**{key: known[key] for key in kept}, "values": values}

    def _chart(self, inputs: Object) -> tuple[str, str]:
        """Return the name and version of the chart that is asked for."""
        local = self._root / inputs["chart"] / "Chart.yaml"
        if local.is_file():
            metadata = yaml.safe_load(local.read_text())
            return metadata["name"], metadata["version"]
        return inputs["chart"].rsplit("/", 1)[-1], inputs.get("version", "")

    # Objects

    def _object(self, resource: Resource) -> tuple[str, Object]:
        expected = dict(resource.inputs)
        expected["metadata"] = {"name": resource.name, **expected.get("metadata", {})}
        outcome, live = self._applied(expected)
        annotations = expected["metadata"].get("annotations", {})
        if annotations.get("pulumi.com/skipAwait") == "true" or ready(live):
            return outcome, live
        seconds = float(annotations.get("pulumi.com/timeoutSeconds", _OBJECT_TIMEOUT))
        if not self._await(live, seconds):
            raise RunError(f"not ready within {seconds:.0f} s.")
        return outcome, self._sandbox.cluster.get(*_place(live)) or live

    def _applied(self, expected: Object) -> tuple[str, Object]:
        """Apply an object server-side; return what that did, and the live object."""
        cluster, place = self._sandbox.cluster, _place(expected)
        deadline = time.monotonic() + _DISCOVERY_SECONDS
        while not cluster.has(place[0]) and not self._stopped.is_set() and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        before = cluster.get(*place)
        live = cluster.apply(expected, manager=_FIELD_MANAGER)
        if not before:
            return "created", live
        return "unchanged" if _content(live) == _content(before) else "changed", live

    def _await(self, live: Object, seconds: float) -> bool:
        cluster, (kind, name, namespace) = self._sandbox.cluster, _place(live)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._stopped.is_set():
            if kind == "service" and live["spec"].get("type") != "LoadBalancer":
                label = f"kubernetes.io/service-name={name}"
                if any(map(_has_endpoint, cluster.list("endpointslices", namespace, labels=label))):
                    return True
                time.sleep(_PAUSE_SECONDS)
            elif cluster.wait_until(kind, name, namespace, ready, min(left, _WATCH_SECONDS)):
                return True
        return False

    # Commands

    def _command(self, resource: Resource) -> tuple[str, Object]:
        inputs = resource.inputs
        digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        with self._lock:
            known = self._remembered().get(resource.urn)
        if known and known["digest"] == digest:
            return "unchanged", known["outputs"]
        update = inputs.get("update") if known and known["triggers"] == inputs.get("triggers") else None
        done = self._run(
            [*(inputs.get("interpreter") or ["/bin/sh", "-c"]), update or inputs.get("create", "")],
            cwd=self._root / inputs.get("dir", "."),
            env={**self._sandbox.environment, **inputs.get("environment", {})},
            input=inputs.get("stdin", ""),
        )
        if done.returncode:
            raise RunError(_last_line(done.stderr) or f"failed with status {done.returncode}.")
        outputs = {"stdout": done.stdout.removesuffix("\n"), "stderr": done.stderr.removesuffix("\n")}
        self._remember(resource.urn, {"digest": digest, "triggers": inputs.get("triggers"), "outputs": outputs})
        return "changed" if known else "created", outputs

    def _remembered(self) -> Object:
        memory = self._sandbox.memory
        known = json.loads(memory.read_text()) if memory.is_file() else {}
        return dict(known.get("commands", {})) if known.get("cluster") == self._sandbox.id else {}

    def _remember(self, urn: str, entry: Object) -> None:
        with self._lock:
            commands = {**self._remembered(), urn: entry}
            self._sandbox.memory.touch(mode=0o600)  # what commands print may be secret
            self._sandbox.memory.write_text(json.dumps({"cluster": self._sandbox.id, "commands": commands}))


def _place(manifest: Object) -> tuple[str, str, str]:
    """Return kind, name and namespace of an object, as the client takes them."""
    group = manifest["apiVersion"].rpartition("/")[0]
    kind, metadata = manifest["kind"].lower(), manifest["metadata"]
    return f"{kind}.{group}" if group else kind, metadata["name"], metadata.get("namespace", "default")


def _content(live: Object) -> Object:
    """Return an object without what the cluster keeps about it."""
    kept = {key: value for key, value in live["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    return {**live, "metadata": kept, "status": None}


def ready(live: Object) -> bool:
    """Tell whether an object shows that it is ready; kinds that Pulumi does not wait for always are."""
    judge = _READY.get((live["apiVersion"], live["kind"]))
    return judge is None or judge(live)


def _deployment(live: Object) -> bool:
    status = live.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    progressing = conditions.get("Progressing", {"reason": "NewReplicaSetAvailable"})
    observed = status.get("observedGeneration", 0) >= live["metadata"]["generation"]
    available = conditions.get("Available", {}).get("status") == "True"
    return bool(observed and available and progressing["reason"] == "NewReplicaSetAvailable")


def _service(live: Object) -> bool:
    spec = live["spec"]
    if spec.get("type") == "LoadBalancer":
        return _has_address(live)
    return spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector")


def _has_address(live: Object) -> bool:
    return bool(live.get("status", {}).get("loadBalancer", {}).get("ingress"))


def _has_endpoint(slice_: Object) -> bool:
    return any(each.get("conditions", {}).get("ready", True) for each in slice_.get("endpoints") or ())


_READY: dict[tuple[str, str], Callable[[Object], bool]] = {
    ("apps/v1", "Deployment"): _deployment,
    ("v1", "Service"): _service,
    ("networking.k8s.io/v1", "Ingress"): _has_address,
    ("v1", "Namespace"): lambda live: live.get("status", {}).get("phase") == "Active",
}


def _last_line(text: str, prefix: str = "") -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(prefix)] or lines
    return marked[-1].removeprefix(prefix) if marked else ""


def _without_secrets(text: str, resource: Resource) -> str:
    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict | list):
            return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
        return [str(value)] if value else []

    for secret in leaves([resource.inputs[key] for key in resource.secret_inputs]):
        text = text.replace(secret, "[secret]")
    return text
