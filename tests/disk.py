"""A disk that is full, for one process."""

from __future__ import annotations

import resource


def limit_files(pid: int, size: int) -> None:
    """No file of that process may grow beyond `size` bytes: to SQLite, a disk that refuses."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
