"""What only real pods show: the page, the limit, and every check; with `make test SANDBOX=kind`."""

from __future__ import annotations

import pytest
from stack import Stack

from commands import http_client

pytestmark = [pytest.mark.sandbox, pytest.mark.engine, pytest.mark.pods_only, pytest.mark.timeout(3600)]


def status(url: str) -> int:
    return http_client.get(url, {}, seconds=30).status


def test_every_check_has_passed_and_none_was_left_out(live: Stack) -> None:
    counts = live.outputs["checks"]
    assert (counts["failed"], counts["notChecked"]) == (0, 0), live.said
    assert counts["passed"] > 20


def test_the_page_is_at_an_address_of_this_machine(live: Stack) -> None:
    url = live.outputs["proxyUrl"]
    assert url == f"http://localhost:{live.facts.ports['kong']}"
    assert f"{url}/productpage" in live.said
    assert status(f"{url}/productpage") in (200, 429)


def test_the_limit_bites(live: Stack) -> None:
    page = f"{live.outputs['proxyUrl']}/productpage"
    assert 429 in [status(page) for _ in range(61)]


def test_the_page_of_another_host_has_no_route(live: Stack) -> None:
    port = live.facts.ports["kong"]
    assert status(f"http://127.0.0.1:{port}/productpage") == 404


def test_the_node_listens_on_loopback_alone(live: Stack) -> None:
    for name in ("kong", "kube-apiserver"):
        assert live.facts.ports[name]
    config = live.paths.kubeconfig.read_text()
    assert f"https://127.0.0.1:{live.facts.ports['kube-apiserver']}" in config
