"""Between a worker and its child process: two pipes of messages, and shared memory that says which call the child is on.

A message is a tuple of plain values, marshalled: both ends are the same Python, and nothing the standard library offers is
faster. The shared memory outlives the child, so it tells which parameter a process died of, whatever it died of.
"""

from __future__ import annotations

import marshal
import mmap
import os
import struct
from typing import Any

from worker.errors import TaskError

Message = tuple[Any, ...]
Call = tuple[int, int]
"""Half-open range of positions in a chunk that are to be computed; one call of a whole-chunk function."""

READY = "ready"
"""`(READY,)`: the task is loaded and set up."""
UNREADY = "unready"
"""`(UNREADY, why)`: the task's `setup()` failed; the child ends."""
REFUSED = "refused"
"""`(REFUSED, why)`: the task cannot be loaded, or not within its memory; the child ends."""
OUTCOMES = "outcomes"
"""`(OUTCOMES, [text or (error, final, after), ...], seconds)`: of the next positions, in the order they were asked for."""

START, STOP, SINCE, BEGUN = range(4)
"""The cells of the shared memory. START, STOP: the positions of the call under way. SINCE: when it began, CLOCK_MONOTONIC in
nanoseconds, written last; 0 outside of calls. BEGUN: how many chunks this child has begun."""
CELLS_BYTES = 4 * 8

_HEADER = struct.Struct("=Q")
_MOST_BYTES = 2**40  # no message is that long; eight characters of text, taken for a length, are more
_NO_MESSAGE = "the child process sent what is no message: the task must not write to file descriptors that are not its own"
_READ_BYTES = 65_536  # as much as a pipe holds on Linux


def pack(message: Message) -> bytes:
    """`message` as it travels."""
    body = marshal.dumps(message)
    return _HEADER.pack(len(body)) + body


class Reader:
    """The receiving end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def read(self) -> list[Message]:
        """The messages that one read completes. It blocks if the descriptor does.

        Raises:
            BlockingIOError: nothing is there.
            EOFError: the other end is closed; half a message is worth nothing.
            TaskError: what came is no message: the function writes to descriptors that are not its own.
        """
        data = os.read(self._descriptor, _READ_BYTES)
        if not data:
            raise EOFError
        buffer = self._buffer
        buffer += data
        messages = []
        begin = 0
        while len(buffer) >= begin + _HEADER.size:
            body = begin + _HEADER.size
            length = _HEADER.unpack_from(buffer, begin)[0]
            end = body + length
            if length > _MOST_BYTES:
                raise TaskError(_NO_MESSAGE)
            if len(buffer) < end:
                break
            try:
                messages.append(marshal.loads(buffer[body:end]))  # noqa: S302  # written by `pack` at the other end
            except (EOFError, ValueError, TypeError):
                raise TaskError(_NO_MESSAGE) from None
            begin = end
        del buffer[:begin]
        return messages


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however long it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def cells(descriptor: int) -> memoryview:
    """The cells in the shared memory `descriptor`: numbers of 64 bits, which a process reads and writes in one piece."""
    return memoryview(mmap.mmap(descriptor, CELLS_BYTES)).cast("q")
