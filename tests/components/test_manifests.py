"""An application's manifests: what is read from them, what is refused, and what waits for what."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import hypothesis
import pulumi
import pytest
import yaml

from components.shared import manifests, pod_security, routed_service, traffic_policies
from components.shared.images import in_manifest
from components.shared.manifests import ManifestError
from plan import record
from sandbox.paths import CHECKOUT
from settings import Images, Route, Security

SHOP = "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n"
BLOG = "apiVersion: v1\nkind: Service\nmetadata: {name: blog}\n"

Manifest = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name a file of manifests."""
    return tmp_path / "shop.yaml"


def read(file: Path, text: str, namespace: str = "shop") -> list[Manifest]:
    file.write_text(text, encoding="utf-8")
    return manifests.read(file, namespace)


def refused(path: Path, text: str | bytes | None = None) -> str:
    """Return the sentence that manifests are refused with."""
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ManifestError) as caught:
        manifests.read(path, "shop")
    # Pulumi prints a RunError without a traceback.
    assert isinstance(caught.value, pulumi.RunError)
    assert "\n" not in str(caught.value)
    assert ".." not in str(caught.value)
    return str(caught.value)


def names(items: list[Manifest]) -> list[str]:
    return [f"{item['kind']}/{item['metadata']['name']}" for item in items]


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"{SHOP}---\n{BLOG}", f"---\n---\n{SHOP}---\n# nothing\n---\n{BLOG}---\n"])
def test_a_file_may_hold_several_documents(text: str, file: Path) -> None:
    assert names(read(file, text)) == ["Service/shop", "Service/blog"]


def test_a_list_is_taken_apart(file: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(SHOP), yaml.safe_load(BLOG)]}
    assert names(read(file, yaml.safe_dump(listed))) == ["Service/shop", "Service/blog"]


def test_a_list_may_stand_beside_documents(file: Path) -> None:
    text = f"kind: List\nitems: [{{apiVersion: v1, kind: Pod, metadata: {{name: a}}}}]\n---\nkind: List\n---\n{SHOP}"
    assert names(read(file, text)) == ["Pod/a", "Service/shop"]


def test_a_folders_yaml_files_are_read_by_name(tmp_path: Path) -> None:
    for name, text in (("b.yaml", SHOP), ("a.yml", BLOG), ("README.md", "{")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/d.yaml").write_text(SHOP, encoding="utf-8")
    assert names(manifests.read(tmp_path, "shop")) == ["Service/blog", "Service/shop"]


def test_nulls_are_dropped_at_every_depth_and_nothing_else(file: Path) -> None:
    text = f"{SHOP}status:\nspec:\n  selector:\n  ports: [{{name: , port: 80}}]\n  empty: ''\n  none: 0\n  no: false\n"
    assert read(file, text)[0] == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}], "empty": "", "none": 0, "false": False},
    }


@pytest.mark.parametrize("namespace", ["", "namespace: shop", "namespace: "])
def test_objects_are_placed_in_the_applications_namespace(namespace: str, file: Path) -> None:
    (item,) = read(file, f"apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  {namespace}\n")
    assert item["metadata"] == {"name": "a", "namespace": "shop"}


def test_the_applications_own_namespace_may_stand_in_several_files(tmp_path: Path) -> None:
    for label in ("team", "tier"):
        text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{label}: a}}}}\n"
        (tmp_path / f"{label}.yaml").write_text(text)
    (tmp_path / "shop.yaml").write_text(SHOP)
    found = manifests.read(tmp_path, "shop")
    assert manifests.home_metadata(found, "shop", "labels") == {"team": "a", "tier": "a"}


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        # Keys become text.
        ("9000: x", {"9000": "x"}),
        ("on: x", {"true": "x"}),
        ("yes: x", {"true": "x"}),
        ("n: x", {"false": "x"}),
        ("1.5: x", {"1.5": "x"}),
        ("1.10: x", {"1.1": "x"}),
        ("1e10: x", {"1e+10": "x"}),
        ("3.14159265: x", {"3.1415927": "x"}),
        ("0x10: x", {"16": "x"}),
        ("2020-01-01: x", {"2020-01-01": "x"}),
        ("'on': x", {"on": "x"}),
        # Plain scalars.
        ("a: =", {"a": "="}),
        ("a: y", {"a": True}),
        ("a: Off", {"a": False}),
        ("a: 'y'", {"a": "y"}),
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: 2001-99-99", {"a": "2001-99-99"}),
        ("a: 2001-12-14t21:59:43.10-05:00", {"a": "2001-12-14t21:59:43.10-05:00"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 0755", {"a": 493}),
        ("a: 0o17", {"a": 15}),
        ("a: 080", {"a": 80}),
        ("a: 0b11", {"a": 3}),
        ("a: -0x1F", {"a": -31}),
        ("a: 1_000", {"a": 1000}),
        ("a: +12", {"a": 12}),
        ("a: 1.0", {"a": 1}),
        ("a: 1e3", {"a": 1000}),
        ("a: .5", {"a": 0.5}),
        ("a: 1e400", {"a": "1e400"}),
        ("a: 123e", {"a": "123e"}),
        ("a: 1.2.3", {"a": "1.2.3"}),
        ("a: 100m", {"a": "100m"}),
        ("a: -", None),
        ("a: 18446744073709551615", {"a": 18446744073709551615.0}),
        # Tags.
        ("a: !!binary aGVsbG8=", {"a": "hello"}),
        ("a: !!str 5", {"a": "5"}),
        ("a: !!int '5'", {"a": 5}),
        ("a: !own 5", {"a": "5"}),
        ("a: !own {b: c}", {"a": {"b": "c"}}),
        # Anchors and merges, in the order that they are written in.
        ("a: &x {k: 1}\nb: *x", {"a": {"k": 1}, "b": {"k": 1}}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
        ("a: &x {k: 1}\nb: {k: 3, <<: *x}", {"a": {"k": 1}, "b": {"k": 1}}),
        ("a: &x {k: 1}\nb: &y {k: 2}\nc: {<<: [*x, *y]}", {"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 1}}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("'<<': 5", {"<<": 5}),
        # Spaces and marks.
        ("a:\tb", {"a": "b"}),
        ("a: b\t# c", {"a": "b"}),
        ("a: |\n  ---\n  b", {"a": "---\nb\n"}),
        ("a: |\r\n  b\r\n  c\r\nd: e", {"a": "b\nc\n", "d": "e"}),
        ("a: b\n# the end", {"a": "b"}),
        # The last of a key's two values.
        ("a: b\na: c", {"a": "c"}),
        ("on: 1\ntrue: 2", {"true": 2}),
    ],
)
def test_values_are_read_as_kubectl_reads_them(written: str, read_as: dict[str, Any] | None, file: Path) -> None:
    text = f"apiVersion: example.com/v1\nkind: Thing\nmetadata: {{name: a}}\ndata:\n{re.sub('(?m)^', '  ', written)}\n"
    file.write_bytes(text.encode())
    if read_as is None:
        refused(file)
    else:
        assert shaped(manifests.read(file, "shop")[0]["data"]) == shaped(read_as)
    if not shutil.which("kubectl"):
        return
    # kubectl's own word: `label --local` reads a file and prints it, without a cluster.
    command = ["kubectl", "label", "--local", "--output=json", f"--filename={file}", "a=b", "--kubeconfig="]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (read_as is not None), done.stderr
    if read_as is not None:
        assert shaped(json.loads(done.stdout)["data"]) == shaped(read_as)


def shaped(value: Any) -> Any:
    """Tell 1 from True, and 1 from 1.0 where JSON does; a number too large for an integer is what a float holds of it."""
    if isinstance(value, dict):
        return {key: shaped(inner) for key, inner in value.items()}
    return (
        (type(value).__name__, value) if not isinstance(value, int) or abs(value) < 2**63 else ("float", float(value))
    )


def test_a_file_may_end_without_a_line_end(file: Path) -> None:
    # kubectl reads line by line, and ends each: seen in a ConfigMap of Google's microservices-demo.
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: |\n    b"
    assert read(file, text)[0]["data"] == {"a": "b\n"}


def test_a_value_that_does_not_count_is_warned_of(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read(file, f"{SHOP}---\n{BLOG}spec:\n  a: 1\n  b: 2\n  a: 3\n")[1]["spec"] == {"a": 3, "b": 2}
    assert capsys.readouterr().err == (
        f'warning: {file}, document 2, line 9: the key "a" is there again in line 11, and only that one counts.\n'
    )
    file.write_text(f'{{"a": {{}}}}\n{json.dumps(yaml.safe_load(SHOP))[:-1]},\n"c": 1,\n"c": 2}}')
    refused(file)
    read(file, f'{json.dumps(yaml.safe_load(SHOP))[:-1]},\n"c": 1,\n"c": 2}}')
    assert 'document 1, line 2: the key "c" is there again in line 3' in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SHOP.encode("utf-8-sig"), id="byte order mark"),
        pytest.param(f"---\n\ufeff{SHOP}".encode(), id="byte order mark of a joined file"),
        pytest.param(SHOP.encode("utf-16"), id="PowerShell's UTF-16"),
        pytest.param(SHOP.replace("\n", "\r\n").encode(), id="Windows line ends"),
        pytest.param(f"%YAML 1.1\n---\n{SHOP}".encode(), id="directive"),
        pytest.param(f"%YAML 1.2\n---\n{SHOP}...\n".encode(), id="directive and end"),
        pytest.param(f"--- # first\n{SHOP}---\t\n# nothing\n---\n~\n".encode(), id="empty documents"),
        pytest.param(b'\n {"apiVersion": "v1", "kind": "Service",\n "metadata": {"name": "shop"}}', id="JSON"),
    ],
)
def test_a_file_is_read_in_every_spelling(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    expected = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": "shop"}}
    assert manifests.read(file, "shop") == [expected]


def test_json_files_of_a_folder_are_read_as_well(tmp_path: Path) -> None:
    of = [json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}, indent=1) for name in "abc"]
    (tmp_path / "one.json").write_text(of[0], encoding="utf-8")
    (tmp_path / "two.json").write_text(f"{of[1]}{of[2]}\n", encoding="utf-8")
    (tmp_path / "shop.yaml").write_text(f"{of[0].replace('a', 'x', 0).replace('Pod', 'Service')}\n---\n{BLOG}")
    assert names(manifests.read(tmp_path, "shop")) == ["Pod/a", "Service/a", "Service/blog", "Pod/b", "Pod/c"]


def test_json_says_what_json_says(file: Path) -> None:
    note = {
        "smile": "\U0001f600",
        "path": "\\ud83d\\ude00",
        "solidus": "a/b",
        "long": "x" * 5000,
        "line": "a \u2028b\x85\x7f",
    }
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": note}
    assert "\\ud83d" in json.dumps(item)
    assert read(file, json.dumps(item).replace("a/b", "a\\/b"))[0]["data"] == note
    assert read(file, json.dumps(item, ensure_ascii=False, indent="\t"))[0]["data"] == note


def test_items_of_typed_and_nested_lists_are_taken_apart(file: Path) -> None:
    text = """apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBindingList
  metadata: {resourceVersion: "5"}
  items:
  - metadata: {name: one}
    roleRef: {name: a}
  - {apiVersion: rbac.authorization.k8s.io/v1beta1, kind: RoleBinding, metadata: {name: two}}
- apiVersion: v1
  kind: List
  items: [{apiVersion: v1, kind: Pod, metadata: {name: three}}]
---
{apiVersion: v1, kind: PodList, items: [{metadata: {name: four}}]}
"""
    found = read(file, text)
    assert names(found) == ["RoleBinding/one", "RoleBinding/two", "Pod/three", "Pod/four"]
    assert [item["apiVersion"].rpartition("/")[2] for item in found] == ["v1", "v1beta1", "v1", "v1"]


def test_a_large_file_is_read_in_seconds(file: Path) -> None:
    text = "---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a{index}}}\ndata:\n"
        + "".join(f"  key{line}: {'value ' * 8}\n" for line in range(40))
        for index in range(1000)
    )
    started = time.monotonic()
    assert len(read(file, text)) == 1000
    assert time.monotonic() - started < 20
    assert len(text) > 2_000_000


# --- kustomizations --------------------------------------------------------------------------------------------------


@pytest.fixture
def kustomization(tmp_path: Path) -> Path:
    """Return a folder with a kustomization that renames a Service."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "service.yaml").write_text(SHOP, encoding="utf-8")
    (folder / "kustomization.yaml").write_text("namePrefix: my-\nresources: [service.yaml]\n", encoding="utf-8")
    return folder


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Have these programs on PATH, and no others."""
    there = folder / "bin"
    there.mkdir()
    for name, script in scripts.items():
        (there / name).write_text(f"#!/bin/sh\n{script}\n")
        (there / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(there))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl")
@pytest.mark.parametrize("named", [".", "kustomization.yaml"])
def test_a_kustomization_is_built(named: str, kustomization: Path) -> None:
    assert names(manifests.read(kustomization / named, "shop")) == ["Service/my-shop"]
    assert names(manifests.read(kustomization / "service.yaml", "shop")) == ["Service/shop"]


@pytest.mark.parametrize(("program", "verb"), [("kubectl", "kustomize"), ("kustomize", "build")])
def test_a_kustomization_is_built_by_what_is_there(
    program: str, verb: str, kustomization: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""[ "$*" = "{verb} {kustomization}" ] && echo '{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "a"}}}}'"""
    programs(kustomization.parent, monkeypatch, **{program: script})
    assert names(manifests.read(kustomization, "shop")) == ["Pod/a"]


def test_a_kustomization_that_nothing_can_build_is_refused(
    kustomization: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(kustomization.parent, monkeypatch)
    assert refused(kustomization) == (
        f"{kustomization} has a kustomization, and neither kubectl nor kustomize is on PATH to build it: install one of "
        "them (https://kubernetes.io/docs/tasks/tools/), or name a file with what `kubectl kustomize` prints."
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("error: no such\\nfile: a.yaml\\n", "no such file: a.yaml"),
        ('E1126 05:04:50.268042    4771 run.go:72] "command failed" err="invalid: line 1"', "invalid: line 1"),
        ('E1126 05:04:44.4 3 run.go:72] "command failed" err=<\\n\\tno host\\n >', "no host"),
        ("fatal: unable to access https://me:hidden@git.example/x", "fatal: unable to access https://git.example/x"),
    ],
)
def test_a_kustomization_that_cannot_be_built_is_refused(
    said: str, why: str, kustomization: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(kustomization.parent, monkeypatch, kubectl=f"printf '{said}' >&2; exit 1")
    assert refused(kustomization) == f"{kustomization} has a kustomization that cannot be built ({why}): correct it."


def test_a_kustomization_asks_nobody_and_ends_in_time(kustomization: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "[ $GIT_TERMINAL_PROMPT = 0 ] && ! read answer && { sleep 60 & echo $! > $2/started; wait; }"
    programs(kustomization.parent, monkeypatch, kubectl=f"PATH=/usr/bin:/bin\n{script}")
    monkeypatch.setattr("components.shared.kustomization._SECONDS", 1)
    assert (
        refused(kustomization)
        == f"{kustomization} has a kustomization that cannot be built (no answer within 1 s): correct it."
    )
    started = int((kustomization / "started").read_text())
    for _ in range(100):
        # What it started has ended, too; it may still be waited for by whoever takes over orphans.
        state = subprocess.run(
            ["/bin/ps", "-o", "stat=", "-p", str(started)], capture_output=True, text=True, check=False
        )
        if state.stdout.strip()[:1] in ("", "Z"):
            break
        time.sleep(0.05)
    else:
        pytest.fail("it still runs")


# --- refusing --------------------------------------------------------------------------------------------------------


def test_an_object_of_another_namespace_is_refused(file: Path) -> None:
    text = f"{SHOP}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: prod}}\n"
    assert refused(file, text) == (
        f"{file}, document 2, line 5 puts ConfigMap a into the namespace prod: the application's is shop; set the "
        "application's overrideNamespace to true, which moves all objects from prod to shop, or its namespace to prod."
    )


def test_an_object_that_is_there_twice_is_refused(file: Path) -> None:
    assert refused(file, f"{SHOP}---\n{BLOG}---\n{SHOP}spec: {{}}\n") == (
        f"{file}, document 3, line 9 has Service shop once more, and not as in {file}, document 1, line 1: take one of them out."
    )


def test_an_object_that_is_there_twice_in_a_folder_and_the_same_is_there_once(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(SHOP, encoding="utf-8")
    assert names(manifests.read(tmp_path, "shop")) == ["Service/shop"]
    (tmp_path / "b.yaml").write_text(f"{SHOP}spec: {{type: NodePort}}\n", encoding="utf-8")
    assert refused(tmp_path).startswith(f"{tmp_path}/b.yaml, document 1, line 1 has Service shop once more")


def test_objects_of_one_name_and_several_kinds_are_fine(file: Path) -> None:
    text = f"{SHOP}---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: shop}}\n"
    assert names(read(file, text)) == ["Service/shop", "ServiceAccount/shop"]


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        (
            f"{SHOP}---\nkind: [a\n",
            "document 2, line 6",
            "while parsing a flow sequence, did not find expected ',' or ']'",
        ),
        (
            f"{SHOP}\tb: c\n",
            "document 1, line 4",
            "while scanning for the next token, found character that cannot start any token",
        ),
        ("a: b: c\n", "document 1, line 1", "mapping values are not allowed in this context"),
        (b"\xff\xfe\x00", "document 1, line 1", "it is not text in UTF-8"),
        (b"a: b\n---\nc: \xff", "document 2, line 3", "it is not text in UTF-8"),
        (b"a: \x00", "document 1, line 1", "control characters are not allowed: #x0000"),
        (f"{SHOP}---\na: b\nc: '\x07'\n", "document 2, line 6", "control characters are not allowed: #x0007"),
        ("a: *b\n", "document 1, line 1", "nothing has the anchor b"),
        (f"{SHOP}spec:\n  ? [a]\n  : b\n", "document 1, line 5", "a key is nothing, a list or an object"),
        (f"{SHOP}spec: {{~: b}}\n", "document 1, line 4", "a key is nothing, a list or an object"),
        (f"{SHOP}spec: .nan\n", "document 1, line 4", "JSON has no such number"),
        (f"{SHOP}spec: !!int x\n", "document 1, line 4", '"x" is no int'),
        (f"{SHOP}spec: &a {{b: *a}}\n", "document 1, line 4", "the value of the anchor a contains itself"),
        (
            "a: !!binary x\n",
            "document 1, line 1",
            "what is behind !!binary is not text in base64: write the base64 without it",
        ),
        ("<<: 5\n", "document 1, line 1", "only an object, or a list of objects, can be merged"),
        ("[" * 5000, "document 1, line 1", "it is nested more than 100 levels deep"),
        ('{"a":' * 5000, "document 1, line 1", "it is nested more than 100 levels deep"),
        (
            '{"a": 1}\n{"b": 2}\n\n{"c" 3}',
            "document 3, line 4",
            "while parsing a flow mapping, did not find expected ',' or '}'",
        ),
        (
            '{"a": "\\ud83d"}',
            "document 1, line 1",
            "while parsing a quoted scalar, found invalid Unicode character escape code",
        ),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(text: str | bytes, where: str, why: str, file: Path) -> None:
    assert refused(file, text) == f"{file}, {where} is not readable YAML ({why}): correct it, or name another file."


def test_aliases_that_would_fill_the_memory_are_refused(file: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "its aliases make it too large" in refused(file, f"{SHOP}{bomb}")


def test_dates_and_times_are_text_as_for_kubectl(file: Path) -> None:
    file.write_text(
        "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n"
        "data: {day: 2020-01-01, odd: 2001-99-99, at: 12:30:45, n: 080, i: 10, hex: 0x1F, f: 1.5, b: true}\n"
    )
    assert manifests.read(file, "shop")[0]["data"] == {
        "day": "2020-01-01",
        "odd": "2001-99-99",
        "at": "12:30:45",
        "false": 80,
        "i": 10,
        "hex": 31,
        "f": 1.5,
        "b": True,
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("kind: Service\nspec: hi", "spec"),
        ("kind: Service\nspec: {ports: 5}", "spec.ports"),
        ("kind: Service\nspec: {ports: [{name: a}]}", "spec.ports[].port"),
        ("kind: Service\nspec: {ports: [5x]}", "spec.ports[].port"),
        ("kind: Service\nspec: {selector: x}", "spec.selector"),
        ("kind: Deployment\nspec: {template: x}", "spec.template"),
        ("kind: Deployment\nspec: {template: {spec: {containers: [nginx]}}}", "spec.template.spec.containers[]"),
        ("kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: 5}}}}", "spec.jobTemplate.spec.template.spec"),
    ],
)
def test_fields_of_the_wrong_kind_are_named(text: str, field: str, file: Path) -> None:
    said = refused(file, f"apiVersion: v1\nmetadata: {{name: a}}\n{text}\n")
    assert said.startswith(f"{file}, document 1, line 1: {field} of "), said
    assert said.endswith(": correct the file."), said


NO_TEXT = "is not text (a number, yes or no needs quotes)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod\nmetadata: {name: 2024}", f"metadata.name of Pod 2024 {NO_TEXT}"),
        ("kind: Pod\nmetadata: {name: a, namespace: 5}", f"metadata.namespace of Pod a {NO_TEXT}"),
        ("kind: Pod\nmetadata: {name: a, labels: {tier: 1}}", f"metadata.labels.tier of Pod a {NO_TEXT}"),
        (
            "kind: Pod\nmetadata: {name: a, annotations: {prometheus.io/scrape: true}}",
            f"metadata.annotations.prometheus.io/scrape of Pod a {NO_TEXT}",
        ),
        ("kind: ConfigMap\nmetadata: {name: a}\ndata: {port: 80}", f"data.port of ConfigMap a {NO_TEXT}"),
        ("kind: Secret\nmetadata: {name: a}\nstringData: {pin: 1234}", f"stringData.pin of Secret a {NO_TEXT}"),
        (
            "kind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {labels: {app: on}}}}",
            f"spec.template.metadata.labels.app of Deployment a {NO_TEXT}",
        ),
        (
            "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{env: [{name: PORT, value: 8080}]}]}",
            f"spec.containers[].env[].value of Pod a {NO_TEXT}",
        ),
        (
            "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{args: [--port, 8080]}]}",
            f"spec.containers[].args[] of Pod a {NO_TEXT}",
        ),
        ("kind: Pod\nmetadata: {name: a}\nspec: {volumes: [~]}", "spec.volumes[] of Pod a is not an object"),
        (
            "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{securityContext: {capabilities: {drop: ALL}}}]}",
            "spec.containers[].securityContext.capabilities.drop of Pod a is not a list",
        ),
        (
            "kind: Pod\nmetadata: {name: a}\nspec: {imagePullSecrets: [{name: [b]}]}",
            f"spec.imagePullSecrets[].name of Pod a {NO_TEXT}",
        ),
    ],
)
def test_what_the_stack_looks_into_has_to_have_its_shape(text: str, said: str, file: Path) -> None:
    assert refused(file, f"apiVersion: v1\n{text}\n") == f"{file}, document 1, line 1: {said}: correct the file."


def test_annotations_of_the_wrong_kind_are_named(file: Path) -> None:
    said = refused(file, "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: hello}\n")
    assert said == f"{file}, document 1, line 1: metadata.annotations of Service a is not an object: correct the file."


def test_a_file_that_cannot_be_read_is_refused(file: Path, tmp_path: Path) -> None:
    why = "cannot be read (No such file or directory): name a file or a folder that can."
    assert refused(file) == f"{file} {why}"
    file.symlink_to(tmp_path / "nowhere")
    assert refused(tmp_path) == f"{file} {why}"
    assert "cannot be read (File name too long)" in refused(tmp_path / ("x" * 300))
    assert "cannot be read (embedded null byte)" in refused(tmp_path / "a\0b")


@pytest.mark.parametrize(
    "text",
    [
        "just text",
        "5",
        "[1, 2]",
        f"[{{{'apiVersion: v1'}}}]",
        "kind: Service\nmetadata: {name: a}",
        "apiVersion: v1\nmetadata: {name: a}",
        "apiVersion: v1\nkind: Service",
        "apiVersion: v1\nkind: Service\nmetadata: text",
        "apiVersion: v1\nkind: Service\nmetadata: {name: }",
        "apiVersion: v1\nkind: Service\nmetadata: {generateName: a}",
        "kind: List\nitems: [text]",
        "kind: List\nitems: text",
        "kind: List\nitems: 5",
        "kind: List\nitems: {apiVersion: v1}",
    ],
)
def test_what_is_no_object_is_refused(text: str, file: Path) -> None:
    assert refused(file, f"{SHOP}---\n{text}\n") == (
        f"{file}, document 2, line 5 holds something that is no Kubernetes object: each document needs apiVersion, kind and metadata.name."
    )


@pytest.mark.parametrize(
    "text",
    ["", "---\n---\n", "# nothing\n", "kind: List\nitems: []\n", "kind: List\n", SHOP.replace("Service", "Namespace")],
)
def test_a_file_without_objects_is_refused(text: str, file: Path) -> None:
    assert refused(file, text) == f"{file} holds no Kubernetes object: give a YAML file, or a folder with some."


def test_what_is_beside_the_files_of_a_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    for name, text in (("empty.yaml", ""), ("notes.yaml", "# nothing\n---\n"), ("shop.yaml", SHOP), ("x.txt", "{")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert names(manifests.read(tmp_path, "shop")) == ["Service/shop"]


def test_a_folder_without_objects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("{}", encoding="utf-8")
    assert refused(tmp_path) == f"{tmp_path} holds no Kubernetes object: give a YAML file, or a folder with some."


# --- kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "group", "custom"),
    [
        ("v1", "", False),
        ("apps/v1", "apps", False),
        ("networking.k8s.io/v1", "networking.k8s.io", False),
        ("rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io", False),
        ("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io", True),
        ("snapshot.storage.k8s.io/v1", "snapshot.storage.k8s.io", True),
        ("stable/v1", "stable", True),
        ("networking.istio.io/v1", "networking.istio.io", True),
        ("configuration.konghq.com/v1", "configuration.konghq.com", True),
        ("example.com/v1", "example.com", True),
    ],
)
def test_custom_kinds_are_told_from_those_of_kubernetes(version: str, group: str, custom: bool) -> None:
    item = {"apiVersion": version, "kind": "Gateway", "metadata": {"name": "a"}}
    assert (manifests.group_of(item), manifests.is_custom(item)) == (group, custom)


@pytest.mark.parametrize(
    "item",
    [
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": {"template": {"spec": {"containers": []}}}},
        {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "spec": {"tasks": []}},
        {"apiVersion": "example.com/v1", "kind": "Deployment", "spec": {"template": "of its own"}},
        {"apiVersion": "example.com/v1", "kind": "Secret", "data": ["of its own"]},
    ],
    ids=lambda item: f"{item['kind']} of {item['apiVersion']}",
)
@pytest.mark.usefixtures("machine")
def test_a_kind_of_somebody_else_is_not_taken_for_kubernetes_own(tmp_path: Path, item: dict[str, Any]) -> None:
    web = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    item = {**item, "metadata": {"name": "web"}}
    (tmp_path / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [web, item]}), "utf-8")
    application = {"name": "a", "namespace": "a", "manifests": str(tmp_path), "route": {"service": "web", "port": 80}}
    registered = record(
        {"kubeContext": "somewhere", "applications": [{**application, "resources": {"requests": {"cpu": "1m"}}}]}
    ).resources
    [own] = [each for each in registered.values() if each.type.startswith(f"kubernetes:{item['apiVersion']}:")]
    assert {**own.inputs, "metadata": {"name": "web"}} == {**item, "metadata": {"name": "web"}}


POD_MAKERS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"]


@pytest.mark.parametrize(
    ("kind", "makes"),
    [
        *((kind, True) for kind in POD_MAKERS),
        *((kind, False) for kind in ("Service", "ConfigMap", "Secret", "Ingress")),
    ],
)
def test_what_makes_pods(kind: str, makes: bool) -> None:
    assert manifests.makes_pods({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}) is makes


# --- what waits for what ---------------------------------------------------------------------------------------------


def item(kind: str, name: str, version: str = "v1", **spec: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **({"spec": spec} if spec else {})}


POD: Manifest = {
    "serviceAccountName": "used-account",
    "imagePullSecrets": [{"name": "used-pull"}],
    "initContainers": [{"name": "init", "env": [{"valueFrom": {"secretKeyRef": {"name": "used-secret", "key": "k"}}}]}],
    "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "used-environment"}}]}],
    "volumes": [
        {"name": "a", "configMap": {"name": "used-files"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "used-claim"}},
        {"name": "c", "projected": {"sources": [{"secret": {"name": "used-projected"}}]}},
    ],
}
USED = [
    item("ServiceAccount", "used-account"),
    item("Secret", "used-pull"),
    item("Secret", "used-secret"),
    item("ConfigMap", "used-environment"),
    item("ConfigMap", "used-files"),
    item("PersistentVolumeClaim", "used-claim"),
    item("Secret", "used-projected"),
]
UNUSED = [
    item("ServiceAccount", "account"),
    item("ConfigMap", "used"),
    item("Secret", "used-files-too"),
    item("PersistentVolumeClaim", "claim"),
    item("Service", "used-account"),
    item("Deployment", "used-files", "apps/v1"),
]


@pytest.mark.parametrize(
    "maker",
    [
        item("Pod", "a", **POD),
        item("Deployment", "a", "apps/v1", template={"spec": POD}),
        item("CronJob", "a", "batch/v1", jobTemplate={"spec": {"template": {"spec": POD}}}),
    ],
    ids=lambda maker: maker["kind"],
)
def test_pods_wait_for_what_they_mount_and_run_as(maker: Manifest) -> None:
    assert names(manifests.needed_by(maker, [*UNUSED, *USED, maker])) == names(USED)


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "ServiceAccount"])
def test_what_makes_no_pods_waits_for_nothing(kind: str) -> None:
    assert manifests.needed_by(item(kind, "a", **POD), USED) == []


def test_a_pod_maker_without_a_spec_waits_for_nothing() -> None:
    assert manifests.needed_by(item("Deployment", "a", "apps/v1"), USED) == []


@pytest.mark.parametrize("group", ["example.com", "gateway.networking.k8s.io"])
def test_a_custom_object_waits_for_its_definition(group: str) -> None:
    definition = item("CustomResourceDefinition", f"things.{group}", "apiextensions.k8s.io/v1", group=group)
    other = item("CustomResourceDefinition", "things.example.org", "apiextensions.k8s.io/v1", group="example.org")
    broken = item("CustomResourceDefinition", "broken", "apiextensions.k8s.io/v1")
    thing = item("Thing", "a", f"{group}/v1")
    assert manifests.needed_by(thing, [broken, other, definition, thing]) == [definition]
    assert manifests.needed_by(definition, [other, definition, thing]) == []


def test_bookinfos_deployments_wait_for_their_accounts_alone() -> None:
    found = manifests.read(CHECKOUT.root / "manifests/bookinfo.yaml", "bookinfo")
    needed = {
        deployment["metadata"]["name"]: names(manifests.needed_by(deployment, found))
        for deployment in found
        if deployment["kind"] == "Deployment"
    }
    assert needed == {name: [f"ServiceAccount/bookinfo-{name.split('-')[0]}"] for name in needed}
    assert len(needed) == 6
    assert {object_["metadata"]["namespace"] for object_ in found} == {"bookinfo"}


# --- whatever a file holds -------------------------------------------------------------------------------------------

# One of everything that the stack looks into.
FULL = """apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: nightly, labels: {app: shop}, annotations: {a: b}}
  spec:
    jobTemplate:
      spec:
        template:
          spec: &pod
            securityContext: {seccompProfile: {type: RuntimeDefault}, runAsUser: 5}
            imagePullSecrets: [{name: pull}]
            volumes: [{name: a, configMap: {name: b}}, {name: c, image: {reference: d}}]
            initContainers: [{name: first, image: e}]
            containers:
            - name: main
              image: shop/web:1.2
              ports: [{containerPort: 80, hostPort: 0}]
              resources: {requests: {cpu: 100m}}
              securityContext: {capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}, seccompProfile: {}}
- {apiVersion: v1, kind: Pod, metadata: {name: one}, spec: *pod}
- {apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, ports: [{port: 80, name: http}]}}
- {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a.b.c}, spec: {group: b.c}}
- {apiVersion: b.c/v1, kind: A, metadata: {name: a}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: default}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: web, namespace: default}
  roleRef: {kind: Role, name: web}
  subjects: [{kind: ServiceAccount, name: web, namespace: default}]
"""
SCRAPS = [
    *(
        "---\n",
        "...\n",
        "\t",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "*pod",
        "<<: *pod",
        "? ",
        ": ",
        "- ",
        "|\n",
        ">",
        "'",
        '"',
        "#",
    ),
    *(
        "%YAML 1.1\n",
        "!!binary ",
        "!!int ",
        "!x ",
        "\x00",
        "\ufeff",
        "\r\n",
        "\u2028",
        "\x85",
        "\U0001f600",
        "\\ud83d",
        "~",
    ),
    *(".nan", "-.inf", "1e999", "0x", "9" * 30, "=", "5", "x", "[]", "{}", "true", "null", "12:30:45", "2020-01-01"),
]


def mutated(text: str, chance: random.Random) -> str | bytes:
    """Change a text in a few places: characters, words and values go, come and change places."""
    for _ in range(chance.randint(1, 6)):
        at, length = chance.randrange(len(text)), chance.choice((0, 0, 1, 5, 60))
        values = list(re.finditer(r"(?<=: )\S.*?(?=[,}\n])", text))
        if values and chance.random() < 0.6:
            at, end = chance.choice(values).span()
            length = end - at
        text = text[:at] + chance.choice([*SCRAPS, text[at : at + 40], ""]) + text[at + length :]
        text = text or "x"
    if chance.random() < 0.1:
        return text.encode(chance.choice(("utf-16", "utf-8-sig")), "replace")
    if chance.random() < 0.1:
        raw = bytearray(text.encode())
        raw[chance.randrange(len(raw))] = chance.randrange(256)
        return bytes(raw)
    return text


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2.5,
    "",
    "x",
    "a\nb",
    "auto",
    [],
    ["x"],
    [None],
    [[]],
    {},
    {"": {}},
    {"name": []},
    [{"name": 5}],
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a value: what holds it, and its key."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from places(inner)


def misshapen(chance: random.Random) -> str:
    """Put values into an object's fields that do not belong there."""
    document = json.loads(json.dumps(yaml.safe_load(FULL)))
    for _ in range(chance.randint(1, 2)):
        holder, key = chance.choice(list(places(document)))
        holder[key] = deepcopy(chance.choice(VALUES))
    return str(chance.choice((json.dumps, yaml.safe_dump))(document))


def outcome(file: Path) -> str:
    """Do with a file what a stack does, and return what came of it."""
    try:
        found = manifests.read(file, "shop", override_namespace=True)
    except ManifestError as error:
        return str(error)
    with suppress(ManifestError):
        routed_service.check(found, Route(service="shop", port=80), "applications[0].route", through_mesh=True)
        traffic_policies.check_selector(
            traffic_policies.routed(found, "shop"), "applications[0]", Security(only_kong_calls=True)
        )
    with suppress(ManifestError):
        pod_security.check_pods(found, "applications[0]")
    for one in found:
        manifests.needed_by(one, found)
        pod_security.hardened(in_manifest(one, Images(registry="own.example", pull_secrets=("a",))))
    json.dumps(found, allow_nan=False).encode()
    return "read"


def fuzzed(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.15:
        return chance.randbytes(chance.randrange(200))
    text = misshapen(chance) if kind < 0.6 else mutated(chance.choice((FULL, SHOP)), chance)
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_file_holds_is_deployed_or_refused_in_a_sentence(seed: int, file: Path) -> None:
    chance = random.Random(seed)  # noqa: S311
    outcomes: Counter[str] = Counter()
    rounds = min(750, hypothesis.settings().max_examples)
    for _ in range(rounds):
        content = fuzzed(chance)
        file.write_bytes(content)
        try:
            said = outcome(file)
        except Exception as error:
            raise AssertionError(content) from error
        assert "\n" not in said, content
        outcomes["read" if said == "read" else "refused"] += 1
    assert min(outcomes["read"], outcomes["refused"]) > rounds / 15, outcomes
