"""Retry as a decision: an error, an attempt and a policy in, a delay or death out."""

from __future__ import annotations

import pytest

from worker.errors import BrokerRefused, BrokerUnavailable
from worker.retry import LONGEST_DELAY, Failed, Policy, decide, reconnecting

LADDER = Policy((1.0, 5.0, 25.0), 4)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1.0), (2, 5.0), (3, 25.0), (4, None), (5, None)])
def test_the_ladder_sets_the_delays_and_the_limit(attempt: int, delay: float | None) -> None:
    assert decide(Failed("x"), attempt, LADDER) == delay


def test_beyond_the_ladder_its_last_step_repeats() -> None:
    assert decide(Failed("x"), 6, Policy((1.0, 2.0), 10)) == 2.0


def test_a_final_error_is_dead_at_its_first_attempt() -> None:
    assert decide(Failed("x", final=True), 1, LADDER) is None


def test_a_delay_that_the_function_asked_for_goes_before_the_ladder_but_not_beyond_the_limit() -> None:
    assert decide(Failed("x", after=60.0), 1, LADDER) == 60.0
    assert decide(Failed("x", after=-3.0), 1, LADDER) == 0.0
    assert decide(Failed("x", after=60.0), 4, LADDER) is None


def test_no_delay_is_longer_than_a_broker_can_keep_a_message() -> None:
    assert decide(Failed("x", after=1e300), 1, LADDER) == LONGEST_DELAY


def test_reconnecting_waits_longer_and_longer_until_it_succeeds() -> None:
    waits: list[float] = []
    said: list[str] = []
    errors = [BrokerUnavailable("away")] * 8

    def attempt() -> str:
        if errors:
            raise errors.pop()
        return "connected"

    policy = reconnecting(waits.append, lambda: False, lambda error, _seconds: said.append(str(error)))
    assert policy(attempt) == "connected"
    assert len(said) == len(waits) == 8
    assert waits[0] < 0.5
    assert waits[5] > waits[0]
    assert max(waits) <= 5.0


def test_reconnecting_gives_up_when_asked_to_stop_and_at_once_when_refused() -> None:
    def attempt(error: Exception) -> None:
        raise error

    policy = reconnecting(lambda _seconds: None, lambda: True, lambda _error, _seconds: None)
    with pytest.raises(BrokerUnavailable):
        policy(attempt, BrokerUnavailable("away"))
    policy = reconnecting(lambda _seconds: pytest.fail("it waited"), lambda: False, lambda _error, _seconds: None)
    with pytest.raises(BrokerRefused):
        policy(attempt, BrokerRefused("no"))
