"""Kong is programmed: each application's route is there, has its limit attached, and the controller took it over.

The controller (3.5.13) writes no status of a KongPlugin. At every sync (3 s) it records an event on its own pod, whether
anything changed or not; client-go lets 25 of them pass and from then on one in five minutes, for each object
(tools/record/events_cache.go). So an event since the last change proves that it was taken over, the lack of one proves
nothing, and it is for an answer through Kong to show the limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from checks import answers, endpoints, through_kong
from checks.framework import Check, Failed, NotChecked, eventually
from checks.target import RoutedApplication, Target
from commands.kong_events import APPLY_FAILED, FAILURES, NEVER, SUCCESS, last_change, moment, taken_over, when
from commands.kong_ready import balancer_address
from commands.route_ready import said
from names import KONG_NAMESPACE
from settings import WINDOWS

Object = dict[str, Any]
Identity = tuple[str, str, str]

_PLUGINS = "konghq.com/plugins"
_CONTROLLER = "ingress-controller"
_SECONDS = 60
# The controller takes over what changed every 3 s.
_PAUSE = 1

# A refusal that lasts is told again at every sync until so many were told, and from then on every five minutes.
_BURST = 25
_SILENT_AT_FIRST = timedelta(seconds=30)
_SILENT_LATER = timedelta(seconds=330)
# A refusal that outlasted so many syncs is no passing one.
_LASTING = 5


class _Untold(Failed):
    """The controller has not told whether it took over what no answer of Kong's shows."""


@dataclass(frozen=True)
class Refusals:
    """What the controller tells that it refuses at this moment: of a route's own objects, and of others."""

    own: tuple[Object, ...]
    others: tuple[Object, ...]

    @property
    def of_others(self) -> str:
        """The refused objects of others, for people; empty where there are none."""
        return ", ".join(dict.fromkeys(_named_in(event) for event in self.others))


def look(target: Target) -> str:
    """Return what was seen of each application's route."""

    def look_at(application: RoutedApplication) -> str:
        try:
            return eventually(lambda: _look_once(target, application), _SECONDS, _PAUSE)
        except _Untold as reason:
            raise NotChecked(f"{reason.actual}: {reason.cause}") from None

    return through_kong.for_each(target, look_at)


def _look_once(target: Target, application: RoutedApplication) -> str:
    home = application.namespace
    ingress = endpoints.ask(target, lambda cluster: cluster.get("ingresses", application.ingress_name, home))
    plugins = endpoints.ask(target, lambda cluster: cluster.list("kongplugins.configuration.konghq.com", home))
    actual = [judge_address(ingress, target, application), judge_limit(ingress, plugins, target, application)]
    events = _events(target)
    own = [item for item in (ingress, attached(ingress, plugins)) if item]
    changed = max(map(last_change, own), default=NEVER)
    refused = refusals(events, identities(application, own), changed, datetime.fromtimestamp(time.time(), UTC))
    actual.append(judge_refusals(refused, changed, target, application))
    if target.simulated:
        return "; ".join([*actual, "whether Kong has both is not shown, as no controller runs"])
    pods = endpoints.ask(target, lambda cluster: cluster.list("pods", KONG_NAMESPACE))
    told = taken_over(events, controllers(pods), changed)
    try:
        seen, shown = _at_the_door(target, application, refused), True
    except NotChecked as reason:
        seen, shown = f"no answer shows it, as {reason}", False
    return "; ".join([*actual, seen, _said_of(told, target, application, shown=shown)])


def _events(target: Target) -> list[Object]:
    return endpoints.ask(target, lambda cluster: cluster.list("events", fields="source=kong-client"))


def _at_the_door(target: Target, application: RoutedApplication, refused: Refusals) -> str:
    """Return what an answer through Kong says of the limit, if that is the one of the settings."""
    try:
        with endpoints.proxy(target, tls=application.tls) as endpoint:
            if application.limits:
                return answers.limit_said(target, endpoint, application)
            through_kong.passed_on(target, endpoint, application)
            return "Kong has its route"
    except Failed as failure:
        if refused.others:
            # Kong takes a configuration as a whole, or not at all.
            failure.cause = f"Kong may refuse the whole configuration for {refused.of_others}; else {failure.cause}"
        raise


def _said_of(told: datetime | None, target: Target, application: RoutedApplication, *, shown: bool) -> str:
    if told:
        return f"taken over by {told:%H:%M:%S} UTC"
    if shown and not application.limit_headers_hidden:
        return "the controller has not told so yet, which it does every five minutes"
    raise _Untold(
        f"an event {SUCCESS} since the last change",
        "none",
        cause="the controller tells of a success every five minutes only, and no answer shows the limit (hideClientHeaders, a login, gRPC)",
        look=target.command("--namespace", KONG_NAMESPACE, "get", "events", f"--field-selector=reason={SUCCESS}"),
    )


def identities(application: RoutedApplication, own: Iterable[Object]) -> frozenset[Identity]:
    """Return what the controller may name when it refuses a route: its Ingress, its KongPlugin, its Service."""
    kinds = {("Ingress", application.ingress_name), ("Service", application.service)}
    kinds |= {("KongPlugin", item["metadata"]["name"]) for item in own if "plugin" in item}
    return frozenset((kind, application.namespace, name) for kind, name in kinds)


def refusals(events: Iterable[Object], own: frozenset[Identity], changed: datetime, now: datetime) -> Refusals:
    """Return the refusals that last, as far as events tell; one from before an own object's change is over."""
    told = sorted(events, key=when)
    success = max((when(event) for event in told if event.get("reason") == SUCCESS), default=NEVER)
    lasting = [event for event in told if event.get("reason") in FAILURES and not _is_over(event, success, now)]
    mine = tuple(event for event in lasting if _identity(event) in own and when(event) >= changed)
    return Refusals(mine, tuple(event for event in lasting if _identity(event) not in own))


def _is_over(event: Object, success: datetime, now: datetime) -> bool:
    # Where one object cannot be translated, the rest is taken over right behind it: that is no success of this one.
    if event.get("reason") == APPLY_FAILED and success > when(event):
        return True
    told_often = (event.get("count") or 1) >= _BURST
    return now - when(event) > (_SILENT_LATER if told_often else _SILENT_AT_FIRST)


def judge_refusals(refused: Refusals, changed: datetime, target: Target, application: RoutedApplication) -> str:
    """Return that nothing of a route is refused, and what of others is."""
    if not refused.own:
        others = f" (of others: {refused.of_others})" if refused.others else ""
        return f"no event of a refused configuration{others}"
    last = refused.own[-1]
    raise Failed(
        f"no event {' or '.join(FAILURES)} of {application.name}'s objects since their last change",
        f"{last['reason']} of {_named_in(last)}: {last.get('message', '')}",
        cause="Kong or its controller cannot use the object that the event names",
        look=target.command("--namespace", application.namespace, "get", "events", "--sort-by=.lastTimestamp"),
        certain=(last.get("count") or 1) >= _LASTING and moment(last.get("firstTimestamp")) >= changed,
    )


def controllers(pods: Iterable[Object]) -> list[str]:
    """Return the pods of Kong's that stay; each has a controller that tells for itself."""
    return [
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and any(container["name"] == _CONTROLLER for container in pod["spec"]["containers"])
    ]


def _identity(event: Object) -> Identity:
    about = event.get("involvedObject") or {}
    return str(about.get("kind", "")), str(about.get("namespace", "")), str(about.get("name", ""))


def _named_in(event: Object) -> str:
    kind, namespace, name = _identity(event)
    return f"{kind} {namespace}/{name}"


def judge_address(ingress: Object | None, target: Target, application: RoutedApplication) -> str:
    """Return the address that the controller gave the Ingress, if it gave one where there is one to give."""
    address = balancer_address(ingress) if ingress else ""
    if ingress and (address or target.service_type != "LoadBalancer"):
        given_by = " from the sandbox" if target.simulated else ""
        return f"its Ingress has the address {address}{given_by}" if address else "its Ingress is there"
    raise Failed(
        f"an Ingress {application.namespace}/{application.ingress_name} with an address",
        "one without" if ingress else "no such Ingress",
        cause="Kong's controller does not run, does not serve its class, or Kong's Service has no address itself"
        if ingress
        else "the route was removed",
        look=through_kong.logs(target)
        if ingress
        else target.command("--namespace", application.namespace, "get", "ingresses", "--output=wide"),
        certain=not ingress,
    )


def judge_limit(ingress: Object | None, plugins: list[Object], target: Target, application: RoutedApplication) -> str:
    """Return the limit that is attached to the route, if it is the one of the settings."""
    expected = said(application.limits)
    found = attached(ingress, plugins)
    limits = (
        {window: found["config"][window] for window in WINDOWS if window in found.get("config", {})} if found else {}
    )
    if not found and not application.limits:
        return "it has no limit (rateLimit: none)"
    if found and limits == application.limits:
        return f"the KongPlugin {found['metadata']['name']} is attached ({expected})"
    changed = "the KongPlugin was changed since the last `pulumi up`"
    raise Failed(
        f"a rate limit of {expected} attached to the Ingress {application.namespace}/{application.ingress_name}",
        f"{said(limits)} in KongPlugin {found['metadata']['name']}" if found else "none",
        cause=changed if found else _open(ingress),
        look=target.command("--namespace", application.namespace, "get", "ingress,kongplugin", "--output=yaml"),
        certain=True,
    )


def _open(ingress: Object | None) -> str:
    if names := ", ".join(_named(ingress)):
        return f"the annotation {_PLUGINS} names {names}, which is no KongPlugin for rate limiting there: the route is open"
    return f"it has no annotation {_PLUGINS}: the route is open"


def attached(ingress: Object | None, plugins: list[Object]) -> Object | None:
    """Return the rate-limiting KongPlugin that an Ingress names."""
    names = _named(ingress)
    found = [one for one in plugins if one["metadata"]["name"] in names and one.get("plugin") == "rate-limiting"]
    return found[0] if found and not found[0].get("disabled") else None


def _named(ingress: Object | None) -> list[str]:
    annotations = ((ingress or {}).get("metadata") or {}).get("annotations") or {}
    return [name.strip() for name in annotations.get(_PLUGINS, "").split(",") if name.strip()]


CHECKS = (
    Check(
        number="4",
        name="Kong programmed",
        statement="Each application's route is there with its limit attached, and Kong has taken both over.",
        how="the Ingress and its address, the KongPlugin, the controller's events, and the limit in an answer through Kong",
        look=look,
        seconds=_SECONDS + through_kong.PATIENCE,
    ),
)
