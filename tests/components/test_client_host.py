"""The client's Host: what a ServiceEntry cannot do is refused before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest

import settings
from components.shared import client_host
from components.shared.manifests import ManifestError
from sandbox.paths import CHECKOUT
from settings import Route, SettingsError

ROOT = CHECKOUT.root


def parsed(*hosts: str, **kong: str) -> settings.Settings:
    applications = [
        {
            "name": f"app-{index}",
            "namespace": f"app-{index}",
            "manifests": "manifests/bookinfo.yaml",
            "route": {"service": "productpage", "port": 9080, "path": f"/{index}", "host": host},
        }
        for index, host in enumerate(hosts)
    ]
    kong = {"clientHost": "serviceEntry", **kong}
    return settings.parse({"kubeContext": "here", "kong": kong, "applications": applications}, (), ROOT)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (("",), r"applications\[0\]\.route\.host is \"\" while kong\.clientHost is serviceEntry"),
        (("a.example", "*.example"), r"applications\[1\]\.route\.host is \"\*\.example\""),
        (("a.example", "a.example"), r"applications\[0\]\.route\.host and applications\[1\]\.route\.host are both"),
    ],
)
def test_a_service_entry_needs_a_whole_host_for_each_application(hosts: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parsed(*hosts)
    assert parsed(*hosts[:1], clientHost="envoyFilter")
    assert parsed(*hosts[:1], routing="guide")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"ports": [{"port": 80}]}, "has no selector"),
        ({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}, "to the port named http"),
    ],
)
def test_a_service_entry_needs_pods_and_a_number(spec: dict[str, Any], said: str) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    with pytest.raises(ManifestError, match=said):
        client_host.check_service(service, Route(service="web", port=80), "applications[0]")
