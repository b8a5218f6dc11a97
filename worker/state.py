"""What a worker is doing, for the outside: a file that a probe reads.

The first word is the state; the file is young as long as the loop turns. So a probe needs no Python of its own: readiness
is the word `ready`, liveness the age of the file.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from pathlib import Path

REFRESH_SECONDS = 5.0


class State(enum.StrEnum):
    """What a worker is doing.

    Starting: the task is loaded and set up. Ready: it takes chunks. Unready: the task's setup failed, and is tried again.
    Waiting: for the broker. Draining: after SIGTERM. Gone: it ended in order.
    """

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    WAITING = "waiting"
    DRAINING = "draining"
    GONE = "gone"


class StateFile:
    """The file, rewritten at each change and every `REFRESH_SECONDS` that the loop calls `set`."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._path = Path(path) if path else None
        self._clock = clock
        self._written = -REFRESH_SECONDS
        self.text = ""

    def set(self, state: State, detail: str = "") -> None:
        text = f"{state} {detail}".strip()
        now = self._clock()
        if text == self.text and now - self._written < REFRESH_SECONDS:
            return
        self.text = text
        self._written = now
        if self._path is not None:
            scratch = self._path.with_suffix(".new")
            scratch.write_text(text + "\n", encoding="utf-8")
            os.replace(scratch, self._path)  # a probe never reads half of it
