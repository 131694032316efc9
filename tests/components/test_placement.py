"""Which objects of an application's manifests are in its namespace, and what moves with those that name another one."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.api_server import ApiServer, write_kubeconfig

from commands.cluster_access import Access
from commands.kind_discovery import KindDiscovery
from components.shared import manifests, releases
from components.shared.manifests import ManifestError
from components.shared.object_kinds import Manifest
from plan import record


def item(version: str, kind: str, name: str = "a", namespace: str = "", **fields: Any) -> Manifest:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def crd(group: str, kind: str, scope: str) -> Manifest:
    spec = {"group": group, "names": {"kind": kind}, "scope": scope}
    return item("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{kind.lower()}s.{group}", spec=spec)


def read(folder: Path, *items: Manifest, **options: Any) -> list[Manifest]:
    """Read objects as a file of manifests."""
    (folder / "shop.yaml").write_text(yaml.safe_dump_all(items), encoding="utf-8")
    return manifests.read(folder / "shop.yaml", "shop", **options)


def namespace_of(manifest: Manifest) -> str | None:
    found = manifest["metadata"].get("namespace")
    return None if found is None else str(found)


# --- which are in one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "kind", "namespace"),
    [
        ("rbac.authorization.k8s.io/v1", "ClusterRole", None),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", None),
        ("rbac.authorization.k8s.io/v1", "Role", "shop"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None),
        ("certificates.k8s.io/v1", "CertificateSigningRequest", None),
        ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", None),
        ("resource.k8s.io/v1", "DeviceClass", None),
        ("resource.k8s.io/v1", "ResourceClaim", "shop"),
        ("storage.k8s.io/v1", "StorageClass", None),
        ("storage.k8s.io/v1", "CSIStorageCapacity", "shop"),
        ("networking.k8s.io/v1", "IngressClass", None),
        ("v1", "PersistentVolume", None),
        ("v1", "Namespace", None),
        # Of the stack, and beside it.
        ("configuration.konghq.com/v1", "KongClusterPlugin", None),
        ("configuration.konghq.com/v1alpha1", "KongVault", None),
        ("configuration.konghq.com/v1", "KongPlugin", "shop"),
        ("networking.istio.io/v1", "VirtualService", "shop"),
        ("gateway.networking.k8s.io/v1", "GatewayClass", None),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "shop"),
        ("cert-manager.io/v1", "ClusterIssuer", None),
        ("cert-manager.io/v1", "Issuer", "shop"),
        # Kinds that nobody knows say it themselves.
        ("external-secrets.io/v1", "ClusterSecretStore", None),
        ("external-secrets.io/v1", "ExternalSecret", "shop"),
        ("kyverno.io/v1", "ClusterPolicy", None),
        ("cluster.x-k8s.io/v1beta1", "Cluster", None),
        # A kind of the same name in another group.
        ("example.com/v1", "Namespace", "shop"),
    ],
)
def test_objects_are_in_the_namespace_or_in_none(
    version: str, kind: str, namespace: str | None, tmp_path: Path
) -> None:
    (found,) = read(tmp_path, item(version, kind))
    assert namespace_of(found) == namespace


def test_a_namespace_in_a_file_says_that_an_unknown_kind_has_one(tmp_path: Path) -> None:
    (found,) = read(tmp_path, item("cluster.x-k8s.io/v1beta1", "Cluster", namespace="shop"))
    assert namespace_of(found) == "shop"


def test_kinds_of_the_cluster_lose_a_namespace_that_a_file_gives_them(tmp_path: Path) -> None:
    (found,) = read(tmp_path, item("rbac.authorization.k8s.io/v1", "ClusterRole", namespace="default"))
    assert namespace_of(found) is None


@pytest.mark.parametrize("last", [True, False])
def test_crds_among_the_manifests_say_where_their_objects_are(last: bool, tmp_path: Path) -> None:
    crds = [crd("example.com", "Policy", "Cluster"), crd("example.com", "ClusterThing", "Namespaced")]
    objects = [
        item("example.com/v1", "Policy"),
        item("example.com/v1", "ClusterThing"),
        item("example.org/v1", "Policy"),
    ]
    found = read(tmp_path, *(objects + crds if last else crds + objects))
    places = {(one["apiVersion"], one["kind"]): namespace_of(one) for one in found}
    assert places["example.com/v1", "Policy"] is None
    assert places["example.com/v1", "ClusterThing"] == "shop"
    assert places["example.org/v1", "Policy"] == "shop"


def test_a_crd_that_is_none_is_named(tmp_path: Path) -> None:
    broken = item("apiextensions.k8s.io/v1", "CustomResourceDefinition", spec={"names": {"kind": ["x"]}})
    with pytest.raises(ManifestError, match=r"spec\.names\.kind of CustomResourceDefinition a is not text"):
        read(tmp_path, broken)


# --- the cluster's word ----------------------------------------------------------------------------------------------


def test_the_cluster_is_asked_for_what_nothing_else_tells(tmp_path: Path) -> None:
    server = ApiServer()
    server.kinds["example.com/v1"] = [("NodePool", "nodepools", False, []), ("ClusterThing", "clusterthings", True, [])]
    with server.running() as url:
        path = write_kubeconfig(tmp_path / "config", {"fake": url})
        discovery = KindDiscovery(Access(kubeconfig=str(path), context="fake"), tmp_path)
        known = [item("v1", "Service"), item("networking.istio.io/v1", "Sidecar"), item("apps/v1", "Deployment")]
        read(tmp_path, *known, discovery=discovery.is_namespaced)
        assert server.requests == []
        kinds = ["NodePool", "NodePool", "ClusterThing", "ClusterUnknown"]
        objects = [item("example.com/v1", kind, f"a{index}") for index, kind in enumerate(kinds)]
        found = read(tmp_path, *objects, discovery=discovery.is_namespaced)
    # The API server takes the namespace out of the last one should it be in none: nothing goes into `default`.
    assert [namespace_of(one) for one in found] == [None, None, "shop", "shop"]


@pytest.mark.parametrize("context", ["fake", "", "other"])
def test_a_cluster_that_is_not_there_is_not_waited_for(context: str, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", {"fake": "http://127.0.0.1:1"})
    discovery = KindDiscovery(Access(kubeconfig=str(path), context=context), tmp_path)
    started = time.monotonic()
    objects = [item("example.com/v1", f"ClusterThing{number}") for number in range(20)]
    assert [namespace_of(one) for one in read(tmp_path, *objects, discovery=discovery.is_namespaced)] == [None] * 20
    assert time.monotonic() - started < 5


# --- objects of another namespace ------------------------------------------------------------------------------------

ACCOUNT = item("v1", "ServiceAccount", "web", "default")
RBAC = "rbac.authorization.k8s.io/v1"


def binding(kind: str, *subjects: dict[str, str], namespace: str = "") -> Manifest:
    return item(RBAC, kind, "web", namespace, roleRef={"kind": "Role", "name": "web"}, subjects=list(subjects))


def subject(namespace: str, name: str = "web", kind: str = "ServiceAccount") -> dict[str, str]:
    return {"kind": kind, "name": name, "namespace": namespace}


def moved(folder: Path, *items: Manifest) -> list[Manifest]:
    return read(folder, *items, override_namespace=True)


@pytest.mark.parametrize("space", ["default", "prod"])
def test_all_objects_are_moved_with_what_refers_to_them(space: str, tmp_path: Path) -> None:
    objects = [
        item("v1", "Namespace", space),
        item("v1", "Service", "front", space, spec={"ports": [{"port": 80}]}),
        item("v1", "ServiceAccount", "web"),
        binding("RoleBinding", subject(space), subject("kube-system", "other"), namespace=space),
        binding("ClusterRoleBinding", subject(space)),
    ]
    found = {one["kind"]: one for one in moved(tmp_path, *objects)}
    assert manifests.is_home(found.pop("Namespace"), "shop")
    assert {kind: namespace_of(one) for kind, one in found.items()} == {
        "Service": "shop",
        "ServiceAccount": "shop",
        "RoleBinding": "shop",
        "ClusterRoleBinding": None,
    }
    assert [each["namespace"] for each in found["RoleBinding"]["subjects"]] == ["shop", "kube-system"]
    assert [each["namespace"] for each in found["ClusterRoleBinding"]["subjects"]] == ["shop"]


SERVICE = {"name": "front", "namespace": "default", "path": "/hook"}
MOVED_SERVICE = {**SERVICE, "namespace": "shop"}


@pytest.mark.parametrize(
    ("version", "kind", "before", "after"),
    [
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            {"webhooks": [{"clientConfig": {"service": SERVICE}}, {"clientConfig": {"url": "https://default"}}]},
            {"webhooks": [{"clientConfig": {"service": MOVED_SERVICE}}, {"clientConfig": {"url": "https://default"}}]},
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            {"spec": {"conversion": {"webhook": {"clientConfig": {"service": SERVICE}}}}},
            {"spec": {"conversion": {"webhook": {"clientConfig": {"service": MOVED_SERVICE}}}}},
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            {"spec": {"service": SERVICE}},
            {"spec": {"service": MOVED_SERVICE}},
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            {
                "spec": {
                    "ingress": [
                        {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}]}
                    ]
                }
            },
            {
                "spec": {
                    "ingress": [
                        {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}]}
                    ]
                }
            },
        ),
        (
            "security.istio.io/v1",
            "AuthorizationPolicy",
            {
                "spec": {
                    "rules": [
                        {
                            "from": [
                                {
                                    "source": {
                                        "namespaces": ["default", "b"],
                                        "principals": ["cluster.local/ns/default/sa/a"],
                                    }
                                }
                            ]
                        }
                    ]
                }
            },
            {
                "spec": {
                    "rules": [
                        {
                            "from": [
                                {"source": {"namespaces": ["shop", "b"], "principals": ["cluster.local/ns/shop/sa/a"]}}
                            ]
                        }
                    ]
                }
            },
        ),
        (
            RBAC,
            "ClusterRoleBinding",
            {"subjects": [{"kind": "Group", "name": "system:serviceaccounts:default"}]},
            {"subjects": [{"kind": "Group", "name": "system:serviceaccounts:shop"}]},
        ),
        (
            "v1",
            "ConfigMap",
            {
                "data": {
                    "namespace": "default",
                    "url": "http://front.default.svc.cluster.local/ front.default:80 front.default",
                }
            },
            {"data": {"namespace": "default", "url": "http://front.shop.svc.cluster.local/ front.shop:80 front.shop"}},
        ),
        (
            "v1",
            "Pod",
            {
                "spec": {
                    "containers": [
                        {
                            "args": [
                                "--namespace=default",
                                "--profile=default",
                                "x.front.default",
                                "front.default.example.com",
                            ]
                        }
                    ]
                }
            },
            {
                "spec": {
                    "containers": [
                        {
                            "args": [
                                "--namespace=shop",
                                "--profile=default",
                                "x.front.default",
                                "front.default.example.com",
                            ]
                        }
                    ]
                }
            },
        ),
    ],
)
def test_references_are_moved_and_nothing_else(
    version: str, kind: str, before: dict[str, Any], after: dict[str, Any], tmp_path: Path
) -> None:
    service = item("v1", "Service", "front", "default", spec={"ports": [{"port": 80}]})
    _, found = moved(tmp_path, service, item(version, kind, **before))
    assert {key: found[key] for key in after} == after


def test_a_certificate_that_is_injected_is_that_of_the_new_namespace(tmp_path: Path) -> None:
    hook = item("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
    hook["metadata"]["annotations"] = {"cert-manager.io/inject-ca-from": "default/serving", "note": "default/serving"}
    _, found = moved(tmp_path, ACCOUNT, hook)
    assert found["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": "shop/serving",
        "note": "default/serving",
    }


def test_without_another_namespace_nothing_moves(tmp_path: Path) -> None:
    objects = [item("v1", "ServiceAccount", "web"), binding("ClusterRoleBinding", subject("monitoring", "prometheus"))]
    assert moved(tmp_path, *objects) == read(tmp_path, *objects)


def test_an_account_bound_in_another_namespace_is_named(tmp_path: Path) -> None:
    # As in the installation of Argo CD: kubectl applies it to the namespace that its command names.
    objects = [item("v1", "ServiceAccount", "web"), binding("ClusterRoleBinding", subject("argocd"))]
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, *objects)
    assert str(caught.value) == (
        f"{tmp_path}/shop.yaml, document 2, line 6 puts ServiceAccount web, a subject of ClusterRoleBinding web, into the "
        "namespace argocd: the application's is shop; set the application's overrideNamespace to true, which moves all "
        "objects from argocd to shop, or its namespace to argocd."
    )
    assert moved(tmp_path, *objects)[1]["subjects"] == [subject("shop")]


def test_what_is_bound_for_the_account_of_the_namespace_default_is_named(tmp_path: Path) -> None:
    objects = [item("v1", "Pod"), binding("ClusterRoleBinding", subject("default", "default"))]
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, *objects)
    # No application can have that namespace.
    assert str(caught.value).endswith("overrideNamespace to true, which moves all objects from default to shop.")
    assert moved(tmp_path, *objects)[1]["subjects"] == [subject("shop", "default")]
    elsewhere = [item("v1", "Pod"), binding("ClusterRoleBinding", subject("kube-system", "default"))]
    assert read(tmp_path, *elsewhere)[1]["subjects"] == [subject("kube-system", "default")]


def test_objects_of_several_namespaces_are_not_moved_into_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        moved(tmp_path, item("v1", "Pod"), item("v1", "Pod", "b", "shop"), ACCOUNT, item("v1", "Pod", "c", "prod"))
    assert str(caught.value) == (
        f"{tmp_path}/shop.yaml, document 4, line 18 puts Pod c into the namespace prod, and {tmp_path}/shop.yaml, document "
        "3, line 12 puts ServiceAccount web into default: overrideNamespace moves the objects of one namespace; make an "
        "application of each."
    )


WIDGET = "Widget/shop-widget-a"
WIDGETS = "CustomResourceDefinition/shop-customresourcedefinition-widgets.widgets.k8s.io"


def test_the_setting_reaches_what_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(releases, "urlopen", lambda *_, **__: nullcontext())
    service = item("v1", "Service", "front", "default", spec={"ports": [{"port": 80}]})
    widgets = [crd("widgets.k8s.io", "Widget", "Cluster"), item("widgets.k8s.io/v1", "Widget")]
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all([service, *widgets]), encoding="utf-8")
    application = {"name": "shop", "namespace": "shop", "manifests": str(tmp_path / "shop.yaml")}
    config = {"kubeContext": "somewhere", "applications": [{**application, "overrideNamespace": True}]}
    recording = record(config)
    keys = {resource.label: key for key, resource in recording.resources.items()}
    metadata = [recording.resources[keys[label]].inputs["metadata"] for label in ("Service/shop-service-front", WIDGET)]
    assert [each.get("namespace") for each in metadata] == ["shop", None]
    assert recording.depends_on(keys[WIDGET], keys[WIDGETS])
