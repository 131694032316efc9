"""The folder of a sandbox: what the tools expect in it before anything runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from sandbox import identity, tools
from sandbox.paths import Paths, tool_cache


def prepare(programs: Mapping[str, Path], paths: Paths) -> None:
    """Make the folders and files that the tools expect."""
    paths.sandbox.mkdir(mode=0o700, exist_ok=True)
    identity.create(paths)
    plugins = tool_cache() / "pulumi-plugins"
    for folder in (paths.state, paths.logs, paths.temporary, paths.sandbox / "pulumi", plugins):
        folder.mkdir(parents=True, exist_ok=True)
    # Pulumi's plugins are programs as well: they are downloaded once, not once a sandbox.
    (paths.sandbox / "pulumi" / "plugins").symlink_to(plugins)
    paths.passphrase.touch(mode=0o600)
    paths.passphrase.write_text(secrets.token_urlsafe(24))
    tools.link(programs, paths)
