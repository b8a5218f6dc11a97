"""What the ledger knows in memory: one byte a parameter, counters, workers, and the rate.

All of it can be rebuilt from the ledger's file, and a batch that could not be committed leaves no trace in it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from worker.space import Ranges

MISSING, DONE, RETRIED, DEAD = range(4)
"""The state of a parameter. RETRIED is missing too: it failed and is to be tried again."""

_STATES = [bytes([state]) for state in range(4)]
_MISSING = re.compile(rb"[\x00\x02]+")  # MISSING and RETRIED


class Cells:
    """The state of each parameter, in one byte."""

    def __init__(self, states: bytearray) -> None:
        self.states = states
        self.counts = [states.count(state) for state in range(4)]
        self._undo: list[tuple[int, bytearray]] = []

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: int) -> int:
        return self.states[index]

    def fill(self, start: int, stop: int, state: int) -> None:
        old = self.states[start:stop]
        self._undo.append((start, old))
        for known in range(4):
            self.counts[known] -= old.count(known)
        self.counts[state] += stop - start
        self.states[start:stop] = _STATES[state] * (stop - start)

    def are_missing(self, start: int, stop: int) -> bool:
        """Whether none of them has an outcome."""
        states = self.states[start:stop]
        return DONE not in states and DEAD not in states

    @property
    def done(self) -> int:
        return self.counts[DONE]

    @property
    def dead(self) -> int:
        return self.counts[DEAD]

    @property
    def missing(self) -> int:
        return self.counts[MISSING] + self.counts[RETRIED]

    def missing_ranges(self, start: int, stop: int, without: Ranges = ()) -> Iterator[tuple[int, int]]:
        """The ranges without an outcome between `start` and `stop`, ascending; `without` counts as if it had one."""
        states = self.states
        if without:
            states = states[:]
            for first, last in without:
                last = min(last, len(states))
                states[first:last] = _STATES[DONE] * (last - first)
        return (match.span() for match in _MISSING.finditer(states, start, stop))

    def keep(self) -> None:
        """What was filled stays."""
        self._undo.clear()

    def revert(self) -> None:
        """Undo every `fill` since the last `keep`."""
        for start, old in reversed(self._undo):
            self.states[start : start + len(old)] = old
        self._undo.clear()
        self.counts = [self.states.count(state) for state in range(4)]


@dataclass(slots=True)
class Counters:
    """Counts and times that the cells do not tell. Times are seconds since the epoch, 0 before there is one.

    Attributes:
        computed: values received, duplicates included.
        duplicates: outcomes of parameters that had one.
        disagreements: duplicates whose value was another one than the first.
        recomputed: outcomes of chunks that a worker was lost with, and other duplicates: what failures cost at most.
        retried: failed attempts of parameters that were tried again.
        chunks: results of chunks received.
        refused: results refused, for being malformed, foreign, or of other code.
        seconds: time spent in the task function, by all workers.
        first: when the first outcome came.
        last: when the last outcome of a parameter that had none came.
    """

    computed: int = 0
    duplicates: int = 0
    disagreements: int = 0
    recomputed: int = 0
    retried: int = 0
    chunks: int = 0
    refused: int = 0
    seconds: float = 0.0
    first: float = 0.0
    last: float = 0.0


GONE, SILENT = "gone", "silent"
"""States of a worker that has said goodbye, and of one that was not heard from for a while; the others are its own words."""


@dataclass(slots=True)
class Worker:
    """One worker, as far as its results tell: `done`, `retried` and `dead` are what it reported, duplicates included."""

    name: str
    node: str
    state: str
    chunk: str
    done: int = 0
    retried: int = 0
    dead: int = 0
    seconds: float = 0.0
    seen: float = 0.0
    computing: tuple[str, ...] = ()


class Sample(NamedTuple):
    """How many outcomes there were at one moment."""

    time: float
    outcomes: int


@dataclass
class Rate:
    """Outcomes a second over the last ten seconds or so."""

    WINDOW_SECONDS = 10.0
    STEP_SECONDS = 0.25

    samples: deque[Sample] = field(default_factory=deque)

    def add(self, now: float, outcomes: int) -> None:
        if self.samples and outcomes == self.samples[0].outcomes:
            self.samples.clear()  # nothing happened in the whole window: what comes next is not slowed down by it
        elif self.samples and now - self.samples[-1].time < self.STEP_SECONDS:
            return
        self.samples.append(Sample(now, outcomes))
        while len(self.samples) > 2 and self.samples[1].time <= now - self.WINDOW_SECONDS:
            self.samples.popleft()

    @property
    def value(self) -> float:
        if len(self.samples) < 2:
            return 0.0
        first, last = self.samples[0], self.samples[-1]
        return (last.outcomes - first.outcomes) / (last.time - first.time)


class Tally:
    """Everything above, for one run."""

    def __init__(self, states: bytearray, counters: Counters, workers: Sequence[Worker]) -> None:
        self.cells = Cells(states)
        self.counters = counters
        self.workers = {worker.name: worker for worker in workers}
        self.rate = Rate()
        self.moved = 0.0  # when the last outcome came, of whatever kind

    @property
    def settled(self) -> int:
        """Parameters with an outcome, a value or a last error."""
        return len(self.cells) - self.cells.missing

    @property
    def is_complete(self) -> bool:
        return self.cells.missing == 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is changed inside stays, unless the block is left by an exception."""
        counters = replace(self.counters)
        workers = {name: replace(worker) for name, worker in self.workers.items()}
        try:
            yield
        except BaseException:
            self.counters, self.workers = counters, workers
            self.cells.revert()
            raise
        self.cells.keep()

    def live(self, now: float, patience: float) -> list[Worker]:
        """Workers heard from in the last `patience` seconds that are not gone."""
        return [
            worker for worker in self.workers.values() if worker.state not in (GONE, SILENT) and now - worker.seen <= patience
        ]

    def held(self, now: float, patience: float) -> Ranges:
        """The chunks that live workers have in hand, ascending, each from its first to its last index."""
        names = [name.split("-") for worker in self.live(now, patience) for name in worker.computing]
        return tuple(sorted((int(first), int(last) + 1) for first, last in names if int(first) < len(self.cells)))
