"""The rate, and the cells that a repair looks into."""

from __future__ import annotations

import pytest

from scripts.tally import DEAD, DONE, RETRIED, Cells, Rate


def test_the_rate_is_the_one_of_the_last_seconds() -> None:
    rate = Rate()
    for second in range(100):
        rate.add(float(second), second * (10 if second < 50 else 20))
    assert rate.value == pytest.approx(20.0)


def test_a_pause_does_not_slow_the_rate_down_afterwards() -> None:
    rate = Rate()
    for second in range(30):
        rate.add(float(second), 5)
    assert rate.value == 0.0
    rate.add(30.0, 105)
    rate.add(31.0, 205)
    assert rate.value == pytest.approx(100.0)


def test_cells_count_what_they_hold() -> None:
    cells = Cells(bytearray(10))
    cells.fill(0, 4, DONE)
    cells.fill(3, 5, DEAD)
    cells.fill(6, 7, RETRIED)
    assert (cells.done, cells.dead, cells.missing) == (3, 2, 5)
    assert list(cells.missing_ranges(0, 10)) == [(5, 10)]
    assert list(cells.missing_ranges(0, 10, without=((6, 8),))) == [(5, 6), (8, 10)]
    assert not cells.are_missing(4, 6)
    assert cells.are_missing(5, 8)


def test_cells_are_reverted_to_what_was_kept() -> None:
    cells = Cells(bytearray(10))
    cells.fill(0, 4, DONE)
    cells.keep()
    cells.fill(3, 8, DEAD)
    cells.fill(2, 4, RETRIED)
    cells.revert()
    assert cells.states == bytearray([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert (cells.done, cells.missing) == (4, 6)
