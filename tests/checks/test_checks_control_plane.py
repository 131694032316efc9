"""The checks of the control plane, of sidecars and of Kong's configuration, and the port-forwards that checks open."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stack import Object, Stack, wait_for

from checks import control_plane, injection, kong_programmed, portforward
from checks.framework import Check, Failed, Outcome, Result, perform
from checks.target import RoutedApplication, Target
from commands import kong_events
from commands.kong_events import taken_over
from kube import Cluster, ClusterError
from names import DEFAULT_VALIDATOR, validator_of
from sandbox.paths import CONTEXT

BOOKINFO = RoutedApplication(
    name="bookinfo", namespace="bookinfo", service="productpage", port=9080, limits={"minute": 30}
)
TARGET = Target(context="somewhere", applications=(BOOKINFO,))
LABELLED = {"kong-istio", "bookinfo"}


# --- the control plane ----------------------------------------------------------------------------------------


def webhooks(*bundles: str, policy: str = "Fail") -> Object:
    return {
        "webhooks": [
            {"name": f"hook-{number}", "failurePolicy": policy, "clientConfig": {"caBundle": bundle} if bundle else {}}
            for number, bundle in enumerate(bundles)
        ]
    }


def test_a_webhook_without_its_ca_is_named() -> None:
    assert control_plane.judge_injector(webhooks("ca", "ca"), TARGET)
    with pytest.raises(Failed, match=r"none in hook-1$"):
        control_plane.judge_injector(webhooks("ca", ""), TARGET)


@pytest.mark.parametrize("judge", [control_plane.judge_injector, lambda found, to: validator(found, to)])
def test_a_configuration_that_is_gone_or_empty_fails(judge: Any) -> None:
    with pytest.raises(Failed, match="no such webhook"):
        judge(None, TARGET)
    with pytest.raises(Failed, match="no webhooks"):
        judge({"webhooks": []}, TARGET)


def validator(found: Object | None, target: Target) -> str:
    return control_plane.judge_validator("istiod-default-validator", found, target)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (webhooks("ca", policy="Ignore"), "another failure policy in hook-0"),
        (webhooks(""), "no CA in hook-0"),
        (webhooks("", policy="Ignore"), "no CA in hook-0 and another failure policy in hook-0"),
    ],
)
def test_a_validator_that_would_let_things_pass_fails(found: Object, said: str) -> None:
    assert validator(webhooks("ca"), TARGET)
    with pytest.raises(Failed) as failure:
        validator(found, TARGET)
    assert failure.value.actual == said


def test_an_istiod_that_is_not_available_fails() -> None:
    with pytest.raises(Failed, match="no such Deployment"):
        control_plane.judge_istiod(None, TARGET)
    waiting = {"metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": {"observedGeneration": 1}}
    with pytest.raises(Failed, match="a Deployment that is not"):
        control_plane.judge_istiod(waiting, TARGET)


# --- sidecars -------------------------------------------------------------------------------------------------


def pod(
    namespace: str, *, sidecar: str = "", name: str = "one", status: bool = True, labels: Object | None = None
) -> Object:
    """Return a pod. `sidecar`: native, plain, or init for a container of that name that ends."""
    proxy = {"name": "istio-proxy", **({"restartPolicy": "Always"} if sidecar == "native" else {})}
    annotations = {"sidecar.istio.io/status": "{}"} if sidecar and status else {}
    containers = [{"name": "app", "image": "app:1"}, *([proxy] if sidecar == "plain" else [])]
    spec = {"initContainers": [proxy] if sidecar in ("native", "init") else [], "containers": containers}
    metadata = {"namespace": namespace, "name": name, "annotations": annotations, "labels": labels or {}}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


@pytest.mark.parametrize("sidecar", ["native", "plain"])
def test_both_kinds_of_sidecar_count(sidecar: str) -> None:
    pods = [pod("kong-istio", sidecar=sidecar), pod("bookinfo", sidecar=sidecar), pod("bookinfo", sidecar=sidecar)]
    assert "1 in kong-istio, 2 in bookinfo" in injection.judge_inside(pods, TARGET, LABELLED)


@pytest.mark.parametrize(
    "bare",
    [
        pod("bookinfo", name="bare"),
        pod("bookinfo", sidecar="init", name="bare"),
        pod("bookinfo", sidecar="native", status=False, name="bare"),
    ],
    ids=["without", "one that ends", "without the annotation"],
)
def test_a_pod_of_the_mesh_without_a_sidecar_is_named(bare: Object) -> None:
    pods = [pod("kong-istio", sidecar="native"), pod("bookinfo", sidecar="native"), bare]
    with pytest.raises(Failed, match=r"none in bare$") as failure:
        injection.judge_inside(pods, TARGET, LABELLED)
    assert "restart" in failure.value.cause
    with pytest.raises(Failed) as failure:
        injection.judge_inside(pods, TARGET, {"kong-istio"})
    assert "the namespace bookinfo has no label" in failure.value.cause


def apart(**fields: Any) -> Object:
    """Return a pod without a sidecar, with further fields of its metadata and its specification."""
    found = pod("bookinfo", name="apart")
    for place in ("metadata", "spec", "status"):
        found[place] |= fields.get(place, {})
    return found


OF_JOB: Object = {"ownerReferences": [{"kind": "Job", "name": "migrate"}]}
APART: dict[str, tuple[Object, str]] = {
    "label": (
        apart(metadata={"labels": {"sidecar.istio.io/inject": "false"}}),
        "bookinfo/apart has none (it says sidecar.istio.io/inject: false)",
    ),
    "annotation": (
        apart(metadata={"annotations": {"sidecar.istio.io/inject": "false"}}),
        "bookinfo/apart has none (it says sidecar.istio.io/inject: false)",
    ),
    "host network": (apart(spec={"hostNetwork": True}), "bookinfo/apart has none (it is on its node's network)"),
    "running Job": (apart(metadata=OF_JOB), "bookinfo/apart has none (it is of a Job)"),
    "finished Job": (apart(metadata=OF_JOB, status={"phase": "Succeeded"}), "all pods have a sidecar"),
    "failed Job": (apart(metadata=OF_JOB, status={"phase": "Failed"}), "all pods have a sidecar"),
}


@pytest.mark.parametrize("case", APART)
def test_a_pod_that_says_why_it_has_no_sidecar_is_named_and_fails_nothing(case: str) -> None:
    found, said = APART[case]
    pods = [pod("kong-istio", sidecar="native"), found]
    assert said in injection.judge_inside(pods, TARGET, LABELLED)
    assert "1 in bookinfo" in injection.judge_inside([*pods, pod("bookinfo", sidecar="native")], TARGET, LABELLED)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"sidecar.istio.io/inject": "true"}, "annotations": {"sidecar.istio.io/inject": "false"}},
        {"labels": {"sidecar.istio.io/inject": "no"}},
        {"ownerReferences": [{"kind": "ReplicaSet", "name": "web"}]},
    ],
)
def test_a_pod_that_istiod_would_have_injected_into_is_not_excused(metadata: Object) -> None:
    with pytest.raises(Failed, match=r"none in apart$"):
        injection.judge_inside([pod("kong-istio", sidecar="native"), apart(metadata=metadata)], TARGET, LABELLED)


def test_kongs_own_pods_are_never_excused() -> None:
    kong = pod("kong-istio", name="kong", labels={"sidecar.istio.io/inject": "false"})
    with pytest.raises(Failed, match=r"none in kong$"):
        injection.judge_inside([kong, pod("bookinfo", sidecar="native")], TARGET, LABELLED)


@pytest.mark.parametrize("starting", [True, False])
def test_a_bare_pod_is_waited_for_only_where_another_starts(starting: bool) -> None:
    pods = [pod("kong-istio", sidecar="native"), pod("bookinfo", name="bare"), pod("bookinfo", sidecar="native")]
    for each in pods[: 2 if starting else 3]:
        each["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    with pytest.raises(Failed) as failure:
        injection.judge_inside(pods, TARGET, LABELLED)
    assert failure.value.certain is not starting


def test_a_sidecar_outside_of_the_mesh_is_certain() -> None:
    with pytest.raises(Failed) as failure:
        injection.judge_outside([pod("default", sidecar="native")], TARGET, LABELLED)
    assert failure.value.certain


def test_a_namespace_of_the_mesh_without_pods_fails() -> None:
    leaving = pod("bookinfo", sidecar="native")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(Failed, match="saw no pods"):
        injection.judge_inside([pod("kong-istio", sidecar="native"), leaving], TARGET, LABELLED)


def test_a_sidecar_outside_of_the_mesh_fails_unless_the_pod_asks_for_it() -> None:
    gateway = pod("gateways", sidecar="plain", labels={"sidecar.istio.io/inject": "true"})
    assert "none of the 1 pods" in injection.judge_outside([pod("default"), gateway], TARGET, LABELLED)
    with pytest.raises(Failed, match="one in default/stray"):
        injection.judge_outside([pod("default", sidecar="native", name="stray")], TARGET, LABELLED)


@pytest.mark.parametrize(
    ("labels", "injected"),
    [
        ({"istio-injection": "enabled"}, True),
        ({"istio.io/rev": "canary"}, True),
        ({"istio-injection": "disabled", "istio.io/rev": "canary"}, False),
        ({"istio-injection": "disabled"}, False),
        ({}, False),
    ],
)
def test_a_namespace_is_in_the_mesh_as_istio_reads_its_labels(labels: dict[str, str], injected: bool) -> None:
    assert injection.is_labelled({"metadata": {"name": "some", "labels": labels or {}}}) is injected


def test_without_injection_nothing_is_shown() -> None:
    result = perform(injection.CHECKS[0], Target(context="nowhere", injection=False))
    assert result.outcome is Outcome.NOT_CHECKED
    assert "not shown" in result.actual


# --- Kong -----------------------------------------------------------------------------------------------------

INGRESS: Object = {
    "metadata": {"annotations": {"konghq.com/plugins": "other, rate-limit"}},
    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
}
PLUGIN: Object = {"metadata": {"name": "rate-limit"}, "plugin": "rate-limiting", "config": {"minute": 30}}


def test_the_limit_of_the_settings_has_to_be_attached() -> None:
    assert "30 per minute" in kong_programmed.judge_limit(INGRESS, [PLUGIN], TARGET, BOOKINFO)


@pytest.mark.parametrize(
    ("ingress", "plugins", "actual", "cause"),
    [
        ({"metadata": {}}, [PLUGIN], "none", "the route is open"),
        (INGRESS, [], "none", "names other, rate-limit, which is no KongPlugin"),
        (INGRESS, [{**PLUGIN, "disabled": True}], "none", "which is no KongPlugin"),
        (INGRESS, [{**PLUGIN, "plugin": "key-auth"}], "none", "which is no KongPlugin"),
        (INGRESS, [{**PLUGIN, "config": {"minute": 31}}], "31 per minute", "was changed"),
        (INGRESS, [{**PLUGIN, "config": {"minute": 30, "hour": 100}}], "100 per hour", "was changed"),
    ],
)
def test_a_route_without_its_limit_fails(ingress: Object, plugins: list[Object], actual: str, cause: str) -> None:
    with pytest.raises(Failed) as failure:
        kong_programmed.judge_limit(ingress, plugins, TARGET, BOOKINFO)
    assert actual in failure.value.actual
    assert cause in failure.value.cause


def test_an_address_is_asked_for_where_there_is_one_to_give() -> None:
    bare: Object = {"metadata": {}}
    assert "192.0.2.1" in kong_programmed.judge_address(INGRESS, TARGET, BOOKINFO)
    assert kong_programmed.judge_address(bare, Target(context="", service_type="NodePort"), BOOKINFO)
    with pytest.raises(Failed, match="one without"):
        kong_programmed.judge_address(bare, TARGET, BOOKINFO)
    with pytest.raises(Failed, match="no such Ingress"):
        kong_programmed.judge_address(None, Target(context="", service_type="NodePort"), BOOKINFO)


OWN = kong_programmed.identities(BOOKINFO, [PLUGIN])
CHANGED = datetime(2026, 1, 1, 10, 0, 5, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 10, 0, 20, tzinfo=UTC)
POD = ("Pod", "kong-istio", "kong-istio-kong-0")


def event(reason: str, stamp: str, about: tuple[str, str, str] = ("Ingress", "bookinfo", "productpage")) -> Object:
    kind, namespace, name = about
    involved = {"kind": kind, "namespace": namespace, "name": name}
    return {"reason": reason, "message": "no such plugin", "involvedObject": involved, "lastTimestamp": stamp}


def succeeded(stamp: str, pod: str = POD[2]) -> Object:
    return event("KongConfigurationSucceeded", stamp, ("Pod", "kong-istio", pod))


APPLY, TRANSLATION = "KongConfigurationApplyFailed", "KongConfigurationTranslationFailed"


@pytest.mark.parametrize(
    ("failure", "success", "lasts"),
    [
        (event(APPLY, "2026-01-01T10:00:10Z"), "2026-01-01T10:00:07Z", True),
        (event(APPLY, "2026-01-01T10:00:10Z"), "2026-01-01T10:00:13Z", False),
        (event(TRANSLATION, "2026-01-01T10:00:10Z"), "2026-01-01T10:00:13Z", True),
        (event(APPLY, "2026-01-01T10:00:04Z"), "2026-01-01T10:00:01Z", False),
        (event(APPLY, "2026-01-01T10:00:10Z", ("KongPlugin", "bookinfo", "rate-limit")), "2026-01-01T10:00:07Z", True),
        (event(APPLY, "2026-01-01T10:00:10Z", ("KongPlugin", "shop", "rate-limit")), "2026-01-01T10:00:07Z", False),
        (event(APPLY, "2026-01-01T10:00:10Z", POD), "2026-01-01T10:00:07Z", False),
    ],
    ids=["refused", "healed", "left out of what is taken over", "before the change", "plugin", "another's", "pod"],
)
def test_a_refusal_of_an_own_object_since_its_change_fails(failure: Object, success: str, lasts: bool) -> None:
    refused = kong_programmed.refusals([failure, succeeded(success)], OWN, CHANGED, NOW)
    assert bool(refused.own) is lasts
    if lasts:
        with pytest.raises(Failed, match="no such plugin"):
            kong_programmed.judge_refusals(refused, CHANGED, TARGET, BOOKINFO)
    else:
        assert kong_programmed.judge_refusals(refused, CHANGED, TARGET, BOOKINFO)


def test_somebody_elses_refused_object_is_said_and_no_failure() -> None:
    failure = event(APPLY, "2026-01-01T10:00:10Z", ("Ingress", "shop", "front"))
    actual = kong_programmed.judge_refusals(
        kong_programmed.refusals([failure], OWN, CHANGED, NOW), CHANGED, TARGET, BOOKINFO
    )
    assert "of others: Ingress shop/front" in actual


@pytest.mark.parametrize(
    ("count", "seconds", "lasts"), [(3, 20, True), (3, 40, False), (30, 40, True), (30, 400, False)]
)
def test_a_refusal_that_is_told_no_more_is_over(count: int, seconds: int, lasts: bool) -> None:
    failure = {**event(TRANSLATION, "2026-01-01T10:00:10Z"), "count": count}
    now = datetime(2026, 1, 1, 10, 0, 10, tzinfo=UTC) + timedelta(seconds=seconds)
    assert bool(kong_programmed.refusals([failure], OWN, CHANGED, now).own) is lasts


@pytest.mark.parametrize(("first", "certain"), [("2026-01-01T10:00:06Z", True), ("2026-01-01T09:00:00Z", False)])
def test_a_refusal_told_at_five_syncs_since_the_change_is_not_waited_for(first: str, certain: bool) -> None:
    failure = {**event(TRANSLATION, "2026-01-01T10:00:18Z"), "count": 5, "firstTimestamp": first}
    with pytest.raises(Failed) as failed:
        kong_programmed.judge_refusals(
            kong_programmed.refusals([failure], OWN, CHANGED, NOW), CHANGED, TARGET, BOOKINFO
        )
    assert failed.value.certain is certain


@pytest.mark.parametrize(
    ("stamps", "told"),
    [
        ({"a": "2026-01-01T10:00:06Z"}, True),
        ({"a": "2026-01-01T10:00:05Z"}, False),
        ({"a": "2026-01-01T10:00:06Z", "b": "2026-01-01T10:00:09Z"}, True),
        ({"a": "2026-01-01T10:00:06Z", "b": "2026-01-01T10:00:01Z"}, False),
        ({}, False),
    ],
    ids=["later", "in the same second", "both", "one replica alone", "no pod"],
)
def test_every_replica_has_to_tell_of_a_success_since_the_change(stamps: dict[str, str], told: bool) -> None:
    kong_events = [succeeded(stamp, pod) for pod, stamp in stamps.items()]
    assert bool(taken_over(kong_events, stamps, CHANGED)) is told


def test_a_status_is_no_change_of_an_object() -> None:
    fields = [
        {"manager": "pulumi", "time": "2026-01-01T10:00:05Z"},
        {"manager": "kong", "subresource": "status", "time": "2026-01-01T12:00:00Z"},
    ]
    metadata = {"creationTimestamp": "2026-01-01T09:00:00Z"}
    assert kong_events.last_change({"metadata": {**metadata, "managedFields": fields}}) == CHANGED
    assert kong_events.last_change({"metadata": metadata}) == datetime(2026, 1, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("place", ["lastTimestamp", "eventTime", "series"])
def test_an_event_was_seen_last_where_the_api_says_so(place: str) -> None:
    stamp = "2026-01-01T10:00:05.123456Z"
    assert kong_events.when({"series": {"lastObservedTime": stamp}} if place == "series" else {place: stamp}) == CHANGED


# --- port-forwards --------------------------------------------------------------------------------------------


def test_a_port_forward_that_does_not_open_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def refused(*_: Any) -> Iterator[str]:
        raise ClusterError('pods "istiod" not found.')
        yield

    monkeypatch.setattr(Cluster, "port_forward", refused)
    with (
        pytest.raises(Failed) as failure,
        portforward.open_port(TARGET, "istio-system", "deployment/istiod", 15010),
    ):
        pytest.fail("it opened")
    assert failure.value.actual == 'pods "istiod" not found'
    assert "port-forward" in failure.value.look


# --- on the sandbox, with the real istiod ---------------------------------------------------------------------


@pytest.fixture
def target(live: Stack, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return the live stack as a target; what fails there shall fail soon."""
    monkeypatch.setenv("PATH", f"{live.paths.programs}{os.pathsep}{os.environ['PATH']}")
    for module in (control_plane, injection, kong_programmed):
        monkeypatch.setattr(module, "_SECONDS", 1)
    return Target(kubeconfig=str(live.paths.kubeconfig), context=CONTEXT, simulated=True, applications=(BOOKINFO,))


def run(checks: tuple[Check, ...], target: Target) -> Result:
    return perform(checks[0], target)


def passes(checks: tuple[Check, ...], target: Target) -> bool:
    return run(checks, target).outcome is Outcome.PASSED


@contextmanager
def annotated(live: Stack, kind: str, name: str, annotation: str) -> Iterator[None]:
    """Take an annotation away, and give it back."""
    value = live.get(kind, name, "bookinfo")["metadata"]["annotations"][annotation]
    where = (kind, name, "--namespace=bookinfo", "--overwrite")
    live.kubectl("annotate", *where, f"{annotation}-")
    try:
        yield
    finally:
        live.kubectl("annotate", *where, f"{annotation}={value}")


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("module", [control_plane, injection, kong_programmed], ids=lambda module: module.__name__)
def test_it_passes_on_the_stack(module: Any, target: Target) -> None:
    result = run(module.CHECKS, target)
    assert result.outcome is Outcome.PASSED, f"expected {result.expected}, saw {result.actual}: {result.cause}"


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("namespace", ["kong-istio", "bookinfo"])
def test_a_namespace_that_lost_its_label_is_found_before_pods_restart(
    namespace: str, live: Stack, target: Target
) -> None:
    live.kubectl("label", "namespace", namespace, "istio-injection-")
    try:
        result = run(injection.CHECKS, target)
    finally:
        live.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    assert result.outcome is Outcome.FAILED, f"it was overlooked: {result.actual}"
    assert f"the namespace {namespace} has no label" in result.cause or namespace in result.actual
    assert passes(injection.CHECKS, target), "it still fails with the label back"


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
def test_a_pod_that_started_without_the_label_is_found(live: Stack, target: Target) -> None:
    live.kubectl("label", "namespace", "bookinfo", "istio-injection-")
    try:
        live.kubectl("delete", "pods", "--namespace=bookinfo", "--selector=app=details", "--timeout=60s")
        bare = wait_for(lambda: of(live, "details"), "a new pod of details")
    finally:
        live.kubectl("label", "namespace", "bookinfo", "istio-injection=enabled")
    try:
        result = run(injection.CHECKS, target)
    finally:
        live.kubectl("delete", "pods", "--namespace=bookinfo", "--selector=app=details", "--timeout=60s")
    assert result.outcome is Outcome.FAILED, f"it was overlooked: {result.actual}"
    assert bare in result.actual, f"{bare} is not named: {result.actual}"
    wait_for(lambda: passes(injection.CHECKS, target), "sidecars in all pods again")


def of(live: Stack, app: str) -> str:
    """Return the name of an application's pod that runs."""
    for found in live.list("pods", "bookinfo"):
        running = found["status"].get("phase") == "Running" and "deletionTimestamp" not in found["metadata"]
        if running and found["metadata"]["labels"].get("app") == app:
            return str(found["metadata"]["name"])
    return ""


@contextmanager
def copied(live: Stack, kind: str, name: str, **changes: Any) -> Iterator[str]:
    """Make a copy of a webhook configuration that istiod leaves alone and that no request reaches.

    istiod gives the real one its CA back within a moment, and a check that looked in between would prove little.
    """
    found = live.get(kind, name)
    made: Object = {key: copy.deepcopy(found[key]) for key in ("apiVersion", "kind", "webhooks")}
    made["metadata"] = {"name": f"copied-{name}"}
    for webhook in made["webhooks"]:
        webhook.update(changes.get("webhook", {}))
        webhook["clientConfig"] = {
            k: v for k, v in webhook["clientConfig"].items() if k not in changes.get("without", ())
        }
        webhook["namespaceSelector"] = {"matchLabels": {"nothing": "has-this-label"}}
    live.kubectl("create", "--filename=-", stdin=json.dumps(made))
    try:
        yield str(made["metadata"]["name"])
    finally:
        live.kubectl("delete", kind, made["metadata"]["name"])


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
def test_an_injector_that_lost_its_ca_fails(live: Stack, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    with copied(live, "mutatingwebhookconfigurations", "istio-sidecar-injector") as name:
        monkeypatch.setattr(control_plane, "INJECTOR_WEBHOOK", name)
        assert passes(control_plane.CHECKS, target), "a copy that differs in nothing fails"
    with copied(live, "mutatingwebhookconfigurations", "istio-sidecar-injector", without=("caBundle",)) as name:
        monkeypatch.setattr(control_plane, "INJECTOR_WEBHOOK", name)
        result = run(control_plane.CHECKS, target)
    assert result.outcome is Outcome.FAILED
    assert "namespace.sidecar-injector.istio.io" in result.actual, f"the webhook is not named: {result.actual}"


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("changes", [{"without": ("caBundle",)}, {"webhook": {"failurePolicy": "Ignore"}}])
@pytest.mark.parametrize("name", [validator_of(""), DEFAULT_VALIDATOR])
def test_a_validator_that_lost_its_ca_or_its_policy_fails(
    name: str, changes: Any, live: Stack, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copied(live, "validatingwebhookconfigurations", name, **changes) as made:
        monkeypatch.setattr(control_plane, "validators", lambda _: [made])
        result = run(control_plane.CHECKS, target)
    assert result.outcome is Outcome.FAILED
    assert "validation.istio.io" in result.actual, f"the webhook is not named: {result.actual}"


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
def test_a_route_that_lost_its_plugin_fails(live: Stack, target: Target) -> None:
    with annotated(live, "ingress", "productpage", "konghq.com/plugins"):
        result = run(kong_programmed.CHECKS, target)
    assert result.outcome is Outcome.FAILED, f"it was overlooked: {result.actual}"
    assert "the route is open" in result.cause
    assert passes(kong_programmed.CHECKS, target), "it still fails with the annotation back"


@pytest.mark.sandbox
@pytest.mark.timeout(3600)
def test_a_limit_that_was_changed_fails(live: Stack, target: Target) -> None:
    def set_minute(requests: int) -> None:
        patch = json.dumps({"config": {"minute": requests}})
        live.kubectl("patch", "kongplugin", "rate-limit", "--namespace=bookinfo", "--type=merge", f"--patch={patch}")

    set_minute(3000)
    try:
        result = run(kong_programmed.CHECKS, target)
    finally:
        set_minute(30)
    assert result.outcome is Outcome.FAILED, f"it was overlooked: {result.actual}"
    assert "3000 per minute" in result.actual
    assert passes(kong_programmed.CHECKS, target), "it still fails with the limit back"
