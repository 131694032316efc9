"""The steps of an upgrade of Istio that the cluster itself refuses: what is in use stays, and no minor is skipped in place."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from test_commands import FakeCluster, Object, Run, cluster, deployment, failure, run, webhook

from commands import istio_revisions, istiod_ready, precheck
from commands.command_line import CommandError
from commands.when_deleted import leftovers, unused_revision
from commands.when_deleted.api import LeftoversError

__all__ = ["cluster", "run"]


def istiod(revision: str = "", version: str = "1.30.3", *, release: str | None = None) -> Object:
    name = f"istiod-{revision}" if revision else "istiod"
    made = deployment(name, images={"discovery": f"registry.istio.io/release/pilot:{version}"})
    made["metadata"] |= {
        "labels": {"app": "istiod", "istio.io/rev": revision or "default"},
        "annotations": {
            "meta.helm.sh/release-name": name if release is None else release,
            "meta.helm.sh/release-namespace": "istio-system",
        },
    }
    return made


def pod(name: str, revision: str = "default", **metadata: object) -> Object:
    namespace, _, name = name.partition("/")
    annotations = {unused_revision.STATUS: json.dumps({"revision": revision})} if revision else {}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": namespace, "annotations": annotations, **metadata}}


CANARY = {"default": "1.30.3", "1-31-0": "1.31.0"}
PROMOTED = {"1-31-0": "1.31.0"}
BOTH = [istiod(), istiod("1-31-0", "1.31.0")]


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ([], {"default": "1.30.3"}),
        ([istiod()], {"default": "1.31.0"}),
        ([istiod(version="1.31.0")], {"default": "1.30.3"}),
        ([istiod(version="built")], {"default": "1.30.3"}),
        ([istiod()], {"default": ""}),
        ([istiod(), pod("bookinfo/web")], CANARY),
        ([*BOTH, pod("bookinfo/web", "1-31-0"), pod("others/plain", "")], PROMOTED),
        ([*BOTH, pod("bookinfo/web", deletionTimestamp="2026-01-31T12:00:00Z")], PROMOTED),
        ([istiod("other", release="strange"), pod("others/web", "other")], {"default": "1.30.3"}),
    ],
)
def test_a_step_that_leaves_nobody_behind_is_taken(
    there: list[Object], wanted: dict[str, str], cluster: FakeCluster
) -> None:
    cluster.objects = there
    istio_revisions.check(cluster, wanted)


@pytest.mark.parametrize(
    ("wanted", "pods", "said"),
    [
        (
            PROMOTED,
            [pod("bookinfo/web"), pod("others/api")],
            "The revision default of Istio is still used by bookinfo/web, others/api: ",
        ),
        (
            {"default": "1.30.3"},
            [pod("bookinfo/web", "1-31-0")],
            "The revision 1-31-0 of Istio is still used by bookinfo/web: ",
        ),
        (PROMOTED, [pod(f"shop/{index}") for index in range(7)], "shop/0, shop/1, shop/2, shop/3, shop/4 and 2 more: "),
    ],
)
def test_a_control_plane_does_not_go_while_pods_are_its(
    wanted: dict[str, str], pods: list[Object], said: str, cluster: FakeCluster
) -> None:
    cluster.objects = [*BOTH, *pods]
    with pytest.raises(CommandError) as refused:
        istio_revisions.check(cluster, wanted)
    assert said in str(refused.value)
    assert "move the stack's namespaces by istio.canary.namespaces" in str(refused.value)


@pytest.mark.parametrize(("now", "wanted", "between"), [("1.28.9", "1.30.3", "1.29"), ("1.33.0", "1.30.3", "1.32")])
def test_no_minor_is_skipped_in_place(now: str, wanted: str, between: str, cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [istiod(version=now)]
    text = failure(run, precheck, f"--revision=default={wanted}")
    assert text.startswith(f"istio.version would take istiod from {now} to {wanted} in place: ")
    assert f"set istio.version to the newest {between} first, or go by a second control plane (istio.canary)" in text


def test_no_minor_is_skipped_by_a_canary_that_keeps_its_name(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [istiod(version="1.30.3"), istiod("next", version="1.30.4")]
    text = failure(run, precheck, "--revision=default=1.30.3", "--revision=next=1.32.0")
    assert text.startswith("istio.canary.version would take istiod from 1.30.4 to 1.32.0 in place: ")


def test_what_a_canary_and_the_revision_tags_brought_is_the_stacks_own(cluster: FakeCluster, run: Run) -> None:
    tag = webhook("Q0E=")
    tag["metadata"] = {"name": "istio-revision-tag-prod", "labels": {leftovers.MARK: "istiod"}}
    cluster.objects = [*BOTH, tag]
    assert run(precheck, *(f"--revision={revision}={version}" for revision, version in CANARY.items()))


# --- the guard, which the state carries --------------------------------------------------------------------------------


KONG = deployment("kong-istio-kong", "kong-istio")


class Listing(FakeCluster):
    """A cluster that is also asked for one object by its name."""

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> list[Object]:
        name = fields.removeprefix("metadata.name=")
        return [
            item
            for item in super().list(kind, namespace, labels=labels)
            if not fields or item["metadata"]["name"] == name
        ]


def test_a_control_plane_is_not_deleted_while_pods_are_its() -> None:
    with pytest.raises(LeftoversError, match="The revision default of Istio is still used by others/late"):
        unused_revision.refuse_while_used(Listing(KONG, pod("others/late")), "default")
    unused_revision.refuse_while_used(Listing(KONG, pod("others/late", "1-31-0")), "default")


def test_a_destroy_takes_the_control_plane_whoever_uses_it() -> None:
    unused_revision.refuse_while_used(Listing(pod("others/web")), "default")


# --- istiod_ready ------------------------------------------------------------------------------------------------------


Ask = Callable[..., object]


def hook(revision: str, bundle: str = "Q0E=") -> Object:
    made = webhook(bundle)
    made["metadata"]["name"] = f"istio-sidecar-injector-{revision}"
    return made


def test_every_control_plane_is_waited_for(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [*BOTH, webhook("Q0E="), hook("1-31-0", "")]
    cluster.later = [(20, hook("1-31-0"))]
    found = run(istiod_ready, "--timeout", "60", "--revision=", "--revision=1-31-0")
    assert found == {"istiod": "1.30.3", "istiod-1-31-0": "1.31.0"}
    assert cluster.seconds == pytest.approx(20, abs=1)


def test_a_canary_that_does_not_come_up_is_named_with_its_webhook(cluster: FakeCluster, run: Run) -> None:
    cluster.objects = [*BOTH, webhook("Q0E=")]
    text = failure(run, istiod_ready, "--timeout", "60", "--revision=", "--revision=1-31-0")
    assert text.startswith(
        "istiod-1-31-0 has not put its CA into the webhook istio-sidecar-injector-1-31-0 within 60 s"
    )


def test_a_revision_is_asked_by_a_pod_that_asks_for_it(
    cluster: FakeCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Object] = []
    monkeypatch.setattr(cluster, "create", lambda manifest, **_: asked.append(manifest["metadata"]["labels"]))
    cluster.objects = [istiod("1-31-0"), hook("1-31-0")]
    run(istiod_ready, "--revision=1-31-0")
    assert asked == [{"sidecar.istio.io/inject": "true", "istio.io/rev": "1-31-0"}]
