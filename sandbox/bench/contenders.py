"""The stack, and the guide typed as a script: each on a fresh sandbox, until a request through Kong can be answered."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from commands.cluster_access import NO_CLUSTER
from kube import Cluster
from names import GRAFANA, ISTIO_BASE, ISTIOD, KIALI, KONG, PROMETHEUS
from plan.program import record_stack
from plan.stack_config import Project
from sandbox import SandboxError, kwok_cluster, pulumi_engine, whole_stack
from sandbox.bench import critical
from sandbox.bench.answering import Observer, PodTimes
from sandbox.bench.measuring import Run, events, timed
from sandbox.facts import Facts
from sandbox.paths import CHECKOUT
from sandbox.slow_pods import SlowPods

#: The namespaces that both the stack and the guide fill.
NAMESPACES = ("bookinfo", "kong-istio", "istio-system")

# What stands in for Kong's answer: after the script's end it may take as long as pods do.
_ANSWER_SECONDS = 300
# Release -> what the guide's script calls its chart.
_RELEASES = {ISTIO_BASE: "BASE", KONG: "KONG"} | {name: name.upper() for name in (ISTIOD, PROMETHEUS, GRAFANA, KIALI)}
# The values without which the guide's charts would not come up on simulated nodes, or under other names than the stack's;
# all else is the charts' own, probes above all. istiod's and its base chart's come from the sandbox.
_NEEDED: dict[str, dict[str, Any]] = {
    # Nothing answers at the address of a simulated Pod, so the API server could not ask Kong's webhook.
    KONG: {"ingressController": {"admissionWebhook": {"enabled": False}}},
    # The guide's is the server alone. A volume would be waited for: no simulated node makes one.
    PROMETHEUS: {
        **{name: {"enabled": False} for name in ("alertmanager", "kube-state-metrics")},
        **{name: {"enabled": False} for name in ("prometheus-node-exporter", "prometheus-pushgateway")},
        "server": {
            "fullnameOverride": "prometheus",
            "persistentVolume": {"enabled": False},
            "service": {"servicePort": 9090},
        },
    },
    GRAFANA: {"fullnameOverride": "grafana", "testFramework": {"enabled": False}, "service": {"port": 3000}},
    KIALI: {
        "auth": {"strategy": "anonymous"},
        "external_services": {"prometheus": {"url": "http://prometheus.istio-system:9090"}},
    },
}


@dataclass(kw_only=True)
class Answered(Run):
    """A run that ends with a request through Kong that can be answered. `pods`: when each was there.

    `without_sidecar`: those that should have had one, however briefly they were there. `path`: the critical one of an `up`.
    """

    pods: dict[str, PodTimes] = field(default_factory=dict)
    without_sidecar: set[str] = field(default_factory=set)
    path: critical.Path | None = None


def fresh(pods: SlowPods | None = None) -> Cluster:
    """Put a new sandbox in the place of the one that there is, if any; `pods`: how slow its own are."""
    kwok_cluster.down()
    kwok_cluster.up(pods=pods)
    return kwok_cluster.api_server(CHECKOUT)


def write_settings(**changes: Any) -> None:
    """Have the new sandbox's settings run no checks, nor load; `changes`: sections that are other than they were."""
    written = yaml.safe_load(CHECKOUT.stack_file.read_text())
    config = written["config"]
    checks = {**(config.get("kong-istio:checks") or {}), "enabled": False, "load": False}
    config |= {f"kong-istio:{key}": value for key, value in {"checks": checks, **changes}.items()}
    CHECKOUT.stack_file.write_text(yaml.safe_dump(written, sort_keys=False))


def pulumi(command: str, *arguments: str, stack: str = whole_stack.STACK, config: Path | None = None) -> list[str]:
    """Return the command line of Pulumi on a stack of the sandbox, whose settings are in a file there."""
    file = str(config or CHECKOUT.stack_file)
    return ["pulumi", command, "--stack", stack, "--config-file", file, *arguments, "--non-interactive"]


def write_listed(folder: Path) -> None:
    """Write the program that registers, from a list, what the stack that is up registered; and without a cluster.

    The stack's relative paths hold in its folder too, so that the engine sees the same resources.
    """
    shutil.copytree(CHECKOUT.root / "sandbox" / "bench" / "listed", folder)
    for target in (CHECKOUT.sandbox, CHECKOUT.root / "sandbox"):
        (folder / target.name).symlink_to(target)
    state = json.loads(whole_stack.pulumi_output("stack", "export", "--show-secrets", "--stack", whole_stack.STACK))
    # Without the stack itself, and the provider that the engine made for the question after its state.
    made = [one for one in state["deployment"]["resources"] if one.get("parent")]
    _write_list(folder / f"{whole_stack.STACK}.json", made)
    for one in made:
        if one["type"] == "pulumi:providers:kubernetes":
            one["inputs"] = {**one["inputs"], "kubeconfig": NO_CLUSTER}
            del one["inputs"]["context"]
    _write_list(folder / "away.json", made)


def _write_list(file: Path, resources: list[dict[str, Any]]) -> None:
    # There are passwords in it.
    file.touch(mode=0o600)
    file.write_text(json.dumps(resources))


def stack(cluster: Cluster, namespaces: Collection[str] = ("bookinfo",), *, sidecars_required: bool = True) -> Answered:
    """Bring the stack up, by the engine or, where there is none, rehearsed; `namespaces`: of its applications.

    Raises `SandboxError` where it ends before a request could be answered, and where a pod has no sidecar.
    """
    by_engine = not pulumi_engine.missing()
    command = [sys.executable, "-m", "sandbox.rehearsal"]
    if by_engine:
        whole_stack.select_stack()
        # The stream tells when each step began and ended, which the state does not.
        command = pulumi("up", "--yes", "--skip-preview", "--json")
    with _observed(cluster, namespaces) as observer:
        run = timed(command)
        observer.verify()
    if sidecars_required and observer.without_sidecar:
        raise SandboxError(f"pods without their sidecar: {', '.join(sorted(observer.without_sidecar))}.")
    found = _answered(run, observer)
    if by_engine:
        exported = whole_stack.pulumi_output("stack", "export", "--stack", whole_stack.STACK)
        found.state_bytes = len(exported)
        resources = json.loads(exported)["deployment"]["resources"]
        found.path = critical.longest(critical.steps(events(run)), resources)
    return found


def guide(cluster: Cluster, *, own_values: bool) -> Answered:
    """Run the guide's script, and wait for what it does not: Kong. `own_values`: as its reader types it.

    That is with the charts' own values, and what it takes to come up here; else with the stack's.
    """
    with tempfile.TemporaryDirectory() as folder, _observed(cluster, ("bookinfo",)) as observer:
        run = timed(["bash", "sandbox/bench/guide.sh"], variables=_variables(Path(folder), own_values=own_values))
        run.seconds = max(run.seconds, observer.await_answer(_ANSWER_SECONDS))
    return _answered(run, observer)


@contextmanager
def _observed(cluster: Cluster, namespaces: Collection[str]) -> Iterator[Observer]:
    facts = Facts.load(CHECKOUT.facts)
    observer = Observer(cluster, namespaces, injection=bool(facts and not facts.not_shown))
    observer.start()
    try:
        yield observer
    finally:
        observer.end()


def _answered(run: Run, observer: Observer) -> Answered:
    seen = {"first_answer": observer.first_answer or run.seconds, "pods": observer.pods}
    return Answered(**{**vars(run), **seen}, without_sidecar=observer.without_sidecar)


def _variables(folder: Path, *, own_values: bool) -> dict[str, str]:
    """Write the values of each release; return what the script wants to know."""
    variables = {"VALUES": str(folder)}
    for name, resource in _releases().items():
        values = _own_values(name) if own_values else resource["values"]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
        variables[f"CHART_{_RELEASES[name]}"] = _helm_chart(resource)
    return variables


def _own_values(release: str) -> dict[str, Any]:
    istio = (yaml.safe_load(CHECKOUT.stack_file.read_text())["config"].get("kong-istio:istio")) or {}
    of_machine = {ISTIO_BASE: istio.get("baseValues"), ISTIOD: istio.get("istiodValues")}
    return _NEEDED.get(release) or of_machine.get(release) or {}


def _releases() -> dict[str, dict[str, Any]]:
    """Return the inputs of the stack's releases, so that both sides install the same charts."""
    recording = record_stack(Project().read(CHECKOUT.stack_file))
    found = [item for item in recording.resources.values() if item.type == "kubernetes:helm.sh/v3:Release"]
    return {item.name: dict(item.inputs) for item in found if item.name in _RELEASES}


def _helm_chart(release: Mapping[str, Any]) -> str:
    repository = (release.get("repositoryOpts") or {}).get("repo")
    version = f" --version {release['version']}" if release.get("version") else ""
    return f"{release['chart']}{f' --repo {repository}' if repository else ''}{version}"
