"""Official builds: from their own addresses, through a proxy to hosts on loopback that stand for the real ones."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from fakes.releases import Releases, archive, sha256, sums

from sandbox import SandboxError, downloads, fetching, installed, tools
from sandbox.paths import CHECKOUT, tool_cache
from sandbox.programs import PULUMI, TOOLS, Official, Tool, pulumi_plugin
from sandbox.transfer import Transfer

ADDRESS = "https://example.org/program-linux-amd64"
SUMS = "https://example.org/SHA256SUMS"
SCRIPT = "#!/bin/sh\necho hello\n"
# Long enough to be cut in the middle, and different all along.
LONG = SCRIPT.encode() + b"# " + b"".join(b"%08d" % number for number in range(100_000))
BUILD = Official(address="https://example.org/program-{os}-{arch}", checksums=SUMS)


def says(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def get(tmp_path: Path, build: Official = BUILD) -> Path:
    target = tmp_path / "cache" / "program"
    target.parent.mkdir(exist_ok=True)
    downloads.download(build, "program", "1.0", target)
    return target


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir())


# --- the table ------------------------------------------------------------------------------------------------

GITHUB = "https://github.com"
# Where each program lies, and what it is in an archive, as its project's release scripts put it there.
LINUX, MAC = ("linux", "amd64"), ("darwin", "arm64")
PLACES = [
    ("etcd", LINUX, "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-amd64.tar.gz",
     "etcd-v{version}-linux-amd64/etcd", "https://github.com/etcd-io/etcd/releases/download/v{version}/SHA256SUMS"),
    ("etcd", MAC, "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-darwin-arm64.zip",
     "etcd-v{version}-darwin-arm64/etcd", "https://github.com/etcd-io/etcd/releases/download/v{version}/SHA256SUMS"),
    ("kube-apiserver", LINUX, "https://dl.k8s.io/release/v{version}/bin/linux/amd64/kube-apiserver",
     "", "https://dl.k8s.io/release/v{version}/bin/linux/amd64/kube-apiserver.sha256"),
    ("kubectl", MAC, "https://dl.k8s.io/release/v{version}/bin/darwin/arm64/kubectl",
     "", "https://dl.k8s.io/release/v{version}/bin/darwin/arm64/kubectl.sha256"),
    ("kwokctl", MAC, "https://github.com/kubernetes-sigs/kwok/releases/download/v{version}/kwokctl-darwin-arm64",
     "", "https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/v{version}"),
    ("helm", LINUX, "https://get.helm.sh/helm-v{version}-linux-amd64.tar.gz",
     "linux-amd64/helm", "https://get.helm.sh/helm-v{version}-linux-amd64.tar.gz.sha256sum"),
    ("actionlint", MAC, "https://github.com/rhysd/actionlint/releases/download/v{version}/actionlint_{version}_darwin_arm64.tar.gz",
     "actionlint", "https://github.com/rhysd/actionlint/releases/download/v{version}/actionlint_{version}_checksums.txt"),
    ("kind", LINUX, "https://github.com/kubernetes-sigs/kind/releases/download/v{version}/kind-linux-amd64",
     "", "https://github.com/kubernetes-sigs/kind/releases/download/v{version}/kind-linux-amd64.sha256sum"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "platform", "address", "member", "checksums"), PLACES)
def test_a_program_is_downloaded_from_its_projects_own_address(
    releases: Releases,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    platform: tuple[str, str],
    address: str,
    member: str,
    checksums: str,
) -> None:
    monkeypatch.setattr(downloads, "this_platform", lambda: platform)
    address, member, checksums = (each.format(version=TOOLS[name].version) for each in (address, member, checksums))
    content = archive((member, SCRIPT), zipped=address.endswith("zip")) if member else SCRIPT.encode()
    file = address.rpartition("/")[2]
    listing = {"assets": [{"name": file, "digest": f"sha256:{sha256(content)}"}]}
    alone = checksums.endswith(".sha256")
    text = json.dumps(listing) if "api." in checksums else sha256(content) if alone else sums((file, content))
    releases.add(address, content)
    releases.add(checksums, text)
    tool = without_known_checksums(name)
    program = downloads.official_build(tool)
    assert program == installed.cached_path(tool)
    assert says(program) == "hello\n"
    assert releases.downloads() == [checksums, address]
    assert [path.name for path in tool_cache().iterdir()] == [program.name]


def without_known_checksums(name: str) -> Tool:
    """Return a tool of the table as it would be if only what is published were known."""
    tool = TOOLS[name]
    assert tool.official
    return dataclasses.replace(tool, official=dataclasses.replace(tool.official, sha256={}))


@pytest.mark.parametrize("platform", downloads.PLATFORMS)
@pytest.mark.parametrize("name", TOOLS)
def test_each_program_has_an_official_build_or_a_reason(
    name: str, platform: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "this_platform", lambda: platform)
    official = TOOLS[name].official
    reason = downloads.no_build(official) if official else TOOLS[name].unofficial
    if official and not reason:
        assert official.address.startswith("https://")
        assert official.checksums.startswith("https://")
        assert all(re.fullmatch(r"(linux|darwin)-a(md|rm)64", known) for known in official.sha256)
        assert all(re.fullmatch(r"[0-9a-f]{64}", checksum) for checksum in official.sha256.values())
    else:
        assert len(reason.split()) > 4


PUBLISHED: dict[str, tuple[Official, str]] = {
    **{tool.name: (tool.official, tool.version) for tool in TOOLS.values() if tool.official},
    "pulumi": (PULUMI, version("pulumi")),
    **{f"pulumi-{name}": (pulumi_plugin(name), version(f"pulumi-{name}")) for name in ("kubernetes", "command")},
}


@pytest.mark.network
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_checksums_are_published_and_are_those_of_the_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, wanted = PUBLISHED[name]
    for platform in downloads.PLATFORMS:
        monkeypatch.setattr(downloads, "this_platform", lambda found=platform: found)
        if downloads.no_build(build):
            continue
        try:
            found = downloads.published(build, wanted)
        except fetching.OutOfReachError as problem:
            pytest.skip(str(problem))
        assert found == build.sha256.get("-".join(platform), found), platform


# --- checksums ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listing",
    [
        f"{sha256(SCRIPT)}  program-linux-amd64\n",
        f"{'0' * 64}  program-linux-arm64\n{sha256(SCRIPT)} *./program-linux-amd64\r\n",
        f"{sha256(SCRIPT).upper()}\n",
        json.dumps({"assets": [{"name": "program-linux-amd64", "digest": f"sha256:{sha256(SCRIPT)}"}]}),
    ],
)
def test_a_published_checksum_is_found_in_all_the_forms_that_projects_write(
    releases: Releases, tmp_path: Path, listing: str
) -> None:
    releases.add(ADDRESS, SCRIPT)
    releases.add(SUMS, listing)
    assert says(get(tmp_path)) == "hello\n"
    assert left(tmp_path) == ["program"]


@pytest.mark.parametrize(
    ("listing", "problem"),
    [
        (f"{'0' * 64}  program-linux-amd64\n", "the checksum of .*program-linux-amd64 is .*, not 0{64}"),
        (sums(("program-linux-arm64", SCRIPT)), "SHA256SUMS holds no checksum of program-linux-amd64"),
        (sums(("program-linux-amd64.sbom", SCRIPT)), "holds no checksum of program-linux-amd64"),
        (sums(("program-linux-amd64", SCRIPT), ("program-linux-amd64", "other")), "holds more than one checksum of"),
        ("<html>Please log in to the company's network</html>", "holds no checksum"),
        ("{}", "holds no checksum"),
        ("{ not JSON", "holds no checksum"),
        (json.dumps({"assets": [{"name": "program-linux-amd64", "digest": None}]}), "holds no checksum"),
        ("", "holds no checksum"),
        (None, "SHA256SUMS answers 404"),
    ],
)
def test_what_has_not_the_published_checksum_is_not_installed(
    releases: Releases, tmp_path: Path, listing: str | None, problem: str
) -> None:
    releases.add(ADDRESS, SCRIPT)
    if listing is not None:
        releases.add(SUMS, listing)
    with pytest.raises(fetching.FetchError, match=problem):
        get(tmp_path)
    assert left(tmp_path) == []


def test_a_checksum_of_the_table_comes_before_the_published_one(releases: Releases, tmp_path: Path) -> None:
    releases.add(ADDRESS, SCRIPT)
    releases.add(SUMS, sums(("program-linux-amd64", SCRIPT)))
    with pytest.raises(fetching.FetchError, match=r"not 1{64}$"):
        get(tmp_path, dataclasses.replace(BUILD, sha256={"linux-amd64": "1" * 64}))
    get(tmp_path, dataclasses.replace(BUILD, sha256={"linux-amd64": sha256(SCRIPT), "linux-arm64": "1" * 64}))
    assert releases.downloads() == [ADDRESS, ADDRESS]


def test_an_archive_without_the_program_is_refused(releases: Releases, tmp_path: Path) -> None:
    releases.add(ADDRESS, content := archive(("bin/other", SCRIPT), ("bin/program/README", "")))
    build = dataclasses.replace(BUILD, member="bin/program", sha256={"linux-amd64": sha256(content)})
    with pytest.raises(fetching.FetchError, match="no bin/program in the archive"):
        get(tmp_path, build)
    assert left(tmp_path) == []


def test_the_programs_of_a_folder_stay_together(releases: Releases, tmp_path: Path) -> None:
    content = archive(("them/one", SCRIPT), ("them/two", SCRIPT), ("them/deeper/three", SCRIPT), ("four", SCRIPT))
    releases.add(ADDRESS, content)
    folder = get(tmp_path, dataclasses.replace(BUILD, member="them/", sha256={"linux-amd64": sha256(content)}))
    assert {path.name: says(path) for path in folder.iterdir()} == {"one": "hello\n", "two": "hello\n"}
    assert left(tmp_path) == ["program"]


# --- cut off --------------------------------------------------------------------------------------------------


def known(content: bytes) -> Official:
    return dataclasses.replace(BUILD, sha256={"linux-amd64": sha256(content)})


def ranges(releases: Releases) -> list[str]:
    return [asked for method, _, asked in releases.asked if method == "GET"]


def test_a_download_that_is_cut_is_gone_on_with(releases: Releases, tmp_path: Path) -> None:
    releases.add(ADDRESS, LONG).cuts = [300_000, 200_000]
    assert says(get(tmp_path, known(LONG))) == "hello\n"
    assert ranges(releases) == ["", "bytes=300000-", "bytes=500000-"]
    assert left(tmp_path) == ["program"]


def test_what_was_cut_to_the_end_is_gone_on_with_by_the_next_run(releases: Releases, tmp_path: Path) -> None:
    releases.add(ADDRESS, LONG).cuts = [300_000, 100_000, 100_000]
    with pytest.raises(fetching.FetchError, match="program-linux-amd64 broke off"):
        get(tmp_path, known(LONG))
    assert not (tmp_path / "cache/program").exists()
    releases.asked.clear()
    assert says(get(tmp_path, known(LONG))) == "hello\n"
    assert ranges(releases) == ["bytes=500000-"]


@pytest.mark.parametrize(
    "change", ["another file", "no ranges", "no tag", "a weak tag", "other content, same tag", "no such range"]
)
def test_what_cannot_be_gone_on_with_is_thrown_away(releases: Releases, tmp_path: Path, change: str) -> None:
    file = releases.add(ADDRESS, LONG)
    file.tag = {"no tag": "", "a weak tag": 'W/"1"'}.get(change, '"1"')
    file.cuts = [300_000, 1, 1]
    with pytest.raises(fetching.FetchError, match="broke off"):
        get(tmp_path, known(LONG))
    content = LONG
    if change in ("another file", "other content, same tag"):
        content = file.content = SCRIPT.encode() + LONG[::-1]
        file.tag = '"2"' if change == "another file" else file.tag
    file.ranges = change != "no ranges"
    file.statuses = [416] if change == "no such range" else []
    assert get(tmp_path, known(content)).read_bytes() == content
    assert left(tmp_path) == ["program"]


def test_what_is_whole_already_is_not_fetched_again(releases: Releases, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.program.fetched").write_bytes(LONG)
    assert says(get(tmp_path, known(LONG))) == "hello\n"
    assert releases.downloads() == []
    assert left(tmp_path) == ["program"]


def test_a_server_that_is_busy_is_asked_again(releases: Releases, tmp_path: Path) -> None:
    releases.add(ADDRESS, SCRIPT).statuses = [503, 502]
    assert says(get(tmp_path, known(SCRIPT.encode()))) == "hello\n"


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("http://example.org/program", "http://example.org/program is not an https address"),
        ("file:///etc/passwd", "not an https address|not allowed"),
        ("https://get.helm.sh/program", ""),
    ],
)
def test_a_redirect_leads_to_https_alone(releases: Releases, tmp_path: Path, place: str, problem: str) -> None:
    releases.add(ADDRESS, "").redirect = place
    releases.add("https://get.helm.sh/program", SCRIPT)
    if problem:
        with pytest.raises(fetching.FetchError, match=problem):
            get(tmp_path, known(SCRIPT.encode()))
    else:
        assert says(get(tmp_path, known(SCRIPT.encode()))) == "hello\n"


def process(code: str, home: Path, **environment: str) -> subprocess.Popen[str]:
    """Run code that downloads kind into the cache below a home."""
    start = "from sandbox import downloads, fetching, tools; downloads.this_platform = lambda: ('linux', 'amd64')"
    return subprocess.Popen(
        [sys.executable, "-c", f"{start}\n{code}"],
        cwd=CHECKOUT.root,
        env={**os.environ, "HOME": str(home), "PATH": "/nowhere", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


KIND = f"{GITHUB}/kubernetes-sigs/kind/releases/download/v0.33.0/kind-linux-amd64"
ENSURE = "print(tools.ensure(['kind'])['kind'])"


def test_two_processes_download_once(releases: Releases, tmp_path: Path) -> None:
    file = releases.add(KIND, LONG)
    file.begun = threading.Event()
    releases.add(f"{KIND}.sha256sum", sums(("kind-linux-amd64", LONG)))
    first = process(ENSURE, tmp_path)
    assert file.begun.wait(20)
    second = process(ENSURE, tmp_path)
    assert second.stdout
    assert "waiting for it" in second.stdout.readline()
    file.goes_on.set()
    said = [each.communicate(timeout=20)[0] for each in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert releases.downloads().count(KIND) == 1
    assert says(tmp_path / ".cache/kong-istio/tools/kind-0.33.0") == "hello\n"


def test_a_download_that_was_killed_is_finished_by_the_next(releases: Releases, tmp_path: Path) -> None:
    file = releases.add(KIND, LONG)
    file.begun = threading.Event()
    releases.add(f"{KIND}.sha256sum", sums(("kind-linux-amd64", LONG)))
    killed = process(ENSURE, tmp_path)
    assert file.begun.wait(20)
    cache = tmp_path / ".cache/kong-istio/tools"
    wait_for(lambda: any(path.stat().st_size for path in cache.glob(".kind-*.fetched")))
    killed.kill()
    killed.communicate()
    file.goes_on.set()
    file.begun = None
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == []
    following = process(ENSURE, tmp_path)
    said = following.communicate(timeout=20)[0]
    assert following.returncode == 0, said
    assert re.fullmatch(r"bytes=[1-9]\d*-", releases.asked[-1][2])
    assert [path.name for path in cache.iterdir()] == ["kind-0.33.0"]


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- the way out ----------------------------------------------------------------------------------------------


def test_the_proxy_leads_everywhere_but_where_no_proxy_says(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.add(ADDRESS, SCRIPT)
    get(tmp_path, known(SCRIPT.encode()))
    assert releases.led_to == ["example.org"]
    monkeypatch.setenv("NO_PROXY", "localhost,example.org")
    with pytest.raises(fetching.OutOfReachError, match=r"example\.org is out of reach"):
        get(tmp_path, known(SCRIPT.encode()))
    assert releases.led_to == ["example.org"]


def test_a_proxy_that_refuses_is_told_without_its_password(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.closed.add("example.org")
    monkeypatch.setenv("HTTPS_PROXY", releases.environment["HTTPS_PROXY"].replace("://", "://me:hunter2@"))
    with pytest.raises(fetching.OutOfReachError, match=r"example\.org is out of reach: .*403") as problem:
        get(tmp_path, known(SCRIPT.encode()))
    assert "hunter2" not in str(problem.value)


def test_an_unknown_authority_is_refused_with_the_way_to_name_it(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.add(ADDRESS, SCRIPT)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(fetching.OutOfReachError, match=r"certificate.*name its authority's file in SSL_CERT_FILE"):
        get(tmp_path, known(SCRIPT.encode()))
    assert left(tmp_path) == []


@pytest.mark.parametrize("variable", fetching.BUNDLES[1:])
def test_what_others_are_told_of_is_named_where_helm_and_pulumi_look(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("")
    for name in fetching.BUNDLES:
        monkeypatch.setenv(name, str(bundle) if name == variable else "")
    fetching.name_bundle()
    assert os.environ["SSL_CERT_FILE"] == str(bundle)


def test_a_python_without_certificates_has_certifis(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in fetching.BUNDLES:
        monkeypatch.setenv(name, "")
    none = type("Paths", (), {"cafile": None, "capath": None})
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    fetching.name_bundle()
    assert Path(os.environ["SSL_CERT_FILE"]).name == "cacert.pem"


@pytest.mark.parametrize("variable", fetching.BUNDLES[1:])
def test_the_authorities_of_other_programs_count_too(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    releases.add(ADDRESS, SCRIPT)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(variable, releases.environment["SSL_CERT_FILE"])
    assert says(get(tmp_path, known(SCRIPT.encode()))) == "hello\n"


@pytest.mark.usefixtures("releases")
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    named = tmp_path / "authorities.pem"
    if content:
        named.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(named))
    with pytest.raises(SandboxError, match=rf"SSL_CERT_FILE names {named}, from which no .*PEM.*try again\.$"):
        tools.ensure(["kind"])


def test_hosts_are_asked_at_once_and_those_out_of_reach_never_again(
    releases: Releases, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.closed |= {"github.com", "dl.k8s.io"}
    wanted = [TOOLS[name] for name in ("etcd", "kube-apiserver", "kube-scheduler", "kind", "helm")]
    downloads.ask(wanted)
    assert sorted(releases.led_to) == ["dl.k8s.io", "get.helm.sh", "github.com"]
    assert [downloads.official_build(tool) for tool in wanted[:-1]] == [None] * 4
    assert len(releases.led_to) == 3
    said = capsys.readouterr().out
    assert re.fullmatch(r"out of reach: dl\.k8s\.io, github\.com \(.*403.*\)\n", said)


def test_offline_asks_nobody(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONG_ISTIO_OFFLINE", "1")
    downloads.ask(TOOLS.values())
    assert downloads.official_build(TOOLS["kind"]) is None
    assert releases.led_to == []


def test_what_has_no_official_build_is_told_why(
    releases: Releases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(downloads, "this_platform", lambda: ("darwin", "arm64"))
    assert downloads.official_build(TOOLS["kube-scheduler"]) is None
    assert "no official build of kube-scheduler 1.37.2: Kubernetes builds its control plane for Linux only" in (
        capsys.readouterr().out
    )
    assert releases.asked == []


# --- the disk -------------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_sentence_and_nothing_is_left(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    releases.add(KIND, LONG)
    releases.add(f"{KIND}.sha256sum", sums(("kind-linux-amd64", LONG)))
    monkeypatch.setattr(Transfer, "add", full)
    with pytest.raises(SandboxError, match=r"tools, where .*: No space left on device\. Free some .*try again\.$"):
        tools.ensure(["kind"])
    assert list(tool_cache().iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("size=400k", "No space left on device. Free some room there"),
        ("ro", "Read-only file system. Make it writable"),
    ],
)
def test_a_disk_that_cannot_hold_a_program_is_told(releases: Releases, tmp_path: Path, options: str, told: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not Path("/bin/mount").exists():
        pytest.skip("there is no mount here")
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can make such a disk")
    releases.add(KIND, LONG)
    releases.add(f"{KIND}.sha256sum", sums(("kind-linux-amd64", LONG)))
    try:
        run = process(f"from sandbox import __main__\n{CAUGHT}", tmp_path, XDG_CACHE_HOME=str(disk))
        assert told in run.communicate(timeout=20)[0]
        assert [path for path in disk.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["/bin/umount", disk], check=True)


CAUGHT = """
from sandbox import SandboxError
try:
    tools.ensure(['kind'])
except SandboxError as problem:
    print(problem)
"""


@pytest.mark.usefixtures("releases")
def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SandboxError, match=r"file/kong-istio/tools, where .* cannot be written: Not a directory\. "):
        tools.ensure(["kind"])


# --- what is seen ---------------------------------------------------------------------------------------------


def test_a_download_shows_how_far_it_is(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sandbox.transfer._SECONDS", 0.0)
    releases.add(ADDRESS, LONG)
    get(tmp_path, known(LONG))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(re.fullmatch(r"  program 1\.0: [\d.]+ kB of 800\.0 kB, [\d.,]+ [kMG]?B/s", line) for line in lines), (
        lines
    )
    assert "800.0 kB of" in lines[-1]
