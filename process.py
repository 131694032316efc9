"""What the program does to its own process, for a preview that is soon there."""

from __future__ import annotations

import atexit
import gc
import os
import signal

import pulumi

from components.shared.last_up import Question

#: In the environment of a command: `--debug` shows what the SDK does as well.
SDK_DEBUG = "KONG_ISTIO_SDK_DEBUG"


def begin() -> Question:
    """Prepare the process before the rest is imported, and ask the engine what it answers meanwhile."""
    _end_quietly_when_interrupted()
    _leave_out_debug_lines()
    _end_without_a_search_for_garbage()
    # Of what is imported nothing is garbage.
    gc.disable()
    return Question()


def all_is_imported() -> None:
    """Search for garbage again."""
    gc.enable()


def _end_quietly_when_interrupted() -> None:
    # The engine interrupts the program once a resource has failed; the default answer, a traceback, would bury the reason.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_without_a_search_for_garbage() -> None:
    # Python would look through all objects once more, for a twentieth of a second, before it gives their memory back as a whole.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _leave_out_debug_lines() -> None:
    # The SDK tells the engine of every step of its own by a call that waits for the answer, 350 of them in half a second.
    # Only `--debug` shows them, and the engine does not say whether that was given.
    if not os.environ.get(SDK_DEBUG):
        pulumi.log.debug = lambda *_, **__: None
