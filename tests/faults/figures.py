"""What many trials say together: a row for each kind of fault, and one sentence over all."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.faults.outcome import Outcome

COLUMNS = ("fault", "injected", "lost", "alone", "recomputed", "recovery, median", "worst")


@dataclass(slots=True)
class Row:
    """One kind of fault.

    Attributes:
        injected: how often it struck, in whatever company.
        lost: parameters lost in those runs.
        alone: how often nothing else struck that run; the figures below are of these.
        recomputed: calls made again.
        recoveries: seconds (`tests.faults.outcome.Strike`).
    """

    label: str
    injected: int = 0
    lost: int = 0
    alone: int = 0
    recomputed: int = 0
    recoveries: list[float] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """In the order of `COLUMNS`."""
        median, worst = (f"{of(self.recoveries):.2f} s" if self.recoveries else "–" for of in (statistics.median, max))
        counts = (f"{count:,}" for count in (self.injected, self.lost, self.alone, self.recomputed))
        return self.label, *counts, median, worst


def rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """By the name of the fault."""
    found: dict[str, Row] = {}
    for outcome in outcomes:
        for label in {strike.fault.label for strike in outcome.strikes}:
            found.setdefault(label, Row(label)).lost += len(outcome.verdict.lost)
        for strike in outcome.strikes:
            row = found[strike.fault.label]
            row.injected += 1
            if len(outcome.strikes) == 1:
                row.alone += 1
                row.recomputed += outcome.verdict.recomputed
                row.recoveries += [] if strike.recovery is None else [strike.recovery]
    return [found[label] for label in sorted(found)]


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many schedules, faults and parameters, and what must be 0."""
    verdicts = [outcome.verdict for outcome in outcomes]
    zeros = {
        "lost": sum(len(verdict.lost) for verdict in verdicts),
        "wrong": sum(len(verdict.wrong) for verdict in verdicts),
        "both done and dead": sum(len(verdict.both) for verdict in verdicts),
        "counted twice": sum(len(verdict.miscounted) for verdict in verdicts),
        "over the attempt limit": sum(len(verdict.over_limit) for verdict in verdicts),
        "other problems": sum(bool(outcome.problems) and outcome.verdict.is_clean for outcome in outcomes),
    }
    faults = sum(len(outcome.strikes) for outcome in outcomes)
    parameters = sum(outcome.schedule.count for outcome in outcomes)
    return (
        f"{len(outcomes):,} schedules, {faults:,} faults, {parameters:,} parameters: "
        + ", ".join(f"{count} {name}" for name, count in zeros.items())
        + f"; {sum(verdict.recomputed for verdict in verdicts):,} calls made again"
    )
