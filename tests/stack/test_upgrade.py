"""Istio is upgraded by Pulumi's own engine, with an istiod for each control plane: in place, and by revision.

All istiods of the sandbox are one build. What tells versions apart are the charts, and what they have injected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from stack import Object, Stack, make_project, said, wait_for
from test_engine import kill, status_of
from upgrades import Look, Mover, Run, gaps

from sandbox import kwok_cluster, pulumi_engine, tools

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.sandbox, pytest.mark.timeout(3600)]

STABLE, NEXT, CANARY, REVISION = "1.30.2", "1.30.3", "1.31.0", "1-31-0"
ON_STABLE, ON_NEXT, ON_CANARY = f"default {STABLE}", f"default {NEXT}", f"{REVISION} {CANARY}"
TAGS = {"tags": {"prod": "stable"}}
STABLE_ALONE: Object = {"version": STABLE, **TAGS}
PROMOTED: Object = {"version": CANARY, "revision": REVISION, **TAGS}


def canary(*namespaces: str, tag: str = "stable") -> Object:
    """Return the settings of Istio with a canary that some namespaces, and perhaps the tag, are on."""
    return {
        "version": STABLE,
        "canary": {"version": CANARY, "namespaces": list(namespaces)},
        "tags": {"prod": tag},
    }


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mover]:
    """Bring up a small stack in a sandbox of its own, on the oldest of the versions; skip where there is no engine."""
    if missing := pulumi_engine.missing():
        pytest.skip(missing)
    project = make_project(tmp_path_factory.mktemp("upgrade").resolve())
    # While the network may still be asked for them.
    tools.ensure([*tools.CONTROL_PLANE, tools.ISTIOD])
    # Copies of the charts of Istio's source stand for any version, whatever its repository has.
    project.environment["KONG_ISTIO_OFFLINE"] = "1"
    found = Mover(Stack(project, checks=False))
    try:
        answer = project.python("-m", "sandbox", "up")
        assert answer.returncode == 0, said(answer)
        if found.stack.facts.not_shown:
            pytest.skip(f"nothing injects sidecars here: {found.stack.facts.not_shown}")
        found.settle(STABLE_ALONE)
        found.stack.up()
        yield found
    finally:
        # Other tests are of a destroy.
        project.python("-m", "sandbox", "down")


# --- what is seen ---------------------------------------------------------------------------------------------


def succeeded(run: Run) -> Run:
    assert run.answer.returncode == 0, said(run.answer)
    return run


def carriers(mover: Mover) -> dict[str, str]:
    """Return what carries traffic, with what tells an object from one that took its place, and a route from a changed one."""
    found = {}
    for namespace in ("bookinfo", "kong-istio"):
        for kind in ("services", "deployments", "ingresses.networking.k8s.io", "kongplugins"):
            for item in mover.stack.cluster.list(kind, namespace):
                metadata = item["metadata"]
                version = metadata["resourceVersion"] if item["kind"] in ("Ingress", "KongPlugin") else ""
                found[f"{item['kind']} {namespace}/{metadata['name']}"] = f"{metadata['uid']} {version}"
    return found


def assert_on(mover: Mover, bookinfo: str, kong: str) -> None:
    """Every pod has a sidecar of this revision and version; those that a rollout replaced may need a moment to go."""
    wait_for(lambda: mover.sidecars("bookinfo") == {bookinfo}, f"bookinfo on {bookinfo}: {mover.sidecars('bookinfo')}")
    wait_for(lambda: mover.sidecars("kong-istio") == {kong}, f"Kong on {kong}: {mover.sidecars('kong-istio')}")


def order(run: Run, *wanted: str) -> list[str]:
    """Return those of some operations that there were, in the order in which they ended."""
    return [operation for operation in run.operations if operation in wanted]


def moves(looks: list[Look], to: str) -> list[tuple[str, int, int]]:
    """Return each Deployment that came to another sidecar: from the look at its first such pod to that at its last other one."""
    found = []
    for name in looks[-1].ready:
        ready = [look.ready.get(name, Counter()) for look in looks]
        new = [number for number, pods in enumerate(ready) if pods.get(to)]
        old = [number for number, pods in enumerate(ready) if set(pods) - {to}]
        if new and old and not name.startswith("istio-system/"):
            found.append((name, new[0], old[-1]))
    return sorted(found, key=lambda move: move[1])


def together(looks: list[Look], to: str) -> list[str]:
    """Return which Deployments were restarted before the one ahead of them had come to its end."""
    moved = moves(looks, to)
    assert moved, f"nothing moved to {to}"
    return [f"{first[0]} and {second[0]}" for first, second in pairwise(moved) if second[1] < first[2]]


# --- in place -------------------------------------------------------------------------------------------------


def test_in_place_istio_comes_first_and_then_one_deployment_after_another(mover: Mover) -> None:
    before = carriers(mover)
    assert mover.preview({"version": NEXT, **TAGS}) == {
        "update Release istio-base",
        "update Release istiod",
        "update Command istiod-ready",
        "update Command sidecars-ready",
    }
    run = succeeded(mover.up({"version": NEXT, **TAGS}))
    wanted = [f"update {name}" for name in ("Release istio-base", "Release istiod", "Command sidecars-ready")]
    assert order(run, *wanted) == wanted
    assert_on(mover, bookinfo=ON_NEXT, kong=ON_NEXT)
    assert gaps(run.looks) == []
    assert together(run.looks, ON_NEXT) == []
    assert carriers(mover) == before
    succeeded(mover.up({"version": NEXT, **TAGS}, "--expect-no-changes"))


def test_back_in_place_interrupted_and_finished_by_the_next_up(mover: Mover) -> None:
    before = carriers(mover)
    mover.settle(STABLE_ALONE)
    with mover.watched() as lookout:
        kill(mover.stack, "up", lambda: ON_STABLE in mover.sidecars("bookinfo"))
        mover.stack.up()
    assert_on(mover, bookinfo=ON_STABLE, kong=ON_STABLE)
    assert gaps(lookout.looks) == []
    assert carriers(mover) == before


# --- by revision ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """From one state of the settings to the next one, and back."""

    before: Object
    after: Object
    #: What its preview says of what moves.
    moves: set[str]
    #: The sidecars of bookinfo, and of Kong, after it.
    sidecars: tuple[str, str]
    #: When its `up` is killed.
    moment: Callable[[Mover], object]


STEPS = {
    "a canary comes": Step(
        STABLE_ALONE,
        canary(),
        {"create Release istiod-1-31-0"},
        (ON_STABLE, ON_STABLE),
        lambda mover: status_of(mover.stack, f"istiod-{REVISION}"),
    ),
    "bookinfo moves": Step(
        canary(),
        canary("bookinfo"),
        {"update Namespace bookinfo"},
        (ON_CANARY, ON_STABLE),
        lambda mover: ON_CANARY in mover.sidecars("bookinfo"),
    ),
    "Kong moves": Step(
        canary("bookinfo"),
        canary("bookinfo", "kong-istio"),
        {"update Namespace kong-istio"},
        (ON_CANARY, ON_CANARY),
        lambda mover: ON_CANARY in mover.sidecars("kong-istio"),
    ),
    "the tag moves": Step(
        canary("bookinfo", "kong-istio"),
        canary("bookinfo", "kong-istio", tag="canary"),
        {"update MutatingWebhookConfiguration istio-revision-tag-prod"},
        (ON_CANARY, ON_CANARY),
        lambda mover: tagged(mover) == REVISION,
    ),
    "the canary is promoted": Step(
        canary("bookinfo", "kong-istio", tag="canary"),
        PROMOTED,
        {"delete Release istiod"},
        (ON_CANARY, ON_CANARY),
        lambda mover: status_of(mover.stack, "istiod") != "deployed",
    ),
}


def tagged(mover: Mover) -> str:
    """Return the revision that the tag stands for."""
    found = mover.stack.cluster.get("mutatingwebhookconfigurations", "istio-revision-tag-prod")
    return str(found["metadata"]["labels"]["istio.io/rev"]) if found else ""


@pytest.fixture(scope="module")
def strangers(mover: Mover) -> str:
    """Start a Deployment of somebody else's, in a namespace that follows the tag; return the namespace."""
    mover.stack.kubectl("create", "namespace", "team")
    mover.stack.kubectl("label", "namespace", "team", "istio.io/rev=prod")
    mover.stack.kubectl("create", "deployment", "web", "--image=web", "--namespace=team")
    wait_for(lambda: mover.sidecars("team") == {ON_STABLE}, "a sidecar by the tag")
    return "team"


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize("name", list(STEPS)[:-1])
def test_a_step_says_what_moves_and_is_finished_after_an_interruption(mover: Mover, name: str) -> None:
    step, before = STEPS[name], carriers(mover)
    assert step.moves <= mover.preview(step.after)
    with mover.watched() as lookout:
        kill(mover.stack, "up", lambda: step.moment(mover))
        mover.stack.up()
    assert_on(mover, *step.sidecars)
    assert gaps(lookout.looks) == []
    assert carriers(mover) == before


def test_the_old_istiod_stays_while_a_proxy_of_somebody_elses_uses_it(mover: Mover, strangers: str) -> None:
    before = carriers(mover)
    refused = mover.up(PROMOTED)
    assert refused.answer.returncode
    assert re.search(rf"{strangers}/web", said(refused.answer)), said(refused.answer)
    assert status_of(mover.stack, "istiod") == "deployed"
    assert carriers(mover) == before
    mover.stack.kubectl("rollout", "restart", "deployment/web", f"--namespace={strangers}")
    wait_for(lambda: mover.sidecars(strangers) == {ON_CANARY}, "the sidecar of the tag's new revision")


def test_the_canary_is_promoted_and_the_old_istiod_goes(mover: Mover) -> None:
    test_a_step_says_what_moves_and_is_finished_after_an_interruption(mover, list(STEPS)[-1])
    assert set(kwok_cluster.status(mover.stack.paths).istiods) == {f"istiod-{REVISION}"}


@pytest.mark.parametrize("name", list(reversed(STEPS)))
def test_each_step_can_be_taken_back(mover: Mover, strangers: str, name: str) -> None:
    step, before = STEPS[name], carriers(mover)
    back = succeeded(mover.up(step.before))
    earlier = list(STEPS)[: list(STEPS).index(name)]
    sidecars = STEPS[earlier[-1]].sidecars if earlier else (ON_STABLE, ON_STABLE)
    assert_on(mover, *sidecars)
    assert gaps(back.looks) == []
    assert carriers(mover) == before
    if name == "the tag moves":
        mover.stack.kubectl("rollout", "restart", "deployment/web", f"--namespace={strangers}")
        wait_for(lambda: mover.sidecars(strangers) == {ON_STABLE}, "the sidecar of the tag's earlier revision")
