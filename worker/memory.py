"""The memory limit of a child process. Linux only; elsewhere it limits nothing."""

from __future__ import annotations

import resource
import sys

from worker.errors import TaskError

MB = 2**20


class MemoryLimit:
    """At most `megabytes` MB of memory for this process, 0: no limit. Beyond it, allocations raise MemoryError.

    It is an RLIMIT_DATA, which counts private memory that can be written (since Linux 4.7), as the kernel's out-of-memory
    killer roughly does. RLIMIT_AS would count mapped files too, and each process maps hundreds of MB of libraries.
    """

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes
        self._before = resource.getrlimit(resource.RLIMIT_DATA)
        self._reserve = b""

    def impose(self) -> None:
        """Limit what is allocated from now on.

        What libraries have reserved and not touched by now (NumPy's threads: some 30 MB for each core) is not charged, or a
        limit would depend on the machine.

        Raises:
            TaskError: the process takes more already.
        """
        if not self._megabytes or sys.platform != "linux":
            return
        status = _status()
        resident = status["RssAnon"]
        limit = self._megabytes * MB
        if resident >= limit:
            raise TaskError(
                f"MEMORY_LIMIT_MB={self._megabytes} does not hold the task, which takes {resident // MB + 1} MB once imported; "
                "set it higher"
            )
        self._reserve = bytes(MB)
        _, hard = self._before
        wanted = limit + status["VmData"] - resident
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))

    def lift(self) -> None:
        """Make room to say what happened: give the reserve back, then allow what was allowed before."""
        self._reserve = b""
        resource.setrlimit(resource.RLIMIT_DATA, self._before)


def _status() -> dict[str, int]:
    """The sizes in /proc/self/status, in bytes."""
    with open("/proc/self/status", encoding="utf-8") as file:
        fields = [line.split() for line in file]
    return {field[0].rstrip(":"): int(field[1]) * 1024 for field in fields if field[-1] == "kB"}
