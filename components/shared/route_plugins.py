"""Further plugins on an application's routes: those that the manifests define, and those that the settings do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from components.shared.manifests import Manifest, ManifestError
from settings import Application, Plugin
from settings.secret_parts import secret_parts

#: Of a Secret: the key that holds a plugin's configuration.
CONFIG_KEY = "config"
_KINDS = ("KongPlugin", "KongClusterPlugin")


def made(application: Application) -> Iterator[Plugin]:
    """Yield the plugins that the settings define, each once."""
    yield from (plugin for route in application.routes for plugin in route.plugins if plugin.plugin)


def defined(objects: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return the plugins that manifests define, by their names; one of the namespace hides one of the cluster."""
    found = sorted((item for item in objects if item["kind"] in _KINDS), key=lambda item: str(item["kind"]))
    return {item["metadata"]["name"]: item for item in found}


def config_secret(plugin: Plugin) -> str:
    """Return the name of the Secret that holds a plugin's configuration; empty where nothing in it is secret."""
    return f"kong-plugin-{plugin.name}" if any(True for _ in secret_parts(plugin.config)) else ""


def kong_plugin(namespace: str, plugin: Plugin) -> dict[str, Any]:
    """Return the KongPlugin for what the settings say; a configuration with something secret in it is only named there."""
    config: dict[str, Any] = {"config": dict(plugin.config)} if plugin.config else {}
    if secret := config_secret(plugin):
        config = {"configFrom": {"secretKeyRef": {"name": secret, "key": CONFIG_KEY}}}
    return {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongPlugin",
        "metadata": {"name": plugin.name, "namespace": namespace},
        "plugin": plugin.plugin,
        **config,
    }


def objects(namespace: str, plugin: Plugin) -> list[dict[str, Any]]:
    """Return what the stack makes for a plugin that the settings define; of its Secret the name alone."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": config_secret(plugin), "namespace": namespace}}
    return [kong_plugin(namespace, plugin), *([secret] if config_secret(plugin) else [])]


def check(objects: Sequence[Manifest], application: Application, where: str) -> None:
    """Raise `ManifestError` for a plugin that nobody defines, or that both do: a route without its login would be open."""
    own, given = {plugin.name for plugin in made(application)}, defined(objects)
    for key, route in application.route_keys:
        for index, plugin in enumerate(route.plugins):
            at = f"{where}.{key}.plugins[{index}]"
            if plugin.plugin and given.get(plugin.name, {}).get("kind") == "KongPlugin":
                raise ManifestError(
                    f"{at}.name is {plugin.name}: the manifests have such a KongPlugin; leave plugin and config out, or give "
                    "it another name."
                )
            if plugin.name not in own and plugin.name not in given:
                raise ManifestError(
                    f"{at} is {plugin.name}: the manifests have no such KongPlugin or KongClusterPlugin (there are: "
                    f"{', '.join(sorted(given)) or 'none'}); add it there, or say here which plugin it is and its config."
                )
