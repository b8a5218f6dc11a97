"""What came of a trial: the faults that struck, how long each took to recover from, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.checker import Verdict
from tests.faults.schedule import Fault, Schedule


@dataclass(slots=True)
class Strike:
    """A fault that struck: when, what was called and had no outcome then, and the seconds until all of that had one.

    Without anything in hand at that moment, it is the seconds until the next outcome.
    """

    fault: Fault
    at: float
    in_hand: frozenset[int]
    outcomes: int
    recovery: float | None = None

    def look(self, now: float, outcomes: frozenset[int]) -> None:
        if self.recovery is None and (self.in_hand <= outcomes if self.in_hand else len(outcomes) > self.outcomes):
            self.recovery = now - self.at


@dataclass(slots=True)
class Outcome:
    """What came of a schedule.

    Attributes:
        problems: one sentence for each thing that must not be; empty: the run withstood.
        seconds: until the run was complete.
    """

    schedule: Schedule
    problems: list[str] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0
