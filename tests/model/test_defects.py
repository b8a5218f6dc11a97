"""The explorations notice defects: a test of the tests."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.defects import DEFECTS, never_repair
from tests.model.machine import Exploration
from tests.model.rules import Violation
from tests.model.walks import disturbances, disturbed, walk
from tests.model.world import Shape

Defect = Callable[[], AbstractContextManager[object]]

BUDGET = 700
"""Disturbed runs, and as many walks: some three times what the best hidden defect needs."""


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_planted_defect_is_noticed(defect: Defect) -> None:
    with defect(), pytest.raises(Violation):
        explore()


def explore() -> None:
    """Some of what happens at any moment of an orderly run, and walks, by turns."""
    shapes = [Shape(leases, ("value", "recovery", "rejection")) for leases in (True, False)]
    runs = [(shape, disturbance) for shape in shapes for disturbance in disturbances(shape)]
    for seed, (shape, disturbance) in zip(count(), random.Random(0).sample(runs, BUDGET)):
        disturbed(shape, disturbance)
        walk(seed)


def test_the_state_machine_notices_one_too() -> None:
    budget = settings(max_examples=400, stateful_step_count=40, deadline=None, derandomize=True, phases=[Phase.generate])
    with never_repair(), pytest.raises(Violation):
        run_state_machine_as_test(Exploration, settings=budget)
