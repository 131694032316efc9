"""Which cluster a stack is in: what the state says, what a context leads to, and what is refused."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import pytest
import yaml
from fakes.api_server import ApiServer

from commands import command_line
from commands.cluster_access import Access, AccessError, identified, provider_identifier
from commands.cluster_identity import CLUSTER_UID, Identity, LastUp
from commands.command_line import OtherClusterError
from commands.when_deleted import destroy_guard, leftovers
from commands.when_deleted.api import LeftoversError
from components.shared.last_up import last_up

URN = "urn:pulumi:prod::kong-istio::kong-istio:index:{}${}::{}"


def state(uid: str = "uid-of-one", *, context: str = "one", kubeconfig: str = "config", objects: int = 3) -> LastUp:
    """Return what the state says of a stack that is up."""
    command = {"type": "command:local:Command", "outputs": {"environment": {CLUSTER_UID: uid}, "stdout": "{}"}}
    provider = {"kubeconfig": kubeconfig, "context": context, "clusterIdentifier": context}
    resources: dict[str, Any] = {
        "urn:pulumi:prod::kong-istio::pulumi:pulumi:Stack::kong-istio-prod": {
            "type": "pulumi:pulumi:Stack",
            "outputs": {},
        },
        "urn:pulumi:prod::kong-istio::pulumi:providers:kubernetes::kubernetes": {
            "type": "pulumi:providers:kubernetes",
            "outputs": provider,
        },
        URN.format("Precheck", "command:local:Command", "precheck"): command,
        URN.format("Observability", "command:local:Command", "random"): {**command, "outputs": {"stdout": "x"}},
        "urn:pulumi:prod::kong-istio::kong-istio:index:KongGateway::gateway": {
            "type": "kong-istio:index:KongGateway",
            "outputs": {"address": "192.0.2.1"},
        },
    }
    for number in range(objects):
        urn = URN.format("Application", "kubernetes:core/v1:Service", f"service-{number}")
        resources[urn] = {"type": "kubernetes:core/v1:Service", "outputs": {}}
    return LastUp.of(resources)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, ApiServer]]:
    """Serve the clusters of the contexts `one` and `two`; `dead` does not answer."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as running:
        found = {name: ApiServer() for name in ("one", "two")}
        urls = {name: running.enter_context(server.running()) for name, server in found.items()}
        for name, server in found.items():
            server.put("namespaces", {"metadata": {"name": "kube-system", "uid": f"uid-of-{name}"}})
        config = {
            "clusters": [
                {"name": name, "cluster": {"server": url}}
                for name, url in {**urls, "dead": "http://127.0.0.1:9"}.items()
            ],
            "users": [{"name": "me", "user": {"token": "abc"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ("one", "two", "dead")],
        }
        Path("config").write_text(yaml.safe_dump(config))
        yield found


def access(context: str = "one", kubeconfig: str = "config") -> Access:
    return Access(kubeconfig=kubeconfig, context=context)


def test_the_state_tells_where_the_stack_is_and_what_it_said() -> None:
    last = state()
    assert (last.uid, last.objects) == ("uid-of-one", 3)
    assert last.uids == {"precheck": "uid-of-one"}, "a Command that works on no cluster belongs to none"
    assert last.reports == {"gateway": {"address": "192.0.2.1"}}
    assert LastUp.of({}).uid == ""


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize(
    ("last", "context"),
    [
        pytest.param(LastUp(), "one", id="never up"),
        pytest.param(state(), "one", id="the same"),
        pytest.param(state(context="former name"), "one", id="under another name"),
        pytest.param(state("uid-of-another", objects=0), "one", id="another, refreshed"),
        pytest.param(state(), "two", id="a move"),
    ],
)
def test_a_cluster_that_a_stack_may_come_up_in_is_known(last: LastUp, context: str, preview: bool) -> None:
    found, warning = identified(access(context), last, preview=preview)
    assert warning is None
    asked = last.provider or not preview
    assert (found.identity.uid, found.identity.version) == ((f"uid-of-{context}", "v1.37.2") if asked else ("", ""))


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("last", "context", "expected"),
    [
        pytest.param(
            state("uid-of-another"),
            "one",
            "The context one leads to another cluster than at the last up (its kube-system is uid-of-one, and was "
            "uid-of-another): `pulumi refresh --stack stack && pulumi up --stack stack` makes the stack anew in it, or name "
            "the context of the other one in kubeContext.",
            id="same name",
        ),
        pytest.param(
            state("uid-of-another", context="two"),
            "one",
            "The context two leads to another cluster than at the last up (its kube-system is uid-of-two, and was "
            "uid-of-another): ",
            id="the one before is a third by now",
        ),
        pytest.param(
            state("uid-of-another", context="dead"),
            "one",
            "The stack is still in the cluster of context dead, which cannot be cleared (The API server of context dead does "
            "not answer: ",
            id="the one before does not answer",
        ),
        pytest.param(
            state("uid-of-another", context="forgotten"),
            "one",
            "The stack is still in the cluster of context forgotten, which cannot be cleared (",
            id="the kubeconfig has forgotten the one before",
        ),
    ],
)
def test_another_cluster_is_told_in_a_preview_and_refused_in_an_up(last: LastUp, context: str, expected: str) -> None:
    _, warning = identified(access(context), last, preview=True)
    assert warning
    assert warning.startswith(expected)
    assert "pulumi refresh --stack stack && pulumi up --stack stack" in warning
    with pytest.raises(AccessError) as caught:
        identified(access(context), last, preview=False)
    assert str(caught.value) == warning


@pytest.mark.parametrize("trouble", ["no rights", "dead"])
def test_a_cluster_that_does_not_tell_counts_as_the_one_before(servers: Mapping[str, ApiServer], trouble: str) -> None:
    servers["one"].token = "another"
    found, warning = identified(access("dead" if trouble == "dead" else "one"), state(), preview=True)
    assert warning is None
    assert (found.identity.uid, found.identity.version) == ("uid-of-one", "")


@pytest.mark.parametrize(
    ("given", "uid", "version", "last", "expected"),
    [
        pytest.param(access(""), "", "", LastUp(), "none", id="a preview without a context"),
        pytest.param(access(), "uid-of-one", "v1", LastUp(), "one", id="never up"),
        pytest.param(access(), "uid-of-one", "v1", state(), "one", id="the same"),
        pytest.param(access("renamed"), "uid-of-one", "v1", state(), "one", id="under another name"),
        pytest.param(access("two"), "uid-of-two", "v1", state(), "two", id="a move"),
        pytest.param(
            access(kubeconfig="other"), "uid-of-two", "v1", state(), "one uid-of-two", id="a move by the kubeconfig"
        ),
        # The engine would delete what was in the other one here.
        pytest.param(access(), "uid-of-two", "v1", state(), "one", id="another under the same name"),
        pytest.param(access(), "uid-of-one", "", state(), "one", id="a preview without a cluster"),
        pytest.param(access("two"), "uid-of-one", "", state(), "two", id="a move previewed without a cluster"),
        pytest.param(access(), "uid-of-one", "v1", state(""), "one", id="from before UIDs"),
        pytest.param(access("two"), "uid-of-two", "v1", state(""), "two", id="from before UIDs, a move"),
    ],
)
def test_the_provider_is_replaced_for_a_move_alone(
    given: Access, uid: str, version: str, last: LastUp, expected: str
) -> None:
    identity = Identity(uid=uid, version=version, last=last)
    there = Access(kubeconfig=given.kubeconfig, context=given.context, identity=identity)
    assert provider_identifier(there) == expected


def options(context: str = "one") -> argparse.Namespace:
    return argparse.Namespace(kubeconfig="config", context=context)


@pytest.mark.usefixtures("servers")
def test_a_command_works_on_no_cluster_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.connect(options())
    monkeypatch.setenv(CLUSTER_UID, "uid-of-one")
    command_line.connect(options())
    # A wait's own patience is for a server that does not answer.
    command_line.connect(options("dead"))
    with pytest.raises(OtherClusterError, match="two leads to another cluster than the one that this was meant for"):
        command_line.connect(options("two"))


def test_what_went_with_its_cluster_is_not_cleared_elsewhere(
    servers: Mapping[str, ApiServer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CLUSTER_UID, "uid-of-one")
    monkeypatch.setattr("sys.argv", ["leftovers", "--kubeconfig", "config", "--context", "two"])
    leftovers.main()
    assert "nothing was done" in capsys.readouterr().err
    assert all(method == "GET" for method, *_ in servers["two"].requests)


@pytest.mark.parametrize(("context", "stops"), [("one", False), ("two", True)])
def test_a_destroy_in_another_cluster_stops_before_anything_is_deleted(
    servers: Mapping[str, ApiServer], monkeypatch: pytest.MonkeyPatch, context: str, stops: bool
) -> None:
    monkeypatch.setenv(CLUSTER_UID, "uid-of-one")
    monkeypatch.setattr("sys.argv", ["-", "--kubeconfig", "config", "--context", context, "--stack", "dev"])
    with pytest.raises(LeftoversError) if stops else nullcontext() as caught:
        destroy_guard.main()
    if caught:
        assert str(caught.value) == (
            "Nothing was deleted: the context two leads to another cluster than the stack is in (its kube-system is "
            "uid-of-two, and was uid-of-one): have the context lead to that one, or, where it is gone, `pulumi state delete "
            "--all --force --stack dev` has the stack forget it and touches no cluster."
        )
    assert all(method == "GET" for method, *_ in servers[context].requests)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_state_that_is_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    left = ["failed to load checkpoint: EOF"] * times

    def invoke(*_: object) -> Any:
        if left:
            raise Exception(left.pop())
        return mock.Mock(value={"outputs": {}})

    monkeypatch.setattr("pulumi.runtime.invoke", invoke)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert last_up() == LastUp()


@pytest.mark.parametrize("reason", ["failed to load checkpoint: EOF", "no access"])
def test_a_state_that_cannot_be_read_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setattr("pulumi.runtime.invoke", mock.Mock(side_effect=Exception(reason)))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(pulumi.RunError, match=rf"The state of .+/project/stack cannot be read \({reason}\)\."):
        last_up()
