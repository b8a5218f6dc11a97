"""SIGTERM and SIGINT as a flag and a readable file descriptor; a second one exits at once."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Self

EXIT_SECOND_SIGNAL = 70
"""Exit status after a second signal: what was in hand was abandoned, the broker hands it to others (EX_SOFTWARE)."""


class StopSignal:
    """Whether the program was asked to stop. Within `with`, the handlers are installed; afterwards the earlier ones are back."""

    def __init__(self) -> None:
        self.requested = False
        self.signal: int | None = None
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        """Readable from the first signal on, so that no wait outlasts it."""
        return self._reader

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until the first signal."""
        select.select([self._reader], [], [], seconds)

    def request(self, number: int | None = None) -> None:
        """Ask the program to stop, as a signal does."""
        self.requested = True
        self.signal = number
        os.write(self._writer, b"\0")

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(EXIT_SECOND_SIGNAL)
        self.request(number)

    def __enter__(self) -> Self:
        self._earlier = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)
