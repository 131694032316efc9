"""The look at the stack that is up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from commands.cluster_access import Access
from components.shared import project_command, rate_limit
from components.shared.manifests import Manifest
from components.shared.releases import ChartSource, application_source
from settings import Route, Settings, public
from versions import KONG_CONTROLLER, KONG_GATEWAY

# More than all checks together may take (a test adds them up), with traffic that waits for its limit.
LIMIT_SECONDS = 45 * 60


@dataclass(frozen=True, kw_only=True)
class VerificationArgs:
    """`settings`: of the whole stack. `access`: its cluster. `charts`, `manifests`: what else decides what the checks find."""

    access: Access
    settings: Settings
    charts: Mapping[str, ChartSource]
    manifests: Mapping[str, Sequence[Manifest]]


@dataclass(frozen=True, kw_only=True)
class VerificationOutputs:
    """`counts`: how many checks `passed`, `failed` and were `notChecked`, and the names of `failedChecks`."""

    counts: pulumi.Output[dict[str, Any]]


class Verification(pulumi.ComponentResource):
    """Looks whether what must be true of the stack is. Type `kong-istio:index:Verification`.

    Creates: Command `checks` (`python -m checks run`), run when it is new and whenever the settings, or what they bring
    into the cluster, changed. The program runs the checks and never imports them.
    Outputs: `VerificationOutputs`.
    Raises in `up`: the checks that failed, where `checks.failUp` says so; elsewhere they are a warning.
    """

    def __init__(self, name: str, args: VerificationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kong-istio:index:Verification", name, {"context": args.access.context}, opts)
        given = arguments(args)
        line = project_command.command_line("checks", given)
        command = project_command.on_cluster(
            "checks",
            args.access,
            pulumi.ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{LIMIT_SECONDS}s", update=f"{LIMIT_SECONDS}s"),
            ),
            create=line,
            update=line,
            environment=project_command.secret_environment(given),
        )
        self.outputs = VerificationOutputs(counts=project_command.report(command))
        self.outputs.counts.apply(self._warn)
        self.register_outputs({"counts": self.outputs.counts})

    def _warn(self, counts: Mapping[str, Any]) -> None:
        if counts["failed"]:
            pulumi.log.warn(
                f"{counts['failed']} of the checks failed when they last ran ({', '.join(counts['failedChecks'])}): "
                "`venv/bin/python -m checks` looks again, and tells what was expected and what was found.",
                self,
            )


def arguments(args: VerificationArgs) -> list[str]:
    """Return the command's arguments."""
    checks = args.settings.checks
    return [
        *("run", "--counts", "--settings", json.dumps(_told(args.settings), sort_keys=True)),
        # A path is in the settings.
        *(args.access.arguments()[:2] if args.access.given() else []),
        *([] if checks.fail_up else ["--warn"]),
        *(["--reports", checks.reports] if checks.reports else []),
        *project_command.digest(rests_on(args)),
    ]


def _told(settings: Settings) -> dict[str, Any]:
    """Return what the checks are told of the settings: nothing secret, and no path of this machine that they do not need."""
    told = public(settings)
    for key in ("keepCrds", "charts", "images", "security"):
        del told[key]
    for application in told["applications"]:
        application["manifests"], application["chart"] = "", None
    del told["observability"]["grafana"]["dashboards"], told["checks"]["reports"]
    return dict(_without_names_of_secrets(told))


def _without_names_of_secrets(value: Any) -> Any:
    """Return settings without the Secrets that they name: the checks need none, and a policy would ask what they are."""
    if isinstance(value, list):
        return [_without_names_of_secrets(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_names_of_secrets(inner) for key, inner in value.items() if not key.endswith("Secret")}


def rests_on(args: VerificationArgs) -> list[Any]:
    """Return what decides what the checks find, without secrets and paths: its digest stands in the state."""
    left_out: dict[str, Any] = dict.fromkeys(("kubeconfig", "kube_context", "keep_crds", "charts", "checks"), True)
    # A password may be in the applications and in the rate limit; what matters of them is in `routes`.
    left_out |= {"applications": True, "rate_limit": True, "security": {"secret_timeout_seconds"}}
    # Of a certificate, what it says counts; the key has to go with it.
    left_out |= {"kong": {"tls": {"key"}}, "observability": {"grafana": {"dashboards", "admin_password"}}}
    settings = args.settings
    routes = [
        [app.name, *_without_what_may_be_secret(route), rate_limit.config(limit) if limit else None]
        for app in settings.applications
        for route in app.routes
        for limit in [settings.limit_on(app, route)]
    ]
    manifests = {name: [_without_secrets(item) for item in items] for name, items in args.manifests.items()}
    own = [[application_source(app.chart), app.chart.values] for app in settings.applications if app.chart]
    return [settings.model_dump(exclude=left_out), routes, args.charts, manifests, own, KONG_GATEWAY, KONG_CONTROLLER]


def _without_what_may_be_secret(route: Route) -> list[Any]:
    names = [plugin.name for plugin in route.plugins]
    return [route.model_dump(exclude={"annotations", "plugins", "rate_limit"}), names, route.narrowed]


def _without_secrets(item: Manifest) -> Manifest:
    return {key: value for key, value in item.items() if item["kind"] != "Secret" or key not in ("data", "stringData")}
