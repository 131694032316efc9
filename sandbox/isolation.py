"""The environment in which helm, kubectl and pulumi work on the sandbox and nothing else."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping

from names import SANDBOX_NAME
from sandbox.paths import CHECKOUT, Paths, tool_cache

# All that a program of the sandbox sees of the user's environment: how he likes to be spoken to, how the network is
# reached, and where Python's own library lies, on machines that have no other way to say so.
_PASSED_ON = re.compile(
    r"PATH|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TERM|COLORTERM|NO_COLOR|FORCE_COLOR|COLUMNS|LINES|CI|GITHUB_\w+"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(LD|DYLD)_LIBRARY_PATH|KONG_ISTIO_OFFLINE"
)
# What would lead those programs somewhere else in a shell, which keeps everything that it has.
_MISLEADING = re.compile(r"(HELM|KUBE|KUBERNETES|KWOK|PULUMI)\w*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def variables(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return what leads programs to the sandbox; a shell takes them as well."""
    return {
        "PATH": os.pathsep.join([str(paths.programs), os.environ.get("PATH", os.defpath)]),
        SANDBOX_NAME: paths.name,
        "KUBECONFIG": str(paths.kubeconfig),
        "KUBECACHEDIR": str(paths.sandbox / "cache" / "kube"),
        # kubectl's own preferences file.
        "KUBERC": "off",
        "KWOK_WORKDIR": str(paths.kwok),
        # kwokctl leaves kubeconfigs there.
        "TMPDIR": str(paths.temporary),
        "HELM_CACHE_HOME": str(paths.sandbox / "helm" / "cache"),
        "HELM_CONFIG_HOME": str(paths.sandbox / "helm" / "config"),
        "HELM_DATA_HOME": str(paths.sandbox / "helm" / "data"),
        "PULUMI_HOME": str(paths.sandbox / "pulumi"),
        "PULUMI_BACKEND_URL": paths.state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(paths.passphrase),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Pulumi has pip list the packages at each run: without a network, pip would look for a newer pip for seconds.
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **_unproxied(os.environ),
    }


def environment(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return the environment in which helm, kubectl and pulumi work on the sandbox and nothing else."""
    own = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    # The cache of programs is the one thing of the user's home that they share.
    home = {"HOME": str(paths.home), "XDG_CACHE_HOME": str(tool_cache().parent.parent)}
    return own | home | variables(paths)


def exports(paths: Paths = CHECKOUT) -> str:
    """Return the environment as lines for a shell."""
    given = variables(paths)
    unset = [f"unset {name}" for name in sorted(os.environ) if _MISLEADING.fullmatch(name) and name not in given]
    return "\n".join([*unset, *(f"export {name}={shlex.quote(value)}" for name, value in given.items())])


def _unproxied(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a proxy, if there is one, out of the way to this machine itself."""
    if not any(re.fullmatch(r"(https?|all)_proxy", name, re.IGNORECASE) for name in environment):
        return {}
    # Programs differ in which of the two they read.
    known = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    exempt = ",".join(dict.fromkeys([*filter(None, known.split(",")), *_LOOPBACK]))
    return {"NO_PROXY": exempt, "no_proxy": exempt}
