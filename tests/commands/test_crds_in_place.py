"""Kong's CRDs: created where they are missing, brought up to date in place where they are there."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
from test_commands import FakeCluster, Object

from commands import command_line, kong_crds
from commands.command_line import CommandError

NAME = "kongplugins.configuration.konghq.com"
SERVED = {"conditions": [{"type": "Established", "status": "True"}]}


class ServingCluster(FakeCluster):
    """A cluster that stores CRDs, and serves them as far as `serves` says."""

    serves = True

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        assert not dry_run
        self.objects.append(self._stored(manifest))
        return manifest

    def patch(self, kind: str, name: str, namespace: str, patch: Any, *, how: str = "merge") -> Object:
        assert how == "json"
        found = self.get(kind, name, namespace)
        assert found
        for change in patch:
            *above, last = change["path"].strip("/").split("/")
            place = found
            for key in above:
                place = place[key]
            place[last] = change["value"]
        return found

    def _stored(self, manifest: Object) -> Object:
        return {**deepcopy(manifest), "status": SERVED if self.serves else {}}


def crd(*fields: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {"kong-istio/release": "kong-istio"}, **metadata},
        "spec": {"fields": list(fields)},
    }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ServingCluster:
    found = ServingCluster()
    monkeypatch.setattr(command_line, "time", found)
    return found


def test_one_that_is_missing_is_created(cluster: ServingCluster) -> None:
    assert kong_crds.bring(cluster, crd("config")) == NAME
    assert cluster.objects == [{**crd("config"), "status": SERVED}]


def test_one_that_is_there_changes_in_place_and_keeps_what_others_say_of_it(cluster: ServingCluster) -> None:
    there = crd("config", "dropped", uid="1", labels={"a": "others"}, annotations={"helm.sh/chart": "kong"})
    cluster.objects = [{**there, "status": SERVED}]
    kong_crds.bring(cluster, crd("config", "new", annotations={"release": "v2"}))
    (found,) = cluster.objects
    assert found["spec"] == {"fields": ["config", "new"]}
    assert found["metadata"]["uid"] == "1"
    assert found["metadata"]["labels"] == {"a": "others", "kong-istio/release": "kong-istio"}
    assert found["metadata"]["annotations"] == {"helm.sh/chart": "kong", "release": "v2"}


def test_one_that_is_being_deleted_is_refused(cluster: ServingCluster) -> None:
    cluster.objects = [crd(deletionTimestamp="2026-01-01T00:00:00Z")]
    said = f"The CRD {NAME} is being deleted, and with it all objects of it: wait until it is gone"
    with pytest.raises(CommandError, match=re.escape(said)):
        kong_crds.bring(cluster, crd())


def test_one_that_is_not_served_is_named(cluster: ServingCluster) -> None:
    cluster.serves = False
    said = f"does not serve the CRD {NAME} after 60 s: look at `kubectl describe crd {NAME}`"
    with pytest.raises(CommandError, match=re.escape(said)):
        kong_crds.bring(cluster, crd())
