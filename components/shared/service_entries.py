"""What the mesh is told of services outside it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from names import KONG_NAMESPACE
from settings import Redis


def outside(redis: Redis) -> dict[str, Any]:
    """Return the entry by which Kong's sidecar lets connections out to a redis that the mesh does not know.

    TCP also where Kong speaks TLS, which the sidecar then passes on as it is.
    """
    named = re.sub(r"[^a-z0-9]+", "-", redis.host.lower()).strip("-")
    try:
        address = ip_address(redis.host)
        where = {
            # Kong asks for the address; an entry has to have a name all the same.
            "hosts": [f"{named}.redis.internal"],
            "addresses": [f"{address}/{address.max_prefixlen}"],
            "resolution": "STATIC",
            "endpoints": [{"address": str(address)}],
        }
    except ValueError:
        where = {"hosts": [redis.host], "resolution": "DNS"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": f"redis-{named}-{redis.port}", "namespace": KONG_NAMESPACE},
        "spec": {
            **where,
            "location": "MESH_EXTERNAL",
            "ports": [{"number": redis.port, "name": "tcp-redis", "protocol": "TCP"}],
            "exportTo": ["."],
        },
    }
