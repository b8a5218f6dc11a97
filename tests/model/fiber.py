"""A program that runs only when it is told to, from one point to the next: a thread, of which the explorer holds the baton.

So the real loops, which block wherever they please, can be interleaved call by call, and the same choices give the same
history.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Unwinds a program that was killed. Nothing it does on the way may have an effect: see `Fiber.kill`."""


class Fiber:
    """Runs `body`, which calls `pause` wherever another program may come first.

    Attributes:
        at: the point at which it stands, empty before the first one.
        until: when it wants to be woken; it stands at a call that wants nothing but its turn if that is in the past.
        is_killed: it is to have no effect any more.
        is_over: `body` has returned, or was killed.
    """

    def __init__(self, body: Callable[[], None]) -> None:
        self._body = body
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._go, self._stands = threading.Lock(), threading.Lock()  # held until it may go on, until it stands
        self._go.acquire()
        self._stands.acquire()
        self._verdict: Any = None
        self._error: BaseException | None = None
        self.is_killed = False
        self.at = ""
        self.until = -math.inf
        self.is_over = False
        self._thread.start()

    def pause(self, at: str, until: float = -math.inf) -> Any:
        """Called by `body`: stand still at the point `at` until `resume`. Returns the verdict that was given there."""
        if self.is_killed:
            raise Killed
        self.at, self.until = at, until
        self._stands.release()
        self._go.acquire()
        if self.is_killed:
            raise Killed
        return self._verdict

    def resume(self, verdict: Any = None) -> None:
        """Let it run to its next point, or to its end.

        Raises:
            BaseException: whatever ended `body`.
        """
        self._verdict = verdict
        self._go.release()
        self._stands.acquire()
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        """End it where it stands: from now on every `pause` raises `Killed`, and it has paused before whatever has effects."""
        if not self.is_over:
            self.is_killed = True
            self.resume()
        self._thread.join()

    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self.is_killed:
                self._body()
        except Killed:
            pass
        except BaseException as error:  # handed to the explorer
            self._error = error
        self.is_over = True
        self._stands.release()
