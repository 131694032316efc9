"""What the engine knows of the stack at its last `up`."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pulumi

from commands.cluster_identity import LastUp

_STATE = "pulumi:pulumi:readStackResourceOutputs"


class Question:
    """What `last_up` asks, asked beside the program, as the answer takes a tenth of a second.

    As a context manager it gives what waits for the answer. The block ends with the answer at the earliest: at its end, the
    SDK cannot wait for what another thread asks.
    """

    def __init__(self) -> None:
        def look() -> LastUp:
            with asyncio.Runner() as runner:
                # The SDK takes the loop of the thread.
                runner.get_loop()
                return last_up()

        self._pool = ThreadPoolExecutor(1)
        self._answer = self._pool.submit(contextvars.copy_context().run, look)

    def __enter__(self) -> Callable[[], LastUp]:
        return self._answer.result

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def last_up() -> LastUp:
    """Ask the engine what the running stack's state says. Raises one sentence where it does not tell."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    # In a folder as backend, the engine may write the state at this very moment: what is read then is half a file.
    pauses = [0.1, 0.2, 0.4, 0.8, 1.6]
    while True:
        try:
            # What a StackReference asks of outputs, for all resources: an interrupted `up` writes no outputs of the stack.
            answer = pulumi.runtime.invoke(_STATE, {"stackName": stack}).value
            return LastUp.of((answer or {}).get("outputs") or {})
        except Exception as error:  # the SDK has no other for what the engine refuses
            if not pauses or "checkpoint" not in str(error):
                raise pulumi.RunError(
                    f"The state of {stack} cannot be read ({' '.join(str(error).split())})."
                ) from None
            time.sleep(pauses.pop(0))
