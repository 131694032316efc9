"""Text that was received from elsewhere, made fit to be shown."""

from __future__ import annotations

import re

# Control characters (terminals obey them, XML forbids them), lone surrogates, and what reorders text.
_UNPRINTABLE = re.compile(
    "[^\t\n -~\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def printable(text: str) -> str:
    """Return text with what is not to be printed shown as �."""
    return _UNPRINTABLE.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return the same without line breaks, for a row or a command."""
    return " ".join(printable(text).split())
