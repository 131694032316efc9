"""The rules as a policy pack of Pulumi's: judged are the resources that a program registers, as the engine knows them.

A rule about single objects stops an `up` before that object is created. One about the stack as a whole is asked when all
is registered: in a preview, and at the end of an `up`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi_policy import (  # type: ignore[import-not-found]
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError  # type: ignore[import-not-found]

from policy.objects import Object, of_resource
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
    about: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": EnforcementLevel(rule.severity),
        "config_schema": PolicyConfigSchema(properties={key: dict(said) for key, said in rule.schema.items()}),
    }
    if rule.scope == "stack":
        return StackValidationPolicy(validate=_of_stack(rule), **about)
    return ResourceValidationPolicy(validate=_of_resource(rule), **about)


def _of_resource(rule: Rule) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        item = of_resource(args.resource_type, args.name, known(args.props), args.urn)
        _report(rule, [item] if item else [], args.get_config(), report)

    return validate


def _of_stack(rule: Rule) -> Callable[[StackValidationArgs, ReportViolation], None]:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        found = (of_resource(it.resource_type, it.name, known(it.props), it.urn) for it in args.resources)
        _report(rule, [item for item in found if item], args.get_config(), report)

    return validate


def _report(rule: Rule, objects: Sequence[Object], options: Mapping[str, Any], report: ReportViolation) -> None:
    for violation in rule.violations(objects, known(options)):
        urn = violation.object.resource if violation.object else None
        report(f"{violation.where}: {violation.what}; {violation.remedy}.", urn)


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
