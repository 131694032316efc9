"""The newest release of this project, as `pyproject.toml` names it, and what a stack of it is made of.

`venv/bin/python tests/last_release.py` writes that beside this file, in `last_release.json`; it needs git, and the release's
commit in the repository.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORDED = Path(__file__).with_suffix(".json")
RELEASE: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["kong-istio"]["release"]

_OFF = {name: {"enabled": False} for name in ("prometheus", "grafana", "kiali")}
_ROUTE = {"service": "productpage", "port": 9080, "host": "shop.example.com"}
_ROUTES = [_ROUTE, {**_ROUTE, "name": "api", "service": "details", "host": "api.example.com"}]
_BOOKINFO = {"name": "bookinfo", "namespace": "bookinfo", "manifests": "manifests/bookinfo.yaml"}
#: What settings bring into being: stacks by a name. Each runs in any release from the first on.
STACKS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "istio": {"cni": True, "ingressGateway": True, "egressGateway": True, "mtls": "STRICT"},
        "kong": {"replicas": 2, "tlsSecret": "front-door", "clientHost": "serviceEntry"},
        "security": {"networkPolicies": True, "onlyKongCalls": True, "podSecurity": True},
        "images": {"pullSecrets": ["pull"]},
        "rateLimit": {
            **{"minute": 30, "policy": "redis"},
            "redis": {"host": "redis.example.com", "passwordSecret": {"name": "redis-login", "key": "password"}},
        },
        "observability": {"grafana": {"adminSecret": "login"}},
        "applications": [
            {**_BOOKINFO, "routes": _ROUTES},
            {**_BOOKINFO, "name": "second", "namespace": "second", "route": {**_ROUTE, "host": "second.example.com"}},
        ],
    },
    "little": {"observability": _OFF, "checks": {"enabled": False}, "kong": {"clientHost": "none"}},
}

# It runs in the release's folder, with the packages of today.
_PROGRAM = """\
import json, sys
from contextlib import nullcontext
from components.shared import releases
from plan.program import record

# Whether charts' repositories answer is of no account.
releases.urlopen = lambda *_, **__: nullcontext()
stacks = json.load(sys.stdin)
urns = {name: sorted(each.urn for each in record(config).resources.values()) for name, config in stacks.items()}
json.dump(urns, sys.stdout)
"""


def missing() -> str:
    """Return why the release is not at hand, or nothing."""
    if not shutil.which("git"):
        return "there is no git"
    look = ["git", "cat-file", "-e", f"{RELEASE['commit']}^{{commit}}"]
    if subprocess.run(look, cwd=ROOT, capture_output=True, check=False).returncode:
        return f"the commit of release {RELEASE['version']} is not in this clone (git fetch --unshallow)"
    return ""


def extract(folder: Path) -> Path:
    """Write the files of the release into a folder."""
    command = ["git", "archive", "--format=tar", RELEASE["commit"]]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        found.extractall(folder, filter="data")
    return folder


def registered(folder: Path) -> dict[str, list[str]]:
    """Return the URNs that the program in a folder registers for each of the stacks."""
    command = [sys.executable, "-c", _PROGRAM]
    environment = {"KUBECONFIG": str(folder / "none"), "PATH": str(Path(sys.executable).parent)}
    answer = subprocess.run(
        command, cwd=folder, env=environment, input=json.dumps(STACKS), capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SystemExit(answer.stderr)
    return dict(json.loads(answer.stdout))


def main() -> None:
    """Write what the release registers."""
    if reason := missing():
        raise SystemExit(reason)
    with TemporaryDirectory() as folder:
        found = {"release": RELEASE, "urns": registered(extract(Path(folder)))}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
