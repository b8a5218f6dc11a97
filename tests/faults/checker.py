"""The judge of a run under faults: it sees the ledger's file and counters, and the log of calls that the task itself keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

DEAD = object()
"""What is expected of a parameter that fails every attempt."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the task function, as the function logged it."""

    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is left of a run.

    Attributes:
        values: the rows of the ledger's table `results`, each value parsed.
        dead: indices of the ledger's table `dead`.
        calls: every call of the function, however it ended.
        counted: what the ledger's `/status` counts, of which `done` and `dead` are compared with the rows.
    """

    values: Mapping[int, Any]
    dead: Iterable[int]
    calls: Sequence[Call]
    counted: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Indices, ascending; all of them must be empty but `recomputed`.

    Attributes:
        lost: has neither a value nor a dead record.
        wrong: has a value other than the function's, or a value instead of a dead record, or the reverse.
        both: has a value and a dead record.
        over_limit: was called with an attempt number above the limit.
        miscounted: how the ledger's counters differ from its rows, in words: something was counted twice, or not at all.
        recomputed: calls of a parameter's attempt beyond the first one: what the faults cost.
    """

    lost: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    both: list[int] = field(default_factory=list)
    over_limit: list[int] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    recomputed: int = 0

    @property
    def is_clean(self) -> bool:
        return not self.sentences()

    def sentences(self) -> list[str]:
        """One for each kind of thing that must not be."""
        found = {name: value for name, value in asdict(self).items() if name != "recomputed" and value}
        return [f"{name.replace('_', ' ')}: {', '.join(map(str, value))}" for name, value in found.items()]


def judge(count: int, expected: Callable[[int], Any], evidence: Evidence, max_attempts: int) -> Verdict:
    """The verdict on a run of `count` parameters that says it is complete.

    Args:
        expected: the right value of an index, or `DEAD`.
        max_attempts: the limit that the run was given.
    """
    values, dead = evidence.values, set(evidence.dead)
    missing = object()
    wrong = set()
    for index in values.keys() | dead:
        right = expected(index) if 0 <= index < count else missing  # a row beyond the run's end is wrong too
        got = values.get(index, DEAD)
        if got != right:
            wrong.add(index)
    rows = {"done": len(values), "dead": len(dead)}
    calls = Counter(evidence.calls)
    return Verdict(
        lost=[index for index in range(count) if index not in values and index not in dead],
        wrong=sorted(wrong),
        both=sorted(values.keys() & dead),
        over_limit=sorted({call.index for call in calls if call.attempt > max_attempts}),
        miscounted=[
            f"{name} is {evidence.counted.get(name)}, the ledger's file has {number}"
            for name, number in rows.items()
            if evidence.counted.get(name) != number
        ],
        recomputed=sum(times - 1 for times in calls.values()),
    )
