"""Which cluster a stack reaches, decided before anything is touched.

No stack follows the current context: the context is named in the settings, or there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi
import yaml

import quick_yaml
from commands.cluster_identity import Identity, LastUp
from kube import Cluster, ClusterError
from kube.kubeconfig import content, parsed, shown
from names import SANDBOX_FOLDER, is_kubeconfig_path

SANDBOX_KUBECONFIG = f"{SANDBOX_FOLDER}/kubeconfig"

# What the provider gets where there is no cluster to preview against: given nothing, it would look for one.
NO_CLUSTER = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\ncurrent-context: ''\n"

# Set to "true", the provider's refresh takes for gone what is in a cluster that does not answer. Releases too, which its
# deletion does not (pulumi-kubernetes: provider/pkg/provider/helm_release.go).
_LEAVE = "PULUMI_K8S_DELETE_UNREACHABLE"

#: Looks at a cluster.
Look = Callable[[Cluster], dict[str, str]]

# Fields of a kubeconfig user that let it in without asking anybody.
_CREDENTIALS = (
    ("client-certificate", "client-certificate-data"),
    ("token",),
    ("tokenFile",),
    ("exec",),
    ("auth-provider",),
    ("password",),
)


class AccessError(pulumi.RunError):
    """A cluster that cannot or must not be used. Pulumi prints a RunError as its sentence."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The kubeconfig and context of a stack, as its settings name them.

    `kubeconfig` is a path, the content of one, or `in-cluster`; empty for kubectl's own search ($KUBECONFIG, else
    ~/.kube/config). `identity`: the cluster that it leads to.
    """

    kubeconfig: str = field(repr=False)
    context: str
    sandbox: bool = False
    identity: Identity = field(default_factory=Identity, repr=False)

    def arguments(self) -> list[str]:
        """Return the options that point the commands of this package at the cluster; a content among them is secret."""
        kubeconfig = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return [*kubeconfig, "--context", self.context]

    def kubectl(self) -> list[str]:
        """Return the beginning of a command for people; in place of a content they have a kubeconfig of their own."""
        return [
            "kubectl",
            *(["--kubeconfig", self.kubeconfig] if is_kubeconfig_path(self.kubeconfig) else []),
            "--context",
            self.context,
        ]

    def given(self) -> str:
        """Return the content that is given, or made of the pod's service account; empty where there are files."""
        return content(self.kubeconfig) if self.kubeconfig and not is_kubeconfig_path(self.kubeconfig) else ""

    def files(self, root: Path) -> list[Path]:
        """Return the kubeconfig files that are read; relative paths start at `root`."""
        if self.kubeconfig and not is_kubeconfig_path(self.kubeconfig):
            return []
        if self.kubeconfig:
            return [root / Path(self.kubeconfig).expanduser()]
        listed = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
        return listed or [Path.home() / ".kube" / "config"]


def check_access(access: Access, root: Path, *, preview: bool) -> str | None:
    """Return None where the cluster can be used, or a warning where a preview does without one.

    Raises `AccessError` for what neither may do, and outside a preview for a cluster that is not there.
    """
    if access.sandbox:
        _check_sandbox(access, root)
    missing = _missing(access, root)
    if missing and preview:
        return f"{missing} Previewing without a cluster."
    if missing:
        raise AccessError(missing)
    if not preview:
        _check_answers(access)
    return None


def identified(access: Access, last: LastUp, *, preview: bool) -> tuple[Access, str | None]:
    """Return the access with its cluster's identity, and a warning where a preview finds another cluster.

    Raises `AccessError` in an `up` for another cluster, unless nothing of the stack is to be looked for there.
    """
    if preview and not last.provider:
        # Nothing to compare with, and no reason for a preview to ask.
        return access, None
    cluster = Cluster(access.kubeconfig, access.context)
    try:
        uid, version = cluster.uid(), str(cluster.raw("/version").get("gitVersion", ""))
    except ClusterError:
        # No server that answers, or one that does not tell this user: what the state says holds.
        return replace(access, identity=Identity(uid=last.uid, last=last)), None
    warning = _elsewhere(last, uid)
    if warning and not preview:
        raise AccessError(warning)
    return replace(access, identity=Identity(uid=uid, version=version, last=last)), warning


def _elsewhere(last: LastUp, uid: str) -> str | None:
    """Return why a stack cannot simply come up in a cluster, as it is still in another one; or None."""
    if last.uid in ("", uid) or not last.objects:
        return None
    stack = pulumi.get_stack()
    before = Access(kubeconfig=last.provider.get("kubeconfig") or "", context=last.provider.get("context") or "")
    try:
        found = Cluster(before.kubeconfig, before.context).uid()
    except ClusterError as error:
        return (
            f"The stack is still in the cluster of context {before.context}, which cannot be cleared ({str(error).rstrip('.')}): "
            f"start that cluster, or leave it as it is with `{_LEAVE}=true pulumi refresh --stack {stack} && pulumi up "
            f"--stack {stack}`."
        )
    if found == last.uid:
        # A move: the engine makes everything anew here, and clears the other cluster.
        return None
    return (
        f"The context {before.context} leads to another cluster than at the last up (its kube-system is {found}, and was "
        f"{last.uid}): `pulumi refresh --stack {stack} && pulumi up --stack {stack}` makes the stack anew in it, or name the "
        "context of the other one in kubeContext."
    )


def ask(access: Access, look: Look) -> dict[str, str]:
    """Return what there is to see of a cluster; nothing where it does not tell."""
    try:
        return look(Cluster(access.kubeconfig, access.context))
    except ClusterError:
        return {}


def provider_identifier(access: Access) -> str:
    """Return what the provider, and with it every object, is replaced for when it changes: for another cluster.

    Never for one under the same name: the engine would delete the objects of the other cluster in this one.
    """
    identity, provider = access.identity, access.identity.last.provider
    known = str(provider.get("clusterIdentifier") or "")
    before = (provider.get("kubeconfig") or "", provider.get("context") or "")
    # Where no UID was kept or none is known, a context's name has to do.
    compared = bool(identity.version and identity.last.uid)
    moved = identity.moved if compared else access.context != before[1]
    if known and (not moved or before == (access.kubeconfig, access.context)):
        return known
    name = access.context or "none"
    return name if name != known else f"{name} {identity.uid}"


def _check_sandbox(access: Access, root: Path) -> None:
    own, *others = access.files(root) or [root]
    # A checkout may have several sandboxes, each with a name in that of its folder.
    if others or own not in (root / SANDBOX_KUBECONFIG, *root.glob(f"{SANDBOX_FOLDER}-*/kubeconfig")):
        raise AccessError(
            f"kubeconfig is {shown(access.kubeconfig) or 'empty'} while sandbox is true: this stack takes only the kubeconfig "
            f"that the sandbox wrote; set kubeconfig back to {SANDBOX_KUBECONFIG}, or use another stack."
        )
    for cluster in _load([own])["clusters"].values():
        server = str(cluster.get("server", ""))
        if _host(server) not in ("127.0.0.1", "localhost", "::1"):
            raise AccessError(
                f"{own.relative_to(root)} names the server {server} while sandbox is true: that is not the sandbox's; "
                "run `python -m sandbox down` and `make up`, or use another stack."
            )


def _host(server: str) -> str | None:
    try:
        return urlsplit(server).hostname
    except ValueError:
        return None


def _missing(access: Access, root: Path) -> str | None:
    """Return a sentence about what is not there, or None. Raises for a context that would ask for a password."""
    files = access.files(root)
    named = shown(access.kubeconfig) or os.pathsep.join(str(path) for path in files)
    called = named if files else f"the kubeconfig {named}"
    if files and not any(path.is_file() for path in files):
        remedy = "run `make up`" if access.sandbox else "set kubeconfig to the file that reaches your cluster"
        return f"The kubeconfig {called} does not exist: {remedy}."
    try:
        config = _load(files) if files else _entries([parsed(access.kubeconfig)])
    except ClusterError as error:
        raise AccessError(str(error)) from None
    contexts = ", ".join(sorted(config["contexts"])) or "none"
    if not access.context:
        return (
            "kubeContext is empty, and this stack never follows the current context: name one with "
            f"`pulumi config set kubeContext NAME` (contexts in {called}: {contexts})."
        )
    if access.context not in config["contexts"]:
        return f"kubeContext is {access.context}: {called} has no such context (there are: {contexts})."
    _check_credentials(access, config, called)
    return None


def _check_credentials(access: Access, config: Mapping[str, Any], called: str) -> None:
    name = config["contexts"][access.context].get("user", "")
    user = config["users"].get(name) or {}
    if not any(any(user.get(field) for field in fields) for fields in _CREDENTIALS):
        raise AccessError(
            f"kubeContext is {access.context}: its user {name or '(none)'} in {called} has no credentials, and the "
            "provider would wait at a password prompt; add a client certificate, a token or an exec plugin to that user."
        )


def _check_answers(access: Access) -> None:
    try:
        Cluster(access.kubeconfig, access.context).raw("/version")
    except ClusterError as error:
        remedy = "start that cluster" if error.passing else "log in again"
        raise AccessError(f"{str(error).rstrip('.')}; {remedy}, or name another context in kubeContext.") from None


def _load(files: list[Path]) -> dict[str, dict[str, Any]]:
    contents = []
    for path in files:
        if path.is_file():
            try:
                contents.append(quick_yaml.load(path.read_text(encoding="utf-8")) or {})
                _entries(contents[-1:])
            except (OSError, ValueError, yaml.YAMLError, ClusterError):
                raise AccessError(
                    f"The kubeconfig {path} cannot be read as one: fix it, or name another one."
                ) from None
    return _entries(contents)


def _entries(contents: list[Any]) -> dict[str, dict[str, Any]]:
    """Return clusters, contexts and users by name; as for kubectl, the first file that names one wins."""
    found: dict[str, dict[str, Any]] = {"clusters": {}, "contexts": {}, "users": {}}
    try:
        for content_ in contents:
            for kind, known in found.items():
                for entry in content_.get(kind) or []:
                    known.setdefault(entry["name"], dict(entry.get(kind.removesuffix("s")) or {}))
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ClusterError("The kubeconfig in the settings cannot be read as one: store another one.") from None
    return found
