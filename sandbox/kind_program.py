"""The program kind: what it is given to make a cluster, how its failures are told, and how it deletes one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sandbox import SandboxError, machine_settings
from sandbox.containers import Runtime
from sandbox.fetching import BUNDLES
from sandbox.kind_record import Record
from sandbox.paths import Paths
from workloads import Image, mirrored

# Of those that kind's release notes list for the version in the table of programs: the newest of a Kubernetes that Istio and Kong
# were tested with (`KUBERNETES_TESTED`). https://github.com/kubernetes-sigs/kind/releases
# renovate: datasource=docker depName=kindest/node
NODE_IMAGE = "kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"
_WAIT = "180s"
_DELETE_SECONDS = 120
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
# Go, and so containerd, reads every file in this folder beside the system's bundle (crypto/x509/root_unix.go).
_TRUSTED = "/etc/ssl/certs/of-this-machine.pem"

# What kind and the program under it say, and what to do about it.
_REMEDIES: tuple[tuple[str, str], ...] = (
    # First, as the log of kubeadm, which follows it, may hold any of the words below.
    (
        r"failed to init node with kubeadm",
        "Kubernetes does not come up in the node, mostly as memory, processors or the disk are too busy: end what else is running, and "
        "run `make up` again; a rootless program needs more (https://kind.sigs.k8s.io/docs/user/rootless/)",
    ),
    (
        r"no such host|i/o timeout|network is unreachable|connection refused.*pull|TLS handshake timeout|failed to pull image",
        "the image of the node cannot be pulled: connect to the network, set HTTPS_PROXY, or name a mirror in the setting images.registry",
    ),
    (
        r"no space left on device",
        "there is no room for its images: `docker system prune`, or a larger disk for the virtual machine",
    ),
    (
        r"too many open files|inotify|could not find a log line that matches",
        "the node's container does not come up; mostly the kernel's limits are too low: `sudo sysctl fs.inotify.max_user_watches=524288 "
        "fs.inotify.max_user_instances=512`",
    ),
    (
        r"Delegate=yes|cgroup v2",
        "a rootless program needs delegated cgroups: see https://kind.sigs.k8s.io/docs/user/rootless/",
    ),
    (r"permission denied", "this user may not use the program that runs containers"),
)
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|ports are not available")


class PortTakenError(SandboxError):
    """Another program took a port between our look and the container's start."""


def create(record: Record, runtime: Runtime, paths: Paths) -> None:
    """Make the cluster, with its own kubeconfig. Raises `SandboxError`, and `PortTakenError`."""
    image = node_image(paths)
    pull_node_image(image, runtime)
    configuration = paths.sandbox / "kind.yaml"
    configuration.write_text(yaml.safe_dump(cluster_configuration(record, image, paths), sort_keys=False))
    arguments = ["create", "cluster", "--name", record.cluster, "--config", str(configuration), "--wait", _WAIT]
    # Without it, kind writes to the user's own.
    arguments += ["--kubeconfig", str(paths.kubeconfig)]
    said = _stream([str(paths.programs / "kind"), *arguments], environment(runtime), paths.logs / "kind.log")
    if said is not None:
        if taken := _PORT_TAKEN.search(said):
            raise PortTakenError(f"a port was taken in the meantime ({taken[0]})")
        raise SandboxError(
            f"kind did not make the cluster: {_reason(said)}. The whole story is in {paths.logs / 'kind.log'}."
        )


def write_kubeconfig(record: Record, runtime: Runtime, paths: Paths) -> None:
    """Write the kubeconfig of a cluster that runs. Raises `SandboxError`."""
    arguments = ["export", "kubeconfig", "--name", record.cluster, "--kubeconfig", str(paths.kubeconfig)]
    said = _stream([str(paths.programs / "kind"), *arguments], environment(runtime), paths.logs / "kind.log")
    if said is not None:
        raise SandboxError(f"kind did not write {paths.kubeconfig}: {_reason(said)}.")


def node_image(paths: Paths) -> str:
    """Return the reference of the node's image, on the mirror that the settings name."""
    return mirrored(NODE_IMAGE, registry(paths))


def registry(paths: Paths) -> str:
    """Return the mirror that the committed settings name, or nothing."""
    images = (machine_settings.committed(paths).get("config") or {}).get("kong-istio:images") or {}
    return str(images.get("registry") or "")


def pull_node_image(image: str, runtime: Runtime) -> None:
    """Pull it where people see how far that is. Raises `SandboxError`."""
    named = Image.parse(image)
    # Podman takes no tag beside a digest, and asks which registry is meant where none is named.
    reference = f"{named.name}@{named.digest}" if runtime.name == "podman" else image
    if runtime.run("image", "inspect", reference).returncode == 0:
        return
    print(f"pulling the node's image {named.tagged} (some 400 MB)", flush=True)
    # Its own progress goes to the terminal; what it says of a failure is read.
    done = subprocess.run(
        [runtime.name, "pull", reference],
        env=runtime.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SandboxError(f"{_reason(done.stderr + ' failed to pull image')}.")


def cluster_configuration(record: Record, image: str, paths: Paths) -> dict[str, Any]:
    """Return what kind reads: one node, whose port for Kong and whose API server this machine's loopback has."""
    node: dict[str, Any] = {
        "role": "control-plane",
        "image": image,
        "extraPortMappings": [
            {
                "containerPort": machine_settings.NODE_PORT,
                "hostPort": record.kong_port,
                "listenAddress": "127.0.0.1",
                "protocol": "TCP",
            }
        ],
    }
    if bundle := _certificates(paths):
        node["extraMounts"] = [{"hostPath": str(bundle), "containerPath": _TRUSTED, "readOnly": True}]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1", "apiServerPort": record.api_port},
        "nodes": [node],
    }


def _certificates(paths: Paths) -> Path | None:
    """Return a copy of the bundle by which this machine trusts its proxy or mirror; a virtual machine sees the checkout's folder."""
    named = next((os.environ[name] for name in BUNDLES if os.environ.get(name)), "")
    if not named:
        return None
    if not Path(named).is_file():
        raise SandboxError(
            f"{named}, which SSL_CERT_FILE or the like names, is not a file: name the bundle of certificates, or none."
        )
    copy = paths.sandbox / "certificates.pem"
    shutil.copyfile(named, copy)
    return copy


def environment(runtime: Runtime) -> dict[str, str]:
    """Return kind's environment. Proxies on loopback are left out: in the node, that is the node itself."""
    return {
        name: value for name, value in runtime.environment.items() if name not in _PROXIES or not _on_loopback(value)
    }


def behind_proxy() -> bool:
    """Return whether this machine reaches registries by a proxy."""
    return any(os.environ.get(name) for name in _PROXIES)


def _on_loopback(address: str) -> bool:
    try:
        host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")


def delete(program: Path, record: Record, runtime: Runtime, paths: Paths) -> None:
    """Delete the cluster; what is left then is the caller's to see."""
    paths.logs.mkdir(parents=True, exist_ok=True)
    with (paths.logs / "kind.log").open("ab") as log, suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [program, "delete", "cluster", "--name", record.cluster, "--kubeconfig", str(paths.kubeconfig)],
            env=environment(runtime),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=_DELETE_SECONDS,
            check=False,
        )


def _stream(command: list[str], env: Mapping[str, str], log: Path) -> str | None:
    """Run a program, print what it says as it says it, and keep that; return it where the program fails."""
    said: list[str] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a") as file,
        subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            said.append(line)
            if _is_progress(line):
                print(f"  {line.rstrip()}", flush=True)
    return "".join(said) if process.returncode else None


def _is_progress(line: str) -> bool:
    """Return whether a line says what is done; kind's greeting and its hints would lead to the user's own kubeconfig."""
    return line.lstrip().startswith(("✓", "✗", "•", "WARNING"))


def _reason(said: str) -> str:
    """Return the error in one sentence, with what to do about it where that is known."""
    error = next(_errors(said), said.strip().splitlines()[-1] if said.strip() else "it said nothing")
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, said):
            return f"{remedy} ({error})"
    return error


def _errors(said: str) -> Iterator[str]:
    """Yield what a program says went wrong: first, that of the one which kind ran.

    Before its error, `docker run` may print the id of a container that does not start; kubeadm prints a log in place of one.
    """
    for form in (
        r"^Command Output: (?:[0-9a-f]{64}\n)?(?![IWE]\d{4} )(.+)$",
        r"^ERROR: *(?:failed to create cluster: )?(.+)$",
        r"^[Ee]rror: *(.+)$",
        r"^(Error .+)$",
    ):
        for found in re.finditer(form, said, re.MULTILINE):
            yield re.sub(r"^(docker: )?Error response from daemon: *", "", found[1]).strip().rstrip(".")
