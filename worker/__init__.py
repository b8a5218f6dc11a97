"""Queue consumption, retry and acknowledgement: what runs in a worker pod, and nothing else.

A task module may import `Retry`, `Reject` and `whole_chunk` from here; it need not.
"""

from worker.errors import Reject, Retry
from worker.task import Context, whole_chunk

__all__ = ["Context", "Reject", "Retry", "whole_chunk"]
