"""Checks of Istio's versions and revisions: each step of an upgrade is one that Istio supports.

In place the next minor may follow, by revision the one after it as well (https://istio.io/latest/docs/setup/upgrade/).
What only the cluster knows, such as which pods are on a revision, `commands/istio_revisions.py` looks at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from settings.chart_folders import chart_in, check_folder, existing, is_local
from settings.control_planes import DEFAULT_REVISION, canary, control_planes, injected_namespaces, stable
from settings.kinds import REVISION
from settings.sections import Canary, ChartRepository, Settings
from settings.sentences import SettingsError, show

_CHARTS = ("base", "istiod", "gateway", "cni")
_MINORS_BY_REVISION = 2
# The value of a label.
_TAG = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def check_upgrade(settings: Settings, root: Path) -> None:
    """Raise `SettingsError` for the first that cannot work. Paths are relative to `root`."""
    istio = settings.istio
    for key, revision in (("istio.revision", istio.revision), ("istio.canary.revision", _canary_revision(settings))):
        if revision == DEFAULT_REVISION:
            raise SettingsError(
                f"{key} is default: Istio calls the control plane without a name so; choose another name."
            )
    _check_stable(settings, root)
    if istio.canary:
        _check_canary(istio.canary, settings, root)
    _check_tags(settings)


def _canary_revision(settings: Settings) -> str:
    second = canary(settings.istio)
    return second.revision if second else ""


def _check_stable(settings: Settings, root: Path) -> None:
    version, revision = settings.istio.version, settings.istio.revision
    for name in _CHARTS if version else ():
        _check_version(f"charts.{name}", settings.charts.get(name), version, "istio.version", root)
    named = re.fullmatch(r"(\d+)-(\d+)-(\d+)", revision)
    now = _stable_version(settings, root)
    if named and _order(now) < tuple(int(part) for part in named.groups()):
        raise SettingsError(
            f"istio.revision is {revision} while istio.version is {now}: a canary that becomes the stable control plane keeps its "
            f"version; set istio.version to {revision.replace('-', '.')}."
        )


def _check_canary(given: Canary, settings: Settings, root: Path) -> None:
    revision, now = _canary_revision(settings), _stable_version(settings, root)
    if not settings.istio.injection:
        raise SettingsError(
            "istio.canary is set while istio.injection is false: without sidecars there is nothing to move; leave it out."
        )
    if not re.fullmatch(REVISION, revision):
        raise SettingsError(
            f"istio.canary.version is {given.version}, which makes no name of a control plane: set istio.canary.revision."
        )
    if revision == settings.istio.revision:
        raise SettingsError(
            f"istio.canary has the revision {revision}, which istio.revision is as well: leave istio.canary out once it is the "
            "stable one, or give the next version."
        )
    if _order(given.version) <= _order(now):
        raise SettingsError(
            f"istio.canary.version is {given.version} while the stable one is {now}: a canary is newer; set istio.version to "
            f"{given.version} to go back to that in place, or leave the canary out."
        )
    skipped = _minor(given.version) - _minor(now)
    if skipped > _MINORS_BY_REVISION or _order(given.version)[0] != _order(now)[0]:
        major, minor = now.split(".")[:2]
        raise SettingsError(
            f"istio.canary.version is {given.version} while the stable one is {now}: Istio supports two minors at a time; upgrade "
            f"to {major}.{int(minor) + _MINORS_BY_REVISION} first."
        )
    _check_canary_charts(given, settings.charts, root)
    known = injected_namespaces(settings)
    for namespace in given.namespaces:
        if namespace not in known:
            raise SettingsError(
                f"istio.canary.namespaces has {namespace}, which is none of the stack's with sidecars: those are "
                f"{', '.join(known)}; move another one by a revision tag (istio.tags), and its label istio.io/rev."
            )


def _check_canary_charts(given: Canary, charts: Mapping[str, ChartRepository], root: Path) -> None:
    for name in ("base", "istiod"):
        own, usual = given.charts.get(name), charts.get(name)
        if usual and is_local(usual.location) and not own:
            raise SettingsError(
                f"istio.canary.charts.{name} is missing: charts.{name} is {show(usual.location)}, which is of one version; give the "
                f"place of {given.version}."
            )
        where = f"istio.canary.charts.{name}"
        if own and is_local(own.location):
            check_folder(where, name, given.version, existing(root, own.location), own.location)
        _check_version(where, own, given.version, "istio.canary.version", root)


def _check_version(where: str, source: ChartRepository | None, version: str, key: str, root: Path) -> None:
    """Raise where a folder holds another version of a chart than a setting says."""
    found = _version_in(source, root)
    # A build from source has a suffix.
    if found and found != version and not found.startswith(f"{version}-"):
        raise SettingsError(
            f"{where} holds the version {found} while {key} is {version}: put the chart of {version} there, or set {key} to {found}."
        )


def _check_tags(settings: Settings) -> None:
    revisions = {plane.revision: plane for plane in control_planes(settings.istio)}
    for tag, stands_for in settings.istio.tags.items():
        if not _TAG.fullmatch(tag):
            raise SettingsError(
                f"istio.tags has {show(tag)}: a tag is a label's value, of at most 63 small letters, digits and hyphens."
            )
        if stands_for == "canary" and not settings.istio.canary:
            raise SettingsError(
                f"istio.tags.{tag} is canary without istio.canary: set it to stable, or add the canary first."
            )
        if tag in revisions:
            raise SettingsError(f"istio.tags has {tag}, which is a revision itself: choose another name.")
        if tag == DEFAULT_REVISION and "" in revisions:
            raise SettingsError(
                "istio.tags has default while istio.revision is empty: that control plane serves namespaces labelled "
                "istio-injection=enabled by itself; choose another name, and label those namespaces with it."
            )


def _stable_version(settings: Settings, root: Path) -> str:
    """Return the version of the stable istiod: what is said, else what its folder holds, else the tested one."""
    found = "" if settings.istio.version else _version_in(settings.charts.get("istiod"), root)
    return found or stable(settings.istio).version


def _version_in(source: ChartRepository | None, root: Path) -> str:
    """Return the version of a chart in a folder; empty for an archive or a repository, and for one that has none."""
    path = existing(root, source.location) if source and is_local(source.location) else None
    found = str((chart_in(path) or {}).get("version", "")) if path else ""
    return found if re.match(r"\d+\.\d+\.\d+", found) else ""


def _order(version: str) -> tuple[int, ...]:
    """Return what versions are compared by."""
    numbers, hyphen, _ = version.partition("+")[0].partition("-")
    # What is before a release, such as -rc.1, comes before it.
    return (*(int(part) for part in numbers.split(".")), 0 if hyphen else 1)


def _minor(version: str) -> int:
    return _order(version)[1]
