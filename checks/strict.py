"""Who may talk to an application: nobody in plain text where the mesh is STRICT, and Kong where others may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from checks import endpoints, probe, through_kong
from checks.framework import Check, Failed, NotChecked
from checks.probe import Reply
from checks.target import RoutedApplication, Target
from names import PROBE_NAMESPACE

_KONG_SECONDS = 30

# Says what is seen in a stranger's reply, or fails.
Judge = Callable[[Target, RoutedApplication, Reply], str]


def _plain_text_is_refused(target: Target) -> str:
    if target.mtls != "STRICT":
        raise NotChecked(f"plain text is allowed: istio.mtls is {target.mtls}")
    if not target.injection:
        raise NotChecked("there are no sidecars that could refuse it (istio.injection)")
    return _outside_and_kong(target, target.one_of_each, _refused)


def _refused(target: Target, application: RoutedApplication, reply: Reply) -> str:
    if reply.status:
        raise Failed(
            f"no answer for plain text from outside the mesh to {probe.host(application)}",
            f"{reply.status} in plain text",
            cause="the PeerAuthentication is not STRICT for this workload, or its pod has no sidecar",
            look=target.command("get", "peerauthentications", "--all-namespaces"),
        )
    return f"plain text from outside the mesh {reply.how}"


def _policies_hold(target: Target) -> str:
    guarded = [one for one in target.one_of_each if _policies(target, one)]
    if not guarded:
        raise NotChecked("no AuthorizationPolicy: every workload of the mesh may call the applications")
    return _outside_and_kong(target, guarded, _forbidden)


def _policies(target: Target, application: RoutedApplication) -> list[dict[str, Any]]:
    kind = "authorizationpolicies.security.istio.io"
    return endpoints.ask(target, lambda cluster: cluster.list(kind, application.namespace))


def _forbidden(target: Target, application: RoutedApplication, reply: Reply) -> str:
    if reply.status and reply.status != 403:
        raise Failed(
            f"403, or no answer, for a stranger's request to {probe.host(application)}",
            f"{reply.status}",
            cause="the AuthorizationPolicy does not select this workload, or allows whoever asks",
            look=target.command("--namespace", application.namespace, "get", "authorizationpolicies", "--output=yaml"),
        )
    return f"a stranger's request {reply.how}"


def _outside_and_kong(target: Target, applications: Sequence[RoutedApplication], judge: Judge) -> str:
    with probe.outside(target) as ask:

        def look(application: RoutedApplication) -> str:
            actual = judge(target, application, ask(application))
            answer = through_kong.eventually_through(
                target,
                lambda endpoint: through_kong.page(target, endpoint, application),
                _KONG_SECONDS,
                tls=application.tls,
            )
            return f"{actual}; {answer.status} through Kong"

        return through_kong.of_each(applications, look)


CHECKS = (
    Check(
        number="13",
        name="plain text",
        statement="Where the mesh is STRICT, plain text from outside it is refused, and Kong gets through.",
        how=f"a pod outside the mesh, in the namespace {PROBE_NAMESPACE}, calls the application's Service; so does Kong",
        look=_plain_text_is_refused,
        seconds=240,
        data_path=True,
        load=True,
    ),
    Check(
        number="14",
        name="authorization",
        statement="Where an AuthorizationPolicy guards an application, strangers are refused, and Kong gets through.",
        how="as for plain text, in namespaces that have an AuthorizationPolicy",
        look=_policies_hold,
        seconds=240,
        data_path=True,
        load=True,
    ),
)
