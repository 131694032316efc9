"""The environment in which helm, kubectl and pulumi work on the sandbox and nothing else."""

from __future__ import annotations

import os
import re
import shlex

from names import SANDBOX_NAME
from sandbox.paths import CHECKOUT, Paths

# Variables of the user's shell that would lead helm, kubectl or pulumi somewhere else.
_MISLEADING = re.compile(r"HELM_KUBE\w+|HELM_NAMESPACE|HELM_DRIVER\w*|PULUMI_CONFIG_PASSPHRASE|PULUMI_STACK")


def variables(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return what `environment` adds to the environment that this process has."""
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
    }


def environment(paths: Paths = CHECKOUT) -> dict[str, str]:
    """Return the environment in which helm, kubectl and pulumi work on the sandbox and nothing else."""
    own = {name: value for name, value in os.environ.items() if not _MISLEADING.fullmatch(name)}
    return own | variables(paths)


def exports(paths: Paths = CHECKOUT) -> str:
    """Return the environment as lines for a shell."""
    unset = [f"unset {name}" for name in sorted(os.environ) if _MISLEADING.fullmatch(name)]
    return "\n".join([*unset, *(f"export {name}={shlex.quote(value)}" for name, value in variables(paths).items())])
