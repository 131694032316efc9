"""Kong is programmed: each application's route is there, has its limit attached, and the controller took it over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from checks import access, gateway
from checks.model import Check, Failed, eventually
from checks.target import RoutedApplication, Target
from cluster.events import FAILURES, NEVER, SUCCESS, when
from cluster.gateway_ready import NAMESPACE, balancer_address
from settings.model import WINDOWS

Object = dict[str, Any]

_PLUGINS = "konghq.com/plugins"
_SECONDS = 60


def look(target: Target) -> str:
    """Return what was seen of each application's route."""

    def look_once() -> str:
        return gateway.for_each(target, lambda application: _look_once(target, application))

    return eventually(look_once, _SECONDS)


def _look_once(target: Target, application: RoutedApplication) -> str:
    home = f"--namespace={application.namespace}"
    ingress = access.ask(target, lambda kubectl: kubectl.get("ingress", application.service, home))
    plugins = access.ask(target, lambda kubectl: kubectl.list("kongplugins.configuration.konghq.com", home))
    events = [*_events(target, NAMESPACE), *_events(target, application.namespace)]
    return "; ".join(
        [
            judge_address(ingress, target, application),
            judge_limit(ingress, plugins, target, application),
            judge_programmed(attached(ingress, plugins), target, application),
            judge_events(events, target, application),
        ]
    )


def _events(target: Target, namespace: str) -> list[Object]:
    return access.ask(target, lambda kubectl: kubectl.list("events", f"--namespace={namespace}"))


def judge_address(ingress: Object | None, target: Target, application: RoutedApplication) -> str:
    """Return the address that the controller gave the Ingress, if it gave one where there is one to give."""
    address = balancer_address(ingress) if ingress else ""
    if ingress and (address or target.service_type != "LoadBalancer"):
        given_by = " from the sandbox" if target.simulated else ""
        return f"its Ingress has the address {address}{given_by}" if address else "its Ingress is there"
    raise Failed(
        f"an Ingress {application.namespace}/{application.service} with an address",
        "one without" if ingress else "no such Ingress",
        cause="Kong's controller does not run, does not serve its class, or Kong's Service has no address itself"
        if ingress
        else "the route was removed",
        look=gateway.routes(target, application) if ingress else gateway.logs(target),
    )


def judge_limit(ingress: Object | None, plugins: list[Object], target: Target, application: RoutedApplication) -> str:
    """Return the limit that is attached to the route, if it is the one of the settings."""
    wanted = said(application.limits)
    found = attached(ingress, plugins)
    limits = (
        {window: found["config"][window] for window in WINDOWS if window in found.get("config", {})} if found else {}
    )
    if found and limits == application.limits:
        return f"the KongPlugin {found['metadata']['name']} is attached ({wanted})"
    changed = "the KongPlugin was changed since the last `pulumi up`"
    raise Failed(
        f"a rate limit of {wanted} attached to the Ingress {application.namespace}/{application.service}",
        f"{said(limits)} in KongPlugin {found['metadata']['name']}" if found else "none",
        cause=changed if found else _open(ingress),
        look=target.command("--namespace", application.namespace, "get", "ingress,kongplugin", "--output=yaml"),
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


def judge_programmed(plugin: Object | None, target: Target, application: RoutedApplication) -> str:
    """Return whether the controller says that Kong has the KongPlugin; in the sandbox nobody says so."""
    conditions = ((plugin or {}).get("status") or {}).get("conditions") or []
    found: Mapping[str, Any] = next((one for one in conditions if one["type"] == "Programmed"), {})
    status = found.get("status", "Unknown")
    if status == "True":
        return "Kong has it (Programmed)"
    if target.simulated and status == "Unknown":
        return "Programmed not shown, as no controller runs"
    raise Failed(
        "the condition Programmed=True of its KongPlugin",
        f"{status} {found.get('message', '')}".strip(),
        cause="Kong refused the configuration" if status == "False" else "Kong's controller does not run, or waits",
        look=target.command("--namespace", application.namespace, "describe", "kongplugins"),
    )


def judge_events(events: Iterable[Object], target: Target, application: RoutedApplication) -> str:
    """Return that no configuration was refused after the last one that was taken over."""
    newest: dict[str, Object] = {}
    for event in sorted(events, key=when):
        newest[event.get("reason", "")] = event
    success = when(newest[SUCCESS]) if SUCCESS in newest else NEVER
    # Also one of the same second: where one object cannot be translated, the rest is taken over right behind it.
    failures = [newest[reason] for reason in FAILURES if reason in newest and when(newest[reason]) >= success]
    if not failures:
        return "no event of a refused configuration"
    last = failures[-1]
    about = last.get("involvedObject") or {}
    raise Failed(
        f"no event {' or '.join(FAILURES)} since the last {SUCCESS}",
        f"{last['reason']} of {about.get('kind', '')} {about.get('name', '')}: {last.get('message', '')}",
        cause="an object that Kong cannot use; the event names it",
        look=target.command("--namespace", application.namespace, "get", "events", "--sort-by=.lastTimestamp"),
    )


def said(limits: Mapping[str, int]) -> str:
    """Return a limit for people."""
    return ", ".join(f"{requests} per {window}" for window, requests in limits.items()) or "no limit"


def _named(ingress: Object | None) -> list[str]:
    annotations = ((ingress or {}).get("metadata") or {}).get("annotations") or {}
    return [name.strip() for name in annotations.get(_PLUGINS, "").split(",") if name.strip()]


CHECKS = (
    Check(
        number="4",
        name="Kong programmed",
        statement="Each application's route is there with its limit attached, and Kong has taken both over.",
        how="the Ingress and its address, the KongPlugin and its condition Programmed, and the controller's events",
        look=look,
        seconds=_SECONDS,
    ),
)
