"""Worker, ledger and seed in any order of steps and faults: nothing is lost, at any moment."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Exploration
from tests.model.walks import disturbances, disturbed, replay, walk
from tests.model.world import Shape

pytestmark = pytest.mark.timeout(600)  # thousands of histories in one test


def test_nothing_is_lost_in_any_order_of_steps_and_faults() -> None:
    exploration = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
    run_state_machine_as_test(Exploration, settings=exploration)


@pytest.mark.parametrize("leases", [True, False], ids=["leases", "no leases"])
def test_nothing_is_lost_whatever_happens_at_any_moment_of_an_orderly_run(leases: bool) -> None:
    shape = Shape(leases, ("value", "recovery", "rejection"))
    histories = {disturbed(shape, disturbance).told() for disturbance in disturbances(shape)}
    assert len(histories) > 1_000


def test_a_history_that_is_taken_again_ends_the_same() -> None:
    first = walk(seed=1)
    again = replay(first.shape, first.told())
    assert again.history == first.history
    assert again.is_complete()
    assert (again.clock(), again.rules.record.values, again.rules.record.dead) == (
        first.clock(),
        first.rules.record.values,
        first.rules.record.dead,
    )
