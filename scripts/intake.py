"""From result messages to the ledger: the rules by which a run has one outcome, whatever arrives, however often, in any order.

- The first value of a parameter stays. A later one is a duplicate; if its text differs, it is a disagreement and kept beside.
- A value beats a dead record, before or after it; a dead record never replaces anything.
- A failure that is tried again leaves the parameter missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from scripts.specification import Specification
from scripts.store import Store
from scripts.tally import DEAD, DONE, MISSING, RETRIED, Tally, Worker
from worker.errors import ForeignMessage, MalformedMessage, shorten
from worker.messages import Failure, Result
from worker.state import State

ROWS = 100_000
"""Values that wait at most to be inserted together."""

_CHUNK_NAME = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


class Intake:
    """Takes the results of one run, a batch in a transaction.

    Args:
        specification: the run and the code it began with.
        accept_changed_code: whether results of other code count.
        clock: seconds since the epoch.
    """

    def __init__(
        self, specification: Specification, store: Store, tally: Tally, *, accept_changed_code: bool, clock: Callable[[], float]
    ) -> None:
        self._run = specification
        self._store = store
        self._tally = tally
        self._accept_changed_code = accept_changed_code
        self._clock = clock
        self._new: list[Iterable[tuple[int, str]]] = []
        self._rows = 0

    def take(self, bodies: Sequence[bytes]) -> dict[int, str]:
        """Record `bodies`; durable when it returns. Returns the positions of those that were refused, and why.

        Raises:
            Unwritable: nothing of it happened.
        """
        refused: dict[int, str] = {}
        heard: dict[str, Worker] = {}
        self._forget_new()
        with self._tally.transaction(), self._store.transaction():
            for position, body in enumerate(bodies):
                try:
                    result = self._checked(body)
                except MalformedMessage as error:
                    refused[position] = str(error)
                    self._tally.counters.refused += 1
                    continue
                worker = heard[result.worker] = self._heard(result)
                self._record(result, worker)
            self._insert_new()
            self._store.save(self._tally.counters, heard.values())
        return refused

    def _checked(self, body: bytes) -> Result:
        result = Result.decode(body, self._run.run)
        last = max(
            result.ranges[-1][1] - 1 if result.ranges else -1,
            max((failure.index for failure in chain(result.dead, result.retried)), default=-1),
        )
        if last >= self._run.total:
            raise MalformedMessage(f"the result has parameter {last}, and the run ends at {self._run.total - 1}")
        if not all(map(_CHUNK_NAME.fullmatch, result.computing)):
            raise MalformedMessage(f"the worker computes {result.computing!r:.200}, which are no chunks")
        if last >= 0 and result.stamp != self._run.stamp and not self._accept_changed_code:
            raise ForeignMessage(
                f"the result was computed by code {result.stamp:.64}, the run is of code {self._run.stamp}; "
                "restart that worker with the run's code, or let the ledger accept changed code"
            )
        return result

    def _heard(self, result: Result) -> Worker:
        """The worker's row, brought up to date."""
        now = self._clock()
        worker = self._tally.workers.get(result.worker)
        if worker is None:
            worker = Worker(result.worker, result.node, result.state, result.chunk)
            self._tally.workers[result.worker] = worker
            self._event("worker", f"{worker.name} on {worker.node} joined")
        elif result.state != worker.state != State.STARTING:
            self._event("worker", f"{worker.name} on {result.node} is {result.state}, was {worker.state}")
        worker.node, worker.state, worker.seen = result.node, result.state, now
        worker.chunk = result.chunk or worker.chunk
        worker.computing = tuple(result.computing)
        worker.done += len(result.values)
        worker.retried += len(result.retried)
        worker.dead += len(result.dead)
        worker.seconds += result.seconds
        return worker

    def _record(self, result: Result, worker: Worker) -> None:
        counters = self._tally.counters
        settled, duplicates = self._tally.settled, counters.duplicates
        position = 0
        for start, stop in result.ranges:
            self._values(start, stop, result.values[position : position + stop - start], result)
            position += stop - start
        for failure in result.dead:
            self._dead(failure)
        cells = self._tally.cells
        for failure in result.retried:
            if cells[failure.index] == MISSING:
                cells.fill(failure.index, failure.index + 1, RETRIED)
        outcomes = len(result.values) + len(result.dead)
        counters.recomputed += outcomes if result.redelivered else counters.duplicates - duplicates
        counters.computed += len(result.values)
        counters.retried += len(result.retried)
        counters.chunks += bool(result.chunk)
        counters.seconds += result.seconds
        if result.values or result.dead or result.retried:
            now = self._clock()
            counters.first = counters.first or now
            self._tally.moved = now
            if self._tally.settled > settled:
                counters.last = now

    def _values(self, start: int, stop: int, values: Sequence[str], result: Result) -> None:
        if self._tally.cells.are_missing(start, stop):  # nearly always: nothing is read
            self._new.append(zip(range(start, stop), values, strict=True))
            self._rows += stop - start
            self._tally.cells.fill(start, stop, DONE)
            if result.stamp != self._run.stamp:
                self._changed(start, stop, result)
        else:
            self._merge(start, values, result)
        if self._rows > ROWS:
            self._insert_new()

    def _merge(self, start: int, values: Sequence[str], result: Result) -> None:
        """Take the values that are the first of their parameter; compare the others with the first."""
        self._insert_new()
        cells, counters = self._tally.cells, self._tally.counters
        known = self._store.values(start, start + len(values))
        for index, value in enumerate(values, start):
            if cells[index] != DONE:
                if cells[index] == DEAD:
                    self._store.delete_dead([index])
                cells.fill(index, index + 1, DONE)
                self._store.insert_values([(index, value)])
                if result.stamp != self._run.stamp:
                    self._changed(index, index + 1, result)
                continue
            counters.duplicates += 1
            if value != known[index] and self._store.insert_disagreement(index, known[index], value, result.worker):
                counters.disagreements += 1
                if counters.disagreements == 1:
                    self._event("disagreement", f"parameter {index} has another value from {result.worker} than before")

    def _changed(self, start: int, stop: int, result: Result) -> None:
        if self._store.add_changed_code(start, stop, result.stamp):
            self._event("changed code", f"{result.worker} computes with {result.stamp}, the run began with {self._run.stamp}")

    def _dead(self, failure: Failure) -> None:
        cells = self._tally.cells
        if cells.are_missing(failure.index, failure.index + 1):
            self._store.insert_dead(failure.index, shorten(failure.error), failure.attempt)
            cells.fill(failure.index, failure.index + 1, DEAD)
        else:
            self._tally.counters.duplicates += 1

    def _event(self, kind: str, text: str) -> None:
        self._store.event(self._clock(), kind, text)

    def _insert_new(self) -> None:
        self._store.insert_values(chain.from_iterable(self._new))
        self._forget_new()

    def _forget_new(self) -> None:
        self._new = []
        self._rows = 0
