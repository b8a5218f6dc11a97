"""From trials to figures."""

from __future__ import annotations

from tests.faults.checker import Verdict
from tests.faults.figures import rows, summary
from tests.faults.outcome import Outcome, Strike
from tests.faults.schedule import LEDGER, Fault, Kind, Moment, Schedule

KILL = Fault(Kind.KILL, "worker-2", Moment())
CUT = Fault(Kind.CUT, LEDGER, Moment())


def outcome(*strikes: Strike, verdict: Verdict | None = None, problems: tuple[str, ...] = ()) -> Outcome:
    schedule = Schedule("redis", 1, tuple(strike.fault for strike in strikes), count=10)
    return Outcome(schedule, list(problems), list(strikes), verdict or Verdict())


def strike(fault: Fault, recovery: float | None) -> Strike:
    return Strike(fault, 0.0, frozenset(), 0, recovery)


def test_only_a_fault_that_came_alone_has_times() -> None:
    alone = [outcome(strike(KILL, seconds), verdict=Verdict(recomputed=2)) for seconds in (1.0, 5.0, 2.0)]
    together = outcome(strike(KILL, 9.0), strike(CUT, 9.0), verdict=Verdict(lost=[1, 2]))
    assert [row.cells() for row in rows([*alone, together])] == [
        ("ledger: connection cut", "1", "2", "0", "0", "–", "–"),
        ("worker: killed", "4", "2", "3", "6", "2.00 s", "5.00 s"),
    ]


def test_the_sum_tells_of_everything_that_must_be_0() -> None:
    bad = outcome(verdict=Verdict(lost=[1, 2], wrong=[3]), problems=("lost: 1, 2", "wrong: 3"))
    stuck = outcome(problems=("the trial itself failed",))
    assert summary([outcome(strike(KILL, 1.0)), bad, stuck]) == (
        "3 schedules, 1 faults, 30 parameters: 2 lost, 1 wrong, 0 both done and dead, 0 counted twice, "
        "0 over the attempt limit, 1 other problems; 0 calls made again"
    )


def test_recovery_is_over_when_all_that_was_in_hand_has_an_outcome() -> None:
    struck = Strike(KILL, at=10.0, in_hand=frozenset({1, 2}), outcomes=5)
    struck.look(11.0, frozenset({1, 7, 8, 9, 10, 11}))
    assert struck.recovery is None
    struck.look(12.0, frozenset({1, 2}))
    struck.look(13.0, frozenset({1, 2}))
    assert struck.recovery == 2.0


def test_recovery_without_anything_in_hand_is_over_with_the_next_outcome() -> None:
    struck = Strike(KILL, at=10.0, in_hand=frozenset(), outcomes=1)
    struck.look(11.0, frozenset({1}))
    struck.look(12.0, frozenset({1, 2}))
    assert struck.recovery == 2.0
