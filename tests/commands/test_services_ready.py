"""The command that looks for the Services which a chart was to make."""

from __future__ import annotations

import pytest
from test_commands import FakeCluster, Object, Run, cluster, failure, run  # noqa: F401 -- fixtures among them

from commands import services_ready

SHOP = ("--application", "shop", "--namespace", "shop", "--release", "shop-release")


def made(name: str, *ports: int, namespace: str = "shop") -> Object:
    spec = {"ports": [{"port": port} for port in ports]} if ports else {}
    return {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_services_that_are_there_are_printed(cluster: FakeCluster, run: Run) -> None:  # noqa: F811
    cluster.objects = [made("web", 80, 81), made("api", 90)]
    found = run(services_ready, *SHOP, "--service=web=80", "--service=web=81", "--service=api=90")
    assert found == {"services": ["web", "web", "api"]}
    assert cluster.seconds == 0


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([made("shop-web", 80), made("api", 90)], "made no Service web (there are: api, shop-web)"),
        ([], "made no Service web (there are: none)"),
        ([made("web", 80, namespace="elsewhere")], "made no Service web (there are: none)"),
        ([made("web", 81, 82)], "made the Service web without the port 80 (there are: 81, 82)"),
        ([made("web")], "made the Service web without the port 80 (there are: none)"),
    ],
)
def test_a_service_that_is_not_there_is_one_sentence(
    objects: list[Object],
    text: str,
    cluster: FakeCluster,  # noqa: F811
    run: Run,  # noqa: F811
) -> None:
    cluster.objects = objects
    assert failure(run, services_ready, *SHOP, "--service=web=80") == (
        f"The Helm release shop-release {text}: correct the route of the application shop, or the values of its chart."
    )


def test_an_operator_may_make_a_service_a_little_later(cluster: FakeCluster, run: Run) -> None:  # noqa: F811
    cluster.later = [(12, made("web", 80))]
    assert run(services_ready, *SHOP, "--service=web=80") == {"services": ["web"]}
