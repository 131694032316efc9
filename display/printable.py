"""Text that was received from elsewhere, fit to be shown."""

from __future__ import annotations

import unicodedata

# Control characters (terminals obey them, XML forbids them), lone surrogates, what has no width, and what reorders text.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str) -> str:
    """Return text with what is not to be printed shown as �."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if _hidden(character) else character for character in text)


def _hidden(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in _HIDDEN


def one_line(text: str) -> str:
    """Return the same without line breaks, for a row or a command."""
    return printable(" ".join(text.split()))
