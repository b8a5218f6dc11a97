"""Worker, ledger and seed in any order of steps and faults: nothing is lost, at any moment."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Exploration
from tests.model.walks import disturb, disturbances
from tests.model.world import Shape, World

BROKERS = pytest.mark.parametrize("leases", [True, False], ids=["leases", "no leases"])


def test_nothing_is_lost_in_any_order_of_steps_and_faults() -> None:
    exploration = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)
    run_state_machine_as_test(Exploration, settings=exploration)


@BROKERS
def test_nothing_is_lost_whatever_happens_at_any_moment_of_an_orderly_run(leases: bool) -> None:
    shape = Shape(leases, ("value", "recovery", "failure"))
    histories = 0
    for disturbance in disturbances(shape):
        with World(shape) as world:
            disturb(world, disturbance)
            world.complete()
        histories += 1
    assert histories > 1_000
