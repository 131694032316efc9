"""One stack and two clusters on this machine, by Pulumi's own engine: another cluster under a name, and a move."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import Answer, Object, Project, make_project, said

from preview import pulumi_preview
from sandbox import isolation

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

# Of the stack, what is enough to see where it is.
SMALL: Mapping[str, Any] = {
    "kong-istio:observability": {name: {"enabled": False} for name in ("prometheus", "grafana", "kiali")},
    "kong-istio:checks": {"enabled": False},
}
MARKS = ("namespaces", "customresourcedefinitions.apiextensions.k8s.io", "clusterroles")
OWN = re.compile(r".*(istio|kong|bookinfo).*")
DEAD = {"server": "https://127.0.0.1:9"}


@dataclass
class Cluster:
    """A sandbox without a stack."""

    project: Project
    entry: Object = field(default_factory=dict)
    user: Object = field(default_factory=dict)
    settings: Object = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.project.environment, **isolation.variables(self.project.paths)}

    def up(self) -> None:
        answer = self.project.python("-m", "sandbox", "up")
        assert answer.returncode == 0, said(answer)
        config = yaml.safe_load(self.project.paths.kubeconfig.read_text())
        self.entry, self.user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.settings = yaml.safe_load(self.project.paths.stack_file.read_text())["config"]

    def down(self) -> None:
        self.project.python("-m", "sandbox", "down")

    def anew(self) -> None:
        """Delete the cluster and create another one."""
        self.down()
        self.up()

    def kubectl(self, *arguments: str) -> str:
        kubectl = str(self.project.paths.programs / "kubectl")
        answer = self.project.run(kubectl, *arguments, environment=self.environment)
        assert answer.returncode == 0, said(answer)
        return answer.stdout

    @property
    def uid(self) -> str:
        return self.kubectl("get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}")

    def marks(self) -> set[str]:
        """Return the names of what only the stack, or what it installs, creates."""
        listed = json.loads(self.kubectl("get", ",".join(MARKS), "--output=json"))["items"]
        return {item["metadata"]["name"] for item in listed if OWN.fullmatch(item["metadata"]["name"])}

    def ready(self) -> bool:
        deployment = json.loads(self.kubectl("get", "deployment", "kong-istio-kong", "-nkong-istio", "--output=json"))
        return deployment["status"].get("readyReplicas") == 1 and "productpage" in self.kubectl(
            "get", "ingress", "--all-namespaces"
        )


@dataclass
class Traveller:
    """A stack in a state of its own, which is told by its settings where to go."""

    folder: Path
    program: Project
    charts: Object

    def pulumi(self, *arguments: str, **environment: str) -> Answer:
        given = self._environment | environment
        return self.program.run("pulumi", *arguments, "--stack=traveller", "--non-interactive", environment=given)

    @property
    def _environment(self) -> dict[str, str]:
        state = {"PULUMI_BACKEND_URL": (self.folder / "state").as_uri()}
        return self.program.environment | isolation.variables(self.program.paths) | state

    def init(self) -> None:
        (self.folder / "state").mkdir()
        shutil.copy(self.program.paths.root / "Pulumi.yaml", self.folder)
        answer = self.pulumi("stack", "init", "--no-select", f"--cwd={self.folder}")
        assert answer.returncode == 0, said(answer)

    def contexts(self, **clusters: Cluster | None) -> None:
        """Write the kubeconfig; None is a cluster that does not answer."""
        entries = {
            name: (found.entry, found.user) if found else (DEAD, {"token": "x"}) for name, found in clusters.items()
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": entry} for name, (entry, _) in entries.items()],
            "users": [{"name": name, "user": user} for name, (_, user) in entries.items()],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in entries],
        }
        (self.folder / "kubeconfig").write_text(yaml.safe_dump(config))

    def at(self, context: str, cluster: Cluster, command: str, *options: str, **environment: str) -> Answer:
        """Run Pulumi with the settings that the cluster's machine needs."""
        own = {"kong-istio:sandbox": False, "kong-istio:charts": self.charts, "kong-istio:kubeContext": context}
        own["kong-istio:kubeconfig"] = str(self.folder / "kubeconfig")
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump({"config": {**cluster.settings, **SMALL, **own}}))
        return self.pulumi(command, f"--config-file={file}", *options, **environment)

    def up(self, context: str, cluster: Cluster, **environment: str) -> Answer:
        return self.at(context, cluster, "up", "--yes", "--skip-preview", **environment)

    def assert_settled(self, context: str, cluster: Cluster) -> None:
        answer = self.at(context, cluster, "preview", "--refresh", "--expect-no-changes")
        assert answer.returncode == 0, said(answer)


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    """Bring up two sandboxes, with nothing of other tests in them; skip where there is no engine."""
    if missing := pulumi_preview.missing():
        pytest.skip(missing)
    first, second = (Cluster(make_project(tmp_path_factory.mktemp(name).resolve())) for name in ("first", "second"))
    found = first, second
    try:
        for cluster in found:
            cluster.up()
        yield found
    finally:
        for cluster in found:
            cluster.down()


@pytest.fixture(scope="module")
def traveller(clusters: tuple[Cluster, Cluster], tmp_path_factory: pytest.TempPathFactory) -> Traveller:
    first, _ = clusters
    made = Traveller(tmp_path_factory.mktemp("traveller"), first.project, first.settings.get("kong-istio:charts") or {})
    made.init()
    return made


def done(answer: Answer) -> str:
    assert answer.returncode == 0, said(answer)
    return said(answer)


def refusal(answer: Answer) -> str:
    assert answer.returncode, f"it was not refused:\n{said(answer)}"
    lines = re.findall(r"^ *error: (.+)$", said(answer), re.MULTILINE)
    return next(str(line) for line in lines if "non-zero exit code" not in line)


# These tell one story, in this order.


def test_a_move_comes_up_there_and_clears_the_cluster_before(
    traveller: Traveller, clusters: tuple[Cluster, Cluster]
) -> None:
    first, second = clusters
    traveller.contexts(one=first, two=second)
    done(traveller.up("one", first))
    assert first.ready()
    told = done(traveller.up("two", second))
    assert "command:local:Command precheck creating replacement" in told, "the precheck did not look at the new cluster"
    assert second.ready()
    assert first.marks() == set(), "the cluster before was not cleared"
    traveller.assert_settled("two", second)


def test_another_name_for_the_same_cluster_replaces_nothing(
    traveller: Traveller, clusters: tuple[Cluster, Cluster]
) -> None:
    _, second = clusters
    traveller.contexts(renamed=second, two=second)
    before = second.kubectl(
        "get", "deployments,services,namespaces", "-A", "--output=jsonpath={.items[*].metadata.uid}"
    )
    assert "replaced" not in done(traveller.up("renamed", second))
    assert before == second.kubectl(
        "get", "deployments,services,namespaces", "-A", "--output=jsonpath={.items[*].metadata.uid}"
    )
    traveller.assert_settled("renamed", second)


def test_another_cluster_under_the_same_name_is_noticed_and_made_anew_on_a_word(
    traveller: Traveller, clusters: tuple[Cluster, Cluster]
) -> None:
    first, second = clusters
    before = second.marks()
    traveller.contexts(renamed=first)
    sentence = (
        f"The context renamed leads to another cluster than at the last up (its kube-system is {first.uid}, and was "
        f"{second.uid}): `pulumi refresh --stack traveller && pulumi up --stack traveller` makes the stack anew in it, or "
        "name the context of the other one in kubeContext."
    )
    assert f"warning: {sentence}" in done(traveller.at("renamed", first, "preview"))
    assert refusal(traveller.up("renamed", first)) == sentence
    assert first.marks() == set()
    done(traveller.at("renamed", first, "refresh", "--yes", "--skip-preview"))
    done(traveller.up("renamed", first))
    assert first.ready()
    assert second.marks() == before, "something was done to the cluster before, which nobody spoke of"
    traveller.assert_settled("renamed", first)


def test_a_destroy_in_another_cluster_under_the_same_name_deletes_nothing(
    traveller: Traveller, clusters: tuple[Cluster, Cluster]
) -> None:
    first, second = clusters
    before = second.marks()
    assert before, "there is nothing that a destroy could delete by name"
    traveller.contexts(renamed=second)
    for options in ([], ["--refresh"]):
        told = said(traveller.at("renamed", second, "destroy", "--yes", "--skip-preview", *options))
        assert (
            f"Nothing was deleted: the context renamed leads to another cluster than the stack is in (its kube-system is "
            f"{second.uid}, and was {first.uid})"
        ) in told
        assert "`pulumi state delete --all --force --stack traveller`" in told
        assert second.marks() == before


def test_a_cluster_before_that_does_not_answer_is_named_and_left_on_a_word(
    traveller: Traveller, clusters: tuple[Cluster, Cluster]
) -> None:
    first, second = clusters
    second.anew()
    traveller.contexts(renamed=None, two=second)
    sentence = refusal(traveller.up("two", second))
    assert re.fullmatch(
        r"The stack is still in the cluster of context renamed, which cannot be cleared \(.+\): start that cluster, or "
        r"leave it as it is with `PULUMI_K8S_DELETE_UNREACHABLE=true pulumi refresh --stack traveller && pulumi up --stack "
        r"traveller`\.",
        sentence,
    )
    assert second.marks() == set()
    word = {"PULUMI_K8S_DELETE_UNREACHABLE": "true"}
    done(traveller.at("two", second, "refresh", "--yes", "--skip-preview", **word))
    done(traveller.up("two", second))
    assert second.ready()
    assert first.marks(), "the cluster that was to be left was cleared"
    traveller.assert_settled("two", second)


def test_a_preview_without_the_cluster_shows_no_change(traveller: Traveller, clusters: tuple[Cluster, Cluster]) -> None:
    _, second = clusters
    (traveller.folder / "kubeconfig").unlink()
    told = done(traveller.at("two", second, "preview", "--expect-no-changes"))
    assert "Previewing without a cluster" in told
    assert "Outputs:" not in told, f"outputs would change:\n{told}"


def test_a_stack_is_forgotten_on_a_word_and_its_cluster_left(
    traveller: Traveller, clusters: tuple[Cluster, Cluster]
) -> None:
    _, second = clusters
    before = second.marks()
    done(traveller.pulumi("state", "delete", "--all", "--force", "--yes", f"--cwd={traveller.folder}"))
    state = done(traveller.pulumi("stack", "export", f"--cwd={traveller.folder}"))
    assert "urn:" not in state, "the state still holds resources"
    assert second.marks() == before
