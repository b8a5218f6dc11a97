"""One child process as the operating system sees it: started, written to, read from, killed, buried. None of it blocks."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from typing import Any

from worker.pipe import CELLS_BYTES, Message, Reader, cells, pack


class ChildProcess:
    """`python -m worker.child`, just started.

    It inherits the standard streams, but /dev/null as its input, and its own three descriptors: no connection of the worker's.
    It leads a session of its own, so that Ctrl-C does not reach it and processes that the function starts end with it.

    Args:
        selector: told which of the pipes' ends to watch.
        assignment: keyword arguments of `worker.child.Child`.

    Attributes:
        cells: the shared memory (`worker.pipe`); stays readable when the process is dead.
    """

    def __init__(self, selector: selectors.DefaultSelector, assignment: dict[str, Any]) -> None:
        memory = _shared_memory()
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        inherited = (orders, reports, memory)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.child", *map(str, inherited)],
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                start_new_session=True,
            )
            self.cells = cells(memory)
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        os.set_blocking(self._orders, False)
        os.set_blocking(self._reports, False)
        self._selector = selector
        self._selector.register(self._reports, selectors.EVENT_READ)
        self._reader = Reader(self._reports)
        self._unsent = bytearray()
        self._congested = False
        self.send((assignment,))

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Write `message` as far as the pipe takes it; the selector tells when to `flush` the rest."""
        self._unsent += pack(message)
        self.flush()

    def flush(self) -> None:
        """Write what could not be written before."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._orders, self._unsent)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent.clear()  # it is dead, as the other pipe will tell
        if self._congested != bool(self._unsent):
            self._congested = not self._congested
            if self._congested:
                self._selector.register(self._orders, selectors.EVENT_WRITE)
            else:
                self._selector.unregister(self._orders)

    def read(self) -> list[Message]:
        """What it has reported.

        Raises:
            BlockingIOError: nothing.
            EOFError: it is dead, or as good as dead; all it ever reported has been read.
        """
        return self._reader.read()

    def kill(self) -> None:
        """Kill it, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter, once it is dead
            os.killpg(self._process.pid, signal.SIGKILL)

    def bury(self, patience: float = 0.0) -> int:
        """Close its pipes and wait for its end, which `kill` brings about unless it comes within `patience` seconds.

        Returns:
            its exit status, or minus the number of the signal it died of.
        """
        self._selector.unregister(self._reports)
        if self._congested:
            self._selector.unregister(self._orders)
        os.close(self._orders)
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        if self._process.returncode is None:
            self.kill()
        os.close(self._reports)
        return self._process.wait()


def cause_of_death(status: int) -> str:
    """The exit status that `bury` returned, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal has none
        name = f"signal {-status}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def _shared_memory() -> int:
    """A descriptor of memory that a child process can share."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("ttg-child")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, CELLS_BYTES)
    return descriptor
