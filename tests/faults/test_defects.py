"""The suite can fail: each planted defect is caught, and its schedule is clean without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.defects import SHOWN_BY
from tests.faults.servers import Server
from tests.faults.trial import Trial

pytestmark = pytest.mark.timeout(400)  # a trial has more patience with a run than a test has by default


@pytest.mark.parametrize("defect", SHOWN_BY)
def test_a_planted_defect_is_caught(server_of: Callable[[str], Server], defect: str, tmp_path: Path) -> None:
    schedule = SHOWN_BY[defect]
    with_it, without = tmp_path / "with", tmp_path / "without"
    for folder in (with_it, without):
        folder.mkdir()
    broker = server_of(schedule.backend)
    clean = Trial(schedule, broker, without).run()
    assert clean.problems == []
    patience = 3 * clean.seconds + 2  # on this machine: a run that is merely slow would be no catch
    outcome = Trial(schedule, broker, with_it, defect=defect, patience=patience).run()
    assert outcome.problems, f"nothing was found; {len(outcome.strikes)} of {len(schedule.faults)} faults struck"
