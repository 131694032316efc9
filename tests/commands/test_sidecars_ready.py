"""Sidecars of another istiod than they should be of: who is started anew, in which order, and who is only named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from test_commands import FakeCluster, Object, Run, failure, run

from commands import command_line, rollouts, sidecars, sidecars_ready
from commands.sidecars_ready import ANNOTATION
from commands.when_deleted.unused_revision import STATUS

__all__ = ["run"]

OLD, NEW = "1.30.3", "1.31.0"


def pod(
    owner: str, revision: str = "default", version: str = OLD, *, namespace: str = "bookinfo", **spec: Any
) -> Object:
    """Return a pod that istiod injected; `owner`: kind/name of what makes it."""
    kind, _, name = owner.partition("/")
    owners = [{"kind": kind, "name": name, "controller": True}] if kind else []
    status = json.dumps({"containers": ["istio-proxy"], "revision": revision})
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{name or 'alone'}-{revision}-{version}",
            "namespace": namespace,
            "ownerReferences": owners,
            "annotations": {STATUS: status},
        },
        "spec": {
            "initContainers": [{"name": "istio-proxy", "image": f"hub/proxyv2:{version}", "restartPolicy": "Always"}],
            "containers": [{"name": "app", "image": "app:1"}],
            **spec,
        },
    }


def workload(kind: str, name: str, namespace: str = "bookinfo", **spec: Any) -> Object:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    status |= {"numberAvailable": 1, "updatedNumberScheduled": 1, "desiredNumberScheduled": 1}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {}}, **spec},
        "status": status,
    }


def replica_set(name: str, owner: str = "") -> Object:
    kind, _, above = owner.partition("/")
    owners = [{"kind": kind, "name": above, "controller": True}] if kind else []
    return {"kind": "ReplicaSet", "metadata": {"name": name, "namespace": "bookinfo", "ownerReferences": owners}}


def injector(revision: str = "", tag: str = OLD, image: str = "proxyv2") -> Object:
    values = {"global": {"hub": "hub", "tag": tag, "proxy": {"image": image}}}
    return {
        "kind": "ConfigMap",
        "metadata": {"name": f"istio-sidecar-injector{revision and '-'}{revision}", "namespace": "istio-system"},
        "data": {"values": json.dumps(values)},
    }


class Mesh(FakeCluster):
    """A cluster whose workloads make new pods when their template changes, each as the webhook of the day injects."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*objects)
        self.patched: list[tuple[str, str]] = []
        self.injects: Callable[[str], tuple[str, str]] = lambda _: ("default", NEW)
        self.stuck: set[str] = set()

    def patch(self, kind: str, name: str, namespace: str, patch: Any, *, how: Any = "merge") -> Object:
        assert how == "merge"
        found = self.get(kind, name, namespace)
        assert found
        assert all(
            rollouts.COMPLETE[item["kind"]](item) for item in self.objects if item["kind"] in rollouts.COMPLETE
        ), "the one before is not available yet"
        stamp = patch["spec"]["template"]["metadata"]["annotations"][ANNOTATION]
        self.patched.append((name, stamp))
        before = found["spec"]["template"]["metadata"].setdefault("annotations", {})
        if before.get(ANNOTATION) == stamp:
            return found
        before[ANNOTATION] = stamp
        if name in self.stuck:
            found["status"]["availableReplicas"] = 0
            return found
        self._roll(name)
        return found

    def _roll(self, name: str) -> None:
        def is_own(item: Object) -> bool:
            return item["kind"] == "Pod" and str(item["metadata"]["name"]).startswith(f"{name}-")

        for old in [item for item in self.objects if is_own(item)]:
            self.objects.remove(old)
            (owner,) = old["metadata"]["ownerReferences"]
            self.objects.append(pod(f"{owner['kind']}/{owner['name']}", *self.injects(name)))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Mesh]:
    """Make a mesh that the command works on."""

    def created(*objects: Object) -> Mesh:
        mesh = Mesh(*objects)
        monkeypatch.setattr(command_line, "connect", lambda _: mesh)
        monkeypatch.setattr(command_line, "time", mesh)
        return mesh

    return created


Make = Callable[..., Mesh]
IN_PLACE = ["--namespace", "bookinfo="]


def two() -> list[Object]:
    return [
        *(workload("Deployment", name) for name in ("web", "api")),
        *(replica_set(f"{name}-1", f"Deployment/{name}") for name in ("web", "api")),
        *(pod(f"ReplicaSet/{name}-1") for name in ("web", "api")),
    ]


def test_nothing_is_touched_where_every_sidecar_is_current(make: Make, run: Run) -> None:
    mesh = make(injector(), *two())
    assert run(sidecars_ready, *IN_PLACE) == {"restarted": [], "left": []}
    assert mesh.patched == []


def test_sidecars_of_an_older_version_are_started_anew_one_workload_after_the_other(make: Make, run: Run) -> None:
    mesh = make(injector(tag=NEW), *two())
    assert run(sidecars_ready, *IN_PLACE)["restarted"] == ["Deployment bookinfo/api", "Deployment bookinfo/web"]
    assert mesh.patched == [("api", f"default/{NEW}"), ("web", f"default/{NEW}")]
    assert run(sidecars_ready, *IN_PLACE)["restarted"] == [], "the second run starts them once more"


def test_sidecars_of_another_revision_are_started_anew_whatever_their_version(make: Make, run: Run) -> None:
    mesh = make(injector(), injector("1-31-0", OLD), *two())
    mesh.injects = lambda _: ("1-31-0", OLD)
    run(sidecars_ready, "--namespace", "bookinfo=1-31-0")
    assert mesh.patched == [("api", f"1-31-0/{OLD}"), ("web", f"1-31-0/{OLD}")]


def test_one_that_is_not_available_stops_the_others(make: Make, run: Run) -> None:
    mesh = make(injector(tag=NEW), *two())
    mesh.stuck = {"api"}
    assert "Deployment bookinfo/api is not available after 600 s" in failure(run, sidecars_ready, *IN_PLACE)
    assert [name for name, _ in mesh.patched] == ["api"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
@pytest.mark.parametrize(("until", "seconds"), [(3, 27 * 60), (1, 20 * 60)])
def test_one_with_many_pods_has_its_time_anew_while_more_of_them_are_new(
    until: int, seconds: int, kind: str, make: Make, run: Run
) -> None:
    def web(updated: int) -> Object:
        made = workload(kind, "web", replicas=3)
        three = ("replicas", "availableReplicas", "desiredNumberScheduled", "numberAvailable")
        made["status"] |= {**dict.fromkeys(three, 3), "updatedReplicas": updated, "updatedNumberScheduled": updated}
        return made

    def injects(_: str) -> tuple[str, str]:
        mesh.later += [(540.0 * updated, web(updated)) for updated in range(until + 1)]
        return "default", NEW

    mesh = make(injector(tag=NEW), web(3), pod(f"{kind}/web"))
    mesh.injects = injects
    if until == 3:
        assert run(sidecars_ready, *IN_PLACE)["restarted"] == [f"{kind} bookinfo/web"]
    else:
        assert f"{kind} bookinfo/web is not available after 600 s" in failure(run, sidecars_ready, *IN_PLACE)
    assert mesh.seconds == seconds


def test_who_was_cut_off_goes_on_with_the_rest(make: Make, run: Run) -> None:
    mesh = make(injector(tag=NEW), *two())
    mesh.stuck = {"web"}
    failure(run, sidecars_ready, *IN_PLACE)
    mesh.stuck, mesh.patched = set(), []
    web = mesh.get("deployments", "web", "bookinfo")
    assert web
    web["status"]["availableReplicas"] = 1
    mesh._roll("web")
    assert run(sidecars_ready, *IN_PLACE) == {"restarted": [], "left": []}


def test_an_annotation_that_is_there_already_does_not_keep_old_sidecars(make: Make, run: Run) -> None:
    mesh = make(injector(tag=NEW), *two())
    web = mesh.get("deployments", "web", "bookinfo")
    assert web
    web["spec"]["template"]["metadata"] = {"annotations": {ANNOTATION: f"default/{NEW}"}}
    run(sidecars_ready, *IN_PLACE)
    stamps = [stamp for name, stamp in mesh.patched if name == "web"]
    assert stamps[0] == f"default/{NEW}"
    assert stamps[1].startswith(f"default/{NEW} 2")


def test_a_webhook_that_goes_on_injecting_another_one_is_told(make: Make, run: Run) -> None:
    mesh = make(injector(tag=NEW), *two())
    mesh.injects = lambda _: ("default", OLD)
    text = failure(run, sidecars_ready, *IN_PLACE)
    assert (
        f"bookinfo/api was started anew and still has a sidecar of {OLD} of revision default, in place of {NEW}" in text
    )


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("Deployment", {"paused": True}, "is paused"),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "waits until somebody deletes its pods"),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, "keeps some of them back"),
    ],
)
def test_a_workload_that_would_not_replace_its_pods_is_named_and_left(
    kind: str, spec: Object, said: str, make: Make, run: Run
) -> None:
    owner = "ReplicaSet/web-1" if kind == "Deployment" else f"{kind}/web"
    mesh = make(injector(tag=NEW), workload(kind, "web", **spec), replica_set("web-1", "Deployment/web"), pod(owner))
    (left,) = run(sidecars_ready, *IN_PLACE)["left"]
    assert f"{kind} bookinfo/web has a sidecar of {OLD} of revision default and {said}" in left
    assert mesh.patched == []


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("Deployment", {"strategy": {"type": "Recreate"}}, "its strategy is Recreate"),
        ("Deployment", {"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}, "its strategy lets 100% of 1 pods"),
        ("Deployment", {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}, "its strategy lets 1 of 1 pods"),
        ("StatefulSet", {}, "it is a StatefulSet of one pod"),
        ("Deployment", {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}, ""),
        ("DaemonSet", {}, ""),
    ],
)
def test_a_gap_that_a_workloads_own_strategy_makes_is_told_before_it(
    kind: str, spec: Object, said: str, make: Make, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = "ReplicaSet/web-1" if kind == "Deployment" else f"{kind}/web"
    mesh = make(injector(tag=NEW), workload(kind, "web", **spec), replica_set("web-1", "Deployment/web"), pod(owner))
    told: list[str] = []

    def injects(_: str) -> tuple[str, str]:
        told.append(capsys.readouterr().err)
        return "default", NEW

    mesh.injects = injects
    run(sidecars_ready, *IN_PLACE)
    assert (f"answers nobody while it starts anew, as {said}" in told[0]) if said else not told[0]


@pytest.mark.parametrize("owner", ["", "ReplicaSet/bare", "Rollout/web"])
def test_a_pod_that_no_workload_would_start_anew_is_named(owner: str, make: Make, run: Run) -> None:
    make(injector(tag=NEW), replica_set("bare"), pod(owner))
    (left,) = run(sidecars_ready, *IN_PLACE)["left"]
    assert f"has a sidecar of {OLD} of revision default: start it anew yourself." in left


def test_what_makes_many_pods_is_named_once(make: Make, run: Run) -> None:
    pods = [pod("Rollout/web"), pod("Rollout/web")]
    pods[1]["metadata"]["name"] += "-2"
    make(injector(tag=NEW), *pods)
    (left,) = run(sidecars_ready, *IN_PLACE)["left"]
    assert left.startswith("Rollout bookinfo/web has a sidecar")


def test_pods_of_jobs_and_pods_that_end_are_left_alone(make: Make, run: Run) -> None:
    ending, done = pod("ReplicaSet/web-1"), pod("ReplicaSet/api-1")
    ending["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    done["status"] = {"phase": "Succeeded"}
    make(injector(tag=NEW), pod("Job/nightly"), ending, done)
    assert run(sidecars_ready, *IN_PLACE) == {"restarted": [], "left": []}


@pytest.mark.parametrize(
    ("tag", "image", "version", "lags"),
    [
        (OLD, "proxyv2", f"{OLD}-distroless", False),
        (NEW, "proxyv2", f"{NEW}-rc.1", True),
        (OLD, "mirror.example/proxyv2:1.30.9", OLD, True),
        (OLD, "mirror.example/proxyv2:1.30.9", "1.30.9", False),
        ("1.30", "proxyv2", "1.30.3", True),
    ],
)
def test_the_version_of_a_sidecar_is_what_istiods_injector_says(
    tag: str, image: str, version: str, lags: bool, make: Make
) -> None:
    mesh = make(injector(tag=tag, image=image))
    current = sidecars.versions(mesh, {""})
    assert bool(sidecars.lag(pod("ReplicaSet/web-1", version=version), current)) is lags


def test_a_pod_that_asks_for_an_image_of_its_own_is_none_of_istiods(make: Make) -> None:
    current = sidecars.versions(make(injector(tag=NEW)), {""})
    own = pod("ReplicaSet/web-1")
    own["metadata"]["annotations"]["sidecar.istio.io/proxyImage"] = f"hub/proxyv2:{OLD}"
    assert not sidecars.lag(own, current)
