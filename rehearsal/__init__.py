"""The program without its engine: run under the SDK's own mocks, resource by resource, on the sandbox.

`record` only notes what the program registers, which is what tests of the graph need; `python -m rehearsal`
also applies each resource as it is released.
"""

from rehearsal.graph import Recording, Resource
from rehearsal.program import record

__all__ = ["Recording", "Resource", "record"]
