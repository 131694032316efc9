"""Kong's rate limit: the KongPlugin, and the Secret that it has redis' password from."""

from __future__ import annotations

from typing import Any

from names import RATE_LIMIT_PLUGIN, REDIS_SECRET
from settings import RateLimit, Redis

#: The password's key in the Secret.
PASSWORD_KEY = "password"  # noqa: S105 -- a key


def kong_plugin(namespace: str, limit: RateLimit, name: str = RATE_LIMIT_PLUGIN) -> dict[str, Any]:
    """Return the KongPlugin for a limit. A redis password is only named in it: Kong reads it from a Secret."""
    manifest: dict[str, Any] = {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongPlugin",
        "metadata": {"name": name, "namespace": namespace},
        "plugin": "rate-limiting",
        "config": config(limit),
    }
    redis = redis_in_use(limit)
    if reference := _password_reference(redis, name):
        manifest["configPatches"] = [{"path": "/redis/password", "valueFrom": {"secretKeyRef": reference}}]
    return manifest


def config(limit: RateLimit) -> dict[str, Any]:
    """Return the plugin's `config`, in Kong's spelling, with the fields that were said and no others."""
    redis = redis_in_use(limit)
    fields = {
        **limit.windows,
        "limit_by": limit.limit_by,
        "header_name": limit.header_name,
        "path": limit.path,
        "policy": limit.policy,
        "redis": _redis(redis) if redis else None,
        "sync_rate": limit.sync_rate,
        "fault_tolerant": limit.fault_tolerant,
        "hide_client_headers": limit.hide_client_headers,
        "error_code": limit.error_code,
        "error_message": limit.error_message,
    }
    return {name: value for name, value in fields.items() if value is not None}


def redis_secret(namespace: str, limit: RateLimit, plugin: str) -> dict[str, Any] | None:
    """Return the Secret that a plugin has redis' password from, without what is in it; None where others make it."""
    redis = redis_in_use(limit)
    if not redis or not redis.password:
        return None
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _secret_of(plugin), "namespace": namespace}}


def redis_in_use(limit: RateLimit) -> Redis | None:
    """Return the redis that counts; an application with another policy may still inherit the stack's."""
    return limit.redis if limit.policy == "redis" else None


def _password_reference(redis: Redis | None, plugin: str) -> dict[str, str] | None:
    """Return where Kong's controller finds redis' password: in a Secret that exists, or in the one created for it."""
    if redis and redis.password_secret:
        return {"name": redis.password_secret.name, "key": redis.password_secret.key}
    if redis and redis.password:
        return {"name": _secret_of(plugin), "key": PASSWORD_KEY}
    return None


def _secret_of(plugin: str) -> str:
    return REDIS_SECRET + plugin.removeprefix(RATE_LIMIT_PLUGIN)


def _redis(redis: Redis) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "host": redis.host,
        "port": redis.port,
        "username": redis.username or None,
        "database": redis.database,
        "timeout": redis.timeout,
        "ssl": redis.ssl,
        "ssl_verify": redis.ssl_verify,
        "server_name": redis.server_name or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
