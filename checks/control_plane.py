"""Istio's control plane: it runs, and the API server can call its webhooks."""

from __future__ import annotations

from typing import Any

from checks import endpoints
from checks.framework import Check, Failed, eventually
from checks.target import Target
from commands import rollouts
from commands.istiod_ready import is_trusted, untrusted
from names import DEFAULT_VALIDATOR, INJECTOR_WEBHOOK, ISTIO_NAMESPACE, ISTIOD, of_revision, validator_of

_SECONDS = 30
_REMOVED = "Istio is not installed, or was removed"


def look(target: Target) -> str:
    """Return what was seen of istiod and of its webhooks."""
    return eventually(lambda: _look_once(target), _SECONDS)


def _look_once(target: Target) -> str:
    actual = []
    for revision in target.revisions:
        istiod, webhook = of_revision(ISTIOD, revision), of_revision(INJECTOR_WEBHOOK, revision)
        actual.append(judge_istiod(_get(target, "deployments", istiod, ISTIO_NAMESPACE), target, istiod))
        if target.injection:
            actual.append(judge_injector(_get(target, "mutatingwebhookconfigurations", webhook), target, webhook))
    for name in validators(target):
        actual.append(judge_validator(name, _get(target, "validatingwebhookconfigurations", name), target))
    return "; ".join(actual)


def validators(target: Target) -> list[str]:
    """Return the webhooks that validate Istio's objects: of each istiod, and of the chart base."""
    return [*map(validator_of, target.revisions), DEFAULT_VALIDATOR]


def _get(target: Target, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
    return endpoints.ask(target, lambda cluster: cluster.get(kind, name, namespace))


def judge_istiod(deployment: dict[str, Any] | None, target: Target, name: str = ISTIOD) -> str:
    """Return what was seen of an istiod's Deployment, if it is available."""
    if deployment and rollouts.is_available(deployment):
        images = [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]
        return f"{name} {rollouts.version_of(images[0])} is available"
    raise Failed(
        f"the Deployment {ISTIO_NAMESPACE}/{name} to be available",
        "a Deployment that is not" if deployment else "no such Deployment",
        cause="its pod does not start or is not ready" if deployment else _REMOVED,
        look=target.command("--namespace", ISTIO_NAMESPACE, "describe", "deployment,pods", "--selector=app=istiod"),
        certain=not deployment,
    )


def judge_injector(configuration: dict[str, Any] | None, target: Target, name: str = INJECTOR_WEBHOOK) -> str:
    """Return what was seen of the webhook that injects sidecars, if the API server trusts all of it."""
    if configuration and is_trusted(configuration):
        return f"{name} has its CA in {_counted(len(configuration['webhooks']))}"
    raise Failed(
        f"a CA in every webhook of {name}",
        f"none in {', '.join(untrusted(configuration)) or 'it: it has no webhooks'}"
        if configuration
        else "no such webhook",
        cause="istiod writes it there once it is ready: it is not, or may not, or something took the CA out"
        if configuration
        else _REMOVED,
        look=target.command("--namespace", ISTIO_NAMESPACE, "logs", "--selector=app=istiod", "--tail=50"),
        certain=not configuration,
    )


def judge_validator(name: str, configuration: dict[str, Any] | None, target: Target) -> str:
    """Return what was seen of a webhook that validates Istio's objects, if it is trusted and lets nothing pass by."""
    webhooks = (configuration or {}).get("webhooks") or []
    lenient = [webhook["name"] for webhook in webhooks if webhook.get("failurePolicy") != "Fail"]
    if configuration and is_trusted(configuration) and not lenient:
        return f"{name} has its CA and the failure policy Fail"
    bare = untrusted(configuration or {})
    flaws = [f"no CA in {', '.join(bare)}"] if bare else []
    flaws += [f"another failure policy in {', '.join(lenient)}"] if lenient else []
    raise Failed(
        f"a CA and the failure policy Fail in every webhook of {name}",
        " and ".join(flaws) or ("no webhooks in it" if configuration else "no such webhook"),
        cause="istiod sets both once it has seen its own validation refuse a bad object: it has not yet, or cannot"
        if configuration
        else _REMOVED,
        look=target.command("get", "validatingwebhookconfiguration", name, "--output=yaml"),
        certain=not configuration,
    )


def _counted(webhooks: int) -> str:
    return "its one webhook" if webhooks == 1 else f"each of its {webhooks} webhooks"


CHECKS = (
    Check(
        number="1",
        name="control plane",
        statement="Istiod is available, and the API server trusts every webhook of it.",
        how="the Deployment of each istiod, the CA in each of Istio's webhooks, and the failure policy of those that validate",
        look=look,
        seconds=_SECONDS,
    ),
)
