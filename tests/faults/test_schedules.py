"""A few of the random schedules of `make faults`, and what a schedule is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.schedule import Kind, draw
from tests.faults.servers import Server
from tests.faults.trial import Trial

pytestmark = pytest.mark.timeout(400)  # a trial has more patience with a run than a test has by default

BACKENDS = ("redis", "rabbitmq")
QUICK = range(12)


@pytest.mark.parametrize("number", QUICK)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_withstands_its_schedule(server_of: Callable[[str], Server], backend: str, number: int, tmp_path: Path) -> None:
    schedule = draw(backend, number)
    outcome = Trial(schedule, server_of(backend), tmp_path).run()
    assert not outcome.problems, f"{schedule}\nagain: make faults BACKEND={backend} SEED={number} SCHEDULES=1"


def test_a_number_is_always_the_same_schedule() -> None:
    assert draw("redis", 7) == draw("redis", 7) != draw("redis", 8)


def test_every_kind_of_fault_is_drawn() -> None:
    drawn = Counter(fault.kind for number in range(1_000) for fault in draw("redis", number).faults)
    assert set(drawn) == set(Kind)
