"""An upgrade of Kong on a stack that is up, by Pulumi's own engine: chart, images and CRDs at once, and back again.

It comes after the tests of the same stack as it came up, as Helm counts the revisions of its release on.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from stack import Stack
from test_changes import run, steps
from test_engine import engines

from sandbox.paths import CHECKOUT
from versions import CHARTS, KONG_CRDS, KONG_GATEWAY

__all__ = ["engines"]

# The first test may have to wait until tools are built.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

PLUGINS = "kongplugins.configuration.konghq.com"
CHART, IMAGE, CRDS = f"{CHARTS['kong'].version}1-standin", f"{KONG_GATEWAY}1", f"v{KONG_CRDS}1"
ROUTED = (("kongplugin", "rate-limit"), ("ingress.networking.k8s.io", "productpage"))


def newer(stack: Stack) -> dict[str, Any]:
    """Write a newer chart and newer CRDs, with one more field; return the settings that name them."""
    chart, crds = stack.paths.sandbox / "newer" / "kong", stack.paths.sandbox / "newer" / "crds.yaml"
    shutil.copytree(CHECKOUT.root / "sandbox" / "charts" / "kong", chart, dirs_exist_ok=True)
    described = chart / "Chart.yaml"
    described.write_text(re.sub(r"(?m)^version: .+", f"version: {CHART}", described.read_text()))
    known = list(yaml.safe_load_all((CHECKOUT.root / "manifests" / "kong" / "crds.yaml").read_text()))
    for crd in known:
        crd["metadata"]["annotations"]["kubernetes-configuration.konghq.com/version"] = CRDS
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["later"] = {"type": "string"}
    crds.write_text(yaml.safe_dump_all(known))
    return {
        "charts": {"kong": ".sandbox/newer/kong"},
        "kong": {"version": IMAGE, "crds": ".sandbox/newer/crds.yaml"},
    }


@contextmanager
def watched(stack: Stack) -> Iterator[list[int]]:
    """Note how many pods of Kong are available, again and again."""
    seen: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            kong = stack.cluster.get("deployments", "kong-istio-kong", "kong-istio")
            seen.append(int((kong or {}).get("status", {}).get("availableReplicas", 0)))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def state(stack: Stack) -> dict[str, Any]:
    """Return what makes a route and its limit, by which nobody changed it."""
    found = [stack.get(kind, name, "bookinfo")["metadata"] for kind, name in ROUTED]
    return {each["name"]: (each["uid"], each["generation"]) for each in found}


def plugins(stack: Stack) -> tuple[str, str, bool]:
    """Return of KongPlugin's CRD the uid, the release, and whether it has the field more."""
    crd = stack.get("customresourcedefinition", PLUGINS)
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    metadata = crd["metadata"]
    return metadata["uid"], metadata["annotations"]["kubernetes-configuration.konghq.com/version"], "later" in fields


def image(stack: Stack) -> str:
    containers = stack.get("deployment", "kong-istio-kong", "kong-istio")["spec"]["template"]["spec"]["containers"]
    return next(str(each["image"]) for each in containers if each["name"] == "proxy")


def crd_written(stack: Stack) -> str:
    """Return when KongPlugin's CRD was written, which compares as text."""
    crd = stack.cluster.get("customresourcedefinitions", PLUGINS)
    fields = (crd or {})["metadata"]["managedFields"]
    return max(str(each["time"]) for each in fields if each["manager"] == "kong-istio")


def release_made(stack: Stack) -> str:
    """Return when Helm began with the newest revision of Kong's release."""
    secrets = stack.cluster.list("secrets", "kong-istio", labels="owner=helm,name=kong-istio")
    return max(str(item["metadata"]["creationTimestamp"]) for item in secrets)


def test_chart_images_and_crds_move_and_every_route_keeps_its_limit(engines: Stack) -> None:
    changes, before, uid = newer(engines), state(engines), plugins(engines)[0]
    # Of what carries traffic, nothing else moves.
    assert steps(engines, changes) == {"update Release kong-istio"}
    with watched(engines) as available:
        run(engines, changes, "up", "--yes", "--skip-preview")
    assert plugins(engines) == (uid, CRDS, True)
    assert image(engines).endswith(f":{IMAGE}")
    assert len(available) > 10
    assert min(available) >= 1, "Kong was away for a moment"
    assert state(engines) == before, "the route or its limit was touched"
    assert crd_written(engines) <= release_made(engines), "Kong came before its CRDs"

    # One step back.
    with watched(engines) as available:
        run(engines, {}, "up", "--yes", "--skip-preview")
    assert plugins(engines) == (uid, f"v{KONG_CRDS}", False)
    assert image(engines).endswith(f":{KONG_GATEWAY}")
    assert min(available) >= 1, "Kong was away for a moment"
    assert state(engines) == before, "the route or its limit was touched"
    run(engines, {}, "preview", "--refresh", "--expect-no-changes")
