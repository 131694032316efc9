"""Brings a stack back whose `pulumi up` or `pulumi destroy` was cut off: killed, interrupted, or without its API server."""


class RecoveryError(Exception):
    """Why a stack cannot be recovered, and what to do about it."""
