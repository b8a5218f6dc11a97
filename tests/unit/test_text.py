"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from scripts.text import count, duration, rate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (187_200, "2 d 4 h"),
        (1e8, "1157 d 9 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_are_separated_and_the_unknown_is_a_dash() -> None:
    assert [count(1_234_567), count(0), count(None)] == ["1,234,567", "0", "–"]


def test_slow_rates_keep_their_digits() -> None:
    assert [rate(0), rate(0.0512), rate(9.87), rate(12_345.6)] == ["0", "0.0512", "9.87", "12,346"]
