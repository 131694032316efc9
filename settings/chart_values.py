"""Further values of charts that contradict the stack. Everything else goes to the charts as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from names import ISTIO_NAMESPACE, KONG_NAMESPACE
from settings.contradictions import CLIENT_ADDRESS, RULES, Rule
from settings.control_planes import of_namespace
from settings.kinds import is_everywhere, network
from settings.secret_parts import plain
from settings.sections import Redis, Settings
from settings.sentences import SettingsError, key_name, show

Values = Mapping[str, Any]

#: The profiles that the charts have beside those of platforms and of a mesh whose control plane is elsewhere.
PROFILES = ("ambient", "demo", "preview", "stable")
_OF_ISTIOCTL = (
    "that is a profile of istioctl, and the charts' own defaults are what it means; take one of the charts' own"
)
_OF_PLATFORM = "that is a platform: set istio.istiodValues.global.platform to it"
_PROFILES_OF_OTHERS = {
    **dict.fromkeys(("default", "minimal", "empty"), f"{_OF_ISTIOCTL}, {', '.join(PROFILES)}"),
    **dict.fromkeys(("openshift", "gke", "k3d", "k3s", "microk8s", "minikube"), _OF_PLATFORM),
    "remote": "it installs no control plane, and this cluster's mesh has its own here; take another one",
}
# Istio's charts read what stands below these as if it stood at the top.
_LEGACY_TOP = {"istio.istiodValues": "pilot", "istio.canary.istiodValues": "pilot", "istio.cniValues": "cni"}
# The charts write the names of environment variables in capitals, whatever the key.
_ENVIRONMENTS = ("env", "customEnv")


def check_values(settings: Settings) -> None:
    """Raise `SettingsError` for the first of the charts' further values that contradicts the stack."""
    for key, values in _further(settings).items():
        for place, value, rule in _broken(key, values, settings):
            raise SettingsError(f"{key}.{key_name(place)} {_why(place, value, rule)}")
    for look in (
        _check_profile,
        _check_autoscaling,
        _check_trusted,
        _check_hold,
        _check_reach,
        _check_istiod_autoscaling,
    ):
        look(settings)
    for key, config in mesh_configs(settings).items():
        _check_mesh_config(settings, f"{key}.meshConfig", config)


def mesh_configs(settings: Settings) -> dict[str, Values]:
    """Return the mesh's configuration, as far as the further values of each istiod say any, by their key in the settings."""
    further = _further(settings)
    return {
        key: {**_mapping(values.get("meshConfig")), **_mapping(_mapping(values.get("pilot")).get("meshConfig"))}
        for key in ("istio.istiodValues", "istio.canary.istiodValues")
        if (values := further.get(key))
    }


def registry_only(settings: Settings) -> bool:
    """Return whether sidecars let out only what the mesh knows, those of one istiod at least."""
    return any(map(_is_registry_only, mesh_configs(settings).values()))


def _is_registry_only(config: Values) -> bool:
    return _mapping(config.get("outboundTrafficPolicy")).get("mode") == "REGISTRY_ONLY"


def redis_outside(settings: Settings) -> list[Redis]:
    """Return each redis that limits count in, once, which sidecars would not let Kong reach: they know the mesh alone."""
    limits = [limit for application in settings.applications for limit in settings.limits_of(application)]
    found = {
        (limit.redis.host, limit.redis.port): limit.redis for limit in limits if limit.redis and limit.policy == "redis"
    }
    own = {ISTIO_NAMESPACE, *(application.namespace for application in settings.applications)}
    return [redis for redis in found.values() if registry_only(settings) and not _in_cluster(redis.host, own)]


def _in_cluster(host: str, namespaces: Collection[str]) -> bool:
    """Return whether a host is a Service's name: alone, with its namespace, or in full; no address is."""
    rest = host.rstrip(".").split(".")[1:]
    return (not rest and ":" not in host) or "svc" in rest[1:2] or (len(rest) == 1 and rest[0] in namespaces)


def _further(settings: Settings) -> dict[str, Values]:
    istio, shown = settings.istio, settings.observability
    return {
        "istio.baseValues": istio.base_values,
        "istio.istiodValues": istio.istiod_values,
        **({"istio.canary.istiodValues": istio.canary.istiod_values} if istio.canary else {}),
        "istio.cniValues": istio.cni_values,
        "istio.gatewayValues": istio.gateway_values,
        "kong.values": settings.kong.values,
        "observability.prometheus.values": shown.prometheus.values,
        "observability.grafana.values": shown.grafana.values,
        "observability.kiali.values": shown.kiali.values,
    }


def _why(place: Sequence[str], value: Any, rule: Rule) -> str:
    if not any(path.split()[-1] == place[-1] for path in rule.paths):
        return "is no object: the stack rests on values below it; give an object, or leave it out."
    return f"is {'[secret]' if rule.secret else show(value)}: {rule.remedy}."


def _broken(key: str, values: Values, settings: Settings) -> Iterator[tuple[list[str], Any, Rule]]:
    """Yield where values break a rule, what stands there, and the rule."""
    tops: list[list[str]] = [[]]
    if key in _LEGACY_TOP:
        tops.append([_LEGACY_TOP[key]])
    for rule in RULES["istio.istiodValues" if key == "istio.canary.istiodValues" else key]:
        if not rule.applies(settings):
            continue
        for path in rule.paths:
            for top in tops:
                found = _find(values, [*top, *path.split()])
                if found and not _agrees(found[1], rule.agrees):
                    yield found[0], found[1], rule


def _find(values: Any, path: Sequence[str]) -> tuple[list[str], Any] | None:
    """Return where something stands at a path, or in place of what leads there, and what; None where nothing does."""
    if not path:
        return [], values
    if not isinstance(values, Mapping):
        return [], values
    step, *others = path
    if step not in values:
        return None
    inside = _lower(values[step], others) if step in _ENVIRONMENTS else values[step]
    found = _find(inside, others)
    return ([step, *found[0]], found[1]) if found else None


def _lower(environment: Any, others: list[str]) -> Any:
    """Return an environment with the key that a path names spelled as the path spells it."""
    if not others or not isinstance(environment, Mapping):
        return environment
    return {
        (others[0] if isinstance(name, str) and name.lower() == others[0].lower() else name): value
        for name, value in environment.items()
    }


def _agrees(value: Any, others: Sequence[Any]) -> bool:
    # YAML's 1 is Python's True.
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in others)


def _mapping(value: Any) -> Values:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_profile(settings: Settings) -> None:
    profile = settings.istio.profile
    if profile and profile not in PROFILES:
        why = _PROFILES_OF_OTHERS.get(profile, f"the charts have {', '.join(PROFILES)}")
        raise SettingsError(f'istio.profile is {show(profile)}: {why}, or leave it empty ("").')


def _check_autoscaling(settings: Settings) -> None:
    if not _mapping(settings.kong.values.get("autoscaling")).get("enabled"):
        return
    for application in settings.applications:
        if any(limit.policy == "local" for limit in settings.limits_of(application)):
            raise SettingsError(
                f"kong.values.autoscaling.enabled is true while rateLimit.policy of application {application.name} is local: "
                "each replica would count for itself and let the limit through; set the policy to redis, or leave the "
                "autoscaling out."
            )


def _check_trusted(settings: Settings) -> None:
    environment = _lower(_mapping(settings.kong.values.get("env")), ["trusted_ips"])
    given = environment.get("trusted_ips")
    ranges = [found for text in str(plain(given) or "").split(",") if (found := network(text.strip()))]
    if is_everywhere(ranges):
        raise SettingsError(
            f"kong.values.env.trusted_ips is {show(given)}: anyone could then pass for anyone; list only the addresses of "
            f"your load balancer, in the setting {CLIENT_ADDRESS}.trustedRanges in place of it."
        )


def _check_hold(settings: Settings) -> None:
    key = "proxy.istio.io/config"
    given = _mapping(settings.kong.values.get("podAnnotations")).get(key)
    if given is not None and "holdApplicationUntilProxyStarts" not in str(plain(given)):
        raise SettingsError(
            f'kong.values.podAnnotations."{key}" is {show(given)}: it takes the place of the stack\'s, without which the '
            "controller may ask before its sidecar runs and never recover; add holdApplicationUntilProxyStarts: true to it."
        )


def _check_reach(settings: Settings) -> None:
    """Raise where Kong's controller, or istio-cni, is told to leave one of the stack's namespaces out."""
    needed = [application.namespace for application in settings.applications]
    watched = _list(_mapping(settings.kong.values.get("ingressController")).get("watchNamespaces"))
    for namespace in needed if watched else ():
        if namespace not in watched:
            raise SettingsError(
                f"kong.values.ingressController.watchNamespaces is {show(watched)}: it leaves out {namespace}, whose "
                "application Kong would not serve; add that, or leave the key out."
            )
    for top in (settings.istio.cni_values, _mapping(settings.istio.cni_values.get("cni"))):
        for namespace in [KONG_NAMESPACE, *needed]:
            if namespace in _list(top.get("excludeNamespaces")):
                raise SettingsError(
                    f"istio.cniValues.excludeNamespaces has {namespace}: its pods would have a sidecar that nothing is "
                    "redirected to; take it out of the list."
                )


def _check_istiod_autoscaling(settings: Settings) -> None:
    given = settings.istio.istiod_values
    for values in (given, _mapping(given.get("pilot"))):
        sizes = [key for key in ("autoscaleMin", "autoscaleMax") if key in values]
        if sizes and not (given.get("autoscaleEnabled") or values.get("autoscaleEnabled")):
            raise SettingsError(
                f"istio.istiodValues.{sizes[0]} is {show(values[sizes[0]])} without autoscaleEnabled: true: nothing would "
                "scale; add that, or use the setting istio.replicas in place of it."
            )


def _check_mesh_config(settings: Settings, where: str, config: Values) -> None:
    if _is_registry_only(config) and settings.kong.routing == "guide":
        raise SettingsError(
            f'{where}.outboundTrafficPolicy.mode is "REGISTRY_ONLY" while kong.routing is guide: that routing leaves the mesh, '
            "which this forbids; set kong.routing to mesh, or leave the mode out."
        )
    selectors = _list(config.get("discoverySelectors"))
    if not selectors:
        return
    for namespace in _seen_by_istiod(settings):
        labels = {"kubernetes.io/metadata.name": namespace}
        if namespace not in (ISTIO_NAMESPACE, "default"):
            revision = of_namespace(settings.istio, namespace).revision
            labels |= {"istio.io/rev": revision} if revision else {"istio-injection": "enabled"}
        if not any(_selects(_mapping(selector), labels) for selector in selectors):
            raise SettingsError(
                f"{where}.discoverySelectors is {show(selectors)}: istiod would not see {namespace}; add "
                f"{{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}."
            )


def _seen_by_istiod(settings: Settings) -> list[str]:
    """Return the namespaces that istiod has to see: the mesh's rules are in its own, Kubernetes' Service in default."""
    own = [ISTIO_NAMESPACE, KONG_NAMESPACE, *(application.namespace for application in settings.applications)]
    return [*own, "default"] if registry_only(settings) else own


def _selects(selector: Values, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector, as Kubernetes has them, takes an object with these labels."""
    wanted = _mapping(selector.get("matchLabels"))
    expressions = [_mapping(one) for one in _list(selector.get("matchExpressions"))]
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(one, labels.get(str(plain(one.get("key"))))) for one in expressions
    )


def _holds(expression: Values, value: str | None) -> bool:
    values = _list(expression.get("values"))
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
