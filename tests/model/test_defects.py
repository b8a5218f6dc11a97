"""The exploration notices defects: a test of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.defects import DEFECTS
from tests.model.machine import Exploration
from tests.model.rules import Violation

BUDGET = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_planted_defect_is_noticed(defect: Callable[[], Any]) -> None:
    with defect(), pytest.raises(Violation):
        run_state_machine_as_test(Exploration, settings=BUDGET)
