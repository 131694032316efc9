"""Checks of a stack that is up: what must be true, how it was looked at, and what was seen."""
