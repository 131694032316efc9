"""Stand-ins for docker, podman, nerdctl and kind on PATH: they share a state, say what the real ones say, and start no container.

What they print on a failure is that of docker 28.2.2 and of kind 0.33.0 (pkg/cluster/internal/create/create.go,
pkg/cluster/internal/providers/docker, pkg/cmd/kind/load).
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

#: In the environment: the file that the state is in.
STATE = "CONTAINERS_STATE"
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DENIED = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/info": dial unix /var/run/docker.sock: connect: permission denied'
)
TAKEN = (
    "docker: Error response from daemon: failed to set up container networking: driver failed programming external connectivity "
    "on endpoint {name}: Bind for 127.0.0.1:{port} failed: port is already allocated"
)
NO_NETWORK = 'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host'
_GIB = 2**30
State = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A machine whose PATH begins with the stand-ins. `folder`: where they are; `state`: the file with what they know."""

    folder: Path
    state_file: Path

    @property
    def state(self) -> State:
        return dict(json.loads(self.state_file.read_text()))

    def change(self, **entries: Any) -> None:
        """Change what the stand-ins know."""
        self.state_file.write_text(json.dumps({**self.state, **entries}))

    def calls(self, program: str = "") -> list[list[str]]:
        """Return the command lines so far."""
        return [call for call in self.state["calls"] if not program or call[0] == program]


def machine(folder: Path, programs: tuple[str, ...] = ("docker", "kind"), **state: Any) -> Machine:
    """Make stand-ins in a folder."""
    made = Machine(folder / "containers", folder / "containers.json")
    made.folder.mkdir()
    for name in programs:
        program = made.folder / name
        program.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" {"" if name == "kind" else "-ES "}"{__file__}" {name} "$@"\n'
        )
        program.chmod(0o755)
    start = {
        "info": {"memory": 8 * _GIB, "processors": 4},
        "host": "unix:///var/run/docker.sock",
        "down": "",
        "taken": [],
        "fail": {},
        "containers": [],
        "images": [],
        "on_node": {},
        "server": "http://127.0.0.1:9",
        "calls": [],
        "next": 1,
    }
    made.state_file.write_text(json.dumps({**start, **state}))
    return made


@contextmanager
def _state() -> Iterator[State]:
    file = Path(os.environ[STATE])
    with file.open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        state = json.loads(handle.read())
        try:
            yield state
        finally:
            handle.seek(0)
            handle.truncate()
            handle.write(json.dumps(state))


def _fail(text: str, code: int = 1) -> NoReturn:
    print(text, file=sys.stderr)
    raise SystemExit(code)


def _expected(state: State, what: str, **names: object) -> str:
    """Return how a step is to fail: each failure once, and a text for ever."""
    planned = state["fail"].get(what)
    text = planned.pop(0) if isinstance(planned, list) and planned else planned
    return str(text).format(**names) if text else ""


# --- docker, podman, nerdctl -------------------------------------------------------------------------------------------


def _container_program(name: str, arguments: list[str]) -> None:
    with _state() as state:
        state["calls"].append([name, *arguments])
        if arguments[0] == "context":
            print(os.environ.get("DOCKER_HOST") or state["host"])
            return
        if state["down"]:
            if arguments[0] == "info":
                print(json.dumps({"MemTotal": 0}))
            _fail(state["down"])
        _COMMANDS[arguments[0]](name, arguments[1:], state)


def _info(name: str, _arguments: list[str], state: State) -> None:
    memory, processors = state["info"]["memory"], state["info"]["processors"]
    folder, cgroups = state["info"].get("folder", "/var/lib/none"), state["info"].get("cgroups", "2")
    if name == "podman":
        host = {"memTotal": memory, "cpus": processors, "cgroupVersion": f"v{cgroups}"}
        print(json.dumps({"host": host, "store": {"graphRoot": folder}}))
    else:
        told = {"MemTotal": memory, "NCPU": processors, "DockerRootDir": folder, "OperatingSystem": "Linux"}
        print(json.dumps({**told, "CgroupVersion": cgroups}))


def _ps(_name: str, arguments: list[str], state: State) -> None:
    label = arguments[arguments.index("--filter") + 1].removeprefix("label=io.x-k8s.kind.cluster=")
    for each in state["containers"]:
        if each["cluster"] == label:
            print(f"{each['id']}\t{each['name']}\t{'Up 3 minutes' if each['runs'] else 'Exited (137) 2 minutes ago'}")


def _start(_name: str, arguments: list[str], state: State) -> None:
    if text := _expected(state, "start"):
        _fail(text)
    for each in state["containers"]:
        each["runs"] |= each["name"] == arguments[0]
    print(arguments[0])


def _rm(_name: str, arguments: list[str], state: State) -> None:
    if text := _expected(state, "rm"):
        _fail(text)
    state["containers"] = [each for each in state["containers"] if each["name"] not in arguments]


def _check_reference(name: str, image: str) -> None:
    tagged, _, digest = image.partition("@")
    if name == "podman" and digest and ":" in tagged.rpartition("/")[2]:
        _fail("Error: Docker references with both a tag and digest are currently not supported", 125)
    if name == "podman" and "." not in image.partition("/")[0]:
        _fail(
            f'Error: short-name "{image}" did not resolve to an alias and no unqualified-search registries are defined',
            125,
        )


def _pull(name: str, arguments: list[str], state: State) -> None:
    _check_reference(name, arguments[0])
    if text := _expected(state, "pull", image=arguments[0]):
        _fail(text)
    state["images"].append(arguments[0])
    print(f"{arguments[0]}: Pull complete")


def _image(name: str, arguments: list[str], state: State) -> None:
    _check_reference(name, arguments[1])
    if arguments[1] not in state["images"]:
        _fail(f"Error response from daemon: No such image: {arguments[1]}")


def _save(_name: str, arguments: list[str], state: State) -> None:
    if any(word.startswith("--platform") for word in arguments) and (text := _expected(state, "platform")):
        _fail(text)
    Path(arguments[arguments.index("--output") + 1]).write_text(arguments[-1])


def _exec(_name: str, arguments: list[str], state: State) -> None:
    node, *command = arguments
    if node not in [each["name"] for each in state["containers"] if each["runs"]]:
        _fail(f"Error response from daemon: No such container: {node}")
    if command[0] == "uname":
        print("x86_64")
    elif command[0] == "crictl" and "images" in command:
        # cmd/crictl/main.go: without the option it gives up after 2 s.
        if not command[1].startswith("--timeout=") and (text := _expected(state, "busy")):
            _fail(text)
        listed = [
            {"repoTags": [] if "@" in name else [name], "repoDigests": [name] if "@" in name else [], "size": str(size)}
            for name, size in state["on_node"].items()
        ]
        print(json.dumps({"images": listed}))
    else:
        image = command[-1]
        if text := _expected(state, "node pull", image=image):
            told = text.replace('"', '\\"')
            _fail(
                f'E1126 07:30:00 log.go:32] "PullImage from image service failed" err="{told}" image="{image}"\n'
                f'time="2026-11-26T07:30:00Z" level=fatal msg="pulling image: {told}"'
            )
        state["on_node"][image] = 51_000_000


_COMMANDS = {
    "info": _info,
    "ps": _ps,
    "start": _start,
    "rm": _rm,
    "pull": _pull,
    "image": _image,
    "save": _save,
    "exec": _exec,
}


# --- kind --------------------------------------------------------------------------------------------------------------


def _kind(arguments: list[str]) -> None:
    with _state() as state:
        provider = os.environ.get("KIND_EXPERIMENTAL_PROVIDER", "")
        proxies = {name: os.environ[name] for name in ("HTTPS_PROXY", "NO_PROXY") if name in os.environ}
        state["calls"].append(["kind", *arguments])
        state["environment"] = {"provider": provider, **proxies, "host": os.environ.get("DOCKER_HOST", "")}
        if arguments[0] == "version":
            print("kind v0.33.0 go1.26.1 linux/amd64")
            return
        if state["down"]:
            _fail(
                f'ERROR: failed to list nodes: command "{provider} ps -a" failed with error: exit status 1\n\nCommand Output: {state["down"]}'
            )
        options = {arguments[i]: arguments[i + 1] for i in range(len(arguments) - 1) if arguments[i].startswith("--")}
        {"create": _create, "delete": _delete, "export": _export, "load": _load, "get": _get}[arguments[0]](
            arguments, options, state
        )


def _create(_arguments: list[str], options: dict[str, str], state: State) -> None:
    name = options["--name"]
    if any(each["cluster"] == name for each in state["containers"]):
        _fail(f'ERROR: failed to create cluster: node(s) already exist for a cluster with the name "{name}"')
    import yaml

    configuration = yaml.safe_load(Path(options["--config"]).read_text())
    state["configuration"] = configuration
    (node,) = configuration["nodes"]
    print(
        f'Creating cluster "{name}" ...\n ✓ Ensuring node image ({node["image"].partition("@")[0]}) 🖼', file=sys.stderr
    )
    port = node["extraPortMappings"][0]["hostPort"]
    if text := _expected(state, "create", name=f"{name}-control-plane", port=port):
        # In case of errors kind deletes the nodes again.
        _fail(
            f' ✗ Preparing nodes 📦 \nERROR: failed to create cluster: command "docker run --name {name}-control-plane" '
            f"failed with error: exit status 125\n\nCommand Output: {text}"
        )
    if text := _expected(state, "kubeadm"):
        _fail(
            f" ✗ Starting control-plane 🕹️ \nERROR: failed to create cluster: failed to init node with kubeadm: command "
            f'"docker exec --privileged {name}-control-plane kubeadm init --config=/kind/kubeadm.conf --skip-token-print --v=6" '
            f"failed with error: exit status 1\n\nCommand Output: {text}"
        )
    state["containers"].append(
        {"id": f"{state['next']:064x}", "name": f"{name}-control-plane", "cluster": name, "runs": True, "port": port}
    )
    state["next"] += 1
    if state.get("killed"):
        # As one whose power goes while kubeadm runs: the container is there, and nothing else.
        raise SystemExit(137)
    _write_kubeconfig(name, Path(options["--kubeconfig"]), state)
    print(f' ✓ Starting control-plane 🕹️\nSet kubectl context to "kind-{name}"\nHave a nice day! 👋', file=sys.stderr)


def _write_kubeconfig(name: str, file: Path, state: State) -> None:
    """Write a kubeconfig with kind's names: of a server without a login, or of a running cluster's own kubeconfig."""
    context = f"kind-{name}"
    cluster: State = {"server": state["server"]}
    user: State = {"token": "one"}
    if source := state.get("kubeconfig"):
        import yaml

        given = yaml.safe_load(Path(source).read_text())
        cluster, user = given["clusters"][0]["cluster"], given["users"][0]["user"]
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(written))
    file.chmod(0o600)


def _export(_arguments: list[str], options: dict[str, str], state: State) -> None:
    name = options["--name"]
    if not any(each["cluster"] == name for each in state["containers"]):
        _fail(f"ERROR: could not locate any control plane nodes for cluster named '{name}'.")
    _write_kubeconfig(name, Path(options["--kubeconfig"]), state)
    print(f'Set kubectl context to "kind-{name}"', file=sys.stderr)


def _delete(_arguments: list[str], options: dict[str, str], state: State) -> None:
    print(f'Deleting cluster "{options["--name"]}" ...', file=sys.stderr)
    if text := _expected(state, "delete"):
        _fail(f'ERROR: failed to delete cluster "{options["--name"]}": {text}')
    state["containers"] = [each for each in state["containers"] if each["cluster"] != options["--name"]]


def _load(arguments: list[str], _options: dict[str, str], state: State) -> None:
    if text := _expected(state, "load"):
        _fail(f"ERROR: failed to load image: {text}")
    state["on_node"][Path(arguments[2]).read_text()] = 62_000_000


def _get(_arguments: list[str], _options: dict[str, str], state: State) -> None:
    print("\n".join(sorted({each["cluster"] for each in state["containers"]})) or "No kind clusters found.")


if __name__ == "__main__":
    if sys.argv[1] == "kind":
        _kind(sys.argv[2:])
    else:
        _container_program(sys.argv[1], sys.argv[2:])
