"""Creates Kong's CRDs, which it reads from standard input as a JSON list, and waits until the API server serves them.

One that is there, such as Helm's, gets the new content in place: its uid stays, and so do all objects of it, and whatever
else it is labelled and annotated with. A field of its content that the new one does not have goes.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from commands import command_line
from commands.command_line import CommandError
from kube import Cluster, Object

_KIND = "customresourcedefinitions"
_SECONDS = 60
_MARKS = ("labels", "annotations")


def main() -> None:
    """Bring the CRDs from the command line."""
    options = command_line.parser(__doc__).parse_args()
    cluster = command_line.connect(options)
    crds = json.load(sys.stdin)
    with ThreadPoolExecutor(max_workers=len(crds)) as pool:
        names = list(pool.map(lambda crd: bring(cluster, crd), crds))
    print(json.dumps({"served": names}))


def bring(cluster: Cluster, crd: Object) -> str:
    """Create a CRD or bring the one that is there up to date; return its name once it is served. Raises `CommandError`."""
    name = str(crd["metadata"]["name"])
    if there := command_line.patiently(lambda: cluster.get(_KIND, name)):
        if there["metadata"].get("deletionTimestamp"):
            raise CommandError(
                f"The CRD {name} is being deleted, and with it all objects of it: wait until it is gone (kubectl get crd "
                f"{name}), or look which of its objects does not end, then run `pulumi up` again."
            )
        cluster.patch(_KIND, name, "", _changes(crd, there), how="json")
    else:
        cluster.create(crd)
    if not cluster.wait_until(_KIND, name, "", _is_served, _SECONDS):
        raise CommandError(
            f"The API server does not serve the CRD {name} after {_SECONDS} s: look at `kubectl describe crd {name}`."
        )
    return name


def _changes(crd: Object, there: Object) -> list[dict[str, Any]]:
    """Return a JSON patch that makes the content of a CRD the new one, and adds its labels and annotations."""
    marks = {key: {**(there["metadata"].get(key) or {}), **(crd["metadata"].get(key) or {})} for key in _MARKS}
    return [
        {"op": "replace", "path": "/spec", "value": crd["spec"]},
        *({"op": "add", "path": f"/metadata/{key}", "value": value} for key, value in marks.items() if value),
    ]


def _is_served(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)


if __name__ == "__main__":
    command_line.run(main)
