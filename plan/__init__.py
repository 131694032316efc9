"""What a stack would register, without Pulumi's engine and without a cluster: its graph, what its charts render to, its images.

`record` runs the program under the SDK's own mocks, resource by resource, and only notes what it registers.
"""

from plan.program import record
from plan.recording import Recording, Resource

__all__ = ["Recording", "Resource", "record"]
