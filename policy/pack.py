"""The rules as a policy pack of Pulumi's: judged are the resources that a program registers, as the engine knows them.

A rule about single objects stops an `up` before that object is created. One about the stack as a whole is asked when all
is registered: in a preview, and at the end of an `up`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi_policy import (  # type: ignore[import-not-found]
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationPolicy,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError  # type: ignore[import-not-found]

from policy.objects import of_resource
from policy.rule import Rule
from policy.rules import RULES

_NAME = "kong-istio"


def serve() -> None:
    """Serve the rules to the engine that started this process."""
    PolicyPack(name=_NAME, policies=policies(), enforcement_level=EnforcementLevel.MANDATORY)


def policies() -> list[Policy]:
    """Return the rules as Pulumi's policies."""
    return [_policy(rule) for rule in RULES]


def _policy(rule: Rule) -> Policy:
    whole = rule.scope == "stack"

    def validate(args: Any, report: ReportViolation) -> None:
        registered = args.resources if whole else [args]
        found = (of_resource(it.resource_type, it.name, known(it.props), it.urn) for it in registered)
        for violation in rule.violations([item for item in found if item], known(args.get_config())):
            urn = violation.object.resource if violation.object else None
            report(f"{violation.where}: {violation.what}; {violation.remedy}.", urn)

    return (StackValidationPolicy if whole else ResourceValidationPolicy)(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel(rule.severity),
        config_schema=PolicyConfigSchema(properties={name: option.schema for name, option in rule.options.items()}),
    )


def known(value: Any) -> Any:
    """Return plain values: those that a preview does not know are left out, whole numbers are integers.

    The SDK raises when an unknown value is touched, which would end the rule for all of the resource.
    """
    if isinstance(value, Mapping):
        return {key: inner for key in value if (inner := _at(value, key)) is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [inner for index in range(len(value)) if (inner := _at(value, index)) is not None]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _at(holder: Any, key: Any) -> Any:
    try:
        return known(holder[key])
    except UnknownValueError:
        return None
