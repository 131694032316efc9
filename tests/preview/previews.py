"""What the tests of previews share: a preview, and what is written of it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from policy.rule import Finding
from preview import (
    comment,
)
from preview.changes import Change, ChangedResource, Difference, Part, Preview
from preview.comment import Context
from sandbox.paths import CHECKOUT

ROOT = CHECKOUT.root
CONTEXT = Context(head="0123456789abcdef", base="main", run="https://github.example/o/r/actions/runs/7")

FINDING = Finding(
    rule="images-pinned", severity="mandatory", resource="Deployment/kong", what="has no tag", remedy="give it one"
)


def resource(name: str, change: Change = Change.SAME, **more: Any) -> ChangedResource:
    return ChangedResource(**{"kind": "Deployment", "name": name, "change": change, **more})


def component(name: str, **more: Any) -> ChangedResource:
    return resource(name, kind="Application", **more)


PREVIEW = Preview(
    stack="dev",
    resources=(
        component("mesh"),
        resource("istiod", Change.UPDATE, parent=0),
        component("shop", after=(1,)),
        resource("shop-deployment-new", Change.CREATE, parent=2, after=(1,)),
        resource("shop-deployment-old", Change.DELETE, parent=2, after=(1,)),
        resource("cart", parent=2, after=(1,)),
    ),
    differences=(
        Difference(part=Part.VALUES, name="istiod", text="@@ -1 +1 @@\n-replicaCount: 1\n+replicaCount: 2"),
        Difference(part=Part.MANIFESTS, name="istiod: Deployment istiod", text="-  replicas: 1\n+  replicas: 2"),
    ),
    seconds=3.51,
)


def render(*previews: Preview, problems: tuple[str, ...] = ()) -> str:
    return comment.render(previews, problems, CONTEXT)


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return content.getvalue()
