"""From the outcomes of a chunk to what is sent: values and dead parameters to the ledger, failed ones to another attempt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.brokers.base import Delayed
from worker.messages import Chunk, Failure
from worker.retry import Failed, Policy, decide
from worker.space import Ranges, compress


@dataclass(frozen=True, slots=True)
class Sorted:
    """The outcomes of a chunk by what becomes of them.

    Attributes:
        ranges, values: the parameters that have a value, and the values' JSON text.
        dead: failed for the last time.
        retried: failed, and tried again.
        retries: the messages by which they are tried again, and by which parameters without an outcome are given back.
    """

    ranges: Ranges = ()
    values: list[str] = field(default_factory=list)
    dead: list[Failure] = field(default_factory=list)
    retried: list[Failure] = field(default_factory=list)
    retries: list[Delayed] = field(default_factory=list)


def sort(chunk: Chunk, outcomes: Sequence[str | Failed | None], policy: Policy) -> Sorted:
    """Decide every failure. An outcome of None was not computed: it is given back at once, its attempt unchanged."""
    if all(type(outcome) is str for outcome in outcomes):  # the usual chunk: nothing to decide, so nothing to count
        return Sorted(ranges=chunk.ranges, values=list(outcomes))  # type: ignore[arg-type]  # the line above narrowed it
    done: list[int] = []
    values: list[str] = []
    dead: list[Failure] = []
    retried: list[Failure] = []
    again: defaultdict[tuple[float, int], list[int]] = defaultdict(list)
    for index, outcome in zip(chunk.indices(), outcomes, strict=True):
        if isinstance(outcome, str):
            done.append(index)
            values.append(outcome)
        elif outcome is None:
            again[0.0, chunk.attempt].append(index)
        else:
            failure = Failure(index, outcome.error, chunk.attempt)
            delay = decide(outcome, chunk.attempt, policy)
            if delay is None:
                dead.append(failure)
            else:
                retried.append(failure)
                again[delay, chunk.attempt + 1].append(index)
    retries = [
        Delayed(chunk.part(compress(indices), attempt=attempt).encode(), delay) for (delay, attempt), indices in again.items()
    ]
    return Sorted(compress(done), values, dead, retried, retries)


def halves(chunk: Chunk) -> list[Delayed]:
    """The two halves of a chunk, ready at once: how a chunk that takes its worker down is narrowed to the culprit."""
    indices = chunk.indices()
    middle = len(indices) // 2
    return [Delayed(chunk.part(compress(part)).encode(), 0.0) for part in (indices[:middle], indices[middle:])]
