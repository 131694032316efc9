"""Istiod, asked over the protocol that sidecars speak, and through its debug API.

`protos` finds the messages, `ads` fetches configuration as the sidecar of a pod, `routing` works out what that sidecar does
with a request, `kong_request` what Kong sends. `sync` and `kong_route` hold the checks.
"""
