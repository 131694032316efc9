"""The one exception that users of the sandbox see."""

from __future__ import annotations


class SandboxError(Exception):
    """Something could not be obtained or done; the message says what, why, and what to do about it."""
