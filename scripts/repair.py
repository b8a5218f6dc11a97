"""Repair: publish again what is missing, when nothing at the broker and nobody alive can be going to deliver it.

So a run completes even if the broker loses all it holds. The price of a repair that was not needed is work done twice,
never a wrong result, so the decision only has to be sensible.
"""

from __future__ import annotations

from functools import partial

from scripts.chunks import chunks
from scripts.parameters import ParameterSpace
from scripts.specification import Specification
from scripts.tally import Cells
from worker.brokers.base import Broker, Depth, Queue
from worker.config import Settings
from worker.space import Ranges

MESSAGES = 20_000
"""Chunks that are published again at once; the next ones follow when half of them are taken."""
BATCH = 500
"""Chunks in one call to the broker."""
MOST_DOUBLINGS = 6
"""The quiet time grows no further: about ten minutes by default."""


class Patience:
    """How long nothing has to happen before a repair: `quiet` seconds, twice as long after each one that brought nothing.

    Args:
        quiet: seconds (REPAIR_SECONDS).
        lease: seconds within which the broker gives what a lost worker had to another (LEASE_SECONDS).
        now: when this begins, in seconds of the same clock as every later `now`.
    """

    def __init__(self, quiet: float, lease: float, now: float) -> None:
        self._quiet = quiet
        self._lease = lease
        self._since = now
        self._repairs = 0
        self._settled = 0

    def is_over(self, now: float, moved: float, settled: int, depth: Depth, held: int) -> bool:
        """Whether to repair now.

        Args:
            moved: when the last outcome came.
            settled: parameters that have an outcome.
            depth: what is at the broker.
            held: chunks in the hands of workers that are alive.
        """
        if settled > self._settled:
            self._repairs = 0
        self._settled = settled
        if depth.ready or depth.delayed:  # not depth.results: signs of life are among them, and outcomes move
            self._since = now
        needed = self._quiet * (1 << min(self._repairs, MOST_DOUBLINGS))
        if (depth.in_flight or 0) > held:
            needed += self._lease  # somebody died with chunks in hand: the broker will hand them on
        quiet_for = now - max(self._since, moved)
        return quiet_for >= needed

    def repaired(self, now: float) -> None:
        self._since = now
        self._repairs += 1


class Repair:
    """One repair: every missing parameter, ascending, as chunks of attempt 1, so many at a time.

    Up to the position that the seed had reached, chunks are published; beyond it they are seeded, so that a seed which comes
    late, or goes on beside us, does not publish them a second time.
    """

    def __init__(
        self, settings: Settings, specification: Specification, space: ParameterSpace, broker: Broker, cells: Cells, held: Ranges
    ) -> None:
        self._bodies = partial(task_bodies, settings, specification, space)
        self._broker = broker
        self._chunk_size = settings.chunk_size
        self._cells = cells
        self._held = held
        self._seeded = broker.seed(0, [], 0)
        self._position = 0

    @property
    def is_finished(self) -> bool:
        return self._position >= len(self._cells)

    def go_on(self) -> int:
        """Publish at most `MESSAGES` or so; returns how many chunks it were."""
        published = 0
        while published < MESSAGES and not self.is_finished:
            seeding = self._position >= self._seeded
            ranges, end = self._next(len(self._cells) if seeding else self._seeded)
            bodies = self._bodies(ranges)
            if seeding:
                self._position = self._seeded = self._broker.seed(self._position, bodies, end)  # back, if the broker lost it
            else:
                self._broker.publish(Queue.TASKS, bodies)
                self._position = end
            published += len(bodies)
        return published

    def _next(self, stop: int) -> tuple[Ranges, int]:
        """What is missing from our position on and before `stop`, about `BATCH` chunks of it, and where that ends."""
        ranges: list[tuple[int, int]] = []
        room = BATCH
        for first, last in self._cells.missing_ranges(self._position, stop, without=self._held):
            last = min(last, first + room * self._chunk_size)
            ranges.append((first, last))
            room -= -(-(last - first) // self._chunk_size)
            if room == 0:
                return tuple(ranges), last
        return tuple(ranges), stop


def task_bodies(settings: Settings, specification: Specification, space: ParameterSpace, ranges: Ranges) -> list[bytes]:
    """Task messages of attempt 1 for `ranges`."""
    return [chunk.encode() for chunk in chunks(settings, specification.run, specification.stamp, space, ranges)]
