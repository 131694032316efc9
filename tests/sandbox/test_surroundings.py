"""The whole stack where everything around would lead it astray: it comes up, goes, and leaves no trace."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from stack import Project, make_project, running, said, snapshot

# What a user has at home, none of which may be read as one's own, or change.
HOME = {
    ".kube/config": "apiVersion: v1\nkind: Config\ncurrent-context: production\n",
    ".kube/kuberc": "not a kuberc",
    ".pulumi/credentials.json": '{"current": "https://api.example", "accessTokens": {"https://api.example": "theirs"}}',
    ".pulumi/workspaces/kong-istio-0-workspace.json": '{"stack": "production"}',
    ".pulumi/plugins/resource-kubernetes-v0.0.1/pulumi-resource-kubernetes": "#!/bin/sh\nexit 66\n",
    ".config/helm/repositories.yaml": "not: [yaml",
    ".config/helm/registry/config.json": "not JSON",
    ".local/share/helm/plugins/theirs/plugin.yaml": "not: [yaml",
    ".docker/config.json": '{"currentContext": "production", "credsStore": "theirs"}',
    ".kwok/kwok.yaml": "not: [yaml",
    ".gitconfig": "[core]\n\tbare = true\n",
    ".netrc": "machine 127.0.0.1 login theirs password theirs\n",
}
SHADOW = "raise SystemExit('a module of the user')\n"


def surroundings(home: Path) -> dict[str, str]:
    """Return what the user's shell would lead a tool astray with."""
    nowhere = "http://127.0.0.1:9"
    return {
        "KUBECONFIG": str(home / ".kube/config"),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_MASTER": nowhere,
        "HELM_KUBEAPISERVER": nowhere,
        "HELM_NAMESPACE": "theirs",
        "HELM_DRIVER": "memory",
        "HELM_PLUGINS": str(home / ".local/share/helm/plugins"),
        "PULUMI_BACKEND_URL": "https://api.example",
        "PULUMI_ACCESS_TOKEN": "theirs",
        "PULUMI_CONFIG_PASSPHRASE": "theirs",
        "PULUMI_STACK": "production",
        "PULUMI_HOME": str(home / ".pulumi"),
        "PULUMI_OPTION_TARGET": "urn:nothing",
        "KWOK_WORKDIR": str(home / ".kwok"),
        "DOCKER_HOST": "tcp://127.0.0.1:9",
        # There is no such proxy: whoever asks it for a server on this machine gets no answer.
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "PYTHONPATH": str(home / "shadow"),
        "PYTHONHOME": str(home / "nowhere"),
        "LD_PRELOAD": str(home / "nowhere.so"),
        "GIT_DIR": str(home / "nowhere.git"),
        "TMPDIR": str(home.parent / "a folder with blanks"),
        "LANG": "xx_YY.nothing",
        "LC_ALL": "C",
        "KONG_ISTIO_OFFLINE": "1",
        "SANDBOX": "simulated",
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Copy the checkout into a folder with blanks, and give it a home with things in it."""
    found = make_project(tmp_path / "my work")
    for name, text in HOME.items():
        (found.home / name).parent.mkdir(parents=True, exist_ok=True)
        (found.home / name).write_text(text)
    given = surroundings(found.home)
    Path(given["TMPDIR"]).mkdir()
    shadow = Path(given["PYTHONPATH"])
    shadow.mkdir()
    (shadow / "yaml.py").write_text(SHADOW)
    return replace(found, environment=found.environment | given, home_before=snapshot(found.home))


def make(project: Project, target: str, umask: int) -> str:
    # The packages are there, by a link: nothing is to be installed.
    command = ["make", "--no-print-directory", "--assume-old=venv/ready", target]
    answer = subprocess.run(
        command,
        cwd=project.paths.root,
        env=project.environment,
        capture_output=True,
        text=True,
        umask=umask,
        check=False,
    )
    assert answer.returncode == 0, said(answer)
    return str(said(answer))


@pytest.mark.sandbox
@pytest.mark.engine
@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_make_up_and_down_work_and_leave_the_home_as_it_was(project: Project, umask: int) -> None:
    printed = make(project, "up", umask)
    try:
        assert "Rehearsing" not in printed
        assert "theirs" not in printed
        assert " 0 failed" in printed
        project.assert_home_untouched("After `make up`")
        secret = [*project.paths.state.rglob("*"), *project.paths.kwok.rglob("*"), *project.paths.istiod.rglob("*")]
        secret += [project.paths.sandbox, project.paths.kubeconfig, project.paths.passphrase]
        open_to_others = [path for path in secret if not path.is_symlink() and path.stat().st_mode & 0o077]
        assert open_to_others == []
    finally:
        make(project, "down", umask)
    project.assert_home_untouched("After `make down`")
    assert not project.paths.sandbox.exists()
    assert running(project.paths.root) == []
    assert os.listdir(project.environment["TMPDIR"]) == []  # noqa: PTH208
