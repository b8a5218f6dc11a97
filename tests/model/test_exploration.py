"""Worker, ledger and seed in any order of steps and faults: nothing is lost, at any moment."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Exploration
from tests.model.walks import disturbances, disturbed
from tests.model.world import Shape


def test_nothing_is_lost_in_any_order_of_steps_and_faults() -> None:
    exploration = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
    run_state_machine_as_test(Exploration, settings=exploration)


@pytest.mark.parametrize("leases", [True, False], ids=["leases", "no leases"])
def test_nothing_is_lost_whatever_happens_at_any_moment_of_an_orderly_run(leases: bool) -> None:
    shape = Shape(leases, ("value", "recovery", "rejection"))
    steps = [disturbed(shape, disturbance) for disturbance in disturbances(shape)]
    assert len(steps) > 1_000
