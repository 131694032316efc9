"""The one table of the sandbox's programs: the version of each, and where its source and its official build lie.

`go/*/go.mod` pins the same versions for Go, and a test compares both. `tools` obtains the programs.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program of the sandbox: where its source is pinned, and where an official build lies.

    `folder` is the Go module below `sandbox/go/`, `package` what is built from it. `version_arguments` make the
    program say its version. `download` is the official build's address with `{version}`, `{os}` and `{arch}`,
    `member` the program's path in it if that is an archive; it is used only where `sha256` knows that
    platform's checksum. `megabytes` and `minutes` are what a first build on two cores came to.
    """

    name: str
    version: str
    folder: str
    package: str
    ldflags: str = ""
    version_arguments: tuple[str, ...] = ("--version",)
    download: str = ""
    member: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    megabytes: int
    minutes: float


_ACTIONLINT = "1.7.12"
_ETCD = "3.7.3"
_KWOK = "0.8.0"
# The version that pulumi-kubernetes embeds.
_HELM = "3.20.2"
_KUBERNETES = "1.37.2"
# The only version of Istio's main module that the Go proxy serves: its release tags are not versions of it.
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


def _kwok(name: str, *, sha256: dict[str, str], megabytes: int, minutes: float) -> Tool:
    return Tool(
        name=name,
        version=_KWOK,
        folder="kwok",
        package=f"sigs.k8s.io/kwok/cmd/{name}",
        ldflags=f"-X sigs.k8s.io/kwok/pkg/consts.Version={_KWOK}",
        download=f"https://github.com/kubernetes-sigs/kwok/releases/download/v{{version}}/{name}-{{os}}-{{arch}}",
        sha256=sha256,
        megabytes=megabytes,
        minutes=minutes,
    )


def _kubernetes(
    name: str, *, megabytes: int, minutes: float, version_arguments: tuple[str, ...] = ("--version",)
) -> Tool:
    return Tool(
        name=name,
        version=_KUBERNETES,
        folder="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        ldflags=_KUBERNETES_LDFLAGS,
        version_arguments=version_arguments,
        download=f"https://dl.k8s.io/release/v{{version}}/bin/{{os}}/{{arch}}/{name}",
        megabytes=megabytes,
        minutes=minutes,
    )


# Checksums are those that the projects published; a program without one is built.
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="etcd",
            version=_ETCD,
            folder="etcd",
            package="go.etcd.io/etcd/server/v3",
            download="https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-{os}-{arch}.tar.gz",
            member="etcd-v{version}-{os}-{arch}/etcd",
            megabytes=24,
            minutes=1,
        ),
        _kwok(
            "kwok",
            sha256={"linux-amd64": "f5a4385a2ae1b9dd7f8acae18e002a75c0ebba124ae9d7259aa8dadb50711f46"},
            megabytes=61,
            minutes=2.5,
        ),
        _kwok(
            "kwokctl",
            sha256={"linux-amd64": "d5743166c657283d6e827c7c4c20cacfd9009fd94830f06718ca7b2c7099461f"},
            megabytes=53,
            minutes=0.5,
        ),
        Tool(
            name="helm",
            version=_HELM,
            folder="helm",
            package="helm.sh/helm/v3/cmd/helm",
            ldflags=f"-X helm.sh/helm/v3/internal/version.version=v{_HELM}",
            version_arguments=("version", "--short"),
            download="https://get.helm.sh/helm-v{version}-{os}-{arch}.tar.gz",
            member="{os}-{arch}/helm",
            sha256={
                "linux-amd64": "258e830a9e613c8a7a302d6059b4bb3b9758f2f3e1bb8ea0d707ce10a9a72fea",
                "linux-arm64": "5ea2d6bc2cda3f8edf985e028809f5a9278f404fb8ab24044de9b7cb9b79a691",
                "darwin-amd64": "7de04301f28b902a74f6286ed941cadc86ee5e6a9086a18f2ccf1f548e99d618",
                "darwin-arm64": "139c794c22f16b579d08ddd3008c8038b9bb2814f35b5bcca91f50a1f458978d",
            },
            megabytes=56,
            minutes=2,
        ),
        # No program of the sandbox: the tests check the workflows with it.
        Tool(
            name="actionlint",
            version=_ACTIONLINT,
            folder="actionlint",
            package="github.com/rhysd/actionlint/cmd/actionlint",
            ldflags=f"-X github.com/rhysd/actionlint.version={_ACTIONLINT}",
            version_arguments=("-version",),
            download=(
                "https://github.com/rhysd/actionlint/releases/download/"
                "v{version}/actionlint_{version}_{os}_{arch}.tar.gz"
            ),
            member="actionlint",
            megabytes=9,
            minutes=0.2,
        ),
        _kubernetes("kube-apiserver", megabytes=114, minutes=5),
        _kubernetes("kube-controller-manager", megabytes=100, minutes=1),
        _kubernetes("kube-scheduler", megabytes=77, minutes=0.5),
        _kubernetes("kubectl", megabytes=59, minutes=0.5, version_arguments=("version", "--client", "--output=yaml")),
        Tool(
            name="pilot-discovery",
            version=_ISTIOD,
            folder="istiod",
            package="istio.io/istio/pilot/cmd/pilot-discovery",
            # The module is between two releases and there is no official build: nothing on PATH can be it.
            version_arguments=(),
            megabytes=124,
            minutes=4,
        ),
    )
}
