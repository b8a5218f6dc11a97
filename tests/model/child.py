"""What stands in for a worker's child process: it computes a parameter when the explorer says so."""

from __future__ import annotations

from collections.abc import Callable

from worker.executor import Computed
from worker.messages import Chunk
from worker.retry import Failed

Outcome = Callable[[int, int], "str | Failed"]
"""What becomes of a parameter, by index and attempt."""
Hear = Callable[[int, int, "str | Failed"], None]
"""Told the index, the attempt and the outcome of each parameter that is computed."""


class Child:
    """All that `worker.consumer.Consumer` uses of an `Executor`.

    Attributes:
        is_set_up: false after it died, while the `setup()` of the one that replaces it fails.
        ready, problem: the same as the worker knows it, from its last poll.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._work: list[Computed] = []
        self._done: list[Computed] = []
        self.is_set_up = True
        self.ready = True
        self.problem: str | None = None

    # --- the explorer's side ------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        return self.is_set_up and bool(self._work)

    def compute(self, outcome: Outcome, *, whole: bool = False) -> None:
        """The next parameter of the chunk, or all that are left, has this outcome."""
        computed = self._work[0]
        attempt = computed.chunk.attempt
        for position, index in enumerate(computed.chunk.indices()):
            if computed.outcomes[position] is None:
                computed.outcomes[position] = found = outcome(index, attempt)
                self._hear(index, attempt, found)
                if not whole:
                    break
        if None not in computed.outcomes:
            self._done.append(self._work.pop(0))

    # --- the worker's side --------------------------------------------------------------------------------------------

    @property
    def chunks(self) -> list[Chunk]:
        return [computed.chunk for computed in self._work]

    @property
    def started(self) -> bool:
        return self.is_busy

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def submit(self, chunk: Chunk) -> None:
        self._work.append(Computed(chunk, [None] * len(chunk)))

    def fileno(self) -> int:
        return -1

    def deadline(self) -> float | None:
        return None

    def poll(self) -> list[Computed]:
        self.ready, self.problem = self.is_set_up, None if self.is_set_up else "setup() failed"
        done, self._done = self._done, []
        return done

    def withdraw(self) -> list[Chunk]:
        chunks = self.chunks
        self._work.clear()
        return chunks

    def cancel(self) -> list[Computed]:
        done = self._done + self._work
        self._work, self._done = [], []
        self.is_set_up = self.ready = False
        return done
