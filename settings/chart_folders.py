"""Charts in folders and archives of this machine, as far as the settings have to look into them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import quick_yaml
from settings.kinds import scheme
from settings.secret_parts import plain
from settings.sentences import SettingsError, show
from versions import CHARTS


def existing(root: Path, text: str) -> Path | None:
    """Return the file or folder that a setting names, if there is one."""
    try:
        path = root / Path(plain(text)).expanduser()
        return path if path.exists() else None
    # A name that is too long, or holds what none may; somebody's home folder who is not there.
    except (OSError, ValueError, RuntimeError):
        return None


def is_local(location: str) -> bool:
    """Return whether a chart's location is a folder or a file, which has a version of its own."""
    return scheme(location) not in ("http", "https", "oci")


def chart_in(folder: Path) -> Mapping[str, Any] | None:
    """Return what the chart in a folder says of itself; None where none with a name can be read."""
    try:
        found = quick_yaml.load((folder / "Chart.yaml").read_text(encoding="utf-8"))
        return found if found["name"] else None
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None


def check_folder(where: str, name: str, version: str, path: Path | None, source: str) -> None:
    """Raise where a folder does not hold the chart `name` of the table of versions. Nobody looks into an archive."""
    if path and path.is_file() and path.suffix == ".tgz":
        return
    chart = CHARTS[name].name
    described = chart_in(path) if path else None
    if described is None:
        raise SettingsError(
            f"{where} is {show(source)}: there is no readable chart (a folder with a Chart.yaml, or a .tgz file); "
            f"put the chart {chart} {version} there, or leave the key out."
        )
    if described["name"] != chart:
        raise SettingsError(
            f"{where} is {show(source)}: the chart there is {described['name']}; give the folder of {chart}."
        )
