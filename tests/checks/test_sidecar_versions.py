"""Check 2b: which sidecars are behind their istiod, whoever owns their pods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checks import sidecar_versions
from checks.framework import Failed
from checks.target import Target

Object = dict[str, Any]

TARGET = Target(context="one", revisions=("", "1-31-0"))
CURRENT = {"default": "1.30.3", "1-31-0": "1.31.0"}


def pod(
    name: str, revision: str = "default", version: str = "1.30.3", *, native: bool = True, **metadata: Any
) -> Object:
    namespace, _, name = name.partition("/")
    sidecar: Object = {"name": "istio-proxy", "image": f"registry.istio.io/release/proxyv2:{version}"}
    status = json.dumps({"revision": revision})
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"sidecar.istio.io/status": status},
            **metadata,
        },
        "spec": {
            "initContainers": [{**sidecar, "restartPolicy": "Always"}] if native else [],
            "containers": [{"name": "app", "image": "app"}, *([] if native else [sidecar])],
        },
    }


def judge(*pods: Object) -> str:
    return sidecar_versions.judge(list(pods), CURRENT, TARGET)


def test_sidecars_of_the_version_of_their_istiod_are_counted() -> None:
    bare: Object = {"metadata": {"name": "web", "namespace": "other"}, "spec": {"containers": []}}
    old = pod("shop/old", version="1.20.0", deletionTimestamp="2026-01-31T12:00:00Z")
    job = pod("shop/nightly", version="1.20.0", ownerReferences=[{"kind": "Job", "name": "nightly"}])
    ours, next_one = pod("bookinfo/web"), pod("kong-istio/kong", "1-31-0", "1.31.0", native=False)
    assert judge(ours, next_one, bare, old, job) == "1 of default 1.30.3; 1 of 1-31-0 1.31.0"


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (pod("bookinfo/web", version="1.29.0"), "bookinfo/web has 1.29.0 of revision default"),
        (pod("others/api", "1-31-0", "1.30.3", native=False), "others/api has 1.30.3 of revision 1-31-0"),
        (pod("others/api", "1-28-0", "1.28.0"), "others/api has 1.28.0 of revision 1-28-0"),
    ],
)
def test_one_that_is_behind_is_named_also_if_it_is_not_the_stacks(behind: Object, said: str) -> None:
    with pytest.raises(Failed) as failure:
        judge(pod("bookinfo/fine"), behind)
    assert failure.value.actual == said
    assert "1.30.3 of revision default, 1.31.0 of revision 1-31-0" in failure.value.expected


def test_the_releases_of_control_planes_with_a_revision_are_looked_at_as_well() -> None:
    target = Target(context="one", revisions=("", "1-31-0"), chart_releases=("shop/shop",))
    assert target.further_releases == ["shop/shop", "istio-system/istiod-1-31-0"]
