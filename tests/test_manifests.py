"""An application's manifests: what is read from them, what is refused, and what waits for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components import manifests
from components.manifests import ManifestError

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


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("v1", "PersistentVolume"),
        ("storage.k8s.io/v1", "StorageClass"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("configuration.konghq.com/v1", "KongClusterPlugin"),
        ("v1", "Namespace"),
    ],
)
def test_kinds_of_the_cluster_are_placed_nowhere(version: str, kind: str, file: Path) -> None:
    (item,) = read(file, f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n")
    assert item["metadata"] == {"name": "a"}


def test_the_applications_own_namespace_is_left_out_and_another_one_is_not(file: Path) -> None:
    spaces = "---\n".join(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n" for name in ("shop", "b"))
    assert names(read(file, f"{spaces}---\n{SHOP}")) == ["Namespace/b", "Service/shop"]


# --- refusing --------------------------------------------------------------------------------------------------------


def test_an_object_of_another_namespace_is_refused(file: Path) -> None:
    text = f"{SHOP}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: prod}}\n"
    assert refused(file, text) == (
        f"{file} puts ConfigMap a into the namespace prod: the application's is shop; take the namespace out of the file, "
        "or set the application's to prod."
    )


def test_an_object_that_is_there_twice_is_refused(file: Path) -> None:
    assert refused(file, f"{SHOP}---\n{BLOG}---\n{SHOP}") == f"{file} has Service shop twice: take one of them out."


def test_an_object_that_is_there_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(SHOP, encoding="utf-8")
    assert refused(tmp_path) == f"{tmp_path} has Service shop twice: take one of them out."


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
        (
            f"{SHOP}---\n{SHOP}spec:\n  a: 1\n  b: 2\n  a: 1\n",
            "document 2, line 11",
            'the key "a" is there already, in line 9',
        ),
        (f"{SHOP}spec: {{on: 1, true: 2}}\n", "document 1, line 4", 'the key "true" is there already, in line 4'),
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
        ('{"a": {}}\n{"b": {"c": 1,\n"c": 2}}', "document 2, line 3", 'the key "c" is there already, in line 2'),
        (
            '{"a": "\\ud83d"}',
            "document 1, line 1",
            "while parsing a quoted scalar, found invalid Unicode character escape code",
        ),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(text: str | bytes, where: str, why: str, file: Path) -> None:
    assert refused(file, text) == f"{file}, {where} is not readable YAML ({why}): mend it, or name another file."


def test_aliases_that_would_fill_the_memory_are_refused(file: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "its aliases make it too large" in refused(file, f"{SHOP}{bomb}")


def test_dates_and_times_are_text_as_for_kubectl(file: Path) -> None:
    file.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
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
    assert said.startswith(f"{file}: {field} of "), said
    assert said.endswith(": mend the file."), said


def test_annotations_of_the_wrong_kind_are_named(file: Path) -> None:
    said = refused(file, "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: hello}\n")
    assert said == f"{file}: metadata.annotations of Service a is not an object: mend the file."


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    assert refused(file) == f"{file} is not readable YAML: mend it, or name another file."


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
        ("networking.istio.io/v1", "networking.istio.io", True),
        ("configuration.konghq.com/v1", "configuration.konghq.com", True),
        ("example.com/v1", "example.com", True),
    ],
)
def test_custom_kinds_are_told_from_those_of_kubernetes(version: str, group: str, custom: bool) -> None:
    item = {"apiVersion": version, "kind": "Gateway", "metadata": {"name": "a"}}
    assert (manifests.group_of(item), manifests.is_custom(item)) == (group, custom)


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


def test_a_custom_object_waits_for_its_definition() -> None:
    definition = item("CustomResourceDefinition", "things.example.com", "apiextensions.k8s.io/v1", group="example.com")
    other = item("CustomResourceDefinition", "things.example.org", "apiextensions.k8s.io/v1", group="example.org")
    broken = item("CustomResourceDefinition", "broken", "apiextensions.k8s.io/v1")
    thing = item("Thing", "a", "example.com/v1")
    assert manifests.needed_by(thing, [broken, other, definition, thing]) == [definition]
    assert manifests.needed_by(definition, [other, definition, thing]) == []


def test_bookinfos_deployments_wait_for_their_accounts_alone() -> None:
    found = manifests.read(Path(__file__).resolve().parent.parent / "manifests/bookinfo.yaml", "bookinfo")
    needed = {
        deployment["metadata"]["name"]: names(manifests.needed_by(deployment, found))
        for deployment in found
        if deployment["kind"] == "Deployment"
    }
    assert needed == {name: [f"ServiceAccount/bookinfo-{name.split('-')[0]}"] for name in needed}
    assert len(needed) == 6
    assert {object_["metadata"]["namespace"] for object_ in found} == {"bookinfo"}
